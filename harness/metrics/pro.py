"""PRO, the per-region overlap: its definition, its curve and its area (`pixel_pro` and its kin).

At each threshold, y is the mean over ground-truth regions of the share of the region at or
above it, x the false-positive rate over the normal pixels (MVTec AD, Bergmann et al. 2021,
section 5.2). PRO is the area under this curve by trapezoids up to `FPR_LIMIT`, with linear
interpolation there, divided by the limit: 1 is best, and a constant map has 0.15.

`pro_05` is the same to `STRICT_FPR_LIMIT`, for curves that all are near 1 at 0.3.

The area is added up score by score by `harness.metrics.kernels.sweep`, from the highest down:
pixels that are found at a count F of false positives stay found up to the limit L, and add
(L - F) times their weight, 1 / size of their region; pixels of a score that also has normal
ones come in linearly over these. That is the area under the trapezoids, region by region.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.exact import SweepLimits
from harness.metrics.kernels.grouping import Block, ScoreGroups, spread_normal
from harness.metrics.kernels.sweep import area_of_gaps

FPR_LIMIT = 0.3
"""False-positive rate up to which region overlap is integrated."""
STRICT_FPR_LIMIT = 0.05
"""The same of `pro_05`."""
LIMITS = SweepLimits(FPR_LIMIT, STRICT_FPR_LIMIT)
"""Both, for the sweeps."""

Points = NDArray[np.float64]


def overlap_of(area: Any, normal: Any, cover: Any, limit: float = FPR_LIMIT) -> Any:
    """PRO from an area over counts; scalars or arrays float64 [B].

    Args:
        area: under the summed overlap of the regions against the count of false positives, up
            to `limit * normal` of them.
        normal: normal pixels.
        cover: summed weights of the anomalous pixels: the number of regions.
        limit: false-positive rate up to which the area goes.
    """
    return area / (limit * normal * cover)


def overlap_curve(normal: Points, overlap: Points) -> tuple[Points, Points]:
    """The curve up to the limit: false-positive rate and mean overlap, from 0 up.

    Args:
        normal: normal pixels at or above each threshold, from 0 to all of them.
        overlap: summed region overlap there; ends above 0.
    """
    x, y = normal / normal[-1], overlap / overlap[-1]
    inside = x < FPR_LIMIT
    end = np.interp(FPR_LIMIT, x, y)
    return np.append(x[inside], FPR_LIMIT), np.append(y[inside], end)


def image_overlap(
    blocks: Iterable[Block], anomalous: ScoreGroups, normal: float, is_bucketed: bool
) -> float:
    """PRO of one image by itself, against its own normal pixels.

    Args:
        blocks: its normal pixels.
        anomalous: its distinct anomalous scores; at least one.
        normal: number of its normal pixels; at least one.
        is_bucketed: whether the maps are float32.
    """
    scores, counts, weights = anomalous
    limit = FPR_LIMIT * normal
    gaps, ties = np.zeros(scores.size + 1, np.int64), np.zeros(scores.size, np.int64)
    for block in blocks:
        if block.keys.size:
            spread_normal(block, is_bucketed, scores, limit, gaps, ties)
    area, cover = area_of_gaps(gaps, ties, counts, weights[None], limit)
    return float(overlap_of(area, normal, cover))
