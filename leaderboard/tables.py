"""The tables of the front page: which columns, which lines, what stands in each cell.

    boards(rows, paper) -> the six benchmarks, packs of one's own, the demonstration

Each board has two views, localisation (the paper's Table 2) and Dice (its Table 3).
Traps: a cell without a number has no sort key, so that it sorts last both ways; rows of
the demonstration pack never share a table with the six.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.statistics import MetricSummary, Row
from leaderboard import formats, words
from leaderboard.paper import Reported, by_cell, difference, method_key

Values = Mapping[tuple[str, str, str], Reported]
PLACE_WORDS = {1: "first", 2: "second", 3: "third"}
COST = "seconds"
NOT_RUN = "\N{EN DASH}"
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
    """Third line: difference to the paper."""
    place: int | None = None
    """1, 2 or 3 when it is among the three best of its column."""
    title: str = ""
    """What the place means, for a pointer and for screen readers."""


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
    columns: tuple[Column, ...]
    """At least one."""


@dataclass(frozen=True)
class Line:
    """One line of a table: an entry, or a method as the paper reports it."""

    source: str
    """`measured` or `paper`."""
    title: str
    """Name of the method."""
    name: str
    """Name of the entry, where it is not just the title in lower case."""
    page: str | None
    """Its page; None for lines of the paper."""
    track: str
    """Key of the track; `paper` for lines of the paper."""
    track_title: str
    """The track in words."""
    remarks: tuple[str, ...]
    """Isolation, weights and why the line has no rank."""
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
    lines: tuple[Line, ...]
    """Measured lines first, then the paper's."""


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


def boards(rows: Sequence[Row], paper: Sequence[Reported]) -> tuple[Board, ...]:
    """All boards that have something to show, measured ones first.

    Args:
        rows: published rows.
        paper: the paper's values.
    """
    found = [
        _board(
            key,
            [row for row in rows if _board_key(row.benchmark) == key],
            [value for value in paper if _board_key(value.benchmark) == key],
        )
        for key in BOARDS
    ]
    shown = [board for board in found if board.tables]
    return tuple(sorted(shown, key=lambda board: not board.has_measured))


def _board_key(benchmark: str) -> str:
    if benchmark in words.SIX:
        return "six"
    return "demo" if benchmark == words.DEMO else "own"


def _board(key: str, rows: Sequence[Row], paper: Sequence[Reported]) -> Board:
    title, lead = BOARDS[key]
    tables = [_table(key, view, rows, paper) for view in VIEWS]
    return Board(
        key, title, lead, tuple(table for table in tables if table.groups), has_measured=bool(rows)
    )


def _table(key: str, view: str, rows: Sequence[Row], paper: Sequence[Reported]) -> Table:
    caption, in_paper, metrics = VIEWS[view]
    if paper:
        caption += f", as the paper's {in_paper}"
    values = [value for value in paper if value.metric in metrics]
    names = {row.benchmark for row in rows} | {value.benchmark for value in values}
    groups = tuple(
        group
        for name in sorted(names, key=words.benchmark_order)
        if (group := _group(name, metrics, rows, values)) is not None
    )
    shown = {group.benchmark for group in groups}
    lines = _measured_lines([row for row in rows if row.benchmark in shown], groups, paper)
    return Table(f"{key}-{view}", view, caption, groups, lines + _paper_lines(values, groups))


def _group(
    benchmark: str, metrics: Sequence[str], rows: Sequence[Row], paper: Sequence[Reported]
) -> Group | None:
    """The columns of a benchmark that hold anything at all."""
    mine = [row for row in rows if row.benchmark == benchmark]
    known = {metric.id for row in mine for metric in row.metrics}
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
                "Median seconds per test image by the harness's clock; below it, peak GPU memory.",
            )
        )
    return Group(benchmark, words.benchmark_title(benchmark), tuple(columns))


def _measured_lines(
    rows: Sequence[Row], groups: Sequence[Group], paper: Sequence[Reported]
) -> tuple[Line, ...]:
    """One line per entry, track and isolation: ranked first, wholly failed last, then by title."""
    reported = by_cell(paper)
    lines: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.entry, row.track, row.isolation), {})[row.benchmark] = row
    ordered = sorted(
        lines.values(),
        key=lambda line: (
            not any(row.ranked for row in line.values()),
            all(row.failures for row in line.values()),
            next(iter(line.values())).title.casefold(),
            next(iter(line.values())).entry,
            next(iter(line.values())).track,
            next(iter(line.values())).isolation,
        ),
    )
    return tuple(_measured_line(line, groups, reported) for line in ordered)


def _measured_line(
    by_benchmark: Mapping[str, Row], groups: Sequence[Group], reported: Values
) -> Line:
    rows = list(by_benchmark.values())
    first = rows[0]
    counts = sorted({len(row.seeds) for row in rows})
    title = formats.plain(first.title)
    failed = tuple(_failed_phrase(row) for row in rows if row.failures)
    runs = sum(len(row.seeds) for row in rows)
    return Line(
        source="measured",
        title=title,
        name="" if first.title.casefold() == first.entry else formats.plain(first.entry),
        page=f"entries/{formats.file_stem(first.entry)}.html",
        track=first.track,
        track_title=words.TRACKS[first.track],
        remarks=_remarks(rows),
        seeds=" / ".join(str(count) for count in counts),
        seeds_key=str(counts[0]),
        status=f"{sum(len(row.failures) for row in rows)} of {runs} failed" if failed else "ok",
        failures=failed,
        cells=tuple(
            tuple(
                _cell(by_benchmark.get(group.benchmark), column.metric, reported)
                for column in group.columns
            )
            for group in groups
        ),
    )


def _remarks(rows: Sequence[Row]) -> tuple[str, ...]:
    """What qualifies the whole line: why it is unranked, per benchmark where that differs."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for reason in (row.unranked_reason or "").split(", "):
            if reason:
                reasons.setdefault(reason, []).append(row.benchmark)
    told = [
        reason if len(names) == len(rows) else f"{reason} ({formats.joined(names)})"
        for reason, names in reasons.items()
    ]
    return (f"unranked: {formats.plain(', '.join(told))}",) if told else ()


def _failed_phrase(row: Row) -> str:
    statuses = formats.joined(dict.fromkeys(failure.status.value for failure in row.failures))
    return f"{row.benchmark}: {statuses}"


def _cell(row: Row | None, metric_id: str, reported: Values) -> Cell:
    if row is None:
        return Cell(NOT_RUN, "none", title="not run")
    if metric_id == COST:
        return _cost_cell(row)
    metric = row.metric(metric_id, None) or row.metric(metric_id, "native")
    if row.failures:
        statuses = formats.joined(dict.fromkeys(failure.status.value for failure in row.failures))
        count = f"{len(row.failures)} of {len(row.seeds)}: " if len(row.seeds) > 1 else ""
        return Cell("failed", "failed", small=count + statuses)
    if metric is None or metric.mean is None:
        return Cell("NA", "na", small=metric.reason or "" if metric else "not measured")
    points = difference(row, metric_id, reported)
    place = metric.rank if metric.rank is not None else metric.place
    return Cell(
        formats.percent(metric.mean, metric.step),
        "value",
        key=formats.sort_key(metric.mean),
        small=_spread(metric),
        third="" if points is None else f"{DELTA} {formats.signed_points(points)}",
        place=place if place in PLACE_WORDS else None,
        title=_place_title(metric, place),
    )


def _spread(metric: MetricSummary) -> str:
    if metric.std is None:
        return metric.std_reason or ""
    return f"± {formats.percent(metric.std, metric.step)}"


def _place_title(metric: MetricSummary, place: int | None) -> str:
    if place not in PLACE_WORDS:
        return ""
    if metric.rank is not None:
        return f"rank {place}"
    return f"{PLACE_WORDS[place]} by mean"


def _cost_cell(row: Row) -> Cell:
    if row.seconds_per_image is None:
        return Cell("NA", "na", small="failed" if row.failures else "no time")
    gpu = row.peak_gpu_mib
    return Cell(
        formats.seconds(row.seconds_per_image),
        "value",
        key=formats.sort_key(row.seconds_per_image),
        small="" if gpu is None else formats.memory(gpu),
    )


def _paper_lines(values: Sequence[Reported], groups: Sequence[Group]) -> tuple[Line, ...]:
    """One line per method of the paper, in the paper's order."""
    found = by_cell(values)
    return tuple(
        Line(
            source="paper",
            title=method,
            name="",
            page=None,
            track="paper",
            track_title="as reported",
            remarks=(),
            seeds="",
            seeds_key=None,
            status="",
            failures=(),
            cells=tuple(
                tuple(
                    _paper_cell(found.get((method_key(method), group.benchmark, column.metric)))
                    for column in group.columns
                )
                for group in groups
            ),
        )
        for method in dict.fromkeys(value.method for value in values)
    )


def _paper_cell(value: Reported | None) -> Cell:
    if value is None:
        return Cell(NOT_RUN, "none", title="not in the paper")
    if value.mean is None:
        return Cell("NA", "na", title="NA in the paper")
    return Cell(
        formats.percent(value.mean),
        "value",
        key=formats.sort_key(value.mean),
        small="" if value.std is None else f"± {formats.percent(value.std)}",
        place=value.place,
        title=f"{PLACE_WORDS[value.place]} of the paper's methods" if value.place else "",
    )
