"""The lines of a table: an entry over its benchmarks, a submission that waits, a method of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from harness.board.rows import NOT_APPLICABLE, Row
from harness.board.site_data import Material, Overall, Waiting, is_canary, is_trivial
from harness.records.releases import not_known
from harness.records.supervision import worst
from leaderboard import formats, words
from leaderboard.addresses import entry_page, row_page
from leaderboard.cells import NOT_RUN, Cell, Context, cell, paper_cell
from leaderboard.paper import Reported, by_cell, method_key
from leaderboard.tables import Group, Line

MakeCell = Callable[[Row | None, str, Context], Cell]


def context_of(
    material: Material, paper: Sequence[Reported], view: str, *, has_overall: bool
) -> Context:
    """What the cells of one table are made from besides their rows."""
    return Context(
        reported=by_cell(paper),
        not_above_trivial=material.not_above_trivial,
        overall=material.overall if has_overall else {},
        view=view,
        titles=Counter(title for title, _ in {(row.title, row.entry) for row in material.rows}),
    )


def measured_lines(
    rows: Sequence[Row], groups: Sequence[Group], context: Context, make_cell: MakeCell = cell
) -> tuple[Line, ...]:
    """One line per entry, track and isolation: by average rank, then ranked ones, failed ones last."""
    found: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row.entry, row.track, row.isolation), {})[row.benchmark] = row
    ordered = sorted(found.values(), key=lambda line: _line_order(list(line.values()), context))
    return tuple(_measured_line(line, groups, context, make_cell) for line in ordered)


def _line_order(rows: Sequence[Row], context: Context) -> tuple[object, ...]:
    first = rows[0]
    average = _overall(rows, context)
    return (
        average is None,
        average.average_rank if average else 0.0,
        all(row.without_result for row in rows),
        not any(row.ranked for row in rows),
        first.title.casefold(),
        first.entry,
        first.track,
        first.isolation,
    )


def _overall(rows: Sequence[Row], context: Context) -> Overall | None:
    """Only a line whose every row is ranked has an average."""
    if not all(row.ranked for row in rows):
        return None
    return context.overall.get((context.view, rows[0].entry, rows[0].track))


def _measured_line(
    by_benchmark: Mapping[str, Row],
    groups: Sequence[Group],
    context: Context,
    make_cell: MakeCell,
) -> Line:
    rows = list(by_benchmark.values())
    first = rows[0]
    counts = sorted({len(row.seeds) for row in rows})
    failed = tuple(_failed_phrase(row) for row in rows if row.failures)
    runs = sum(len(row.seeds) for row in rows)
    return Line(
        source="measured",
        key=formats.file_stem(f"{first.entry}.{first.track}.{first.isolation}"),
        title=formats.plain(first.title),
        kind=_kind(first, context),
        page=row_page(first),
        track=first.track,
        track_title=words.TRACKS[first.track],
        methods=words.method_group(first.title, first.metadata),
        family=words.family(first.metadata.get("family")),
        isolation=first.isolation,
        pretraining=words.pretraining(first.metadata.get("pretraining")),
        labels=first.labels.value,
        contamination=worst([row.contamination for row in rows]).value,
        has_maps="yes" if any(row.maps for row in rows) else "no",
        remarks=_remarks(rows),
        made=_made(rows),
        average=_average_cell(rows, context),
        seeds=" / ".join(str(count) for count in counts),
        seeds_key=str(counts[0]),
        status=f"{sum(len(row.failures) for row in rows)} of {runs} failed"
        if failed
        else settled_status(rows),
        failures=failed,
        cells=tuple(
            tuple(
                make_cell(by_benchmark.get(group.benchmark), column.metric, context)
                for column in group.columns
            )
            for group in groups
        ),
    )


def settled_status(rows: Sequence[Row]) -> str:
    """The status of a line without a failure."""
    return NOT_APPLICABLE if all(row.not_applicable for row in rows) else "ok"


def _made(rows: Sequence[Row]) -> str:
    commits = dict.fromkeys(formats.shortened_commit(c) for row in rows for c in row.commits)
    return f"{isolation_phrase(rows)} · {formats.listed(commits, most=1)}"


def isolation_phrase(rows: Sequence[Row]) -> str:
    """What stood between entry and machine, with what of a container is missing.

    Args:
        rows: of one isolation, at least one.
    """
    level = rows[0].isolation
    missing = dict.fromkeys(each for row in rows for each in row.lacks)
    # A plain process lacks all of it.
    told = f": {'; '.join(missing)}" if level == "same user" and missing else ""
    return words.ISOLATIONS[level] + told


def _kind(row: Row, context: Context) -> str:
    if is_canary(row.entry, row.metadata):
        told = ["looks images up"]
    elif is_trivial(row.metadata):
        told = ["trivial baseline"]
    else:
        told = [formats.plain(row.metadata["family"])] if row.metadata.get("family") else []
        if pretraining := row.metadata.get("pretraining"):
            told.append("no pretraining" if pretraining == "none" else formats.plain(pretraining))
    if context.titles[row.title] > 1:
        told.append(formats.plain(row.entry))
    return " · ".join(told)


def _average_cell(rows: Sequence[Row], context: Context) -> Cell:
    average = _overall(rows, context)
    if average is None:
        return Cell(NOT_RUN, "none")
    text = f"{average.average_rank:.1f}"
    return Cell(text, "value", key=text, small=f"of {formats.plural(average.columns, 'rank')}")


def _remarks(rows: Sequence[Row]) -> tuple[str, ...]:
    """What qualifies the whole line: its audit, and why it is unranked, per benchmark if need be."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for reason in (row.unranked_reason or "").split(", "):
            if reason:
                reasons.setdefault(reason, []).append(row.benchmark)
    told = [
        reason if len(names) == len(rows) else f"{reason} ({formats.joined(names)})"
        for reason, names in reasons.items()
    ]
    marks = dict.fromkeys(mark for row in rows for mark in (*row.audit_marks, *row.marks))
    if any(not_known(row.benchmark) for row in rows):
        marks[words.NOT_COMPARABLE] = None
    marks |= {row.regime.shown: None for row in rows if row.regime.name == "zero-shot"}
    if any(row.are_patients_independent for row in rows):
        marks[words.INDEPENDENT] = None
    return (*marks, *((f"unranked: {formats.plain(', '.join(told))}",) if told else ()))


def _failed_phrase(row: Row) -> str:
    statuses = formats.joined(dict.fromkeys(failure.status.value for failure in row.failures))
    return f"{row.benchmark}: {statuses}"


def waiting_lines(waiting: Sequence[Waiting], groups: Sequence[Group]) -> tuple[Line, ...]:
    """Submissions that have no record yet."""
    return tuple(
        Line(
            source="waiting",
            key=formats.file_stem(f"{each.name}.waiting"),
            title=formats.plain(each.title),
            kind="",
            page=entry_page(each.name),
            track="waiting",
            track_title="waiting",
            methods=words.method_group(each.title, each.metadata),
            family=words.family(each.metadata.get("family")),
            isolation="",
            pretraining=words.pretraining(each.metadata.get("pretraining")),
            labels="",
            contamination="",
            has_maps="",
            made="",
            remarks=(f"since {formats.plain(each.since)}" if each.since else "date not given",),
            average=Cell(NOT_RUN, "none"),
            seeds="",
            seeds_key=None,
            status="waiting",
            failures=(),
            cells=tuple(tuple(Cell(NOT_RUN, "none") for _ in group.columns) for group in groups),
        )
        for each in waiting
        if groups
    )


def paper_lines(values: Sequence[Reported], groups: Sequence[Group]) -> tuple[Line, ...]:
    """One line per method of the paper, in the paper's order."""
    found = by_cell(values)
    return tuple(
        Line(
            source="paper",
            key=formats.file_stem(f"{method_key(method)}.paper"),
            title=method,
            kind="",
            page=None,
            track="paper",
            track_title="as reported",
            methods="bmad",
            family=words.PAPER_FAMILIES.get(method_key(method), "other"),
            isolation="",
            pretraining="",
            labels="",
            contamination="",
            has_maps="",
            remarks=(),
            made="",
            average=Cell("", "none"),
            seeds="",
            seeds_key=None,
            status="",
            failures=(),
            cells=tuple(
                tuple(
                    paper_cell(found.get((method_key(method), group.benchmark, column.metric)))
                    for column in group.columns
                )
                for group in groups
            ),
        )
        for method in dict.fromkeys(value.method for value in values)
    )
