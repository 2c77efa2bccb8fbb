"""One run of a campaign, as a process of its own: `harness.evaluate`, tied to the campaign's life.

The campaign holds the other end of standard input. Its end, by whatever death of the
campaign, ends this run as Ctrl-C would: containers removed, no half record, a training's
checkpoint kept. (A parent-death signal would not do: it fires when the thread that started
the process ends.)
"""

from __future__ import annotations

import os
import runpy
import signal
import threading


def end_with_the_campaign() -> None:
    """Watch standard input in a thread; its end is a SIGTERM to this process."""

    def watch() -> None:
        while os.read(0, 1 << 10):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watch-campaign", daemon=True).start()


if __name__ == "__main__":
    end_with_the_campaign()
    runpy.run_module("harness.evaluate", run_name="__main__", alter_sys=True)
