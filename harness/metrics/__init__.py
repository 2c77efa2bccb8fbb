"""Exact metrics of anomaly maps and image scores, streamed, with error bars.

`RunScorer` takes a run's answers one at a time and gives `RunScores`: every metric
of `METRICS`, warnings and the evidence from which all of it can be recomputed.
What stands behind a name is loaded when it is first used, so that listing the
metrics costs no compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.metrics.errors import MetricsInputError
from harness.metrics.table import METRICS, METRICS_VERSION, Metric, find_metric

if TYPE_CHECKING:
    from harness.metrics.evidence import Evidence
    from harness.metrics.scorer import CheckpointScorer, RunScorer
    from harness.metrics.scores import Resampled, RunScores, resample, score
    from harness.metrics.truth import GroundTruth, TruthImage

__all__ = [
    "METRICS",
    "METRICS_VERSION",
    "CheckpointScorer",
    "Evidence",
    "GroundTruth",
    "Metric",
    "MetricsInputError",
    "Resampled",
    "RunScorer",
    "RunScores",
    "TruthImage",
    "find_metric",
    "resample",
    "score",
]

_HOMES = {
    "CheckpointScorer": "scorer",
    "Evidence": "evidence",
    "GroundTruth": "truth",
    "Resampled": "scores",
    "RunScorer": "scorer",
    "RunScores": "scores",
    "TruthImage": "truth",
    "resample": "scores",
    "score": "scores",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"harness.metrics.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
