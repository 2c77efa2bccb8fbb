"""The pages beside the main table: one model for several benchmarks, few-shot, zero-shot.

One page for each regime, so that the switch between them is a link and works without a script; what
is filtered and sorted stands in the address, as on the front page. Traps: rows of two regimes share
no table; the paper has one-class alone, so no cell here is set beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.board.rows import Row
from harness.board.siblings import SiblingDifference
from harness.board.site_data import Material
from harness.board.suite_rows import WholeRow
from harness.records.members import MEAN
from leaderboard import formats, words
from leaderboard.addresses import benchmark_page
from leaderboard.boards import BOARDS, VIEWS, board_key
from leaderboard.cells import COST, DELTA, Cell, Context, cell, linked
from leaderboard.few_shot import FewShotFigure, few_shot_figures
from leaderboard.lines import context_of, measured_lines
from leaderboard.tables import (
    Board,
    Column,
    Group,
    Table,
    by_first_column,
    group_of,
    order_told,
)

POOLED_COLUMNS = (
    "pooled_image_auroc", "pooled_image_auroc_across", "pooled_pixel_auroc", "pooled_pixel_auroc_across",
)  # fmt: skip
MEAN_TITLE, POOLED_TITLE = "Mean of the benchmarks", "Pooled"
EXPLAINED = "guide.html#sibling"
"""Where the guide says what a mean over benchmarks and a pooled value are."""
UNIFIED_PAGE, FEW_SHOT_PAGE, ZERO_SHOT_PAGE = "unified.html", "few-shot.html", "zero-shot.html"


@dataclass(frozen=True)
class RegimeChoice:
    """One side of the switch between regimes."""

    key: str
    """`one-class`, `unified`, `few-shot` or `zero-shot`."""
    title: str
    """What it is called."""
    page: str
    """Its page, from the site's root."""
    meaning: str
    """What an entry may learn from in it."""


@dataclass(frozen=True)
class RegimePage:
    """All of one regime."""

    path: str
    """File of the page, from the site's root."""
    key: str
    """Which side of the switch it is."""
    title: str
    """Heading."""
    lead: str
    """What an entry may learn from, and how to read the numbers."""
    command: str
    """What makes a row of it."""
    boards: tuple[Board, ...]
    """Its tables."""
    curves: tuple[FewShotFigure, ...]
    """Few-shot curves; none on the other pages."""
    choices: tuple[tuple[str, str], ...]
    """Name and title of every group of columns, for the filter."""
    steps: tuple[tuple[str, str], ...] = ()
    """Of few-shot: title and path of each of its pages, the curves' first."""


SWITCH = (
    RegimeChoice(
        "one-class", "One-class", "index.html",
        "One model for each benchmark, from all its normal training images.",
    ),
    RegimeChoice(
        "unified", "Unified", UNIFIED_PAGE,
        "One model for several benchmarks, from all their normal training images together.",
    ),
    RegimeChoice(
        "few-shot", "Few-shot", FEW_SHOT_PAGE,
        "One model for each benchmark, from 1 to 16 of its normal training images.",
    ),
    RegimeChoice("zero-shot", "Zero-shot", ZERO_SHOT_PAGE, "No image of a benchmark to learn from."),
)  # fmt: skip


def regime_pages(material: Material) -> tuple[RegimePage, ...]:
    """The pages of all regimes but one-class, whether anything was measured in them or not.

    Args:
        material: with published rows.
    """
    return _unified(material), *_few_shot(material), _zero_shot(material)


def row_title(row: Row) -> str:
    """On what a row is, for a reader: the benchmark or suite, and the regime where it is another one."""
    name = words.benchmark_title(formats.plain(row.benchmark))
    is_told = row.place == row.benchmark or row.regime.name == "unified"
    return name if is_told else f"{name}, {row.regime.shown}"


def _unified(material: Material) -> RegimePage:
    wholes = [w for w in material.regimes.rows if w.row.regime.name in ("unified", None)]
    suites = _suite_boards(wholes, material)
    at_256 = [
        w.row
        for w in material.regimes.rows
        if w.row.regime.suite is None and w.row.regime.name in ("one-class", None)
    ]
    return _page(
        SWITCH[1],
        "One model for several benchmarks",
        "One model learns from the normal training images of all benchmarks of a suite together, and"
        " nobody tells it which one an image is of: every image is 256 × 256 and RGB. Below each value"
        f" stands the same entry’s one-class value under the same delivery, and {DELTA}, unified less"
        " one-class in points with its 95 % interval over the same test patients.",
        "python -m harness.evaluate baselines/rd4ad --suite unified-3",
        (*suites, *_boards(at_256, material)),
    )


def _few_shot(material: Material) -> list[RegimePage]:
    """The curves, then one page for each number of images: all tables together are too large for one."""
    rows = [w.row for w in material.regimes.rows if w.row.regime.shots is not None]
    numbers = sorted({row.regime.shots for row in rows if row.regime.shots is not None})
    steps = (("curves", FEW_SHOT_PAGE), *((f"k = {k}", _shots_page(k)) for k in numbers))
    curves = [c for c in material.regimes.few_shot if c.metric == "image_auroc"]
    first = replace(_few_shot_page(()), curves=few_shot_figures(curves), steps=steps)
    beside = _without_regime(material.rows)
    pages = [first]
    for k in numbers:
        mine = [row for row in rows if row.regime.shots == k]
        page = _few_shot_page(_boards(mine, material, beside=beside))
        pages.append(replace(page, path=_shots_page(k), steps=steps))
    return pages


def _shots_page(shots: int) -> str:
    return f"few-shot-{shots}.html"


def _few_shot_page(boards: Sequence[Board]) -> RegimePage:
    return _page(
        SWITCH[2],
        "A few normal images",
        "Each model learns from k normal images; the harness draws them by the run’s seed, one image of a"
        " patient before any second. No checkpoint is chosen on labelled images: the last state counts,"
        " and what needs a threshold of the validation split is NA.",
        "python -m harness.evaluate baselines/patchcore --benchmark brain --train shots:4",
        boards,
    )


def _zero_shot(material: Material) -> RegimePage:
    own = [row for row in material.rows if row.regime.name == "zero-shot"]
    wholes = [w for w in material.regimes.rows if w.row.regime.name == "zero-shot"]
    rows = own + [w.row for w in wholes if not w.members]
    return _page(
        SWITCH[3],
        "No training image",
        "An entry that trains nothing here. Of a reviewed folder that can be read in its source; an image"
        " may carry trained weights, so its rows are marked: declared zero-shot.",
        "python -m harness.evaluate --image NAME --train none --benchmark brain",
        (
            *_boards(rows, material, beside=_without_regime(material.rows)),
            *_suite_boards([w for w in wholes if w.members], material),
        ),
    )


def _page(
    choice: RegimeChoice, title: str, lead: str, command: str, boards: Sequence[Board]
) -> RegimePage:
    groups = {g.benchmark: g.title for b in boards for t in b.tables for g in t.groups}
    return RegimePage(
        path=choice.page,
        key=choice.key,
        title=title,
        lead=lead,
        command=command,
        boards=tuple(boards),
        curves=(),
        choices=tuple(groups.items()),
    )


def _without_regime(rows: Sequence[Row]) -> list[Row]:
    """Trivial rows and the canary: they learn nothing, and stand in every regime."""
    return [unplaced(row) for row in rows if row.regime.name is None]


def unplaced(row: Row) -> Row:
    """The row without ranks and places: what has no regime was compared with none that it stands beside."""
    bare = tuple(replace(metric, standing=None, place=None) for metric in row.metrics)
    return replace(row, metrics=bare) if row.regime.name is None else row


def _boards(
    rows: Sequence[Row], material: Material, beside: Sequence[Row] = ()
) -> tuple[Board, ...]:
    """One board for each regime and kind of benchmark.

    Args:
        rows: of single benchmarks.
        material: everything that the site shows.
        beside: rows that stand below them on the same benchmarks, where images are as they are.
    """
    found: dict[tuple[int, str, str, str], list[Row]] = {}
    for row in rows:
        regime = row.regime
        # Trivial rows under a delivery stand with what learned from the same images.
        shown = regime if regime.name else regime.model_copy(update={"name": "one-class"})
        key = (regime.shots or 0, regime.delivery, shown.shown, board_key(row.benchmark))
        found.setdefault(key, []).append(row)
    return tuple(
        board
        for (_, delivery, shown, kind), mine in sorted(found.items())
        if (board := _board(shown, kind, mine, material, beside if delivery == "native" else ()))
    )


def _board(
    shown: str, kind: str, rows: Sequence[Row], material: Material, beside: Sequence[Row]
) -> Board | None:
    names = {row.benchmark for row in rows}
    rows = [*map(unplaced, rows), *(row for row in beside if row.benchmark in names)]
    key = formats.file_stem(_anchor(rows) + ("" if kind == "six" else f"-{kind}"))
    title = (
        shown[:1].upper() + shown[1:] + ("" if kind == "six" else f": {BOARDS[kind][0].lower()}")
    )
    tables = []
    for view, (caption, _, metrics) in VIEWS.items():
        groups = [
            group
            for name in sorted(names, key=words.benchmark_order)
            if (group := group_of(name, metrics, rows, ()))
        ]
        context = regime_context(material, view)
        lines = measured_lines(rows, groups, context)
        if len(groups) == 1:
            lines = by_first_column(lines)
        if groups:
            told = f"{caption}, {shown}"
            order = order_told(lines, groups, has_average=False)
            tables.append(
                Table(
                    f"{key}-{view}",
                    view,
                    told,
                    tuple(groups),
                    has_average=False,
                    lines=lines,
                    order=order,
                )
            )
    return Board(key, title, BOARDS[kind][1], tuple(tables), has_measured=True) if tables else None


def _anchor(rows: Sequence[Row]) -> str:
    """Anchor of a board: the regime as in the results, or its name."""
    regime = next((row.regime for row in rows if row.regime.name), rows[0].regime)
    return regime.label or regime.name or "no-regime"


def regime_context(material: Material, view: str) -> Context:
    """No values of the paper, which has one-class alone, nor average ranks."""
    return context_of(material, (), view, has_overall=False)


def _suite_boards(wholes: Sequence[WholeRow], material: Material) -> tuple[Board, ...]:
    by_suite: dict[str, list[WholeRow]] = {}
    for whole in wholes:
        if whole.members:
            by_suite.setdefault(whole.row.benchmark, []).append(whole)
    return tuple(
        _suite_board(name, by_suite[name], material)
        for name in sorted(by_suite, key=lambda name: (not name.startswith("unified-"), name))
    )


def _suite_board(name: str, wholes: Sequence[WholeRow], material: Material) -> Board:
    key = formats.file_stem(name)
    titles = [words.benchmark_title(member) for member in wholes[0].members]
    return Board(
        key=key,
        title=formats.plain(name),
        lead=f"{formats.plural(len(titles), 'benchmark')}: {', '.join(titles)}.",
        tables=tuple(
            _suite_table(f"{key}-{view}", view, wholes, material)
            for view in VIEWS
            if any(_groups(wholes, view))
        ),
        has_measured=True,
    )


def _suite_table(key: str, view: str, wholes: Sequence[WholeRow], material: Material) -> Table:
    groups = _groups(wholes, view)
    context = regime_context(material, view)
    lines = []
    for whole in wholes:
        (line,) = measured_lines([whole.row], (), context)
        siblings = {
            (each.member, each.metric): each
            for each in material.regimes.siblings.get(whole.key, ())
        }
        cells = tuple(
            tuple(_suite_cell(whole, group, column, siblings, context) for column in group.columns)
            for group in groups
        )
        lines.append(replace(line, cells=cells))
    order = order_told(lines, groups[:1], has_average=False)
    caption = VIEWS[view][0]
    return Table(
        key,
        view,
        caption,
        tuple(groups),
        has_average=False,
        lines=by_first_column(lines),
        order=order,
    )


def _groups(wholes: Sequence[WholeRow], view: str) -> list[Group]:
    """The mean first, then what is pooled, then each member: columns that hold anything."""
    metrics = VIEWS[view][2]
    means = [w.mean for w in wholes if w.mean is not None]
    found = [_group(MEAN, MEAN_TITLE, EXPLAINED, metrics, means)]
    if view == "localisation":
        pooled = [w.row for w in wholes]
        found.append(_group("pooled", POOLED_TITLE, EXPLAINED, (*POOLED_COLUMNS, COST), pooled))
    for member in wholes[0].members:
        rows = [w.members[member] for w in wholes]
        page = benchmark_page(rows[0].benchmark)
        found.append(_group(member, words.benchmark_title(member), page, metrics, rows))
    return [group for group in found if group.columns]


def _group(name: str, title: str, page: str, metrics: Sequence[str], rows: Sequence[Row]) -> Group:
    known = {metric.id for row in rows for metric in row.metrics if metric.mean is not None}
    if any(row.seconds_per_image is not None for row in rows):
        known.add(COST)
    columns = []
    for metric in metrics:
        if metric in known:
            title_of = "s / image" if metric == COST else words.metric_words(metric).short
            columns.append(Column(f"{name}.{metric}", metric, title_of))
    return Group(name, title, page, tuple(columns))


def _suite_cell(
    whole: WholeRow,
    group: Group,
    column: Column,
    siblings: Mapping[tuple[str, str], SiblingDifference],
    context: Context,
) -> Cell:
    member = None if group.benchmark == "pooled" else group.benchmark
    part = dict(whole.parts)[member]
    made = cell(unplaced(part), column.metric, context)
    made = linked(made, column.metric, whole.row, part, member)
    if member is None or made.kind != "value" or whole.row.regime.name != "unified":
        return made
    return with_sibling(made, siblings.get((member, column.metric)))


def with_sibling(made: Cell, found: SiblingDifference | None) -> Cell:
    """The cell with its one-class sibling below: value, difference and interval, or why not."""
    if found is None:
        return replace(made, more=(f"{DELTA} NA: nothing is told of a hidden pack",))
    sibling = () if found.sibling is None else (f"one-class {formats.percent(found.sibling)}",)
    if found.difference is None:
        return replace(made, more=(*sibling, f"{DELTA} NA: {found.reason}"))
    span = "[NA]"
    if found.low is not None and found.high is not None:
        span = f"[{formats.signed_points(found.low)}, {formats.signed_points(found.high)}]"
    told = f"{DELTA} {formats.signed_points(found.difference)} {span}"
    return replace(made, more=(*sibling, told, *((found.reason,) if found.reason else ())))
