"""Does the runs of a campaign, each as often as its faults ask for, and tells each as it ends.

Where a run happens is a subclass's: a process of this machine (`this_machine`) or a task
of a Ray cluster (`ray.runner`). A run exists only by its record, so nothing is kept here that
a resumed campaign would need.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.campaigns.faults import PAUSES, End, Ended, FaultsInARow, Try, last_words
from harness.entries.campaign_grid import Cell

STOP_SECONDS = 60.0  # from the end of a campaign to the kill of a run that does not end
POLL_SECONDS = 0.2


class Runner(ABC):
    """Runs cells on slots until all are done, the machine gives up, or somebody says stop.

    Args:
        slots: one run at a time on each; what a slot is called, `once` is told.
        logs: folder of the logs, one file a cell.
        pauses: seconds before each further try after a fault of the machine.
    """

    def __init__(
        self, slots: Sequence[str], logs: Path, *, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._slots, self._logs, self._pauses = tuple(slots), logs, tuple(pauses)
        self._stop = threading.Event()
        self._done: queue.Queue[Ended | BaseException] = queue.Queue()
        self._todo: queue.SimpleQueue[Cell] = queue.SimpleQueue()

    @abstractmethod
    def once(self, cell: Cell, slot: str, log: Path) -> Try:
        """One try of a run; ends soon, as the machine's fault, when `is_stopped`."""

    def may_start(self, slot: str) -> bool:  # noqa: ARG002 - a subclass's slot may be busy
        """Whether a run may start on a slot now."""
        return True

    @property
    def is_stopped(self) -> bool:
        """Whether the campaign ends."""
        return self._stop.is_set()

    def run(self, cells: Sequence[Cell]) -> Iterator[Ended]:
        """Every cell once, in order of start; yields each as it ends.

        After as many faults of the machine in a row as there are slots and one more, the
        rest is yielded as not done: something is wrong that no retry mends.
        """
        for cell in cells:
            self._todo.put(cell)
        workers = [
            threading.Thread(target=self._work, args=(slot,), name=f"slot-{number}")
            for number, slot in enumerate(self._slots)
        ]
        for worker in workers:
            worker.start()
        faults = FaultsInARow(len(self._slots))
        try:
            for _ in cells:
                done = self._done.get()
                if isinstance(done, BaseException):
                    raise done
                faults.see(done.end)
                if faults.is_too_many:
                    self._stop.set()
                yield done
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _work(self, slot: str) -> None:
        try:
            while True:
                try:
                    cell = self._todo.get_nowait()
                except queue.Empty:
                    return
                self._done.put(self._try(cell, slot))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._done.put(error)

    def _try(self, cell: Cell, slot: str) -> Ended:
        log = self._logs / cell.place / cell.variant.name / f"seed-{cell.seed}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        tries: list[Try] = []
        for pause in (0.0, *self._pauses):
            if self._stop.wait(pause) or not self._wait_until_free(slot):
                break
            tries.append(self.once(cell, slot, log))
            if tries[-1].end is not End.NOT_DONE or tries[-1].is_last or self.is_stopped:
                break
        end = tries[-1].end if tries else End.NOT_DONE
        detail = "" if end is End.FINISHED else last_words(log)
        return Ended(cell, end, sum(each.seconds for each in tries), len(tries), detail, log)

    def _wait_until_free(self, slot: str) -> bool:
        while not self.may_start(slot):
            if self._stop.wait(POLL_SECONDS * 25):
                return False
        return True
