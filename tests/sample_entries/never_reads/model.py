"""Says that it is ready and never reads an image."""

import gc
import time

from harness.contract.frames import ReadyFrame
from harness.contract.pipe import FrameReader, FrameWriter


def raw_pipe() -> tuple[FrameReader, FrameWriter]:
    """The streams that `serve` keeps from the model; nothing hides them from a hostile one."""
    found = gc.get_objects()
    readers = [thing for thing in found if isinstance(thing, FrameReader)]
    writers = [thing for thing in found if isinstance(thing, FrameWriter)]
    return readers[0], writers[0]


class Model:
    """Speaks for `serve`, then sleeps."""

    def __init__(self, device, seed, params, weights):
        _, writer = raw_pipe()
        writer.end_banner()
        writer.write(ReadyFrame(maps=True))
        time.sleep(3600)
