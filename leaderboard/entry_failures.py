"""Why runs of a row left no result: what happened, what the harness saw, the log, what to do, and the
command that does it again.

Trap: runs that ended in one way are told once, so the anchor of a run is its own and not its group's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.board.rows import Failure, Row
from harness.common.foreign_text import one_line
from harness.common.statuses import Status
from leaderboard import formats
from leaderboard.addresses import section_key
from leaderboard.commands import ShownRuns, try_again

MAX_LOG_LINE = 500  # characters
PLAIN_STATUS = {
    Status.INVALID_IMAGE: "its image was refused",
    Status.START_TIMEOUT: "it was not ready in time",
    Status.IMAGE_TIMEOUT: "one image took too long",
    Status.TOTAL_TIMEOUT: "the whole took too long",
    Status.CRASHED: "it crashed",
    Status.OUT_OF_MEMORY: "out of memory",
    Status.OUT_OF_GPU_MEMORY: "out of GPU memory",
    Status.LOG_FLOOD: "its log was too long",
    Status.BAD_FRAME: "an answer that cannot be read",
    Status.WRONG_SHAPE: "a map of the wrong size",
    Status.NON_FINITE: "NaN or infinity in an answer",
    Status.MISSING_ANSWER: "it ended before all images were answered",
    Status.BAD_MODEL: "its trained model cannot be kept",
    Status.NOT_APPLICABLE: "not applicable: no failure, and no result",
}
"""Every status that leaves a row without a result, for a reader who knows none of their names."""


@dataclass(frozen=True)
class RunLog:
    """The end of what one run wrote to standard error."""

    seed: int
    """Seed of the run."""
    lines: tuple[str, ...]
    """Its last lines; empty where it wrote nothing."""
    path: str
    """The whole log, from the results folder of whoever ran it."""


@dataclass(frozen=True)
class FailureGroup:
    """Runs of one row that ended without a result in one way."""

    anchors: tuple[tuple[str, int], ...]
    """Anchor and seed of each run, by seed, at least one; the anchor of a seed that was run twice
    stands once, and is empty then."""
    status: str
    """Name of the status."""
    plain: str
    """The same in words."""
    sentence: str
    """What that means."""
    detail: str
    """What the harness saw; empty for hidden packs."""
    remedy: str
    """The first thing to try."""
    logs: tuple[RunLog, ...]
    """By seed; none for hidden packs."""
    command: str
    """What does the first of these runs again."""
    where: str
    """On which images the command runs, and why on these."""

    @property
    def seeds(self) -> str:
        """The runs in words: `seed 3`, `seeds 0, 1, 2`."""
        told = formats.joined(seed for _, seed in self.anchors)
        return f"seed{'s' if len(self.anchors) > 1 else ''} {told}"


def failure_anchor(row: Row, seed: int) -> str:
    """The anchor of a run without a result on its entry's page."""
    return f"failed-{section_key(row.place, row.track, row.isolation)}-{seed}"


def failure_groups(row: Row, runs: ShownRuns) -> tuple[FailureGroup, ...]:
    """The runs of a row without a result, in the order of their first seeds.

    Args:
        row: a published row.
        runs: what may be shown of the row and of its entry.
    """
    alike: dict[tuple[object, ...], list[Failure]] = {}
    for failure in sorted(row.without_result, key=lambda each: each.seed):
        key = (failure.status, failure.sentence, failure.detail, failure.remedy)
        alike.setdefault(key, []).append(failure)
    anchored: set[int] = set()
    return tuple(_group(row, each, runs, anchored) for each in alike.values())


def _group(
    row: Row, failures: Sequence[Failure], runs: ShownRuns, anchored: set[int]
) -> FailureGroup:
    """One group; the seeds that get an anchor here are added to those that have one."""
    first = failures[0]
    anchors = []
    for failure in failures:
        anchor = "" if failure.seed in anchored else failure_anchor(row, failure.seed)
        anchors.append((anchor, failure.seed))
        anchored.add(failure.seed)
    again = try_again(row, first, runs)
    return FailureGroup(
        anchors=tuple(anchors),
        status=first.status.value,
        plain=PLAIN_STATUS[first.status],
        sentence=first.sentence,
        detail=formats.plain(first.detail),
        remedy=first.remedy,
        logs=tuple(_log(failure) for failure in failures if failure.log_path),
        command=again.command,
        where=again.where,
    )


def _log(failure: Failure) -> RunLog:
    return RunLog(
        failure.seed,
        tuple(one_line(line, MAX_LOG_LINE) for line in failure.log),
        formats.plain(failure.log_path),
    )
