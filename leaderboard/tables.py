"""The tables of the front page: which columns, which lines, what stands in each cell.

    boards(rows, paper) -> the six benchmarks, packs of one's own, the demonstration

Each board has two views, localisation (the paper's Table 2) and Dice (its Table 3).
Trap: rows of the demonstration pack never share a table with the six.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.board.rows import NOT_APPLICABLE, Row
from harness.board.site_data import Material, Overall, Waiting, is_canary, is_trivial
from harness.records.releases import not_known
from harness.records.supervision import worst
from leaderboard import formats, words
from leaderboard.cells import COST, NOT_RUN, Cell, Context, cell, paper_cell
from leaderboard.paper import Reported, by_cell, method_key

MakeCell = Callable[[Row | None, str, Context], Cell]


@dataclass(frozen=True)
class Column:
    """One value column."""

    key: str
    """Name in the page's address, for example `brain.image_auroc`."""
    metric: str
    """Name of the metric, or `seconds`."""
    title: str
    """Head of the column."""
    meaning: str
    """What it is, in one sentence."""


@dataclass(frozen=True)
class Group:
    """The columns of one benchmark."""

    benchmark: str
    """Name of the benchmark."""
    title: str
    """Head over the columns."""
    page: str
    """Its page."""
    columns: tuple[Column, ...]
    """At least one."""


@dataclass(frozen=True)
class Line:
    """One line of a table: an entry, or a method as the paper reports it."""

    source: str
    """`measured`, `paper` or `waiting`."""
    key: str
    """Anchor, without the table's own."""
    title: str
    """Name of the method."""
    kind: str
    """Family and pretraining in words, and the entry's name where its title is not the only one."""
    page: str | None
    """Its page; None for lines of the paper."""
    track: str
    """Key of the track; `paper` for lines of the paper."""
    methods: str
    """Key of the group of methods (`words.method_group`)."""
    track_title: str
    """The track in words."""
    family: str
    """Key of the family."""
    isolation: str
    """Key of what stood between entry and machine; empty for lines of the paper."""
    pretraining: str
    """Key of the pretraining; empty where unknown."""
    labels: str
    """What labels it had learned from before its runs; empty for lines of the paper."""
    contamination: str
    """The worst that its pretraining had seen of one of the line's benchmarks; empty likewise."""
    supervision: str
    """All that it declares of it, in one line."""
    has_maps: str
    """`yes`, `no`, or empty where unknown."""
    remarks: tuple[str, ...]
    """Why the line has no rank."""
    made: str
    """What stood between entry and machine, and the harness's commit."""
    made_title: str
    """Identity, packs and devices in full."""
    average: Cell
    """Average rank over the table's columns."""
    seeds: str
    """Number of seeds; several numbers where the benchmarks differ."""
    seeds_key: str | None
    """Number to sort by."""
    status: str
    """`ok`, or how many runs failed."""
    failures: tuple[str, ...]
    """One phrase per benchmark with failed runs."""
    cells: tuple[tuple[Cell, ...], ...]
    """By benchmark, in the order of the groups and their columns."""


@dataclass(frozen=True)
class Section:
    """Lines of a table under one heading."""

    heading: str
    """Empty: none."""
    lines: tuple[Line, ...]
    """At least one, but for a table without any."""


@dataclass(frozen=True)
class Table:
    """One view of one board."""

    key: str
    """Anchor and name in the page's address."""
    view: str
    """`localisation` or `dice`."""
    caption: str
    """What the table shows."""
    groups: tuple[Group, ...]
    """One per benchmark."""
    has_average: bool
    """Whether any line has an average rank."""
    lines: tuple[Line, ...]
    """Measured lines first, then those that wait, then the paper's."""
    order: str = ""
    """In which order the measured lines stand, in words."""
    is_grouped: bool = False
    """Whether headings divide the measured lines by their groups of methods."""

    @property
    def width(self) -> int:
        """Number of columns of values and words."""
        return sum(len(group.columns) for group in self.groups) + 5 + self.has_average

    @property
    def sections(self) -> tuple[Section, ...]:
        """The lines under their headings; without one where all are of one group."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(_heading(line), []).append(line)
        if not self.is_grouped or len(found) < 2:
            return (Section("", self.lines),)
        return tuple(Section(heading, tuple(lines)) for heading, lines in found.items())


@dataclass(frozen=True)
class Board:
    """Benchmarks that may be compared side by side."""

    key: str
    """`six`, `own` or `demo`."""
    title: str
    """Heading."""
    lead: str
    """What a reader must know first; may be empty."""
    tables: tuple[Table, ...]
    """Its views; those without a column are left out."""
    has_measured: bool
    """Whether anything was measured on it."""


BOARDS = {
    "six": ("Six medical benchmarks", ""),
    "own": (
        "Other packs",
        "Packs that are not part of BMAD, under the names they give themselves.",
    ),
    "demo": (
        "Demonstration pack",
        "Made-up images that show that everything works. No result here says how good a method is.",
    ),
}
VIEWS = {
    "localisation": ("Detection and localisation", "Table 2", words.LOCALISATION_COLUMNS),
    "dice": ("Dice", "Table 3", words.DICE_COLUMNS),
}

METHODS_ORDER = (*words.METHOD_GROUPS, "")
SOURCES = {"waiting": "Submissions that wait", "paper": "As the paper reports"}


def boards(material: Material, paper: Sequence[Reported]) -> tuple[Board, ...]:
    """All boards that have something to show, measured ones first.

    Args:
        material: with published rows.
        paper: the paper's values.
    """
    found = [
        _board(
            key,
            [row for row in material.rows if board_key(row.benchmark) == key],
            [value for value in paper if board_key(value.benchmark) == key],
            material,
        )
        for key in BOARDS
    ]
    shown = [board for board in found if board.tables]
    return tuple(sorted(shown, key=lambda board: not board.has_measured))


def benchmark_page(name: str) -> str:
    """File of a benchmark's page, from the site's root."""
    return f"benchmarks/{formats.file_stem(name)}.html"


def entry_page(name: str) -> str:
    """File of an entry's page, from the site's root."""
    return f"entries/{formats.file_stem(name)}.html"


def regime_key(row: Row) -> str:
    """Which side of the switch a row's numbers stand on: `one-class` is the main table."""
    regime = row.regime
    if row.place == row.benchmark and regime.suite is None:
        return "one-class"
    if regime.name == "few-shot":
        return "few-shot"
    return "zero-shot" if regime.name == "zero-shot" else "unified"


def row_page(row: Row) -> str:
    """Page with a row's own section, from the site's root: an entry has one for each regime."""
    page, key = entry_page(row.entry), regime_key(row)
    # No file stem that is not marked with ten digits has two dashes.
    return page if key == "one-class" else page.replace(".html", f"--{key}.html")


def board_key(benchmark: str) -> str:
    """Which board a benchmark stands on, as in `BOARDS`."""
    if benchmark in words.SIX:
        return "six"
    return "demo" if benchmark == words.DEMO else "own"


def _board(key: str, rows: Sequence[Row], paper: Sequence[Reported], material: Material) -> Board:
    title, lead = BOARDS[key]
    tables = [_table((key, view), rows, paper, material) for view in VIEWS]
    return Board(
        key, title, lead, tuple(table for table in tables if table.groups), has_measured=bool(rows)
    )


def _table(
    board_and_view: tuple[str, str],
    rows: Sequence[Row],
    paper: Sequence[Reported],
    material: Material,
) -> Table:
    key, view = board_and_view
    waiting = material.waiting if key == "six" else ()
    caption, in_paper, metrics = VIEWS[view]
    if paper:
        caption += f", as the paper's {in_paper}"
    values = [value for value in paper if value.metric in metrics]
    names = {row.benchmark for row in rows} | {value.benchmark for value in values}
    groups = tuple(
        group
        for name in sorted(names, key=words.benchmark_order)
        if (group := group_of(name, metrics, rows, values)) is not None
    )
    shown = {group.benchmark for group in groups}
    context = context_of(material, paper, view, has_overall=key == "six")
    measured = measured_lines([row for row in rows if row.benchmark in shown], groups, context)
    has_average = any(line.average.kind == "value" for line in measured)
    if len(groups) == 1:
        measured = by_first_column(measured)
    by_group = sorted(measured, key=lambda line: METHODS_ORDER.index(line.methods))
    lines = (*by_group, *_waiting_lines(waiting, groups), *paper_lines(values, groups))
    return Table(
        f"{key}-{view}",
        view,
        caption,
        groups,
        has_average,
        lines,
        order=order_told(measured, groups, has_average=has_average),
        is_grouped=True,
    )


def by_first_column(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Lines over one group: those that may take a rank first, the highest number first, those
    without a number last.
    """
    return tuple(sorted(lines, key=_first_column_order))


def _first_column_order(line: Line) -> tuple[bool, bool, float]:
    key = line.cells[0][0].key
    return key is None, bool(line.remarks), -float(key or 0.0)


def order_told(lines: Sequence[Line], groups: Sequence[Group], *, has_average: bool) -> str:
    """In which order measured lines stand, in words; empty where there is nothing to order."""
    if len(lines) < 2 or not groups:
        return ""
    if len(groups) == 1:
        unqualified_first = (
            ""
            if len({bool(line.remarks) for line in lines}) < 2
            else (", rows without a remark first")
        )
        return f"in order of {groups[0].columns[0].title}{unqualified_first}"
    return f"in order of {'average rank, then of ' if has_average else ''}name"


def _heading(line: Line) -> str:
    """What a line of the front page stands under."""
    if line.source != "measured":
        return SOURCES[line.source]
    return words.METHOD_GROUPS.get(line.methods, words.NO_METHOD)


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


def group_of(
    benchmark: str, metrics: Sequence[str], rows: Sequence[Row], paper: Sequence[Reported]
) -> Group | None:
    """The columns of a benchmark that hold anything at all."""
    mine = [row for row in rows if row.benchmark == benchmark]
    # What nobody has a value of, such as pixel metrics where there are no masks, needs no column.
    known = {metric.id for row in mine for metric in row.metrics if metric.mean is not None}
    known |= {value.metric for value in paper if value.benchmark == benchmark}
    if mine and not known and metrics[0] == "image_auroc":
        known = {"image_auroc"}  # only failed runs: they need a column to be seen in
    columns = [
        Column(
            f"{benchmark}.{metric}",
            metric,
            words.metric_words(metric).short,
            words.metric_words(metric).meaning,
        )
        for metric in metrics
        if metric in known
    ]
    if not columns:
        return None
    if mine and metrics[0] == "image_auroc":
        columns.append(
            Column(
                f"{benchmark}.{COST}",
                COST,
                "s / image",
                "Median seconds per test image by the harness's clock; below it, peak GPU memory,"
                " and the seconds less the pipe's own share.",
            )
        )
    return Group(
        benchmark, words.benchmark_title(benchmark), benchmark_page(benchmark), tuple(columns)
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
        supervision=_supervision(first),
        has_maps="yes" if any(row.maps for row in rows) else "no",
        remarks=_remarks(rows),
        made=_made(rows),
        made_title=_made_title(rows),
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


def _supervision(row: Row) -> str:
    return formats.plain(row.supervision.told) if row.supervision else "it declares nothing"


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


def _made_title(rows: Sequence[Row]) -> str:
    """Which code, which images, which machine; whole on the entry's page."""
    identities = dict.fromkeys(formats.short_hash(i) for row in rows for i in row.identities)
    packs = dict.fromkeys(pack for row in rows for pack in row.packs)
    devices = dict.fromkeys(device for row in rows for device in row.devices)
    return formats.plain(
        f"entry {formats.joined(identities)}; {formats.joined(devices)}; {formats.joined(packs)}"
    )


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
        return Cell(NOT_RUN, "none", title="not ranked in every column")
    text = f"{average.average_rank:.1f}"
    return Cell(text, "value", key=text, title=f"mean of {average.columns} ranks")


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


def _waiting_lines(waiting: Sequence[Waiting], groups: Sequence[Group]) -> tuple[Line, ...]:
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
            supervision="",
            has_maps="",
            made="",
            made_title="",
            remarks=(f"since {formats.plain(each.since)}" if each.since else "date not given",),
            average=Cell(NOT_RUN, "none", title="waiting"),
            seeds="",
            seeds_key=None,
            status="waiting",
            failures=(),
            cells=tuple(
                tuple(Cell(NOT_RUN, "none", title="waiting") for _ in group.columns)
                for group in groups
            ),
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
            supervision="",
            has_maps="",
            remarks=(),
            made="",
            made_title="",
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
