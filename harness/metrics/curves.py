"""ROC, precision-recall and PRO curves from evidence, thinned to what a screen can show.

Every point lies exactly on the curve. float16 gives a point per distinct score;
float32 one per bucket of scores and per edge of the bootstrap's bins. Trap: a
curve can carry labels that an entry wrote into its scores; none for hidden packs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.metrics.evidence import WEIGHT_UNIT, Evidence, GridEvidence
from harness.metrics.kernels.layout import ANOMALOUS_KINDS, FOUR_ROW, NORMAL_KINDS
from harness.metrics.pro import Points, overlap_curve
from harness.records.record import Grid

MOST_POINTS = 400
TOLERANCE = 5e-4
"""Largest distance of a dropped point from the line, in units of the axes: half a pixel of a
plot of 1,000."""


@dataclass(frozen=True)
class Curve:
    """One line to draw; both axes are shares from 0 to 1."""

    kind: Literal["roc", "precision_recall", "pro"]
    """ROC: false- against true-positive rate. PRO: false-positive rate up to its limit against
    mean region overlap. Precision-recall: recall against precision."""
    grid: Grid | None
    """Grid of the pixels; None for image scores."""
    x: tuple[float, ...]
    """Ascending."""
    y: tuple[float, ...]
    """As many."""


@dataclass(frozen=True)
class _Cumulated:
    """Counts at or above each threshold, from the highest threshold down."""

    normal: Points
    anomalous: Points
    overlap: Points


def curves_of(evidence: Evidence) -> tuple[Curve, ...]:
    """All curves of a run that are defined: of the image scores, then of each grid."""
    curves = _roc_and_precision(_of_images(evidence), None)
    for name, part in evidence.grids.items():
        grid: Grid = "native" if name == "native" else "paper"
        counts = _of_pixels(part)
        curves += _roc_and_precision(counts, grid)
        if counts.overlap[-1] > 0 and counts.normal[-1] > 0:
            curves.append(_curve("pro", grid, *overlap_curve(counts.normal, counts.overlap)))
    return tuple(curves)


def _of_images(evidence: Evidence) -> _Cumulated:
    scores, labels = evidence.test.scores, evidence.test.is_anomalous
    _, group = np.unique(-scores, return_inverse=True)
    normal = np.bincount(group[~labels], minlength=group.max(initial=-1) + 1)
    anomalous = np.bincount(group[labels], minlength=normal.size)
    return _Cumulated(*(_from_zero(np.cumsum(c)) for c in (normal, anomalous, 0 * normal)))


def _of_pixels(part: GridEvidence) -> _Cumulated:
    """Points at every occupied bin and at every edge; both are exact."""
    occupied = np.flatnonzero(part.pixels.sum(axis=0))[::-1]
    columns = []
    for fine, coarse, unit in (
        (part.pixels[NORMAL_KINDS], part.group_pixels[:, NORMAL_KINDS], 1.0),
        (part.pixels[ANOMALOUS_KINDS], part.group_pixels[:, ANOMALOUS_KINDS], 1.0),
        (part.weights[:FOUR_ROW], part.group_weights[:, :FOUR_ROW], WEIGHT_UNIT),
    ):
        at_bins = np.cumsum(fine.sum(axis=0)[occupied])
        at_edges = np.cumsum(coarse.sum(axis=(0, 1))[::-1]) * unit
        columns.append(_from_zero(np.concatenate([at_bins, at_edges])))
    order = np.lexsort((columns[1], columns[0]))
    normal, anomalous, overlap = (column[order] for column in columns)
    return _Cumulated(normal, anomalous, np.maximum.accumulate(overlap))


def _from_zero(counts: NDArray[np.generic]) -> Points:
    return np.concatenate([[0.0], counts.astype(np.float64)])


def _roc_and_precision(counts: _Cumulated, grid: Grid | None) -> list[Curve]:
    normal, anomalous = counts.normal[-1], counts.anomalous[-1]
    if normal == 0 or anomalous == 0:
        return []
    roc = _curve("roc", grid, counts.normal / normal, counts.anomalous / anomalous)
    some = counts.anomalous > 0
    precision = counts.anomalous[some] / (counts.anomalous[some] + counts.normal[some])
    recall = counts.anomalous[some] / anomalous
    x, y = np.append(0.0, recall), np.append(precision[0], precision)
    return [roc, _curve("precision_recall", grid, x, y)]


def _curve(
    kind: Literal["roc", "precision_recall", "pro"], grid: Grid | None, x: Points, y: Points
) -> Curve:
    kept = thinned(x, y)
    return Curve(kind, grid, tuple(x[kept].tolist()), tuple(y[kept].tolist()))


def thinned(x: Points, y: Points, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Which points to keep so that the line through them stays where it was.

    Douglas and Peucker 1973, at a tolerance that grows until at most `most` are left.
    """
    tolerance = TOLERANCE
    kept = _simplified(x, y, tolerance)
    while kept.size > most:
        tolerance *= 1.5
        kept = kept[_simplified(x[kept], y[kept], tolerance)]
    return kept


def _simplified(x: Points, y: Points, tolerance: float) -> NDArray[np.int64]:
    is_kept = np.zeros(x.size, np.bool_)
    is_kept[[0, -1]] = True
    stretches = [(0, x.size - 1)]
    while stretches:
        first, last = stretches.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        across, up = x[last] - x[first], y[last] - y[first]
        length = np.hypot(across, up)
        aside, above = x[inner] - x[first], y[inner] - y[first]
        if length > 0:
            distance = np.abs(across * above - up * aside) / length
        else:
            distance = np.hypot(aside, above)
        farthest = int(np.argmax(distance))
        if distance[farthest] > tolerance:
            middle = first + 1 + farthest
            is_kept[middle] = True
            stretches += [(first, middle), (middle, last)]
    return np.flatnonzero(is_kept)
