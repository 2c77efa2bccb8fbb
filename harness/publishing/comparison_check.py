"""What of a published comparison follows from the published records, and does not in this one.

Who is significantly better is decided on the private evidence and cannot be derived here. What
can: which records were compared, every mean, the order, and that better, worse and tied say one
thing of each pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from harness.board.comparison import Column, Comparison, Standing, without_numbers
from harness.board.paired_differences import DIGITS, is_paired
from harness.common.disclosure import Artefact, may_leave, strictest
from harness.metrics.intervals import RESAMPLES
from harness.metrics.ranks import SIGNIFICANCE
from harness.records.record import Record

SLACK = 1e-9  # sums over seeds in another order
ROUNDED = SLACK + 0.5 * 10.0**-DIGITS


def comparison_problems(comparison: Comparison, ranked: Sequence[Record]) -> Iterator[str]:
    """What contradicts the ranked records of its benchmark.

    Args:
        comparison: as it is to be published.
        ranked: all published records of its benchmark that may take a rank.
    """
    if not comparison.is_current(ranked):
        yield "it does not speak of exactly the ranked records that are there"
        return
    visibility = strictest([comparison.visibility, *(r.pack.visibility for r in ranked)])
    if without_numbers(replace(comparison, visibility=visibility)) != comparison:
        yield "it is of a hidden pack and tells numbers"
    first = ranked[0]
    told = {
        "place": (comparison.benchmark, first.place),
        "pack": (comparison.pack, first.pack.version),
        "metric definitions": (comparison.metrics, first.metrics_version),
        "resamples": (comparison.resamples, RESAMPLES),
        "level": (comparison.significance, SIGNIFICANCE),
        "unit": (comparison.unit, "patient" if first.pack.patients is not None else "image"),
    }
    for name, (said, known) in told.items():
        if said != known:
            yield f"its {name} is {said}, and that of its records {known}"
    is_exact = may_leave(Artefact.COMPARISON_NUMBERS, visibility)
    for column in comparison.columns:
        over = [column.member] if column.member else []
        where = f"{column.metric} ({', '.join([*over, column.grid or 'image', column.track])})"
        yield from (f"{where}: {each}" for each in _of_column(column, ranked, is_exact=is_exact))


def _of_column(column: Column, ranked: Sequence[Record], *, is_exact: bool) -> Iterator[str]:
    values = _values(column, ranked)
    standings = {standing.entry: standing for standing in column.standings}
    if set(standings) != set(values) or len(standings) != len(column.standings):
        yield "its entries are not those whose records have the metric for every seed"
        return
    means = {entry: math.fsum(found) / len(found) for entry, found in values.items()}
    for entry, standing in standings.items():
        if standing.seeds != len(values[entry]):
            yield f"{entry} has {len(values[entry])} seeds, not {standing.seeds}"
        if is_exact and not _is_at(standing, means[entry]):
            yield f"the mean or interval of {entry} is not that of its records"
    yield from _of_pairs(standings, means)
    yield from _of_differences(column, means)
    order = sorted(column.standings, key=lambda s: (s.rank, -means[s.entry], s.entry))
    if is_exact and tuple(order) != column.standings:
        yield "its order is not by rank, then by mean"


def _of_differences(column: Column, means: Mapping[str, float]) -> Iterator[str]:
    """Where differences are told, they are those of the means, of every pair, and as the ranks say."""
    if not column.differences:
        return
    if not is_paired(column.metric, column.grid, column.member):
        yield "differences of such a column are not kept"
        return
    told = [(each.one, each.other) for each in column.differences]
    if told != list(combinations(sorted(means), 2)):
        yield "its differences are not those of every pair of its entries, in order"
        return
    better = {standing.entry: standing.better for standing in column.standings}
    for each in column.differences:
        pair = f"{each.one} and {each.other}"
        if abs(each.difference - (means[each.one] - means[each.other])) > ROUNDED:
            yield f"the difference of {pair} is not that of their means"
        said = (each.one in better[each.other], each.other in better[each.one])
        if said != (each.verdict == "one", each.verdict == "other"):
            yield f"the difference of {pair} says another thing than their ranks"


def _values(column: Column, ranked: Sequence[Record]) -> dict[str, list[float]]:
    """By entry of the column's track, the metric of each seed; entries that lack one are left out."""
    found: dict[str, list[float | None]] = {}
    for record in ranked:
        if record.track == column.track:
            metric = record.metric(column.metric, column.grid, column.member)
            found.setdefault(record.entry.name, []).append(metric.value if metric else None)
    return {
        entry: [value for value in values if value is not None]
        for entry, values in found.items()
        if None not in values
    }


def _is_at(standing: Standing, mean: float) -> bool:
    if standing.mean is None or abs(standing.mean - mean) > SLACK:
        return False
    low, high = standing.low, standing.high
    if low is None or high is None:
        return low is high
    return 0 <= low <= high <= 1


def _of_pairs(standings: Mapping[str, Standing], means: Mapping[str, float]) -> Iterator[str]:
    """Of two entries one is better, the other, or neither: both rows must say the same."""
    names = sorted(standings)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            said = (
                other in standings[one].better,
                one in standings[other].better,
                other in standings[one].ties,
                one in standings[other].ties,
            )
            if said not in ((True, False, False, False), (False, True, False, False),
                            (False, False, True, True)):  # fmt: skip
                yield f"{one} and {other} contradict each other"
            better, worse = (other, one) if said[0] else (one, other)
            if (said[0] or said[1]) and means[better] < means[worse]:
                yield f"{better} is called better than {worse}, and its mean is lower"
    for name, standing in standings.items():
        if strangers := {*standing.better, *standing.ties} - set(names):
            yield f"{name} is compared with {sorted(strangers)[0]}, which is not in the column"
