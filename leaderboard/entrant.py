"""The head of an entry's page: how each of its rows did, in sentences.

Ranks, ties, differences, times and changes are stored ones; nothing is worked out here. Trap: of a
hidden pack neither differences nor intervals are told, only who is better and who is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.board.change_log import ChangedRow, what_changed
from harness.board.comparison import Column, Standing
from harness.board.paired_differences import PairedDifference
from harness.board.rows import MetricSummary, Row
from harness.board.site_data import Material, is_canary, is_trivial
from harness.board.suite_rows import WholeRow
from harness.records.members import MEAN
from harness.records.record import Grid
from leaderboard import formats, updates, words
from leaderboard.addresses import row_page, section_key
from leaderboard.entry_failures import PLAIN_STATUS, failure_anchor
from leaderboard.regime_pages import row_title
from leaderboard.updates import LastChange

MOST_NAMES = 3
HEADLINE: tuple[tuple[str, Grid | None], ...] = (("image_auroc", None), ("pixel_pro", "native"))
"""What is told of, with the grid that tables show: the first with its neighbours."""


@dataclass(frozen=True)
class Piece:
    """A part of a sentence."""

    text: str
    """What it says."""
    page: str = ""
    """Where it leads, from the site's root; empty: nowhere."""


Sentence = tuple[Piece, ...]


@dataclass(frozen=True)
class HowItDid:
    """One row of an entry in sentences."""

    anchor: str
    """The row's own section on the page."""
    title: str
    """Benchmark and regime."""
    state: str
    """`finished`, `failed` or `not applicable`, in words."""
    sentences: tuple[Sentence, ...]
    """Result and rank, the trivial bar, the next above, the time, the runs, what changed."""
    rival: str
    """Name in addresses of the next row above; empty where nothing is above it."""


@dataclass(frozen=True)
class Board:
    """What the sentences are made from, beside the row."""

    material: Material
    """All that the site shows."""
    rows: Mapping[tuple[str, str], tuple[str, str]]
    """By place and name of an entry, what the method is called, and the page with its row."""
    changes: Mapping[ChangedRow, LastChange]
    """By row, what the log tells last of it."""

    @classmethod
    def of(cls, material: Material) -> Board:
        """Of published material."""
        rows = [*material.rows, *(whole.row for whole in material.regimes.rows)]
        known = {(row.place, row.entry): (formats.plain(row.title), row_page(row)) for row in rows}
        return cls(material, known, updates.last_changes(material.log))

    def column(self, whole: WholeRow, metric: MetricSummary) -> Column | None:
        """All rows that were compared with this one, in one metric."""
        comparison = self.material.comparisons.get(whole.row.place)
        if comparison is None or metric.standing is None:
            return None
        member = MEAN if whole.mean is not None else None
        return comparison.column(whole.row.track, metric.id, metric.grid, member)

    def named(self, row: Row, entries: Sequence[str]) -> Sentence:
        """The names of other entries of a place, with links to their rows; the last ones counted."""
        most = MOST_NAMES if len(entries) > MOST_NAMES + 1 else len(entries)
        pieces: list[Piece] = []
        for number, entry in enumerate(entries[:most]):
            last = number == len(entries) - 1
            pieces += [Piece(" and " if last else ", ")] if number else []
            pieces.append(Piece(*self.rows.get((row.place, entry), (formats.plain(entry), ""))))
        if len(entries) > most:
            pieces.append(Piece(f" and {len(entries) - most} more"))
        return tuple(pieces)


def how_it_did(whole: WholeRow, board: Board) -> HowItDid:
    """One row of an entry in sentences.

    Args:
        whole: a published row; of a suite its means are told.
        board: what else is known.
    """
    row, shown = whole.row, whole.mean or whole.row
    first = shown.metric(*HEADLINE[0])
    rival = _next_above(whole, first, board) if first is not None else None
    sentences: list[Sentence] = [_result(whole, first, board)]
    sentences += _second(whole, shown, board)
    sentences += [*_trivial(shown, board), *_above(whole, first, rival, board)]
    sentences += [_runs(row), *_time(row, board), *_changed(row, board)]
    return HowItDid(
        anchor=section_key(row.place, row.track, row.isolation),
        title=row_title(row),
        state="failed" if row.failures else "not applicable" if row.not_applicable else "finished",
        sentences=tuple(sentences),
        rival=formats.file_stem(rival.entry) if rival is not None else "",
    )


def _result(whole: WholeRow, metric: MetricSummary | None, board: Board) -> Sentence:
    """Value, spread, rank and ties of the first metric, or why there is none."""
    over = ", mean over its benchmarks" if whole.mean is not None else ""
    title = f"{words.metric_words(HEADLINE[0][0]).title}{over}"
    if metric is None or metric.mean is None:
        reason = metric.reason if metric is not None else None
        if whole.row.not_applicable:
            reason = "the method cannot learn from what it is given here"
        if whole.row.failures:
            reason = "not every seed finished, and a mean of the others would hide that"
        return (Piece(f"No {title}: {formats.plain(reason or 'not measured')}."),)
    value = Piece(f"{title} {_value(metric)}, ")
    standing, column = metric.standing, board.column(whole, metric)
    if standing is None:
        reason = whole.row.unranked_reason or "no comparison of these runs is stored"
        return (value, Piece(f"no rank: {formats.plain(reason)}."))
    of = f" of {len(column.standings)} in its track" if column else ""
    if not standing.ties:
        return (value, Piece(f"rank {standing.rank}{of}, told apart from every other row."))
    names = board.named(whole.row, standing.ties)
    rank = Piece(f"rank {standing.rank}{of}, cannot be told from ")
    return (value, rank, *names, Piece("."))


def _value(metric: MetricSummary) -> str:
    told = formats.percent(metric.mean or 0.0, metric.step)
    if metric.std is None:
        return f"{told} ({formats.plain(metric.std_reason)})" if metric.std_reason else told
    return f"{told} ± {formats.percent(metric.std, metric.step)}"


def _second(whole: WholeRow, shown: Row, board: Board) -> Iterator[Sentence]:
    """Value and rank of the other headline metrics."""
    for name, grid in HEADLINE[1:]:
        metric = shown.metric(name, grid)
        if metric is None or metric.mean is None or shown.has_extra_map:
            continue
        told = f"{words.metric_words(name).title} {_value(metric)}"
        column = board.column(whole, metric)
        if metric.standing is not None and column is not None:
            equal = ", shared" if metric.standing.ties else ""
            told += f", rank {metric.standing.rank} of {len(column.standings)}{equal}"
        yield (Piece(f"{told}."),)


def _trivial(row: Row, board: Board) -> Iterator[Sentence]:
    """Whether it is above what one number per image scores."""
    if is_trivial(row.metadata):
        return
    metric = HEADLINE[0][0]
    bar = board.material.not_above_trivial.get((row.place, row.entry, row.track, metric))
    measured = row.metric(*HEADLINE[0])
    if bar is not None:
        yield (Piece(f"No better than the trivial baseline {formats.plain(bar)}."),)
    elif measured is not None and measured.mean is not None and _has_trivial(row, board):
        yield (Piece("Its mean is above that of every trivial baseline."),)


def _has_trivial(row: Row, board: Board) -> bool:
    return any(
        is_trivial(other.metadata)
        and not is_canary(other.entry, other.metadata)
        and (other.benchmark, other.regime.delivery) == (row.benchmark, row.regime.delivery)
        and any(metric.id == HEADLINE[0][0] and metric.mean is not None for metric in other.metrics)
        for other in board.material.rows
    )


def _next_above(whole: WholeRow, metric: MetricSummary, board: Board) -> Standing | None:
    """The row of the next higher mean; None where nothing is above, or means may not be told."""
    column, mine = board.column(whole, metric), metric.standing
    if column is None or mine is None or mine.mean is None:
        return None
    higher = [s for s in column.standings if s.mean is not None and s.mean > mine.mean]
    return min(higher, key=lambda s: (s.mean or 0.0, s.entry), default=None)


def _above(
    whole: WholeRow, metric: MetricSummary | None, rival: Standing | None, board: Board
) -> Iterator[Sentence]:
    """What separates it from the next one up."""
    mine = metric.standing if metric is not None else None
    column = board.column(whole, metric) if metric is not None else None
    if mine is None or column is None:
        return
    if rival is not None:
        pair = _pair(column, mine.entry, rival.entry)
        name = board.named(whole.row, [rival.entry])
        yield (Piece("Next above it: "), *name, Piece(f", {_told(pair, rival, mine)}."))
    elif mine.mean is not None:
        yield (Piece("No row of its track is above it."),)
    elif mine.better:
        yield (Piece("Better than it: "), *board.named(whole.row, mine.better), Piece("."))


def _pair(column: Column, one: str, other: str) -> PairedDifference | None:
    names = tuple(sorted((one, other)))
    return next((d for d in column.differences if (d.one, d.other) == names), None)


def _told(pair: PairedDifference | None, rival: Standing, mine: Standing) -> str:
    """How far the rival is above, and whether that is more than chance."""
    is_better = rival.entry in mine.better
    corrected = ", corrected for all pairs," if pair is not None and pair.leaves_zero_out else ""
    verdict = "which is better" if is_better else f"and{corrected} the two cannot be told apart"
    if pair is None:
        return verdict
    sign = 1 if pair.one == rival.entry else -1
    points = f"by {formats.percent(abs(pair.difference))} points"
    if pair.low is None or pair.high is None:
        return f"{points} (too few patients for an interval), {verdict}"
    ends = sorted((sign * pair.low, sign * pair.high))
    told = " to ".join(map(formats.signed_points, ends))
    return f"{points} (95 % interval {told}), {verdict}"


def _time(row: Row, board: Board) -> Iterator[Sentence]:
    """Seconds per image beside those of the other methods on the same device."""
    if row.seconds_per_image is None:
        return
    told = f"{formats.seconds(row.seconds_per_image)} s an image"
    usual = board.material.typical_times.get((row.place, row.devices))
    if usual is not None:
        device = formats.plain(formats.joined(row.devices))
        told += f"; the median of {usual.rows} methods here on {device} is {formats.seconds(usual.seconds)} s"
    yield (Piece(f"{told}."),)


def _runs(row: Row) -> Sentence:
    """How many of its runs finished, why the others did not, and where that is told in full."""
    runs = len(row.seeds)
    by_way: dict[str, dict[int, None]] = {}
    for failure in sorted(row.without_result, key=lambda each: each.seed):
        by_way.setdefault(PLAIN_STATUS[failure.status], {})[failure.seed] = None
    if not by_way:
        return (Piece("Its one seed finished." if runs == 1 else f"All {runs} seeds finished."),)
    without = {seed for seeds in by_way.values() for seed in seeds}
    pieces = [Piece(f"{runs - len(without)} of {formats.plural(runs, 'seed')} finished: ")]
    for number, (plain, seeds) in enumerate(by_way.items()):
        pieces.append(Piece(f"{'; ' if number else ''}{plain} ("))
        for place, seed in enumerate(seeds):
            page = f"{row_page(row)}#{failure_anchor(row, seed)}"
            pieces += [Piece(", ")] if place else []
            pieces.append(Piece(f"seed {seed}", page))
        pieces.append(Piece(")"))
    return (*pieces, Piece("."))


def _changed(row: Row, board: Board) -> Iterator[Sentence]:
    """What became last of the row, where it was published."""
    last = board.changes.get((row.place, row.entry, row.track, row.isolation))
    if last is None:
        return
    change, before = last.change, last.before
    page = f"{updates.PAGE}#{last.anchor}" if last.anchor else ""
    if before is None:
        yield (Piece("On the board since "), Piece(change.date.isoformat(), page), Piece("."))
        return
    told = [*what_changed(before, change)]
    name = HEADLINE[0][0]
    if name in before.means and name in change.means:
        old, now = (formats.percent(each.means[name]) for each in (before, change))
        told += [f"{words.metric_words(name).title} was {old}"] if old != now else []
    more = f": {'; '.join(map(formats.plain, told))}" if told else ""
    kind = change.kind.capitalize()
    yield (Piece(f"{kind} on "), Piece(change.date.isoformat(), page), Piece(f"{more}."))
