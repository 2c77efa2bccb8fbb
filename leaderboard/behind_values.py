"""What is behind all values of one row: how it was made, what it cost, which runs failed, how to cite it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.board.rows import Row
from harness.board.site_data import Material
from harness.common.foreign_text import one_line
from harness.records.record import Record
from harness.records.releases import claimed_name
from leaderboard import formats
from leaderboard.addresses import line_key
from leaderboard.cells import COST
from leaderboard.citations import row_bibtex
from leaderboard.costs import COST_HEADS, costs

LOG_LINES, LOG_LINE = 12, 300  # lines, characters


@dataclass(frozen=True)
class FailedRun:
    """One run without a result."""

    seed: int
    """Seed of the run."""
    status: str
    """How it ended."""
    told: str
    """What that means."""
    detail: str
    """What the harness saw; empty for hidden packs."""
    remedy: str
    """The first thing to try."""
    log: tuple[str, ...]
    """The last lines of its log; none for hidden packs."""


@dataclass(frozen=True)
class Behind:
    """All of it; of a hidden pack what its published row holds."""

    unit: str
    """What its intervals are over: `patients`, `images`, or either where that is not known."""
    made: str
    """Which code answered, on what machine and images, scored by which harness."""
    cost_key: str
    """Anchor of what it costs, on the entry's page."""
    costs: tuple[tuple[str, str], ...]
    """What it costs, with its name; what was not measured is left out."""
    citation: str
    """BibTeX of the entry, the pack and the harness."""
    failed: tuple[FailedRun, ...]
    """Its runs without a result."""


def behind_values(row: Row, records: Sequence[Record], material: Material) -> Behind:
    """What is behind the values of a row.

    Args:
        row: a published row, over all images of its runs.
        records: its runs that may be shown in full; none of a hidden pack.
        material: comparisons and cards.
    """
    card = material.cards.get(claimed_name(row.benchmark))
    return Behind(
        unit=_unit(row, records, material),
        made=_made(row),
        cost_key=line_key(row, COST),
        costs=tuple(pair for pair in zip(COST_HEADS, costs(row), strict=True) if pair[1]),
        citation=row_bibtex(row, card, is_made_up=material.is_made_up),
        failed=tuple(
            FailedRun(
                each.seed,
                each.status.value,
                each.sentence,
                formats.plain(each.detail),
                each.remedy,
                tuple(one_line(line, LOG_LINE) for line in each.log[-LOG_LINES:]),
            )
            for each in row.without_result
        ),
    )


def _unit(row: Row, records: Sequence[Record], material: Material) -> str:
    if records:
        return "images" if records[0].pack.patients is None else "patients"
    comparison = material.comparisons.get(row.place)
    return "patients or images" if comparison is None else f"{comparison.unit}s"


def _made(row: Row) -> str:
    identities = formats.joined(formats.short_hash(each) for each in row.identities)
    commits = formats.joined(formats.shortened_commit(each) for each in row.commits)
    told = (
        ("entry", identities), ("on", formats.joined(row.devices)),
        ("images", formats.joined(row.packs)), ("harness", commits),
    )  # fmt: skip
    return formats.plain("; ".join(f"{name} {value}" for name, value in told if value))
