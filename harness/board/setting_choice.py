"""Which of several settings of an entry validation chose; the test split says nothing here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from harness.entries.campaign_grid import EntryVariant
from harness.records.record import Record


@dataclass(frozen=True)
class Choice:
    """The setting of one entry on one benchmark that validation chose."""

    entry: str
    """The entry."""
    benchmark: str
    """The benchmark, with its regime where that is not one-class (`Record.place`)."""
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
            values[record.entry.name, record.place][record.seed] = value
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
