"""What a table of results is made of: columns, lines, sections, and in which order they stand.

The lines are made in `lines.py`, what stands in a cell in `cells.py`, the front page's tables in
`boards.py`; `templates/table.html` writes them down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.board.rows import Row
from leaderboard import words
from leaderboard.addresses import benchmark_page
from leaderboard.cells import COST, Cell
from leaderboard.paper import Reported

SOURCES = {"waiting": "Submissions that wait", "paper": "As the paper reports"}


@dataclass(frozen=True)
class Column:
    """One value column."""

    key: str
    """Name in the page's address, for example `brain.image_auroc`."""
    metric: str
    """Name of the metric, or `seconds`."""
    title: str
    """Head of the column."""


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
    has_maps: str
    """`yes`, `no`, or empty where unknown."""
    remarks: tuple[str, ...]
    """Why the line has no rank."""
    made: str
    """What stood between entry and machine, and the harness's commit."""
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
        Column(f"{benchmark}.{metric}", metric, words.metric_words(metric).short)
        for metric in metrics
        if metric in known
    ]
    if not columns:
        return None
    if mine and metrics[0] == "image_auroc":
        columns.append(Column(f"{benchmark}.{COST}", COST, "s / image"))
    return Group(
        benchmark, words.benchmark_title(benchmark), benchmark_page(benchmark), tuple(columns)
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
