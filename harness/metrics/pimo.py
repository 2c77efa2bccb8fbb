"""AUPIMO, the area under per-image overlap: recall of an image against strictly few false alarms.

Bertoldo et al. 2024 (arXiv 2401.01984): the recall of one anomalous image, as
a function of the false-positive rate over normal images alone, is integrated over the logarithm
of that rate from 1e-5 to 1e-4, and divided by the integral of a perfect recall; the metric is
the mean over anomalous images. No pixel of an anomalous image counts as a false alarm.

Where we differ: every distinct score is a threshold (the authors sample 300,000 between the
least and the largest); within a tie recall grows linearly with the rate, as in PRO, so that a
constant map scores 3.9e-5; and the rate is that of all pixels of the normal images together,
the authors' mean over images where these have one size. So an anomalous pixel adds, whatever
its image, what its score alone is worth: 1 above every normal pixel, 0 where more than 1e-4 of
them are above it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.keys import KEYS
from harness.metrics.kernels.tail import sum_shares
from harness.metrics.needs import LEAST_AUPIMO_PIXELS
from harness.metrics.pixels import PixelCounts
from harness.metrics.table import Rows
from harness.metrics.tails import Tail, tail_of

FPR_BOUNDS = (1e-5, 1e-4)
"""Shared false-positive rates between which recall is integrated."""
_EDGE_RATES = np.geomspace(1e-6, 1e-3, 46)
"""Rates at which a bin of the resamples begins: without some patient the bounds lie elsewhere."""


def recall_shares(above: Any, tied: Any, normal: Any) -> Rows:
    """What a score is worth: its share of the area of a perfect recall, from 0 to 1.

    Args:
        above: pixels of normal images above the score; arrays that broadcast, as the others.
        tied: those of exactly this score.
        normal: all of them, at least one.
    """
    low, high = (bound * np.asarray(normal, np.float64) for bound in FPR_BOUNDS)
    above, found = np.asarray(above, np.float64), np.asarray(above + tied, np.float64)
    start, end = np.maximum(above, low), np.minimum(found, high)
    width = end - start
    with np.errstate(invalid="ignore", divide="ignore"):
        # Over the tie: the integral of (F - above) / tied dF / F.
        rising = (width - above * np.log1p(width / start)) / (found - above)
        flat = np.log(high / np.maximum(found, low))
    area = np.where(width > 0, rising, 0.0) + np.where(found < high, flat, 0.0)
    return np.clip(area / np.log(high / low), 0.0, 1.0)


def normal_tail(counts: PixelCounts, is_normal: NDArray[np.bool_]) -> tuple[Tail, int]:
    """The highest scores of the normal images, and how many pixels these images have."""
    images = np.flatnonzero(is_normal).tolist()
    normal = int(sum(counts.truth.normal_counts[image] for image in images))
    return tail_of(counts, images, int(_EDGE_RATES[-1] * normal)), normal


def edges_of(tail: Tail, normal: int) -> NDArray[np.uint32]:
    """Ascending keys at which bins of the resamples shall begin."""
    if tail.keys.size == 0:
        return tail.keys
    from_top = np.cumsum(tail.pixels[::-1])
    places = np.searchsorted(from_top, np.minimum(_EDGE_RATES * normal, from_top[-1]))
    return np.unique(tail.keys[::-1][places])


def image_aupimo(
    counts: PixelCounts, is_normal: NDArray[np.bool_], tail: Tail, normal: int
) -> Rows:
    """AUPIMO of each image, float64 [n]; NaN for normal images, those without an anomalous
    pixel, and where the normal images have too few pixels for the lower bound."""
    found = np.full(is_normal.size, np.nan)
    if normal < LEAST_AUPIMO_PIXELS:
        return found
    from_here = np.append(tail.from_here, 0)
    at = recall_shares(from_here[1:], tail.pixels, normal)
    between = recall_shares(from_here, 0, normal)
    shift = 16 if counts.is_bucketed else 0
    firsts = np.searchsorted(tail.keys, np.arange(KEYS + 1, dtype=np.uint64) << np.uint64(shift))
    for image in np.flatnonzero(~is_normal).tolist():
        keys = counts.anomalous_keys(image)
        if keys.size:
            worth = sum_shares(keys, shift, tail.keys, firsts, between, at)
            found[image] = worth / keys.size
    return found


def binned_aupimo(normal: Rows, weights: Rows) -> Rows:
    """AUPIMO from bins of scores in ascending order; NaN where a class is missing.

    Args:
        normal: float64 [B, K], pixels of normal images.
        weights: float64 [B, K], anomalous pixels, each 1 / those of its image.
    """
    from_here = np.cumsum(normal[:, ::-1], axis=1)[:, ::-1]
    every = from_here[:, :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = recall_shares(from_here - normal, normal, every)
        return np.asarray((weights * shares).sum(axis=1) / weights.sum(axis=1) + 0 / every[:, 0])
