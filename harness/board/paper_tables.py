"""The board as tables for a paper or a page: entries down, metrics across, one for each benchmark.

The best mean of a column is bold; what a comparison cannot tell from the best is marked, and so are
rows that take no rank. Only ranked rows compete for bold where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.board.rows import MetricSummary, Row
from harness.board.table_formats import latex_table, latex_text, markdown_table, markdown_text

SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_pro", "dice_max")
"""What a table shows where nothing else is asked for, as far as a benchmark has it."""
Key = tuple[str, str | None]


@dataclass(frozen=True)
class Marks:
    """How a form of text says what a table says."""

    text: Callable[[object], str]
    """Foreign text as it stands."""
    bold: str
    """A template with `{}`."""
    tied: str
    """After a value that cannot be told from the best."""
    unranked: str
    """After the name of a row that takes no rank."""
    spread: str
    """Between mean and standard deviation."""
    missing: str
    """Where there is no value."""


LATEX = Marks(latex_text, r"\textbf{{{}}}", r"$^{=}$", r"$^{\dagger}$", r"\,$\pm$\,", "--")
MARKDOWN = Marks(markdown_text, "**{}**", " =", " †", " ± ", "–")


def latex_tables(rows: Sequence[Row], metrics: Sequence[str] = ()) -> str:
    """One `tabular` for each benchmark, regime and track."""
    parts = []
    for (place, track), group in _groups(rows):
        keys = _keys(group, metrics)
        note = [f"{place}, {track}: percent, mean and standard deviation over seeds."]
        note += [
            "bold: highest mean; superscript =: cannot be told from it (python -m harness.compare)"
        ]
        note += [f"superscript dagger: takes no rank; {each}" for each in _unranked(group)]
        head = ["Entry", *(latex_text(_head(key)) for key in keys)]
        parts.append(latex_table(head, _cells(group, keys, LATEX), note="\n".join(note)))
    return "\n".join(parts)


def markdown_tables(rows: Sequence[Row], metrics: Sequence[str] = ()) -> str:
    """One table for each benchmark, regime and track, each under a head of its own."""
    parts = []
    for (place, track), group in _groups(rows):
        keys = _keys(group, metrics)
        head = ["entry", *(markdown_text(_head(key)) for key in keys)]
        notes = [f"† takes no rank: {markdown_text(each)}" for each in _unranked(group)]
        told = "Percent, mean ± standard deviation over seeds; **best**, = cannot be told from it."
        parts.append(
            f"## {markdown_text(place)}, {track}\n\n"
            + markdown_table(head, _cells(group, keys, MARKDOWN))
            + "\n".join(["", told, *notes, ""])
        )
    return "\n".join(parts)


def _groups(rows: Sequence[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.place, row.track), []).append(row)
    return sorted(found.items())


def _keys(rows: Sequence[Row], metrics: Sequence[str]) -> list[Key]:
    wanted = metrics or SHOWN
    there = dict.fromkeys((m.id, m.grid) for row in rows for m in row.metrics if m.mean is not None)
    keys = [key for key in there if key[0] in wanted and (metrics or key[1] != "paper")]
    return sorted(keys, key=lambda key: (list(wanted).index(key[0]), key[1] or ""))


def _head(key: Key) -> str:
    return f"{key[0]} (paper)" if key[1] == "paper" else key[0]


def _cells(rows: Sequence[Row], keys: Sequence[Key], marks: Marks) -> list[list[str]]:
    competing = [row for row in rows if row.ranked] or rows
    best = {key: _best(competing, key) for key in keys}
    lines = []
    for row in rows:
        name = marks.text(row.title or row.entry) + ("" if row.ranked else marks.unranked)
        cells = [_cell(row.metric(*key), best[key], row in competing, marks) for key in keys]  # type: ignore[arg-type]
        lines.append([name, *cells])
    return lines


def _best(rows: Sequence[Row], key: Key) -> MetricSummary | None:
    """The highest mean of a column."""
    found = [metric for row in rows if (metric := row.metric(*key)) and metric.mean is not None]  # type: ignore[arg-type]
    return max(found, key=lambda metric: metric.mean or 0.0, default=None)


def _cell(
    metric: MetricSummary | None, best: MetricSummary | None, is_competing: bool, marks: Marks
) -> str:
    if metric is None or metric.mean is None:
        return marks.missing
    text = f"{100 * metric.mean:.2f}"
    is_best = is_competing and best is not None and f"{100 * (best.mean or 0):.2f}" == text
    shown = marks.bold.format(text) if is_best else text
    if metric.std is not None:
        shown += f"{marks.spread}{100 * metric.std:.2f}"
    # A rank of 1 is that nothing is significantly better: not told from the best.
    return shown + (marks.tied if metric.rank == 1 and not is_best else "")


def _unranked(rows: Sequence[Row]) -> list[str]:
    return [f"{row.title or row.entry}: {row.unranked_reason}" for row in rows if not row.ranked]
