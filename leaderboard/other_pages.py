"""The pages that go across entries: failures, the paper beside the measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.board.rows import Failure, Row
from harness.board.site_data import Material, TeamCount
from harness.common.statuses import STATUS_TABLE, Status
from leaderboard import cells, formats, words
from leaderboard.addresses import row_page
from leaderboard.cells import COST, NOT_RUN, Cell, Context
from leaderboard.entry_failures import failure_anchor
from leaderboard.lines import context_of, measured_lines
from leaderboard.paper import Reported, difference, method_key, why_not_comparable
from leaderboard.regime_pages import row_title
from leaderboard.tables import Group, Line, Table, group_of


@dataclass(frozen=True)
class FailedRun:
    """One failed run."""

    title: str
    """The method's name."""
    page: str
    """Its place on the entry's page, from the site's root."""
    stem: str
    """The entry's name in addresses."""
    status: str
    """How it ended."""
    benchmark: str
    """Title of the benchmark."""
    seed: int
    """Seed."""
    track: str
    """Track in words."""
    detail: str
    """What the harness saw; empty for hidden packs."""
    remedy: str
    """What its cause asks for; empty where that is what the status does."""


@dataclass(frozen=True)
class StatusGroup:
    """All runs that ended in one way."""

    status: str
    """Name of the status."""
    sentence: str
    """What it means."""
    remedy: str
    """The first thing to try."""
    runs: tuple[FailedRun, ...]
    """By entry, benchmark and seed."""


@dataclass(frozen=True)
class EntryFailures:
    """All runs of one entry without a result."""

    stem: str
    """Its name in addresses: the anchor is `of-` and this."""
    title: str
    """The method's name."""
    runs: tuple[FailedRun, ...]
    """By status, as in the groups."""


def status_groups(rows: Sequence[Row]) -> tuple[StatusGroup, ...]:
    """Every status that leaves an entry without a result, those that occurred first."""
    runs: dict[Status, list[FailedRun]] = {}
    ordered = sorted(rows, key=lambda r: (r.title.casefold(), words.benchmark_order(r.benchmark)))
    for row in ordered:
        for failure in row.without_result:
            runs.setdefault(failure.status, []).append(
                FailedRun(
                    title=formats.plain(row.title),
                    page=f"{row_page(row)}#{failure_anchor(row, failure.seed)}",
                    stem=formats.file_stem(row.entry),
                    status=failure.status.value,
                    benchmark=row_title(row),
                    seed=failure.seed,
                    track=words.TRACKS[row.track],
                    detail=formats.plain(failure.detail),
                    remedy=_own_remedy(failure),
                )
            )
    groups = [
        StatusGroup(status.value, told.sentence, told.remedy, tuple(runs.get(status, ())))
        for status, told in STATUS_TABLE.items()
        if status.reaches_the_board and status is not Status.OK
    ]
    return tuple(sorted(groups, key=lambda group: -len(group.runs)))


def by_entry(groups: Sequence[StatusGroup]) -> tuple[EntryFailures, ...]:
    """The same runs once more by entry, for whoever looks for his own.

    Args:
        groups: as `status_groups` gives them.
    """
    found: dict[str, list[FailedRun]] = {}
    for run in (run for group in groups for run in group.runs):
        found.setdefault(run.stem, []).append(run)
    lines = [EntryFailures(stem, runs[0].title, tuple(runs)) for stem, runs in found.items()]
    return tuple(sorted(lines, key=lambda line: (line.title.casefold(), line.stem)))


def _own_remedy(failure: Failure) -> str:
    """Of a failure whose cause asks for another remedy than its status."""
    if failure.remedy == failure.status.entry.remedy:
        return ""
    return formats.plain(f"{failure.sentence} {failure.remedy}")


def team_lines(teams: Sequence[TeamCount]) -> tuple[TeamCount, ...]:
    """The counts with their names as a page may show them."""
    return tuple(
        replace(
            each,
            team=formats.plain(each.team),
            benchmark=words.benchmark_title(formats.plain(each.benchmark)),
        )
        for each in teams
    )


def against_paper(material: Material, paper: Sequence[Reported]) -> Table | None:
    """Measured minus reported for every method that has both; None where nothing does."""
    known = {method_key(value.method) for value in paper}
    rows = [row for row in material.rows if method_key(row.title) in known]
    metrics = (*words.LOCALISATION_COLUMNS, "dice_at_0.5")
    groups = []
    for name in sorted({row.benchmark for row in rows}, key=words.benchmark_order):
        values = [v for v in paper if v.benchmark == name and v.metric in metrics]
        group = group_of(name, metrics, [], values)
        if group is not None:
            groups.append(_without_cost(group))
    context = context_of(material, paper, "", has_overall=False)
    lines = measured_lines(rows, groups, context, _delta_cell)
    shown = tuple(line for line in lines if _has_value(line))
    if not shown:
        return None
    return Table(
        key="paper",
        view="",
        caption="Measured minus reported",
        groups=tuple(groups),
        has_average=False,
        lines=shown,
    )


def _without_cost(group: Group) -> Group:
    return replace(group, columns=tuple(c for c in group.columns if c.metric != COST))


def _has_value(line: Line) -> bool:
    return any(cell.kind == "value" or cell.small for group in line.cells for cell in group)


def _delta_cell(row: Row | None, metric_id: str, context: Context) -> Cell:
    made = cells.cell(row, metric_id, context)
    if row is None or made.kind != "value":
        return made
    if bar := why_not_comparable(row, metric_id, context.reported):
        return Cell(NOT_RUN, "none", small=f"not comparable: {bar}", link=made.link)
    points = difference(row, metric_id, context.reported)
    reported = context.reported.get((method_key(row.title), row.benchmark, metric_id))
    measured = row.metric(metric_id, None) or row.metric(metric_id, "paper")
    if reported is None or reported.mean is None:
        return Cell(NOT_RUN, "none")
    if points is None or measured is None or measured.mean is None:
        return Cell(NOT_RUN, "none", small="not on the paper’s grid")
    spread = "" if measured.std is None else f" ± {formats.percent(measured.std, measured.step)}"
    told = "" if reported.std is None else f" ± {formats.percent(reported.std)}"
    return Cell(
        formats.signed_points(points),
        "value",
        key=formats.sort_key(points),
        small=f"{formats.percent(measured.mean, measured.step)}{spread}",
        third=f"paper {formats.percent(reported.mean)}{told}",
        link=made.link,
    )
