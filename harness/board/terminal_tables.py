"""The results of a call as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from harness.board.rows import NOT_APPLICABLE, Row, summarise
from harness.board.tracks import why_unranked
from harness.common.foreign_text import one_line
from harness.console.tables import as_text, cell
from harness.records.members import MEAN, mean_record, member_records
from harness.records.record import Grid, Record
from harness.records.regime import ONE_CLASS

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
# What is pooled over a suite, by the column that it stands in.
POOLED = {"image_auroc": "pooled_image_auroc", "pixel_auroc": "pooled_pixel_auroc"}
ACROSS = {column: f"{metric_id}_across" for column, metric_id in POOLED.items()}
_SHOWN = {
    (names.get(metric_id, metric_id), grid)
    for _, metric_id, grid in COLUMNS
    for names in ({}, POOLED, ACROSS)
}


@dataclass(frozen=True)
class _Line:
    """One line of a table."""

    row: Row
    """Its numbers."""
    images: str = ""
    """Of a suite's run: over which images."""
    metrics: Mapping[str, str] | None = None
    """By column, the metric in it, where it is another one; the other columns stay empty."""


def result_tables(records: Sequence[Record], *, width: int | None = None) -> str:
    """One table per benchmark and regime: mean ± standard deviation over seeds, in percent.

    An entry has one line, and of a suite one for each member, their mean, and what is pooled.

    Args:
        records: the records of the call.
        width: columns of the terminal; None asks the terminal.
    """
    groups = [
        [record for record in records if record.place == place]
        for place in dict.fromkeys(record.place for record in records)
    ]
    shown = [_table(_heading(group[0]), lines) for group in groups if (lines := _lines(group))]
    told = [Text(one_line(remark, MAX_REMARK)) for remark in _remarks(records)]
    # Never narrower than the table: a terminal wraps a long line, a cut number misleads.
    text = as_text(*shown, *told, width=width, least_width=WIDTH)
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()


def _lines(records: Sequence[Record]) -> list[_Line]:
    """The lines of one table: of the records of one place."""
    rows = summarise(records)
    if not any(record.is_of_suite for record in records):
        return [_Line(row) for row in rows]
    parts = [member_records(record) for record in records]
    names = [pack.benchmark for pack in records[0].members]
    apart = {name: summarise(each[number] for each in parts) for number, name in enumerate(names)}
    mean = summarise(mean_record(record) for record in records)
    lines = []
    for number, row in enumerate(rows):
        lines += [_Line(of_member[number], name) for name, of_member in apart.items()]
        lines.append(_Line(mean[number], MEAN))
        lines += [_Line(row, "pooled", POOLED), _Line(row, "pooled, across", ACROSS)]
    return lines


def _heading(record: Record) -> str:
    benchmark, regime = record.pack.benchmark, (record.regime or ONE_CLASS).shown
    is_usual = record.place == benchmark and not record.is_of_suite
    return one_line(benchmark) + ("" if is_usual or regime == benchmark else f" ({regime})")


def _table(heading: str, lines: Sequence[_Line]) -> Table:
    is_of_suite = any(line.images for line in lines)
    title = Text(f"{heading}: percent, mean ± standard deviation over seeds")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("entry", no_wrap=True)
    if is_of_suite:
        table.add_column("images", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for head, _, _ in COLUMNS:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("s per\nimage", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for line in lines:
        row = line.row
        table.add_row(
            cell(row.entry),
            *([cell(line.images)] if is_of_suite else []),
            f"{len(row.seeds) - len(row.without_result)}/{len(row.seeds)}",
            *(_shown(line, metric_id, grid) for _, metric_id, grid in COLUMNS),
            _seconds(row),
            cell(_status(row)),
        )
    return table


def _shown(line: _Line, metric_id: str, grid: Grid | None) -> str:
    if line.metrics is None:
        return _number(line.row, metric_id, grid)
    found = line.metrics.get(metric_id)
    return _number(line.row, found, grid) if found else ""


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
    marks = [] if row.ranked else ["unranked"]
    marks += [row.isolation] if row.isolation == "same user" else []
    return ", ".join(["ok", *marks, *row.audit_marks, *row.marks])


def _remarks(records: Sequence[Record]) -> list[str]:
    """What a reader must know to read the tables rightly; each said once, with its entries."""
    told: dict[str, list[str]] = {}
    for record in records:
        name = f"{record.place}/{record.entry.name}"
        if reasons := why_unranked(record):
            told.setdefault(f"unranked ({', '.join(reasons)})", []).append(name)
        if record.machine.isolation == "same user":
            told.setdefault(f"same user: {'; '.join(record.machine.lacks)}", []).append(name)
        for warning in record.warnings:
            told.setdefault(warning, []).append(name)
        for metric in record.metrics:
            is_shown = (metric.id, metric.grid) in _SHOWN
            if metric.value is None and is_shown:
                member = f" ({metric.member})" if metric.member else ""
                told.setdefault(f"{metric.id}{member} is NA: {metric.reason}", []).append(name)
    return [f"{remark}: {', '.join(dict.fromkeys(names))}" for remark, names in told.items()]
