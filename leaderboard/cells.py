"""What stands in one cell of a table, and what its marks mean.

Trap: a cell without a number has no sort key, so that it sorts last both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.board.rows import NOT_APPLICABLE, MetricSummary, Row
from harness.board.site_data import Overall
from leaderboard import formats
from leaderboard.addresses import line_key, row_page, section_key
from leaderboard.paper import Reported, difference, why_not_comparable

Values = Mapping[tuple[str, str, str], Reported]
COST = "seconds"
NOT_RUN = "\N{EN DASH}"
PLACES = (1, 2, 3)
MOST_REASON = 32
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
    badge: str = ""
    """Rank with `=` for a tie, or the place by mean where nothing was compared."""
    place: int | None = None
    """1, 2 or 3: the badge's shape."""
    is_by_mean: bool = False
    """The badge is a place by mean, for nothing was compared."""
    link: str = ""
    """Address of all that is behind it, from the site's root; empty where there is nothing."""
    below: str = ""
    """Trivial baseline that does as well."""

    @property
    def brief(self) -> str:
        """The second line as a table shows it: of a reason no more than its first words."""
        if self.kind != "na" or len(self.small) <= MOST_REASON:
            return self.small
        kept = self.small[:MOST_REASON].rpartition(" ")[0] or self.small[:MOST_REASON]
        return f"{kept} \N{HORIZONTAL ELLIPSIS}"


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
    """What stands under one column, with the address of what is behind it."""
    if row is None:
        return Cell(NOT_RUN, "none")
    return linked(_cell(row, metric_id, context), metric_id, row)


def linked(
    made: Cell, metric_id: str, row: Row, part: Row | None = None, member: str | None = None
) -> Cell:
    """The cell with the address of its line on the entry's page.

    Args:
        made: the cell.
        metric_id: name of the metric, or `seconds`.
        row: over all images of the run: it has the section.
        part: of a suite, the row that the cell is of.
        member: the name under which a record holds the part.
    """
    of = part or row
    has_line = metric_id == COST or any(metric.id == metric_id for metric in of.metrics)
    # Without a line, such as where all runs failed, the section says why.
    key = section_key(row.place, row.track, row.isolation)
    if has_line:
        key = line_key(row, metric_id, None if metric_id == COST else member)
    return replace(made, link=f"{row_page(row)}#{key}")


def _cell(row: Row, metric_id: str, context: Context) -> Cell:
    if metric_id == COST:
        return _cost_cell(row)
    metric = row.metric(metric_id, None) or row.metric(metric_id, "native")
    if row.without_result:
        return _cell_without_result(row)
    if metric is None or metric.mean is None:
        return Cell("NA", "na", small=metric.reason or "" if metric else "not measured")
    if row.has_extra_map and metric.grid is not None:
        shown = formats.percent(metric.mean, metric.step)
        return Cell("NA", "na", small=f"own map: {shown}")
    badge, place = rank_badge(metric)
    return Cell(
        formats.percent(metric.mean, metric.step),
        "value",
        key=formats.sort_key(metric.mean),
        small=_spread(metric),
        third=_against_paper(row, metric_id, context.reported),
        badge=badge,
        place=place,
        is_by_mean=metric.standing is None,
        below=context.not_above_trivial.get((row.place, row.entry, row.track, metric_id), ""),
    )


def _against_paper(row: Row, metric_id: str, reported: Values) -> str:
    if bar := why_not_comparable(row, metric_id, reported):
        return f"no {DELTA}: {bar}"
    points = difference(row, metric_id, reported)
    return "" if points is None else f"{DELTA} {formats.signed_points(points)}"


def _cell_without_result(row: Row) -> Cell:
    if not row.failures:
        return Cell("NA", "na", small=NOT_APPLICABLE)
    statuses = formats.joined(dict.fromkeys(failure.status.value for failure in row.failures))
    count = f"{len(row.failures)} of {len(row.seeds)}: " if len(row.seeds) > 1 else ""
    return Cell("failed", "failed", small=count + statuses)


def rank_badge(metric: MetricSummary) -> tuple[str, int | None]:
    """Text and shape of the mark beside a value; empty without a rank or place."""
    if metric.standing is None:
        return "" if metric.place is None else str(metric.place), metric.place
    rank = metric.standing.rank
    return f"{rank}{'=' if metric.standing.ties else ''}", rank if rank in PLACES else None


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
        return Cell(NOT_RUN, "none")
    if value.mean is None:
        return Cell("NA", "na")
    return Cell(
        formats.percent(value.mean),
        "value",
        key=formats.sort_key(value.mean),
        small="" if value.std is None else f"± {formats.percent(value.std)}",
        badge="" if value.place is None else str(value.place),
        place=value.place,
        is_by_mean=True,
    )
