"""Kernels of the bootstrap: what a resample holds, and image metrics under it.

The numbers come from a generator of our own (SplitMix64, Steele 2014), so that a resample
never changes with a library's version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.jit import kernel

Resamples = NDArray[np.uint16]

AUROC, PRECISION, F1 = range(3)  # columns of what is found


@kernel
def _mix(state: np.uint64) -> np.uint64:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@kernel
def draw(seed: int, first: int, counts: Resamples) -> None:
    """Fill rows `first`, `first + 1`, … of the resamples; a row depends on seed and number alone."""
    rows, units = counts.shape
    step = np.uint64(0x9E3779B97F4A7C15)
    half = np.uint64(32)
    mask = np.uint64(0xFFFFFFFF)
    span = np.uint64(units)
    for row in range(rows):
        for unit in range(units):
            counts[row, unit] = 0
        state = _mix(_mix(np.uint64(seed) + step) + np.uint64(first + row))
        for _ in range(units >> 1):
            state += step
            bits = _mix(state)
            counts[row, ((bits & mask) * span) >> half] += 1
            counts[row, ((bits >> half) * span) >> half] += 1
        if units & 1:
            state += step
            counts[row, ((_mix(state) & mask) * span) >> half] += 1


@kernel
def sweep_resamples(
    counts: Resamples,
    units: NDArray[np.int32],
    is_anomalous: NDArray[np.float64],
    is_last: NDArray[np.bool_],
    anomalous_of_unit: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """AUROC, AP and best F1 of every resample; counts are whole numbers in float64.

    Args:
        counts: uint16 [B, G].
        units, is_anomalous, is_last: [n] unit, label, and whether the next image has another
            score, in descending order of score.
        anomalous_of_unit: [G] anomalous images of each unit.
        found: float64 [B, 3], filled: AUROC, average precision, best F1.
    """
    for row in range(counts.shape[0]):
        drawn = counts[row]
        anomalous = 0.0
        for unit in range(drawn.size):
            anomalous += drawn[unit] * anomalous_of_unit[unit]
        positives = negatives = tied_positives = tied_negatives = 0.0
        misranked = precision = best = 0.0
        for image in range(units.size):
            count = np.float64(drawn[units[image]])
            tied_positives += count * is_anomalous[image]
            tied_negatives += count * (1.0 - is_anomalous[image])
            if not is_last[image]:
                continue
            misranked += tied_positives * (2.0 * negatives + tied_negatives)
            positives += tied_positives
            negatives += tied_negatives
            predicted = positives + negatives
            # No branch on what was drawn: the tiny term keeps 0 / 0 out, and changes nothing.
            precision += tied_positives * (positives / (predicted + 1e-300))
            best = max(best, positives / (anomalous + predicted + 1e-300))
            tied_positives = tied_negatives = 0.0
        if positives == 0 or negatives == 0:
            found[row, AUROC] = found[row, PRECISION] = found[row, F1] = np.nan
            continue
        found[row, AUROC] = 1.0 - misranked / (2.0 * positives * negatives)
        found[row, PRECISION] = precision / positives
        found[row, F1] = 2.0 * best
