"""How runs of a campaign end, whose fault that is, and what is tried again.

A run's exit code says whose fault its end is: 0 done, or nothing that can be done; 4 the entry's, and its record says
so; 2 and 3 the entry's too, before a run existed; 5 the machine's: tried again after a
pause; anything else a bug, whose traceback stands in the log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.common.errors import EntryFailed, EntryInvalid, EnvironmentFault, UsageError
from harness.console.ends import EXITS_BY_SIGNAL
from harness.entries.campaign_grid import Cell

PAUSES = (10.0, 60.0)  # seconds before the second and the third try


class End(StrEnum):
    """How a cell of the grid ended."""

    FINISHED = "finished"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_DONE = "not done"
    BUG = "bug"


MEANINGS = {
    End.FINISHED: "a record with its metrics, or of what the method cannot do",
    End.FAILED: "a record of the entry's own fault",
    End.REFUSED: "the entry or its settings cannot be run; no record",
    End.NOT_DONE: "a fault of the machine, or stopped; resume does it",
    End.BUG: "a bug of the harness; its log has the traceback",
}
BY_CODE = {
    0: End.FINISHED,
    EntryFailed.exit_code: End.FAILED,
    UsageError.exit_code: End.REFUSED,
    EntryInvalid.exit_code: End.REFUSED,
    EnvironmentFault.exit_code: End.NOT_DONE,
    **dict.fromkeys(EXITS_BY_SIGNAL, End.NOT_DONE),
}


@dataclass(frozen=True)
class Try:
    """One try of a cell."""

    code: int
    """Exit code of the run."""
    seconds: float = 0.0
    """How long it ran; waiting for a place does not count."""
    is_last: bool = False
    """Another try cannot go better."""

    @property
    def end(self) -> End:
        """How it ended."""
        return BY_CODE.get(self.code, End.BUG)


@dataclass(frozen=True)
class Ended:
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


class FaultsInARow:
    """Whether something is wrong with a machine that no retry mends.

    Args:
        places: how many runs it does at a time; so many may fail by one passing fault, and
            one more than that is too many.
    """

    def __init__(self, places: int) -> None:
        self._places, self._count = places, 0

    def see(self, end: End) -> None:
        """Count one end; any but the machine's fault begins anew."""
        self._count = self._count + 1 if end is End.NOT_DONE else 0

    @property
    def is_too_many(self) -> bool:
        """Whether the machine is given up."""
        return self._count > self._places


# As `harness.running.plan` tells it; what follows there is the end of the entry's own log.
_FAILED = re.compile(r"\S+/seed-\d+: [a-z_]+: .* \(\d+\.\d s\)")


def last_words(log: Path) -> str:
    """The error of a log, or how its run failed, else its last line; empty where there is none."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith("error: ") or _FAILED.fullmatch(line)]
    return (errors or [line.strip() for line in lines if line.strip()] or [""])[-1]
