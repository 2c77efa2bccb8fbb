"""What came of a campaign: the paper's cells that it reproduced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.board.rows import Row


@dataclass(frozen=True)
class Reproduction:
    """How the paper's cells compare with the measured ones."""

    reproduced: int
    """Cells whose difference is at most both standard deviations together."""
    measured: int
    """Cells of the paper that were measured."""
    reported: int
    """Cells of the paper with a number."""


def reproduction(rows: Iterable[Row]) -> Reproduction:
    """Compare ranked rows with the paper's Table 2, pixel metrics on the paper's grid.

    A cell counts as reproduced where the means differ by at most the sum of the paper's
    standard deviation and ours over seeds (0 where there is one seed).
    """
    from leaderboard.paper import by_cell, difference, method_key, read_paper

    cells = {
        key: value
        for key, value in by_cell(v for v in read_paper() if v.table == "Table 2").items()
        if value.mean is not None
    }
    ranked = {
        (method_key(row.title), row.benchmark): row
        for row in rows
        if row.ranked and row.place == row.benchmark
    }
    reproduced = measured = 0
    for (method, benchmark, metric), value in cells.items():
        row = ranked.get((method, benchmark))
        gap = None if row is None else difference(row, metric, cells)
        if row is None or gap is None:
            continue
        measured += 1
        own = row.metric(metric, None) or row.metric(metric, "paper")
        spread = (value.std or 0.0) + ((own.std if own else None) or 0.0)
        reproduced += abs(gap) <= spread
    return Reproduction(reproduced, measured, len(cells))
