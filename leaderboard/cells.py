"""What stands in one cell of a table, and what its marks mean.

Trap: a cell without a number has no sort key, so that it sorts last both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.board.rows import NOT_APPLICABLE, MetricSummary, Row
from harness.board.site_data import Overall
from leaderboard import formats
from leaderboard.paper import Reported, difference, why_not_comparable

Values = Mapping[tuple[str, str, str], Reported]
PLACE_WORDS = {1: "first", 2: "second", 3: "third"}
COST = "seconds"
NOT_RUN = "\N{EN DASH}"
NO_MAP_IN_PAPER = "the method's paper gives no map; this row shows one that the method could give"
DELTA = "\N{GREEK CAPITAL LETTER DELTA}"


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    """What it says: a number, `NA`, `failed`, or a dash where nothing was run."""
    kind: str
    """`value`, `na`, `failed` or `none`: decides its look."""
    key: str | None = None
    """Number to sort by; None sorts last in both directions."""
    small: str = ""
    """Second line: spread over seeds, or the reason."""
    third: str = ""
    """Third line: difference to the paper, or the interval."""
    more: tuple[str, ...] = ()
    """Further lines: the one-class sibling of a unified value, and the difference to it."""
    more_title: str = ""
    """Why they hold no more, for a pointer."""
    badge: str = ""
    """Rank with `=` for a tie, or the place by mean where nothing was compared."""
    place: int | None = None
    """1, 2 or 3: the badge's shape."""
    title: str = ""
    """What the badge means, for a pointer and for screen readers."""
    below: str = ""
    """Trivial baseline that does as well."""


@dataclass(frozen=True)
class Context:
    """What cells are made from besides their row."""

    reported: Values
    """The paper's values."""
    not_above_trivial: Mapping[tuple[str, str, str, str], str]
    """As in `Material`."""
    overall: Mapping[tuple[str, str, str], Overall]
    """As in `Material`."""
    view: str
    """`localisation` or `dice`."""
    titles: Mapping[str, int]
    """How many entries bear a title."""


def cell(row: Row | None, metric_id: str, context: Context) -> Cell:
    """What stands under one column."""
    if row is None:
        return Cell(NOT_RUN, "none", title="not run")
    if metric_id == COST:
        return _cost_cell(row)
    metric = row.metric(metric_id, None) or row.metric(metric_id, "native")
    if row.without_result:
        return _cell_without_result(row)
    if metric is None or metric.mean is None:
        return Cell("NA", "na", small=metric.reason or "" if metric else "not measured")
    if row.has_extra_map and metric.grid is not None:
        shown = formats.percent(metric.mean, metric.step)
        return Cell("NA", "na", small=f"own map: {shown}", title=NO_MAP_IN_PAPER)
    badge, place, title = rank_badge(metric)
    return Cell(
        formats.percent(metric.mean, metric.step),
        "value",
        key=formats.sort_key(metric.mean),
        small=_spread(metric),
        third=_against_paper(row, metric_id, context.reported),
        badge=badge,
        place=place,
        title=title,
        below=context.not_above_trivial.get((row.place, row.entry, row.track, metric_id), ""),
    )


def _against_paper(row: Row, metric_id: str, reported: Values) -> str:
    if bar := why_not_comparable(row, metric_id, reported):
        return f"no {DELTA}: {bar}"
    points = difference(row, metric_id, reported)
    return "" if points is None else f"{DELTA} {formats.signed_points(points)}"


def _cell_without_result(row: Row) -> Cell:
    if not row.failures:
        return Cell("NA", "na", small=NOT_APPLICABLE, title=row.not_applicable[0].sentence)
    statuses = formats.joined(dict.fromkeys(failure.status.value for failure in row.failures))
    count = f"{len(row.failures)} of {len(row.seeds)}: " if len(row.seeds) > 1 else ""
    return Cell("failed", "failed", small=count + statuses)


def rank_badge(metric: MetricSummary) -> tuple[str, int | None, str]:
    """Text, shape and meaning of the mark beside a value; empty without a rank or place."""
    if metric.standing is None:
        place = metric.place
        return (
            ("", None, "")
            if place is None
            else (str(place), place, f"{PLACE_WORDS[place]} by mean")
        )
    rank, ties = metric.standing.rank, metric.standing.ties
    shape = rank if rank in PLACE_WORDS else None
    if not ties:
        return str(rank), shape, f"rank {rank}"
    return (
        f"{rank}=",
        shape,
        f"rank {rank}, cannot be told from {formats.plural(len(ties), 'other')}",
    )


def _spread(metric: MetricSummary) -> str:
    if metric.std is None:
        return metric.std_reason or ""
    return f"± {formats.percent(metric.std, metric.step)}"


def _cost_cell(row: Row) -> Cell:
    if row.seconds_per_image is None:
        return Cell("NA", "na", small=_no_time(row))
    gpu = row.peak_gpu_mib
    return Cell(
        formats.seconds(row.seconds_per_image),
        "value",
        key=formats.sort_key(row.seconds_per_image),
        small="" if gpu is None else formats.memory(gpu),
        third=""
        if row.seconds_less_echo is None
        else f"{formats.seconds(row.seconds_less_echo)} less echo",
    )


def _no_time(row: Row) -> str:
    if row.failures:
        return "failed"
    return NOT_APPLICABLE if row.not_applicable else "no time"


def with_interval(row: Row | None, metric_id: str, context: Context) -> Cell:
    """The same cell with its interval over patients or images, where one was compared."""
    made = cell(row, metric_id, context)
    metric = None if row is None else row.metric(metric_id, None) or row.metric(metric_id, "native")
    if metric is None:
        return made
    standing = metric.standing
    if made.kind != "value" or standing is None or standing.mean is None:
        return replace(made, third="")
    return replace(made, third=formats.interval(standing.low, standing.high))


def paper_cell(value: Reported | None) -> Cell:
    """What stands under one column of a row as reported."""
    if value is None:
        return Cell(NOT_RUN, "none", title="not in the paper")
    if value.mean is None:
        return Cell("NA", "na", title="NA in the paper")
    return Cell(
        formats.percent(value.mean),
        "value",
        key=formats.sort_key(value.mean),
        small="" if value.std is None else f"± {formats.percent(value.std)}",
        badge="" if value.place is None else str(value.place),
        place=value.place,
        title=f"{PLACE_WORDS[value.place]} of the paper's methods" if value.place else "",
    )
