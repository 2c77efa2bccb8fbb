"""The bootstrap against resamples that are written out, and against DeLong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from harness.metrics import resample
from harness.metrics.estimate import resampled_statistics
from harness.metrics.evidence import ScoreEvidence
from harness.metrics.intervals import delong_interval, resample_counts, sweep_images
from harness.metrics.table import METRICS, Statistics
from harness.records.record import MetricValue
from tests.metrics.oracles import Case, random_cases, scored, values


def image_scores(
    n: int, *, seed: int = 0, effect: float = 1.0, digits: int = 1, group_size: int = 1
) -> ScoreEvidence:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    keys = tuple(f"{place:05}" for place in range(n))
    groups = tuple(f"p{place // group_size:05}" for place in range(n)) if group_size > 1 else keys
    scores = np.round(rng.normal(size=n) + effect * labels, digits)
    return ScoreEvidence(keys, groups, (None,) * n, labels, scores)


def test_resamples_draw_every_unit_as_often_as_chance_says() -> None:
    counts = resample_counts(400, resamples=2000, seed=3)
    assert counts.shape == (2000, 400)
    assert np.all(counts.sum(axis=1) == 400)
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.12)
    assert counts.var() == pytest.approx(1 - 1 / 400, abs=0.01)
    one, other = counts[:, 10].astype(float), counts[:, 11].astype(float)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_resamples_depend_on_seed_and_number_of_units_alone() -> None:
    counts = resample_counts(31, resamples=2000, seed=1)
    assert np.array_equal(counts[:50], resample_counts(31, resamples=50, seed=1))
    assert not np.array_equal(counts, resample_counts(31, resamples=2000, seed=2))


def mixed(number: int) -> int:
    """SplitMix64's output function."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def test_resamples_are_those_of_splitmix64_on_every_machine() -> None:
    step = 0x9E3779B97F4A7C15
    for row, counts in enumerate(resample_counts(7, resamples=3, seed=11)):
        state = mixed((mixed((11 + step) % 2**64) + row) % 2**64)
        drawn = [0] * 7
        for place in range(4):
            state = (state + step) % 2**64
            bits = mixed(state)
            for half in (bits % 2**32, bits >> 32)[: 1 if place == 3 else 2]:
                drawn[half * 7 >> 32] += 1
        assert counts.tolist() == drawn


@pytest.mark.parametrize("group_size", [1, 7])
def test_image_metrics_of_a_resample_are_those_of_the_images_drawn(group_size: int) -> None:
    split = image_scores(301, group_size=group_size)
    units, group = split.group_index
    counts = resample_counts(units, resamples=200)
    found = sweep_images(split, counts)
    for row in (0, 17, 199):
        times = counts[row][group]
        labels, scores = (np.repeat(part, times) for part in (split.is_anomalous, split.scores))
        precision, recall, _ = precision_recall_curve(labels, scores)
        assert found.auroc[row] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert found.average_precision[row] == pytest.approx(
            average_precision_score(labels, scores), abs=1e-12
        )
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        assert found.dice_max[row] == pytest.approx(f1.max(), abs=1e-12)


def test_a_resample_with_one_class_has_no_value() -> None:
    split = image_scores(30)
    only_normal = (~split.is_anomalous).astype(np.uint16)[None]
    assert np.isnan(sweep_images(split, only_normal).auroc).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_pixel_metrics_of_a_resample_are_those_of_the_images_drawn(dtype: type) -> None:
    """Bins coarser than the scores move a value a little, and every resample's alike."""
    cases = random_cases(np.random.default_rng(1), 12, (40, 50), dtype=dtype, background=0.2)
    scores = scored(cases, cases, intervals=True)
    once = np.ones((1, len(cases)), np.uint16)
    counts = resample_counts(len(cases), resamples=40, seed=5)
    row = next(row for row in range(40) if counts[row].max() < 5)
    drawn = [case for case, times in zip(cases, counts[row], strict=True) for _ in range(times)]
    # The run's own thresholds hold in a resample: one more image, of no group drawn, keeps them.
    exact, again = values(scores), values(scored(drawn, cases))
    for grid in ("native", "paper"):
        coarse, resampled = (
            Statistics(None, resampled_statistics(scores.evidence, grid, drawn_counts))
            for drawn_counts in (once, counts)
        )
        for metric in METRICS.values():
            if metric.level == "image" or metric.range_share or metric.id == "dice_per_image":
                continue
            if metric.id.startswith("region_overlap"):
                continue  # the thirds of the drawn regions are others
            if metric.id == "aupimo":
                continue  # its images are larger: `tests/metrics/test_few_alarms.py`
            shift = exact[metric.id, grid] - float(metric.function(coarse)[0])
            assert abs(shift) < 0.01, metric.id
            found = float(metric.function(resampled)[row]) + shift
            assert found == pytest.approx(again[metric.id, grid], abs=4e-3), metric.id


def test_dice_at_the_runs_thresholds_is_exact_in_a_resample() -> None:
    cases = random_cases(np.random.default_rng(2), 9, (40, 50))
    scores = scored(cases, intervals=True)
    counts = resample_counts(9, resamples=20)
    pixels = resampled_statistics(scores.evidence, "native", counts)
    labels = [case.mask for case in cases]
    every = np.concatenate([case.anomaly_map.ravel() for case in cases]).astype(np.float64)
    threshold = every.min() + (every.max() - every.min()) * 0.5
    found = np.array([np.sum((c.anomaly_map >= threshold) & c.mask) for c in cases])
    predicted = np.array([np.sum(c.anomaly_map >= threshold) for c in cases])
    size = np.array([np.sum(label) for label in labels])
    expected = 2 * (counts @ found) / (counts @ (predicted + size))
    assert pixels.dice_at["0.5"] == pytest.approx(expected, abs=1e-12)
    own = np.array(
        [2 * f / (p + s) if s else np.nan for f, p, s in zip(found, predicted, size, strict=True)]
    )
    drawn = np.where(np.isnan(own), 0, counts)
    assert pixels.image_dice == pytest.approx(
        (drawn @ np.nan_to_num(own)) / drawn.sum(axis=1), abs=1e-12
    )


@pytest.mark.parametrize("effect", [0.3, 1.0, 2.0])
def test_the_bootstrap_over_images_agrees_with_delong(effect: float) -> None:
    split = image_scores(600, effect=effect)
    resampled = sweep_images(split, resample_counts(600)).auroc
    delong = delong_interval(split)
    low, high = np.percentile(resampled, [2.5, 97.5])
    width = delong.high - delong.low
    assert low == pytest.approx(delong.low, abs=0.08 * width)
    assert high == pytest.approx(delong.high, abs=0.08 * width)


def test_delong_is_not_given_for_a_class_of_one_image() -> None:
    split = image_scores(30)
    few = np.zeros(30, bool)
    few[3] = True
    assert delong_interval(replace(split, is_anomalous=few)) is None


def test_patients_are_the_units_where_the_pack_knows_them() -> None:
    cases = random_cases(np.random.default_rng(3), 48, (16, 20))
    by_image = scored(cases, intervals=True)
    grouped = [
        Case(c.mask, c.anomaly_map, c.image, group=f"patient {place // 2}")
        for place, c in enumerate(cases)
    ]
    by_patient = scored(grouped, intervals=True)
    assert {m.n for m in by_image.metrics} == {48}
    assert {m.n for m in by_patient.metrics} == {24}
    assert values(by_image) == values(by_patient)
    assert all(m.reason is None for m in by_patient.metrics if m.value is not None)
    # Twins in one patient are no second witness: the interval widens.
    twins = [replace(c, group=f"patient {p}") for p, c in enumerate(cases)] * 2
    alone = {m.id: m for m in by_image.metrics if m.grid == "native"}
    paired = {m.id: m for m in scored(twins, intervals=True).metrics if m.grid == "native"}
    for name in ("pixel_auroc", "pixel_pro"):
        assert paired[name].high - paired[name].low == pytest.approx(
            alone[name].high - alone[name].low, rel=0.15
        )


def test_an_interval_of_few_patients_says_so_and_of_too_few_there_is_none() -> None:
    cases = random_cases(np.random.default_rng(4), 24, (16, 20))

    def by_patients(count: int) -> list[MetricValue]:
        grouped = [
            Case(c.mask, c.anomaly_map, c.image, group=f"patient {place % count}")
            for place, c in enumerate(cases)
        ]
        return [m for m in scored(grouped, intervals=True).metrics if m.value is not None]

    assert all(m.reason == "few patients" and m.low is not None for m in by_patients(8))
    for metric in by_patients(5):
        assert metric.low is metric.high is None
        assert metric.reason.startswith("no interval: it takes 6 patients")
        assert metric.reason.endswith("and there are 5")
    few = [m for m in scored(cases[:9], intervals=True).metrics if m.value is not None]
    assert {m.low is None for m in few if m.grid is None} == {True}
    assert all("images" in m.reason for m in few)


def test_intervals_hold_the_value_and_are_the_same_every_time() -> None:
    cases = random_cases(np.random.default_rng(5), 40, (24, 20))
    first = scored(cases, cases, intervals=True)
    assert first.metrics == scored(cases, cases, intervals=True).metrics
    defined = [metric for metric in first.metrics if metric.id != "aupimo"]
    for metric in defined:
        assert metric.low <= metric.value <= metric.high, metric.id
        assert metric.high - metric.low < 0.7
    assert np.median([metric.high - metric.low for metric in defined]) < 0.35
    drawn, again, other = (resample(first.evidence, seed=seed) for seed in (0, 0, 1))
    for one, same, another in zip(drawn, again, other, strict=True):
        assert np.array_equal(one.rows, same.rows)
        assert not np.array_equal(one.rows, another.rows)
        assert np.array_equal(one.spread.moves, another.spread.moves)
