"""What evidence allows the stored metrics to be: one value where exact, else certain bounds.

float32 evidence knows the order of pixels down to buckets of 2**16 keys. Within a
bucket the truth lies between two extremes: all anomalous pixels above all normal
ones, or below. Each pooled metric of the run lies between its values there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from harness.metrics.estimate import dice_of, exact_statistics, sweeps_of
from harness.metrics.evidence import Evidence, GridEvidence
from harness.metrics.kernels.exact import Histograms, sweep_halves
from harness.metrics.kernels.layout import ANOMALOUS_KINDS, KINDS, NORMAL_KINDS, WEIGHTS
from harness.metrics.pro import LIMITS
from harness.metrics.scores import score
from harness.metrics.suites import score_suite
from harness.metrics.table import PixelStatistics, Statistics, find_metric
from harness.records.record import Grid, MetricValue

ROUNDING = 1e-12
"""A stored value may differ from an exact one, or leave its bounds, by this much."""


@dataclass(frozen=True)
class Certified:
    """One stored metric beside what its evidence allows."""

    id: str
    """Metric, as in the record."""
    grid: Grid | None
    """Grid, as in the record."""
    stored: float | None
    """Value in the record."""
    low: float | None
    """Least value that the evidence allows; None where the metric is undefined."""
    high: float | None
    """Largest value that it allows; equal to `low` where it is exact."""
    where: str = ""
    """Over what it is, in words (`MetricValue.where`)."""

    @property
    def agrees(self) -> bool:
        """Whether the stored value is one that the evidence allows."""
        if self.stored is None or self.low is None or self.high is None:
            return self.stored is None and self.low is None
        return self.low - ROUNDING <= self.stored <= self.high + ROUNDING


def certify(evidence: Evidence, stored: Iterable[MetricValue]) -> tuple[Certified, ...]:
    """Compare a record's metrics with its evidence.

    Exact: image metrics, everything of float16 runs, and the per-image metrics (from their
    stored values per image). Bounded: the pooled metrics of float32 runs.
    """
    exact = {(m.id, m.grid): m.value for m in score(evidence, intervals=False).metrics}
    bounds = {}
    if evidence.dtype == "float32":
        bounds = {grid: bounding_statistics(evidence, grid) for grid in evidence.grids}
    rows = []
    for metric in stored:
        low = high = exact.get((metric.id, metric.grid))
        grid = metric.grid if metric.grid in bounds else "native"
        if low is not None and metric.grid is not None and grid in bounds:
            function = find_metric(metric.id).function
            low, high = (float(function(Statistics(None, part))[0]) for part in bounds[grid])
        rows.append(Certified(metric.id, metric.grid, metric.value, low, high, metric.where))
    return tuple(rows)


def certify_suite(
    members: Mapping[str, Evidence], stored: Sequence[MetricValue]
) -> tuple[Certified, ...]:
    """The same of a suite's record: each member's own, their means, and what is pooled.

    A mean lies between the means of its members' bounds. What is pooled is held to what the
    evidence gives anew: pairs of members have no bounds.

    Args:
        members: by name, the evidence.
        stored: the record's metrics.
    """
    bounds: dict[tuple[str, str, Grid | None], Certified] = {}
    for name, evidence in members.items():
        keys = {(m.id, m.grid): m for m in stored if m.member == name}
        for row in certify(evidence, keys.values()):
            bounds[name, row.id, row.grid] = row
    pooled = {(m.id, m.grid): m.value for m in score_suite(members, intervals=False).pooled}

    def row_of(metric: MetricValue) -> Certified:
        low = high = None
        if metric.member in members:
            return bounds[str(metric.member), metric.id, metric.grid]
        if metric.member is None:
            low = high = pooled.get((metric.id, metric.grid))
        elif metric.value is not None:
            over = [row for (_, *key), row in bounds.items() if key == [metric.id, metric.grid]]
            low, high = _mean(row.low for row in over), _mean(row.high for row in over)
        return Certified(metric.id, metric.grid, metric.value, low, high, metric.where)

    return tuple(map(row_of, stored))


def _mean(values: Iterable[float | None]) -> float | None:
    """Without weights; None where one is undefined."""
    known = list(values)
    return (
        None if None in known or not known else sum(v for v in known if v is not None) / len(known)
    )


def bounding_statistics(evidence: Evidence, grid: str) -> tuple[PixelStatistics, PixelStatistics]:
    """Least and largest statistics that a float32 run's histograms allow."""
    part = evidence.grids[grid]
    extremes = []
    for is_best in (False, True):
        histograms = _ordered_within_bins(part, is_best=is_best)
        everywhere, foreground = sweeps_of(sweep_halves(histograms, LIMITS))
        if not is_best:
            least = _least_precision(part.pixels)
            everywhere = replace(everywhere, average_precision=np.array([least]))
        extremes.append(
            replace(
                exact_statistics(evidence, grid),
                everywhere=everywhere,
                foreground=foreground,
                dice_at=_extreme_dice(evidence, grid, is_best=is_best),
            )
        )
    return extremes[0], extremes[1]


def _ordered_within_bins(part: GridEvidence, *, is_best: bool) -> Histograms:
    """Each bin as two: normal below anomalous pixels if `is_best`, above them if not."""
    bins = part.pixels.shape[1]
    pixels = np.zeros((KINDS, 2 * bins), np.int64)
    weights = np.zeros((WEIGHTS, 2 * bins))
    normal, anomalous = (0, 1) if is_best else (1, 0)
    pixels[NORMAL_KINDS, normal::2] = part.pixels[NORMAL_KINDS]
    pixels[ANOMALOUS_KINDS, anomalous::2] = part.pixels[ANOMALOUS_KINDS]
    weights[:, anomalous::2] = part.weights
    return Histograms(pixels, weights)


def _least_precision(pixels: NDArray[np.int64]) -> float:
    """Least average precision: the j-th anomalous pixel of a bin, counted from the top, has at
    least j of them and at most all of the bin's normal pixels at or above it."""
    normal, anomalous = (
        part.sum(axis=0)[::-1] for part in (pixels[NORMAL_KINDS], pixels[ANOMALOUS_KINDS])
    )
    alarms = np.cumsum(normal).astype(np.float64)
    found = np.cumsum(anomalous) - anomalous
    size = found + alarms
    # Sum over j = 1..p of (found + j) / (found + j + alarms).
    tail = np.where(anomalous > 0, digamma(size + anomalous + 1) - digamma(size + 1), 0.0)
    total = float(np.sum(anomalous - alarms * tail))
    return max(0.0, total / float(anomalous.sum()) - 1e-9)  # digamma's own rounding


def _extreme_dice(
    evidence: Evidence, grid: str, *, is_best: bool
) -> dict[str, NDArray[np.float64]]:
    part = evidence.grids[grid]
    every = float(part.pixels[ANOMALOUS_KINDS].sum())
    dice = {}
    for name, key in zip(evidence.threshold_names(grid), part.thresholds, strict=True):
        bucket = int(key) >> 16
        within = [part.pixels[:, bucket:].sum(axis=1), part.pixels[:, bucket + 1 :].sum(axis=1)]
        most, least = (
            (counts[NORMAL_KINDS].sum(), counts[ANOMALOUS_KINDS].sum()) for counts in within
        )
        alarms, found = (least[0], most[1]) if is_best else (most[0], least[1])
        dice[name] = dice_of(np.array([float(found)]), np.array([float(alarms)]), np.array([every]))
    return dice
