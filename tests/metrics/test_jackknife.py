"""Intervals and differences by leaving patients out, against what is written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from harness.metrics import resample, score
from harness.metrics.evidence import Evidence, ScoreEvidence
from harness.metrics.jackknife import (
    LEAST_UNITS,
    MOST_BLOCKS,
    Spread,
    difference_of,
    interval_of,
    interval_of_difference,
    left_out_counts,
    mean_of_seeds,
    p_of_difference,
)
from harness.metrics.table import RANKED
from tests.metrics.oracles import Case, random_cases, scored, values


def spread(value: float, moves: object, *, bearers: int = 30) -> Spread:
    return Spread(value, np.asarray(moves, np.float64), bearers, RANKED)


def image_evidence(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Evidence:
    keys = tuple(f"{place:04}" for place in range(labels.size))
    groups = tuple(f"p{patient:03}" for patient in patients)
    test = ScoreEvidence(keys, groups, (None,) * labels.size, labels, scores)
    return Evidence(None, False, "", None, test, None, {}, {}, (), {})


def random_images(patients: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), rng.integers(2, 9, patients))
    labels = rng.random(of.size) < 0.5
    return labels, rng.normal(size=of.size) + rng.normal(size=patients)[of] + 1.5 * labels, of


@pytest.mark.parametrize(
    ("metric", "reference"),
    [("image_auroc", roc_auc_score), ("image_ap", average_precision_score)],
)
def test_an_interval_is_that_of_the_values_without_each_patient(metric, reference) -> None:
    labels, scores, of = random_images(24, seed=1)
    value = reference(labels, scores)
    without = np.array([reference(labels[of != p], scores[of != p]) for p in range(24)])
    moves = value - without
    error = np.sqrt(23 / 24 * np.sum(moves**2))
    bias = 23 * (without.mean() - value)
    rests_on = np.sum(moves**2) ** 2 / np.sum(moves**4)
    slope = value * (1 - value)
    centre = np.log(value / (1 - value)) - np.clip(bias, -error, error) / slope
    ends = [
        1 / (1 + np.exp(-(centre + side * stats.t.ppf(0.975, times * rests_on) * error / slope)))
        for side, times in ((-1, 1.5), (1, 3.0))
    ]
    found = next(m for m in score(image_evidence(labels, scores, of)).metrics if m.id == metric)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-9)


def test_a_pixel_metric_moves_as_it_does_where_a_patient_is_not_scored() -> None:
    cases = [
        Case(c.mask, c.anomaly_map, c.image, group=f"patient {place // 2}")
        for place, c in enumerate(random_cases(np.random.default_rng(3), 16, (40, 50)))
    ]
    scores = scored(cases, intervals=True)
    whole = values(scores)
    spreads = {(one.id, one.grid): one.spread for one in resample(scores.evidence)}
    for patient in (0, 5):
        rest = values(scored([c for c in cases if c.group != f"patient {patient}"]))
        for metric in ("pixel_auroc", "pixel_ap", "pixel_pro", "pixel_pro_per_image"):
            moved = whole[metric, "native"] - rest[metric, "native"]
            found = spreads[metric, "native"].moves[patient]
            assert found == pytest.approx(moved, abs=2e-3), metric


def test_every_unit_is_left_out_once_and_many_in_blocks() -> None:
    few = left_out_counts(7)
    assert few.sum(axis=0).tolist() == [6] * 7
    assert np.array_equal(few, 1 - np.eye(7))
    many = left_out_counts(3 * MOST_BLOCKS + 1)
    assert many.shape == (MOST_BLOCKS, 3 * MOST_BLOCKS + 1)
    assert set((many == 0).sum(axis=0)) == {1}
    assert set((many == 0).sum(axis=1)) == {3, 4}


def test_one_dominant_patient_leaves_one_to_rest_on_and_widens_the_interval() -> None:
    even = spread(0.9, np.tile([0.01, -0.01], 15))
    uneven = spread(0.9, [np.sqrt(30) * 0.01, *np.zeros(29)])
    assert even.rests_on == pytest.approx(30)
    assert uneven.rests_on == pytest.approx(1)
    assert even.error(1.0)[0] == pytest.approx(uneven.error(1.0)[0])
    narrow, wide = interval_of(even), interval_of(uneven)
    assert wide.low < narrow.low < 0.9 < narrow.high < wide.high


def test_tiny_moves_count_like_large_ones() -> None:
    assert spread(0.5, [1e-200, 1e-200]).rests_on == pytest.approx(2)


@pytest.mark.parametrize("patients", [6, 20, 100])
def test_a_perfect_value_has_an_interval_that_ends_at_one(patients: int) -> None:
    found = interval_of(spread(1.0, np.zeros(patients), bearers=patients))
    assert found.high == 1
    # Were a share of 1 - low of the patients wrong, none would be seen in 5 % of the samples.
    assert found.low**patients == pytest.approx(0.05)
    worst = interval_of(spread(0.0, np.zeros(patients), bearers=patients))
    assert (worst.low, worst.high) == pytest.approx((0.0, 1 - found.low))


def test_a_run_without_an_error_says_that_its_interval_is_one_sided() -> None:
    labels, _, of = random_images(30, seed=2)
    found = score(image_evidence(labels, labels + 0.0, of)).metrics
    metrics = [metric for metric in found if metric.grid is None]
    assert {m.reason for m in metrics} == {"one-sided interval: no error was seen"}
    assert all(0.85 < m.low < m.high == m.value == 1 for m in metrics)


def test_the_scarcer_class_decides_whether_there_is_an_interval() -> None:
    labels, scores, of = random_images(40, seed=3)
    for anomalous in (LEAST_UNITS - 1, LEAST_UNITS):
        only = labels & (of < anomalous)
        while len(set(of[only])) < anomalous:  # every one of them has an anomalous image
            only |= (of < anomalous) & (np.arange(of.size) % 2 == 0)
        found = score(image_evidence(only, scores, of)).metrics[0]
        assert (found.low is None) == (anomalous < LEAST_UNITS)
        assert found.n == 40
        assert (found.reason == "few patients") == (anomalous == LEAST_UNITS)


def test_an_interval_stays_between_zero_and_one_and_holds_the_value() -> None:
    for value in (0.001, 0.02, 0.5, 0.98, 0.9999):
        for bias in (-0.01, 0.0, 0.01):
            found = interval_of(spread(value, np.tile([0.02, -0.02], 20) + bias))
            assert 0 <= found.low < value < found.high <= 1


def test_seeds_add_their_spread_and_their_few_degrees_of_freedom() -> None:
    seeds = [spread(value, np.zeros(30)) for value in (0.80, 0.82, 0.87)]
    mean = mean_of_seeds(seeds)
    error, freedom = mean.error(2.0)
    assert error == pytest.approx(np.std([0.80, 0.82, 0.87], ddof=1) / np.sqrt(3))
    assert freedom == pytest.approx(2)
    gap = difference_of(mean, mean_of_seeds([spread(0.7, np.zeros(30))]))
    assert p_of_difference(gap) == pytest.approx(stats.ttest_1samp([0.80, 0.82, 0.87], 0.7).pvalue)


def test_a_difference_of_two_is_that_of_a_paired_test_over_patients() -> None:
    rng = np.random.default_rng(4)
    hard = rng.normal(0, 0.2, 40)
    one, other = hard + rng.normal(0.55, 0.02, 40), hard + rng.normal(0.5, 0.02, 40)

    def of(per_patient: np.ndarray) -> Spread:  # the mean over patients is its own metric
        mean = per_patient.mean()
        return spread(mean, mean - (per_patient.sum() - per_patient) / 39)

    gap = difference_of(of(one), of(other))
    assert gap.error(1.0)[0] == pytest.approx(stats.sem(one - other))
    unpaired = np.hypot(of(one).error(1.0)[0], of(other).error(1.0)[0])
    assert unpaired > 5 * gap.error(1.0)[0]
    assert p_of_difference(gap) < 1e-6


def test_interval_and_p_of_a_difference_agree() -> None:
    rng = np.random.default_rng(5)
    told = []
    for trial in range(300):
        moves = rng.standard_t(3, rng.integers(6, 60)) * 0.01
        bearers = int(rng.integers(LEAST_UNITS, 60))
        gap = spread(rng.normal(0, 0.1), moves * (trial % 10 > 0), bearers=bearers)
        found = interval_of_difference(gap)
        told.append(p_of_difference(gap) <= 0.05)
        assert (found.low > 0 or found.high < 0) == told[-1]
    assert 20 < sum(told) < 280


def test_too_few_patients_tell_no_two_entries_apart() -> None:
    few = spread(0.9, np.full(5, 1e-3), bearers=LEAST_UNITS - 1)
    gap = difference_of(few, spread(0.1, np.zeros(5), bearers=LEAST_UNITS - 1))
    assert p_of_difference(gap) == 1
    assert interval_of_difference(gap) is None
    assert interval_of(few) is None


def test_a_difference_of_rounding_is_none() -> None:
    assert p_of_difference(spread(1e-16, np.zeros(30))) == 1
    assert p_of_difference(spread(0.1, np.full(30, 1e-17))) == pytest.approx(2 * 0.5**30)
