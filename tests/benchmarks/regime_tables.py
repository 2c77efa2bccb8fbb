"""Brings what `bench_regimes.py` measured into docs/regimes.md: tables of differences and of few images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.board.few_shot_curves import FewShotCurve, FewShotPoint, few_shot_curves
from harness.board.rows import MetricSummary
from harness.board.sibling_files import RowKey, differences_of_all
from harness.board.siblings import SiblingDifference
from harness.board.suite_rows import WholeRow, whole_rows
from harness.records.record import Grid
from harness.records.regime import SHOTS
from harness.records.store import Store

PAGE = Path(__file__).resolve().parents[2] / "docs" / "regimes.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NAMES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_pro": "PRO"}
BESIDE: tuple[tuple[str, Grid | None], ...] = (("image_auroc", None), ("pixel_auroc", "native"))
POOLED: dict[str, tuple[str, Grid | None]] = {
    "pooled image AUROC": ("pooled_image_auroc", None),
    "its part of two packs": ("pooled_image_auroc_across", None),
    "pooled pixel AUROC": ("pooled_pixel_auroc", "native"),
    "its part of two packs, pixels": ("pooled_pixel_auroc_across", "native"),
}
NOTHING = "–"


def write_page(store: Store) -> None:
    """Put the runs that there are between the marks of the page."""
    records = store.records()
    wholes = whole_rows(records)
    told = tables(wholes, differences_of_all(wholes, records, [store]))
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    text = f"{before}{BEGIN}\n{told}{END}{rest.split(END)[1]}"
    PAGE.write_text(text, encoding="utf-8")


def tables(
    wholes: Sequence[WholeRow], differences: Mapping[RowKey, Sequence[SiblingDifference]]
) -> str:
    """The runs in Markdown, in percent and points.

    Args:
        wholes: rows of any regimes.
        differences: of the unified ones to one-class, by key of the row.
    """
    unified = [whole for whole in wholes if whole.row.regime.name == "unified"]
    curves = few_shot_curves(whole.row for whole in wholes if not whole.members)
    beside = [line for each in unified for line in _beside(each, differences[each.key])]
    heads = [f"{NAMES[metric]}, {kind}" for metric, _ in BESIDE for kind in _KINDS]
    parts = [
        _table(["method", "images", *heads], beside),
        _table(["method", *POOLED], map(_pooled, unified)),
        _table(["method", "metric", *(f"k = {k}" for k in SHOTS), "all"], map(_curve, curves)),
    ]
    return "\n".join(parts)


_KINDS = ("one model each", "one for all", "difference")


def _beside(whole: WholeRow, told: Sequence[SiblingDifference]) -> Iterable[list[str]]:
    """One line for each member, and one for their mean."""
    found = {(each.member, each.metric, each.grid): each for each in told}
    for member in dict.fromkeys(each.member for each in told):
        row = whole.members.get(member, whole.mean)
        cells = [
            cell
            for key in BESIDE
            for cell in _compared(row.metric(*key) if row else None, found.get((member, *key)))
        ]
        yield [f"`{whole.row.entry}`", member, *cells]


def _compared(own: MetricSummary | None, told: SiblingDifference | None) -> list[str]:
    """One-class, unified and their difference; what is not known is a dash."""
    cells = [NOTHING] * len(_KINDS)
    if own is not None and own.mean is not None:
        cells[1] = f"{100 * own.mean:.1f}"
    if told is None or told.sibling is None or told.difference is None:
        return cells
    cells[0] = f"{100 * told.sibling:.1f}"
    cells[2] = f"{100 * told.difference:+.1f}"
    if told.low is not None and told.high is not None:
        cells[2] += f" [{100 * told.low:+.1f}, {100 * told.high:+.1f}]"
    return cells


def _pooled(whole: WholeRow) -> list[str]:
    found = [whole.row.metric(*key) for key in POOLED.values()]
    cells = [
        f"{100 * each.mean:.1f}" if each and each.mean is not None else NOTHING for each in found
    ]
    return [f"`{whole.row.entry}`", *cells]


def _curve(curve: FewShotCurve) -> list[str]:
    points = {point.shots: point for point in curve.points}
    cells = [_point(points.get(count)) for count in SHOTS] + [_point(curve.with_all)]
    return [f"`{curve.entry}`", NAMES[curve.metric], *cells]


def _point(point: FewShotPoint | None) -> str:
    if point is None or point.mean is None:
        return NOTHING
    if point.low is None or point.high is None:
        return f"{100 * point.mean:.1f}"
    return f"{100 * point.mean:.1f} ± {50 * (point.high - point.low):.1f}"


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
