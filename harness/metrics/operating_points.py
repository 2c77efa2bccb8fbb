"""From which score on a run's answers count as a yes: of an image, and of a pixel of its maps.

Both are read off the run's evidence, so that pictures and metrics speak of one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.estimate import facts_of
from harness.metrics.evidence import Evidence
from harness.metrics.kernels.keys import values_of
from harness.metrics.table import METRICS


@dataclass(frozen=True)
class OperatingPoints:
    """Two thresholds of one run; what is at or above counts as found."""

    image: float | None = None
    """Image score of the best F1 over the test images, the F1 of `image_f1_max`: the benchmark has
    no threshold of images that is chosen before the test. None without both classes."""
    pixel: float | None = None
    """Map value of the best Dice over the validation split on the native grid, the one behind
    `dice_at_valid`; None where the split gives none."""


def operating_points(evidence: Evidence) -> OperatingPoints:
    """The thresholds of the run that left this evidence: each where its metric is defined."""
    test, image = evidence.test, None
    if _is_defined("image_f1_max", evidence, None):
        image = best_f1_score(test.scores, test.is_anomalous)
    pixel = _valid_threshold(evidence) if _is_defined("dice_at_valid", evidence, "native") else None
    return OperatingPoints(image, pixel)


def best_f1_score(scores: NDArray[np.float64], is_anomalous: NDArray[np.bool_]) -> float:
    """The image score from which F1 is largest, the highest one of equals.

    Args:
        scores: [n] image scores.
        is_anomalous: [n] labels; one image at least is anomalous.
    """
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], is_anomalous[order]
    found = np.cumsum(labels)
    f1 = 2 * found / (found[-1] + np.arange(1, len(labels) + 1))
    is_last = np.append(scores[1:] != scores[:-1], True)  # images of one score are called together
    return float(scores[is_last][np.argmax(f1[is_last])])


def _valid_threshold(evidence: Evidence) -> float:
    key = evidence.grids["native"].thresholds[evidence.threshold_names("native").index("valid")]
    return float(values_of(np.array([key]), np.dtype(evidence.dtype))[0])


def _is_defined(metric: str, evidence: Evidence, grid: str | None) -> bool:
    facts = facts_of(evidence, grid)
    return not any(need(facts) for need in METRICS[metric].needs)
