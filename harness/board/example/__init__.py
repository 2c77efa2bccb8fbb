"""A made-up data set for looking at the site with full tables: `python -m harness.site --example`.

Invented methods, invented numbers, generated images; the same on every machine. It never
touches a results folder, and `Material.is_made_up` makes every page and download say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from harness.board.change_log import ChangeLog, row_changes_since
from harness.board.comparison import without_numbers
from harness.board.example.curves import curves, has_curves
from harness.board.example.forge import made_up_releases
from harness.board.example.methods import Method, methods
from harness.board.example.pictures import galleries
from harness.board.example.regimes import example_regimes, regime_records
from harness.board.example.runs import SIX, comparison, local_comparison, metrics, record
from harness.board.overall_ranks import (
    alarms,
    first_galleries,
    hardest,
    not_above_trivial,
    overall,
    typical_times,
)
from harness.board.public_rows import published
from harness.board.rows import ranked_records, summarise
from harness.board.site_data import BenchmarkCard, Material, Reported, Waiting
from harness.records.record import Record
from harness.records.releases import under_known_names

SEEDS = 5
FIRST_DAY = date(2026, 1, 5)
# Trivial entries and the canary come last.
OTHERS = 4
# What the paper's tables hold, which the example imitates for its first methods.
REPORTED = ("image_auroc", "pixel_auroc", "pixel_pro", "dice_at_0.5")


def made_up(
    cards: Mapping[str, BenchmarkCard],
    definitions: Mapping[str, str],
    cache: Path,
    *,
    entries: int = 40,
) -> Material:
    """The whole example.

    Args:
        cards: the benchmarks' cards.
        definitions: of the metrics.
        cache: the harness's cache folder, for the generated images.
        entries: how many there are, the trivial ones and the canary included.
    """
    everybody = list(methods())
    invented = everybody[: entries - OTHERS] + everybody[-OTHERS:]
    known = made_up_releases(*SIX, "demo")
    records = under_known_names(_records(invented), known)
    ranked = ranked_records(records)
    comparisons = {name: comparison(name, ranked[name]) for name in sorted(ranked)}
    rows = published(summarise(records, comparisons=comparisons))
    drawn = dict(galleries(records, invented, cache))
    shown = {run.run_key: drawn[run.run_key] for run in first_galleries(records, drawn)}
    regimes = example_regimes(under_known_names(regime_records(invented), known), rows)
    return Material(
        rows=rows,
        records=tuple(records),
        comparisons={name: without_numbers(each) for name, each in comparisons.items()},
        local={"demo": local_comparison([r for r in records if r.pack.benchmark == "demo"])},
        curves={run.run_key: curves(run) for run in records if has_curves(run)},
        galleries=shown,
        hardest=hardest(records, shown),
        alarms=alarms(records, shown),
        overall=overall(comparisons, tuple(SIX)),
        not_above_trivial=not_above_trivial((*rows, *regimes.parts)),
        typical_times=typical_times((*rows, *(each.row for each in regimes.rows))),
        regimes=regimes,
        waiting=(
            Waiting("sandpiper", "Sandpiper", "2026-03-01", {"family": "flow"}, "2026-03-15"),
            Waiting("whimbrel", "Whimbrel", "", {"family": "other"}),
        ),
        cards=cards,
        definitions=definitions,
        log=_log(records),
        paper=tuple(_reported(invented[:8])),
        is_made_up=True,
    )


def _log(records: Sequence[Record]) -> ChangeLog:
    """Entries came one a week, with fewer seeds at first; one was withdrawn."""
    log, shown = ChangeLog(), []
    entries = list(dict.fromkeys(record.entry.name for record in records))
    for week, entry in enumerate(entries):
        shown += [each for each in records if each.entry.name == entry and each.seed < SEEDS - 1]
        withdrawn = {entries[1]: "its authors found an error"} if 5 <= week < 9 else {}
        day = FIRST_DAY + timedelta(weeks=week)
        log = ChangeLog(changes=(*log.changes, *row_changes_since(log, shown, withdrawn, day)))
    last = FIRST_DAY + timedelta(weeks=len(entries))
    return ChangeLog(changes=(*log.changes, *row_changes_since(log, records, {}, last)))


def _records(invented: Sequence[Method]) -> Iterator[Record]:
    """The six benchmarks, one with a gap; the demonstration; a hidden pack."""
    for method in invented:
        for benchmark in SIX:
            if (method.name, benchmark) != ("quail", "rsna"):
                yield from (record(method, benchmark, seed) for seed in range(SEEDS))
    yield from (record(method, "demo", 0) for method in invented[:3])
    for method in invented[2:-OTHERS][:7]:
        yield from (record(method, "harbour-ct", seed, "hidden") for seed in range(2))


def _reported(invented: Sequence[Method]) -> Iterator[Reported]:
    """Values as a paper would report them: those of the paper grid, a little higher."""
    for method in invented:
        for benchmark in SIX:
            for values in metrics(method, benchmark, 99):
                if values["grid"] == "native" or values["id"] not in REPORTED:
                    continue
                mean = values["value"]
                yield Reported(
                    "Table 3" if values["id"].startswith("dice") else "Table 2",
                    method.title,
                    benchmark,
                    values["id"],
                    None if mean is None else round(mean + 0.011, 4),
                    None if mean is None else 0.004,
                )
