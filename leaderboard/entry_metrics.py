"""The metric lines of an entry's page: each value over all seeds, with its rank, its reason and the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.board.rows import MetricSummary, Row, SeedValue
from harness.board.suite_rows import WholeRow
from harness.records.members import MEAN
from harness.records.releases import claimed_name
from leaderboard import formats, guide, words
from leaderboard.addresses import line_key
from leaderboard.cells import rank_badge
from leaderboard.paper import Reported, difference, method_key, why_not_comparable
from leaderboard.rank_reasons import rank_reasons
from leaderboard.runs import NA


@dataclass(frozen=True)
class SeedCell:
    """One metric of one run."""

    text: str
    """Percent, or NA."""
    small: str
    """The interval, or the reason."""


@dataclass(frozen=True)
class MetricLine:
    """One metric over all seeds: the headline grid, and beside it the paper's."""

    key: str
    """Its own anchor on the page."""
    title: str
    """Name of the metric."""
    anchor: str
    """Its place in the guide."""
    meaning: str
    """What it is."""
    mean: str
    """Mean over seeds in percent, or NA."""
    mean_note: str
    """Why it is NA."""
    std: str
    """Standard deviation over seeds, or why there is none."""
    rank: str
    """Rank, with `=` for a tie; empty without a comparison."""
    because: tuple[str, ...]
    """Why it has this rank, in sentences."""
    interval: str
    """95 % interval of the mean, where a comparison made one."""
    on_paper_grid: str
    """Mean on the paper's grid; empty for image metrics."""
    reported: str
    """The paper's value, where it has one."""
    difference: str
    """Measured on the paper's grid minus reported, in points."""
    units: str
    """Number of units behind the intervals."""
    remark: str
    """What else is to be said of the intervals, such as `few patients`."""
    seeds: tuple[SeedCell, ...]
    """One per run."""


def _metric_lines(
    row: Row,
    reported: Mapping[tuple[str, str, str], Reported],
    names: Mapping[str, str],
) -> dict[str, MetricLine]:
    """One line per metric; what was scored on the paper's grid alone stands there as well."""
    lines = {}
    for name in dict.fromkeys(metric.id for metric in row.metrics):
        main = row.metric(name, None) or row.metric(name, "native")
        on_paper = row.metric(name, "paper")
        shown = main or on_paper
        if shown is not None:
            line = _metric_line(row, shown, on_paper, reported)
            lines[name] = replace(line, because=rank_reasons(shown, names))
    return lines


def lines_of_parts(
    whole: WholeRow,
    reported: Mapping[tuple[str, str, str], Reported],
    names: Mapping[str, str],
) -> dict[tuple[str | None, str], MetricLine]:
    """The lines of a row by part and metric: of a suite its mean and what is pooled come first.

    Args:
        whole: the row, with its parts.
        reported: the paper's values, by method, benchmark and metric.
        names: by entry, what a reader calls it.
    """
    parts = sorted(whole.parts, key=lambda part: part[0] not in (None, MEAN))
    lines = {}
    for member, row in parts:
        for name, line in _metric_lines(row, reported, names).items():
            over = "" if member is None else _over(member)
            key = line_key(whole.row, name, member)
            lines[member, name] = replace(line, key=key, title=f"{line.title}{over}")
    return lines


def _over(member: str) -> str:
    return ", mean" if member == MEAN else f", {words.benchmark_title(member)}"


def _metric_line(
    row: Row,
    metric: MetricSummary,
    on_paper: MetricSummary | None,
    reported: Mapping[tuple[str, str, str], Reported],
) -> MetricLine:
    told = words.metric_words(metric.id)
    value = reported.get((method_key(row.title), claimed_name(row.benchmark), metric.id))
    bar = why_not_comparable(row, metric.id, reported)
    in_paper = None if value is None else value.mean
    points = None if in_paper is None else difference(row, metric.id, reported)
    standing = metric.standing
    has_interval = standing is not None and standing.mean is not None
    return MetricLine(
        key="",  # its place among the parts of the row decides it
        title=formats.plain(told.title),
        anchor=guide.metric_key(metric.id),
        meaning=told.meaning,
        mean=NA if metric.mean is None else formats.percent(metric.mean, metric.step),
        mean_note=metric.reason or "",
        std=_deviation(metric),
        rank=rank_badge(metric)[0] if standing else "",
        because=(),
        interval=formats.interval(standing.low, standing.high) if standing and has_interval else "",
        on_paper_grid=""
        if on_paper is None or on_paper.mean is None
        else formats.percent(on_paper.mean, on_paper.step),
        reported="" if in_paper is None else formats.percent(in_paper),
        difference=_against_paper(points, bar),
        units=formats.joined(dict.fromkeys(seed.n for seed in metric.seeds if seed.n)),
        remark=formats.joined(
            dict.fromkeys(
                [words.INDEPENDENT] * row.are_patients_independent
                + [s.reason for s in metric.seeds if s.value is not None and s.reason]
            )
        ),
        seeds=tuple(_seed_cell(seed) for seed in metric.seeds),
    )


def _deviation(metric: MetricSummary) -> str:
    if metric.std is not None:
        return formats.percent(metric.std, metric.step)
    return "" if metric.mean is None else metric.std_reason or ""


def _seed_cell(seed: SeedValue) -> SeedCell:
    if seed.value is None:
        return SeedCell(NA, seed.reason or "")
    interval = formats.interval(seed.low, seed.high)
    return SeedCell(formats.percent(seed.value), interval)


def _against_paper(points: float | None, bar: str | None) -> str:
    if points is not None:
        return formats.signed_points(points)
    return f"{words.NOT_COMPARABLE}: {bar}" if bar else ""
