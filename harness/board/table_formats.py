"""Tables for other programs and for papers: CSV, Markdown and LaTeX (booktabs).

Cells are foreign text: what a spreadsheet, LaTeX or Markdown would take for a command is written
so that it is read as it stands.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from harness.common.declared_text import FORMULA_STARTS
from harness.common.foreign_text import one_line

Scalar = str | int | float | bool | None
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[Scalar]]) -> str:
    """Comma-separated, one head; numbers in full, `true` and `false`, nothing where there is no value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _csv_cell(value: Scalar) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = one_line(value, 4096)
        return f"'{text}" if text.startswith(FORMULA_STARTS) else text
    return repr(value)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of finished cells; the first column is text, the others are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def markdown_text(value: object) -> str:
    """Text in a cell, its special characters as they stand."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", one_line(value, 4096))


def latex_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, note: str = "") -> str:
    """A `tabular` with booktabs' rules; heads and cells are finished LaTeX.

    Args:
        columns: heads; the first column is set left, the others right.
        rows: cells.
        note: comment lines above it, such as the package it needs.
    """
    comments = [f"% {one_line(line, 4096)}" for line in note.splitlines()]
    lines = [
        *comments,
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        " & ".join(columns) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def latex_text(value: object) -> str:
    """Text as LaTeX sets it, none of its characters a command."""
    return "".join(_LATEX.get(each, each) for each in one_line(value, 4096))
