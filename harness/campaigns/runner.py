"""Does the runs of a campaign: one process each, one at a time on a slot, faults told apart.

A run's exit code says whose fault its end is: 0 done; 4 the entry's, and its record says
so; 2 and 3 the entry's too, before a run existed; 5 the machine's: tried again after a
pause; anything else a bug, whose traceback stands in the log. A run exists only by its
record, so nothing is kept here that a resumed campaign would need.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.campaigns.grid import Cell
from harness.cli import EXIT_INTERRUPTED
from harness.errors import EntryFailed, EntryInvalid, EnvironmentFault, UsageError

PAUSES = (10.0, 60.0)  # seconds before the second and the third try
STOP_SECONDS = 60.0  # from the end of a campaign to the kill of a run that does not end
POLL_SECONDS = 0.2


class End(StrEnum):
    """How a cell of the grid ended."""

    FINISHED = "finished"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_DONE = "not done"
    BUG = "bug"


MEANINGS = {
    End.FINISHED: "a record with its metrics",
    End.FAILED: "a record of the entry's own fault",
    End.REFUSED: "the entry or its settings cannot be run; no record",
    End.NOT_DONE: "a fault of this machine, or stopped; resume does it",
    End.BUG: "a bug of the harness; its log has the traceback",
}
BY_CODE = {
    0: End.FINISHED,
    EntryFailed.exit_code: End.FAILED,
    UsageError.exit_code: End.REFUSED,
    EntryInvalid.exit_code: End.REFUSED,
    EnvironmentFault.exit_code: End.NOT_DONE,
    EXIT_INTERRUPTED: End.NOT_DONE,
}


@dataclass(frozen=True)
class Done:
    """One cell that was tried."""

    cell: Cell
    """Which."""
    end: End
    """How it ended."""
    seconds: float
    """All tries together."""
    tries: int
    """How many."""
    detail: str
    """Last words of its log, where it did not finish."""
    log: Path
    """Its whole log."""


class Runner:
    """Runs cells on slots until all are done, the machine gives up, or somebody says stop.

    Args:
        command: the arguments of `harness.evaluate` for a cell and a device.
        slots: devices, one run at a time on each.
        logs: folder of the logs, one file a cell.
        is_free: whether a run may start on a device now (nobody else uses the GPU).
        pauses: seconds before each further try after a fault of the machine.
    """

    def __init__(
        self,
        command: Callable[[Cell, str], Sequence[str]],
        slots: Sequence[str],
        logs: Path,
        *,
        is_free: Callable[[str], bool],
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._command, self._slots, self._logs = command, tuple(slots), logs
        self._is_free, self._pauses = is_free, tuple(pauses)
        self._stop = threading.Event()
        self._done: queue.Queue[Done | BaseException] = queue.Queue()
        self._todo: queue.SimpleQueue[Cell] = queue.SimpleQueue()

    def run(self, cells: Sequence[Cell]) -> Iterator[Done]:
        """Every cell once, in order of start; yields each as it ends.

        After as many faults of the machine in a row as there are slots and one more, the
        rest is yielded as not done: something is wrong that no retry mends.
        """
        for cell in cells:
            self._todo.put(cell)
        workers = [
            threading.Thread(target=self._work, args=(device,), name=f"slot-{number}")
            for number, device in enumerate(self._slots)
        ]
        for worker in workers:
            worker.start()
        faults = 0
        try:
            for _ in cells:
                done = self._done.get()
                if isinstance(done, BaseException):
                    raise done
                faults = faults + 1 if done.end is End.NOT_DONE else 0
                if faults > len(self._slots):
                    self._stop.set()
                yield done
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _work(self, device: str) -> None:
        try:
            while True:
                try:
                    cell = self._todo.get_nowait()
                except queue.Empty:
                    return
                self._done.put(self._try(cell, device))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._done.put(error)

    def _try(self, cell: Cell, device: str) -> Done:
        log = self._logs / cell.benchmark / cell.variant.name / f"seed-{cell.seed}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        began, tries, end = time.monotonic(), 0, End.NOT_DONE
        for pause in (0.0, *self._pauses):
            if self._stop.wait(pause) or not self._wait_until_free(device):
                break
            tries += 1
            end = BY_CODE.get(self._once(cell, device, log), End.BUG)
            if end is not End.NOT_DONE or self._stop.is_set():
                break
        detail = "" if end is End.FINISHED else last_words(log)
        return Done(cell, end, time.monotonic() - began, tries, detail, log)

    def _wait_until_free(self, device: str) -> bool:
        while not self._is_free(device):
            if self._stop.wait(POLL_SECONDS * 25):
                return False
        return True

    def _once(self, cell: Cell, device: str, log: Path) -> int:
        """One try; returns the exit code."""
        arguments = [sys.executable, "-m", "harness.campaigns.one_run"]
        with (
            log.open("ab") as stream,
            subprocess.Popen(
                [*arguments, *self._command(cell, device)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                start_new_session=True,  # Ctrl-C is the campaign's: it ends its runs itself
            ) as process,
        ):
            while process.poll() is None and not self._stop.wait(POLL_SECONDS):
                pass
            if process.stdin is not None:
                process.stdin.close()
            try:
                return process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()


def last_words(log: Path) -> str:
    """The error of a log, else its last line; empty where there is none."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or [line.strip() for line in lines if line.strip()] or [""])[-1]
