"""The tables of the front page: which benchmarks stand side by side, in which views.

    boards(rows, paper) -> the six benchmarks, packs of one's own, the demonstration

Each board has two views, localisation (the paper's Table 2) and Dice (its Table 3).
Trap: rows of the demonstration pack never share a table with the six.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.board.rows import Row
from harness.board.site_data import Material
from leaderboard import words
from leaderboard.lines import context_of, measured_lines, paper_lines, waiting_lines
from leaderboard.paper import Reported
from leaderboard.tables import Board, Table, by_first_column, group_of, order_told

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
    lines = (*by_group, *waiting_lines(waiting, groups), *paper_lines(values, groups))
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
