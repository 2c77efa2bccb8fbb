"""The two thresholds that the validation split gives: that of best Dice, and one of few alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.layout import ANOMALOUS_KINDS, NORMAL_KINDS
from harness.metrics.kernels.sweep import DICE_KEY
from harness.metrics.pixels import PixelCounts
from harness.metrics.tails import highest_beyond, key_beyond

ONE_ALARM_OF = 20
"""The threshold `fpr` finds at most one of so many normal validation pixels: 5 %."""

NO_SPLIT = "there is no validation split with masks"
"""Why there is no threshold where no validation split is scored."""
_NO_NORMAL = "no validation pixel is normal"


@dataclass(frozen=True)
class Threshold:
    """A threshold from the validation split."""

    key: int | None
    """Key of the smallest score that counts as found; None where there is none."""
    reason: str | None
    """Why there is none."""


def best_dice_threshold(counts: PixelCounts | None) -> Threshold:
    """The threshold that maximises Dice on the validation split (the highest one of equals)."""
    if counts is None:
        return Threshold(None, NO_SPLIT)
    pixels, _ = counts.histograms
    if not pixels[NORMAL_KINDS].any() or not pixels[ANOMALOUS_KINDS].any():
        return Threshold(None, "only one class among the validation pixels")
    exact = counts.sweep(wants_edges=False)
    if exact.levels == 1:
        return Threshold(None, "the maps are constant over the validation split")
    return Threshold(int(exact.states[0, DICE_KEY]), None)


def alarm_threshold(counts: PixelCounts | None) -> Threshold:
    """The lowest threshold that finds at most 5 % of the normal validation pixels."""
    if counts is None:
        return Threshold(None, NO_SPLIT)
    normal = counts.totals[NORMAL_KINDS].sum(axis=0)
    if not normal.any():
        return Threshold(None, _NO_NORMAL)
    return Threshold(key_beyond(counts, normal, int(normal.sum()) // ONE_ALARM_OF) + 1, None)


def alarm_threshold_of_halves(pixels: NDArray[np.int64] | None) -> Threshold:
    """The same from the float16 histograms of the validation split, int64 [4, 65536]."""
    if pixels is None:
        return Threshold(None, NO_SPLIT)
    normal = pixels[NORMAL_KINDS].sum(axis=0)
    if not normal.any():
        return Threshold(None, _NO_NORMAL)
    return Threshold(highest_beyond(normal, int(normal.sum()) // ONE_ALARM_OF) + 1, None)
