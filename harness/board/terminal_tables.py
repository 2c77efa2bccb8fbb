"""The results of a call as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from harness.board.rows import NOT_APPLICABLE, Row, summarise
from harness.board.tracks import why_unranked
from harness.common.foreign_text import one_line
from harness.console.tables import as_text, cell
from harness.records.record import Grid, Record

WIDTH = 200
MAX_REMARK = 20_000  # a whole campaign may share one
# The paper's Table 2 and Table 3, and what a user asks next.
COLUMNS: tuple[tuple[str, str, Grid | None], ...] = (
    ("image\nAUROC", "image_auroc", None),
    ("image\nAP", "image_ap", None),
    ("pixel\nAUROC", "pixel_auroc", "native"),
    ("pixel\nAP", "pixel_ap", "native"),
    ("PRO", "pixel_pro", "native"),
    ("Dice\n@0.5", "dice_at_0.5", "native"),
    ("Dice\nmax", "dice_max", "native"),
)


def result_tables(records: Sequence[Record], *, width: int | None = None) -> str:
    """One table per benchmark: mean ± standard deviation over seeds, in percent.

    Args:
        records: the records of the call.
        width: columns of the terminal; None asks the terminal.
    """
    rows = summarise(records)
    shown = [
        _table(benchmark, [row for row in rows if row.benchmark == benchmark])
        for benchmark in dict.fromkeys(row.benchmark for row in rows)
    ]
    told = [Text(one_line(remark, MAX_REMARK)) for remark in _remarks(records)]
    # Never narrower than the table: a terminal wraps a long line, a cut number misleads.
    text = as_text(*shown, *told, width=width, least_width=WIDTH)
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()


def _table(benchmark: str, rows: Sequence[Row]) -> Table:
    title = Text(f"{one_line(benchmark)}: percent, mean ± standard deviation over seeds")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("entry", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for head, _, _ in COLUMNS:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("s per\nimage", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in rows:
        cells = [_number(row, metric_id, grid) for _, metric_id, grid in COLUMNS]
        table.add_row(
            cell(row.entry),
            f"{len(row.seeds) - len(row.failures) - len(row.not_applicable)}/{len(row.seeds)}",
            *cells,
            _seconds(row),
            cell(_status(row)),
        )
    return table


def _number(row: Row, metric_id: str, grid: Grid | None) -> str:
    summary = row.metric(metric_id, grid)
    if summary is None or summary.mean is None:
        return "NA"
    spread = f" ± {100 * summary.std:.2f}" if summary.std is not None else ""
    return f"{100 * summary.mean:.2f}{spread}"


def _seconds(row: Row) -> str:
    return "NA" if row.seconds_per_image is None else f"{row.seconds_per_image:.3f}"


def _status(row: Row) -> str:
    if row.failures:
        return ", ".join(f"seed {failure.seed}: {failure.status}" for failure in row.failures)
    if row.not_applicable:
        return NOT_APPLICABLE
    return ", ".join(["ok", *([] if row.ranked else ["unranked"]), *row.audit_marks, *row.marks])


def _remarks(records: Sequence[Record]) -> list[str]:
    """What a reader must know to read the tables rightly; each said once, with its entries."""
    told: dict[str, list[str]] = {}
    for record in records:
        name = f"{record.pack.benchmark}/{record.entry.name}"
        if reasons := why_unranked(record):
            told.setdefault(f"unranked ({', '.join(reasons)})", []).append(name)
        for warning in record.warnings:
            told.setdefault(warning, []).append(name)
        for metric in record.metrics:
            is_shown = (metric.id, metric.grid) in {column[1:] for column in COLUMNS}
            if metric.value is None and is_shown:
                told.setdefault(f"{metric.id} is NA: {metric.reason}", []).append(name)
    return [f"{remark}: {', '.join(dict.fromkeys(names))}" for remark, names in told.items()]
