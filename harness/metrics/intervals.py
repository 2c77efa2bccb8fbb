"""The bootstrap: which units a resample holds, image metrics under it, and 95 % intervals.

Units are patients, or images where the pack knows no patients: the slices of one
patient are no independent evidence. 2,000 resamples, multinomial, not stratified;
a resample with one class alone has no value and is left out. The numbers come
from a generator of our own (SplitMix64, Steele 2014), so that an interval never
changes with a library's version.
"""

# ruff: noqa: PLR0917 - a kernel takes arrays, not records, and numba no keywords by name

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.metrics.evidence import ScoreEvidence
from harness.metrics.kernels.jit import kernel
from harness.metrics.table import Sweep

RESAMPLES = 2000
FEW_UNITS = 20
"""Below this number of units an interval is marked."""

_NORMAL_975 = 1.959963984540054  # 97.5 % point of the standard normal distribution

Resamples = NDArray[np.uint16]


@kernel
def _mix(state: np.uint64) -> np.uint64:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@kernel
def _draw(seed: int, first: int, counts: Resamples) -> None:
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


def resample_counts(units: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Resamples:
    """How often each unit stands in each resample, uint16 [resamples, units].

    Equal units and seed give equal rows, so entries can be resampled jointly.
    """
    counts = np.empty((resamples, units), np.uint16)
    _in_threads(lambda part: _draw(seed, part.start, counts[part]), resamples)
    return counts


@kernel
def _sweep_images(
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
        found: float64 [B, 3].
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
            found[row, 0] = found[row, 1] = found[row, 2] = np.nan
            continue
        found[row, 0] = 1.0 - misranked / (2.0 * positives * negatives)
        found[row, 1] = precision / positives
        found[row, 2] = 2.0 * best


def sweep_images(split: ScoreEvidence, counts: Resamples, subclass: str | None = None) -> Sweep:
    """Image metrics of every row of resamples [B, units of the split]; NaN with one class.

    Args:
        subclass: only the anomalous images of this subclass; None: all.
    """
    number, unit_of = split.group_index
    chosen = np.ones(len(split.keys), np.bool_)
    if subclass is not None:
        of_subclass = np.array([name == subclass for name in split.subclasses])
        chosen = ~split.is_anomalous | of_subclass
    order = np.flatnonzero(chosen)
    order = order[np.argsort(-split.scores[order], kind="stable")]
    scores = split.scores[order]
    is_last = np.append(scores[1:] != scores[:-1], True)[: scores.size]
    found = np.empty((counts.shape[0], 3))
    units = unit_of[order].astype(np.int32)
    labels = split.is_anomalous[order].astype(np.float64)
    per_unit = np.bincount(units, labels, number).astype(np.float64)
    _in_threads(
        lambda part: _sweep_images(counts[part], units, labels, is_last, per_unit, found[part]),
        counts.shape[0],
    )
    auroc, precision, f1 = np.ascontiguousarray(found.T)
    return Sweep(auroc=auroc, average_precision=precision, dice_max=f1, region_overlap={})


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    """2.5 % end."""
    high: float
    """97.5 % end."""


def percentile_interval(
    value: float, coarse: float, resampled: NDArray[np.float64]
) -> Interval | None:
    """The middle 95 % of the resamples, moved by what coarser bins moved the value itself.

    Args:
        value: the exact metric.
        coarse: the metric on the resamples' bins (`value` where these are exact).
        resampled: [B]; NaN where a resample has no value.

    Returns:
        None where fewer than half of the resamples have a value.
    """
    defined = resampled[np.isfinite(resampled)]
    if 2 * defined.size <= resampled.size or not np.isfinite(coarse):
        return None
    low, high = np.percentile(defined, [2.5, 97.5]) + (value - coarse)
    return Interval(float(np.clip(low, 0.0, 1.0)), float(np.clip(high, 0.0, 1.0)))


def delong_interval(split: ScoreEvidence) -> Interval | None:
    """The image AUROC's interval after DeLong 1988 (midranks: Sun and Xu 2014).

    A cross-check of the bootstrap over images: it knows nothing of patients.

    Returns:
        None with fewer than two images of either class.
    """
    anomalous, normal = split.scores[split.is_anomalous], split.scores[~split.is_anomalous]
    if anomalous.size < 2 or normal.size < 2:
        return None
    ordered_normal, ordered_anomalous = np.sort(normal), np.sort(anomalous)
    above_normal = 0.5 * (
        np.searchsorted(ordered_normal, anomalous, side="left")
        + np.searchsorted(ordered_normal, anomalous, side="right")
    ) / normal.size  # fmt: skip
    below_anomalous = 1 - 0.5 * (
        np.searchsorted(ordered_anomalous, normal, side="left")
        + np.searchsorted(ordered_anomalous, normal, side="right")
    ) / anomalous.size  # fmt: skip
    auroc = float(above_normal.mean())
    variance = above_normal.var(ddof=1) / anomalous.size + below_anomalous.var(ddof=1) / normal.size
    reach = float(_NORMAL_975 * np.sqrt(variance))
    return Interval(max(0.0, auroc - reach), min(1.0, auroc + reach))


def _in_threads(work: Callable[[slice], None], rows: int) -> None:
    """Do the rows in as many parts as there are cores; the parts share nothing."""
    workers = max(1, min(os.cpu_count() or 1, 8, rows // 64))
    cuts = [rows * part // workers for part in range(workers + 1)]
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    if workers == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, parts))
