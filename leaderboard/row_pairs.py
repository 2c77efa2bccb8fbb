"""The rows of a benchmark that can be set beside each other, and what is known of each pair.

Differences, intervals and verdicts come from the stored comparisons: of rows that take a rank from
the published one, of all others from the local one. Trap: a pair that stands in neither is never
worked out here from the means; the page says why nothing is known of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from harness.board.comparison import Column
from harness.board.paired_differences import PAIRED_METRICS, PairedDifference
from harness.board.rows import Row
from harness.board.site_data import Material
from leaderboard import cells, formats, words
from leaderboard.cells import Cell, Context

UNRANKED = " (unranked)"
HEADLINE = 3
"""In how many metrics a pair's verdict is told before all others."""
Known = Literal["+", "-", "=", "~"]
"""The first is better; the second is; they cannot be told apart; neither can they after Holm's
correction, though the interval of the pair alone leaves 0 out."""


@dataclass(frozen=True)
class PairOfRows:
    """What is known of two rows in one metric, the first less the second."""

    known: Known
    """Who is better."""
    difference: float | None = None
    """Difference of the means, -1 to 1; None where it may not be told."""
    low: float | None = None
    """Lower end of its 95 % interval; None where too few patients bear it, or it may not be told."""
    high: float | None = None
    """Upper end."""

    @property
    def turned(self) -> PairOfRows:
        """The same of the second and the first."""
        known: dict[Known, Known] = {"+": "-", "-": "+", "=": "=", "~": "~"}
        low, high = self.high, self.low
        return PairOfRows(
            known[self.known],
            None if self.difference is None else -self.difference,
            None if low is None else -low,
            None if high is None else -high,
        )


@dataclass(frozen=True)
class Member:
    """One row among those that can be compared."""

    row: Row
    """The row."""
    key: str
    """Its name in addresses: the entry's, with track and isolation where it has several rows on some
    benchmark."""
    label: str
    """What it is called: title, what tells it from others, and whether it takes a rank."""
    values: Mapping[str, Cell]
    """By metric, what a benchmark's table shows of it."""


@dataclass(frozen=True)
class ComparedBenchmark:
    """Everything of one benchmark that can be compared."""

    name: str
    """Name of the benchmark."""
    members: tuple[Member, ...]
    """Ranked rows first, then by the first metric, the highest first; at least two."""
    metrics: tuple[str, ...]
    """Those of which some member has a value, in the order of the benchmark's table."""
    pairs: Mapping[tuple[str, str, str], PairOfRows]
    """By metric and the keys of two members, the first before the second in `members`."""

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics that verdicts are told of first: the main table's, where some member has them."""
        shown = [metric for metric in words.LOCALISATION_COLUMNS if metric in self.metrics]
        return (*shown, *(metric for metric in self.metrics if metric not in shown))[:HEADLINE]

    def pair(self, metric: str, one: Member, other: Member) -> PairOfRows | None:
        """What is known of two members; None where nothing is."""
        if (metric, one.key, other.key) in self.pairs:
            return self.pairs[metric, one.key, other.key]
        turned = self.pairs.get((metric, other.key, one.key))
        return None if turned is None else turned.turned


def compared_benchmarks(material: Material) -> tuple[ComparedBenchmark, ...]:
    """Every benchmark of the main table with two rows that have a result, in the board's order.

    Args:
        material: with published rows, and comparisons without what may not be told.
    """
    names = _names(material.rows)
    by_benchmark: dict[str, list[Row]] = {}
    for row in material.rows:
        if not row.without_result:
            by_benchmark.setdefault(row.benchmark, []).append(row)
    return tuple(
        _benchmark(name, by_benchmark[name], names, material)
        for name in sorted(by_benchmark, key=words.benchmark_order)
        if len(by_benchmark[name]) > 1
    )


def row_address(row: Row) -> str:
    """The name of a row in addresses, whole: as the tables anchor its line."""
    return formats.file_stem(f"{row.entry}.{row.track}.{row.isolation}")


def _names(rows: Iterable[Row]) -> Callable[[Row], tuple[str, str]]:
    """Gives a row its key and its label, the same on every benchmark."""
    rows = tuple(rows)
    count = Counter((row.entry, row.benchmark) for row in rows)
    several = {entry for (entry, _), rows_there in count.items() if rows_there > 1}
    of_title = Counter(title for title, _ in {(row.title, row.entry) for row in rows})

    def named(row: Row) -> tuple[str, str]:
        label = formats.plain(row.title)
        if of_title[row.title] > 1:
            label += f" ({formats.plain(row.entry)})"
        if row.entry not in several:
            return formats.file_stem(row.entry), label
        isolation = words.ISOLATIONS.get(row.isolation, row.isolation)
        return row_address(row), f"{label}, {words.TRACKS[row.track]}, {isolation}"

    return named


def _benchmark(
    name: str, rows: Sequence[Row], names: Callable[[Row], tuple[str, str]], material: Material
) -> ComparedBenchmark:
    context = Context({}, material.not_above_trivial, {}, "", {})
    intervals = _local_intervals(name, material)
    members = []
    for row in rows:
        key, label = names(row)
        values = {metric: _value(row, metric, context, intervals) for metric in PAIRED_METRICS}
        told = label if row.ranked else f"{label}{UNRANKED}"
        members.append(Member(row, key, told, values))
    metrics = tuple(
        metric
        for metric in PAIRED_METRICS
        if any(member.values[metric].kind == "value" for member in members)
    )
    ordered = tuple(sorted(members, key=lambda member: _order(member, metrics)))
    return ComparedBenchmark(name, ordered, metrics, _pairs(name, ordered, metrics, material))


def _order(member: Member, metrics: Sequence[str]) -> tuple[object, ...]:
    keys = [member.values[metric].key for metric in metrics[:1]]
    first = keys[0] if keys else None
    return not member.row.ranked, first is None, -float(first or 0.0), member.label, member.key


def _value(row: Row, metric: str, context: Context, local: Mapping[tuple[str, ...], str]) -> Cell:
    """What the benchmark's table shows, with the interval of the local comparison where the row has
    no rank."""
    made = cells.with_interval(row, metric, context)
    interval = local.get((metric, row.entry, row.track, row.isolation))
    if made.kind != "value" or made.third or interval is None:
        return made
    return Cell(made.text, made.kind, key=made.key, small=made.small, third=interval)


def _local_intervals(name: str, material: Material) -> dict[tuple[str, ...], str]:
    """By metric, entry, track and isolation, the interval of a mean."""
    local = material.local.get(name)
    if local is None:
        return {}
    rows = {row.key: (row.entry, row.track, row.isolation) for row in local.rows}
    return {
        (column.metric, *rows[mean.row]): formats.interval(mean.low, mean.high)
        for column in local.columns
        for mean in column.means
    }


def _pairs(
    name: str, members: Sequence[Member], metrics: Sequence[str], material: Material
) -> dict[tuple[str, str, str], PairOfRows]:
    found: dict[tuple[str, str, str], PairOfRows] = {}
    local, comparison = material.local.get(name), material.comparisons.get(name)
    if local is not None:
        at: dict[tuple[str, str, str], str] = {
            (m.row.entry, m.row.track, m.row.isolation): m.key for m in members
        }
        keys = {row.key: at.get((row.entry, row.track, row.isolation)) for row in local.rows}
        for column in local.columns:
            for each in column.differences:
                _put(found, column.metric, keys[each.one], keys[each.other], _of(each))
    for ranked in comparison.columns if comparison else ():
        if ranked.grid != "paper" and ranked.member is None and ranked.metric in metrics:
            keys = {
                m.row.entry: m.key for m in members if m.row.ranked and m.row.track == ranked.track
            }
            for one, other, pair in _of_column(ranked):
                _put(found, ranked.metric, keys.get(one), keys.get(other), pair)
    shown = {
        m.key: {metric for metric in metrics if m.values[metric].kind == "value"} for m in members
    }
    return {
        (metric, one.key, other.key): known
        for one, other in combinations(members, 2)
        for metric in metrics
        if metric in shown[one.key]
        and metric in shown[other.key]
        and (known := found.get((metric, one.key, other.key))) is not None
    }


def _put(
    found: dict[tuple[str, str, str], PairOfRows],
    metric: str,
    one: str | None,
    other: str | None,
    pair: PairOfRows,
) -> None:
    """Keep a pair in both directions, where both rows are on the page."""
    if one is not None and other is not None:
        found[metric, one, other] = pair
        found[metric, other, one] = pair.turned


def _of(each: PairedDifference) -> PairOfRows:
    known: Known = "~" if each.leaves_zero_out else "="
    if each.verdict != "undecided":
        known = "+" if each.verdict == "one" else "-"
    return PairOfRows(known, each.difference, each.low, each.high)


def _of_column(column: Column) -> Iterable[tuple[str, str, PairOfRows]]:
    """Every pair of a ranked column: with its numbers where they are kept, else by the ranks alone."""
    if column.differences:
        yield from ((each.one, each.other, _of(each)) for each in column.differences)
        return
    for standing in column.standings:
        yield from ((standing.entry, name, PairOfRows("-")) for name in standing.better)
        yield from (
            (standing.entry, name, PairOfRows("="))
            for name in standing.ties
            if standing.entry < name
        )
