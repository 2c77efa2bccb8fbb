"""Resamples of units, image metrics under them, and DeLong's interval as a cross-check.

A resample says how often each unit counts: 2,000 drawn ones (multinomial, not stratified)
show how stable ranks are; those of `harness.metrics.jackknife`, with one unit left out
each, give the intervals. One with a single class has no value. Image metrics are
resampled here, pixel metrics in `harness.metrics.estimate`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from harness.metrics.evidence import ScoreEvidence
from harness.metrics.jackknife import Interval
from harness.metrics.kernels.bootstrap import Resamples, draw, sweep_resamples
from harness.metrics.table import Sweep

RESAMPLES = 2000

_NORMAL_975 = 1.959963984540054  # 97.5 % point of the standard normal distribution


def resample_counts(units: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Resamples:
    """How often each unit stands in each resample, uint16 [resamples, units].

    Equal units and seed give equal rows, so entries can be resampled jointly.
    """
    counts = np.empty((resamples, units), np.uint16)
    _in_threads(lambda part: draw(seed, part.start, counts[part]), resamples)
    return counts


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
        lambda part: sweep_resamples(counts[part], units, labels, is_last, per_unit, found[part]),
        counts.shape[0],
    )
    auroc, precision, f1 = np.ascontiguousarray(found.T)
    return Sweep(auroc=auroc, average_precision=precision, dice_max=f1, region_overlap={})


def delong_interval(split: ScoreEvidence) -> Interval | None:
    """The image AUROC's interval after DeLong 1988 (midranks: Sun and Xu 2014).

    A cross-check where images are the units: it knows nothing of patients.

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
