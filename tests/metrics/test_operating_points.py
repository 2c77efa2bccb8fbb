"""The thresholds of a run: the very ones that its metrics were counted at."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.operating_points import OperatingPoints, operating_points
from tests.metrics.oracles import Case, random_cases, scored


def f1_at(threshold: float, labels: np.ndarray, scores: np.ndarray) -> float:
    called = scores >= threshold
    return 2 * (called & labels).sum() / (called.sum() + labels.sum())


def dice_at(threshold: float, cases: list[Case]) -> float:
    found = np.concatenate([(case.anomaly_map >= threshold).ravel() for case in cases])
    masks = np.concatenate([case.mask.ravel() for case in cases])
    return 2 * (found & masks).sum() / (found.sum() + masks.sum())


def value(scores, name: str, grid: str | None) -> float:
    return next(m.value for m in scores.metrics if (m.id, m.grid) == (name, grid))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("seed", range(3))
def test_each_threshold_gives_the_metric_that_it_is_behind(dtype: type, seed: int) -> None:
    test = random_cases(np.random.default_rng(seed), 12, dtype=dtype)
    valid = random_cases(np.random.default_rng(seed + 100), 6, dtype=dtype)
    scores = scored(test, valid)
    points = operating_points(scores.evidence)
    split = scores.evidence.test
    assert f1_at(points.image, split.is_anomalous, split.scores) == pytest.approx(
        value(scores, "image_f1_max", None), abs=1e-12
    )
    higher = [t for t in split.scores if t > points.image]
    assert all(
        f1_at(t, split.is_anomalous, split.scores)
        < f1_at(points.image, split.is_anomalous, split.scores)
        for t in higher
    )
    assert points.pixel in np.concatenate([case.anomaly_map.ravel() for case in valid])
    assert dice_at(points.pixel, test) == pytest.approx(
        value(scores, "dice_at_valid", "native"), abs=1e-12
    )


def test_images_of_one_score_are_called_together() -> None:
    cases = [
        Case(
            np.zeros((4, 4), np.bool_), np.zeros((4, 4), np.float32), score=1.0, is_anomalous=label
        )
        for label in (True, False, True, True)
    ]
    assert operating_points(scored(cases).evidence).image == 1.0


def test_without_both_classes_or_a_validation_split_there_is_no_threshold() -> None:
    normal = Case(np.zeros((4, 4), np.bool_), np.eye(4, dtype=np.float32), is_anomalous=False)
    assert operating_points(scored([normal, normal]).evidence) == OperatingPoints()
    cases = random_cases(np.random.default_rng(0), 6)
    assert operating_points(scored(cases).evidence).pixel is None
