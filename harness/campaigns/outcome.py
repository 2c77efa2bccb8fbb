"""What came of a campaign: counts that add up, the settings that validation chose, the paper's cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from harness.board.rows import Row
from harness.campaigns.grid import EntryVariant
from harness.records.record import Record


@dataclass(frozen=True)
class Choice:
    """The setting of one entry on one benchmark that validation chose."""

    entry: str
    """The entry."""
    benchmark: str
    """The benchmark."""
    chosen: str
    """Name on the board of the chosen variant."""
    value: float
    """Mean over seeds of its kept checkpoint's validation metric."""
    of: int
    """Number of variants that could be judged."""


def choices(variants: Sequence[EntryVariant], records: Iterable[Record]) -> list[Choice]:
    """By validation alone: the test split says nothing here.

    A variant counts where every seed that others have was judged on the validation split;
    of equals the first in the campaign's order is chosen.
    """
    values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for record in records:
        value = validation_value(record)
        if value is not None:
            values[record.entry.name, record.pack.benchmark][record.seed] = value
    found = []
    benchmarks = dict.fromkeys(benchmark for _, benchmark in values)
    for entry in dict.fromkeys(variant.entry for variant in variants):
        own = [variant.name for variant in variants if variant.entry == entry]
        if len(own) < 2:
            continue
        for benchmark in benchmarks:
            judged = {name: values[name, benchmark] for name in own if values[name, benchmark]}
            seeds = max((len(by_seed) for by_seed in judged.values()), default=0)
            whole = {name: mean(v.values()) for name, v in judged.items() if len(v) == seeds}
            if whole:
                best = max(whole, key=lambda name: whole[name])
                found.append(Choice(entry, benchmark, best, whole[best], len(whole)))
    return found


def validation_value(record: Record) -> float | None:
    """The validation metric of the checkpoint that was kept; None where none was judged."""
    if not record.is_ok or record.training is None:
        return None
    kept = [c.value for c in record.training.checkpoints if c.kept and c.value is not None]
    return kept[-1] if kept else None


@dataclass(frozen=True)
class Reproduction:
    """How the paper's cells compare with the measured ones."""

    reproduced: int
    """Cells whose difference is at most both standard deviations together."""
    measured: int
    """Cells of the paper that were measured."""
    reported: int
    """Cells of the paper with a number."""


def reproduction(rows: Iterable[Row]) -> Reproduction:
    """Compare ranked rows with the paper's Table 2, pixel metrics on the paper's grid.

    A cell counts as reproduced where the means differ by at most the sum of the paper's
    standard deviation and ours over seeds (0 where there is one seed).
    """
    from leaderboard.paper import by_cell, difference, method_key, read_paper

    cells = {
        key: value
        for key, value in by_cell(v for v in read_paper() if v.table == "Table 2").items()
        if value.mean is not None
    }
    ranked = {(method_key(row.title), row.benchmark): row for row in rows if row.ranked}
    reproduced = measured = 0
    for (method, benchmark, metric), value in cells.items():
        row = ranked.get((method, benchmark))
        gap = None if row is None else difference(row, metric, cells)
        if row is None or gap is None:
            continue
        measured += 1
        own = row.metric(metric, None) or row.metric(metric, "paper")
        spread = (value.std or 0.0) + ((own.std if own else None) or 0.0)
        reproduced += abs(gap) <= spread
    return Reproduction(reproduced, measured, len(cells))
