"""The columns at few false alarms, Dice at 5 %, PRO to 0.05 and AUPIMO, and the best IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.metrics.pimo import functional as anomalib_pimo
from scipy import ndimage

from harness.metrics import Evidence, score
from harness.metrics.certify import certify
from harness.metrics.estimate import resampled_statistics
from harness.metrics.intervals import resample_counts
from harness.metrics.jackknife import left_out_counts
from harness.metrics.needs import LEAST_AUPIMO_PIXELS, OLDER_EVIDENCE
from harness.metrics.pimo import FPR_BOUNDS, recall_shares
from tests.metrics.oracles import Case, Split, random_cases, scored, slow_aupro, slow_dice, value

DTYPES = [np.float16, np.float32]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def slow_aupimo(cases: Sequence[Case]) -> list[float]:
    """AUPIMO of each anomalous image from its definition: every distinct score is a threshold,
    recall is linear in the rate between two of them, and the integral over its logarithm is
    taken by Gauss's rule, segment by segment."""
    normal = np.concatenate([case.anomaly_map.ravel() for case in cases if not case.label])
    normal = np.sort(normal.astype(np.float64))
    low, high = FPR_BOUNDS
    found = []
    for case in cases:
        if not case.label:
            continue
        bad = np.sort(case.anomaly_map[case.mask].astype(np.float64))
        thresholds = np.unique(np.concatenate([normal[-2 * int(high * normal.size) - 99 :], bad]))
        rate, recall = (
            np.append(0.0, (1 - np.searchsorted(scores, thresholds) / scores.size)[::-1])
            for scores in (normal, bad)
        )
        area = 0.0
        for left, right, start, end in zip(rate, rate[1:], recall, recall[1:], strict=False):
            first, last = max(left, low), min(right, high)
            if first < last:
                middle, half = np.log(first * last) / 2, np.log(last / first) / 2
                at = np.exp(middle + half * NODES)
                area += half * np.sum(
                    WEIGHTS * (start + (end - start) * (at - left) / (right - left))
                )
        found.append(area / np.log(high / low))
    return found


def wide_cases(
    seed: int, dtype: type, *, levels: int | None = None, images: int = 12, patients: int = 12
) -> list[Case]:
    """Images large enough for a rate of 1e-5, half of them normal; maps with a long tail."""
    rng = np.random.default_rng(seed)
    cases = []
    for place in range(images):
        mask = np.zeros((150, 140), bool)
        if place % 2:
            mask = ndimage.gaussian_filter(rng.normal(size=mask.shape), 4) > 0.12
        anomaly_map = rng.gumbel(size=mask.shape) + rng.normal() / 2 + 25 * mask * rng.random()
        if levels is not None:
            anomaly_map = np.round(anomaly_map * levels / 20) / levels * 20
        group = f"p{place // 2 % patients:02}"
        cases.append(Case(mask, anomaly_map.astype(dtype), group=group))
    return cases


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [None, 40])
def test_aupimo_agrees_with_its_definition(dtype: type, levels: int | None) -> None:
    cases = wide_cases(1, dtype, levels=levels)
    expected = slow_aupimo(cases)
    assert np.ptp(expected) > 0.1
    scores = scored(cases)
    own = scores.evidence.grids["native"].image_aupimo
    assert own[1::2] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(own[::2]).all()
    assert value(scores, "aupimo") == pytest.approx(np.mean(expected), abs=1e-12)


def test_aupimo_agrees_with_anomalib_up_to_its_sampling() -> None:
    """The logarithm of even scores: 3,000 equal steps put 500 thresholds between the bounds."""
    rng = np.random.default_rng(2)
    cases = []
    for place in range(8):
        mask = np.zeros((400, 400), bool)
        mask[:, : 40 * (place % 2)] = True
        scores = -np.log10(rng.random(mask.shape)) + rng.random() * 4 * mask
        cases.append(Case(mask, scores.astype(np.float32)))
    maps, masks = (
        torch.tensor(np.stack(part))
        for part in ([c.anomaly_map for c in cases], [c.mask for c in cases])
    )
    *_, per_image, _ = anomalib_pimo.aupimo_scores(maps, masks.int(), num_thresholds=3000)
    own = scored(cases, grids=("native",)).evidence.grids["native"].image_aupimo
    assert own[1::2] == pytest.approx(per_image[1::2].numpy(), abs=0.01)


def test_a_score_is_worth_its_share_of_a_perfect_recall() -> None:
    normal = 10**7  # the bounds are at 100 and 1,000 pixels
    assert recall_shares(0, 0, normal) == recall_shares(100, 0, normal) == 1
    assert recall_shares(1000, 0, normal) == recall_shares(10**6, 3, normal) == 0
    assert recall_shares(np.sqrt(1e5), 0, normal) == pytest.approx(0.5)
    constant = (FPR_BOUNDS[1] - FPR_BOUNDS[0]) / np.log(FPR_BOUNDS[1] / FPR_BOUNDS[0])
    assert recall_shares(0, normal, normal) == pytest.approx(constant, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_aupimo_of_a_resample_is_that_of_the_images_drawn(dtype: type) -> None:
    cases = wide_cases(3, dtype, images=24)
    scores = scored(cases, intervals=True, grids=("native",))
    rows = np.concatenate([left_out_counts(12)[:3], resample_counts(12, resamples=3)])
    found = resampled_statistics(scores.evidence, "native", rows).aupimo
    for counts, drawn in zip(rows, found, strict=True):
        again = [case for case in cases for _ in range(counts[int(case.group[1:])])]
        assert drawn == pytest.approx(np.mean(slow_aupimo(again)), abs=0.01)
    told = next(m for m in scores.metrics if m.id == "aupimo")
    assert told.low < told.value < told.high
    assert told.n == 12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [None, 25])
def test_dice_at_fpr_lets_one_normal_validation_pixel_of_twenty_through(
    dtype: type, levels: int | None
) -> None:
    rng = np.random.default_rng(4)
    valid = random_cases(rng, 5, dtype=dtype, levels=levels)
    test = random_cases(rng, 5, dtype=dtype, levels=levels)
    labels, pixels = Split(valid).pooled()
    normal = np.sort(pixels[~labels])[::-1]
    highest_missed = normal[normal.size // 20]
    labels, pixels = Split(test).pooled()
    found = pixels > highest_missed
    expected = 2 * np.sum(found & labels) / (np.sum(found) + np.sum(labels))
    for intervals in (False, True):
        assert value(scored(test, valid, intervals=intervals), "dice_at_fpr") == expected
    assert np.mean(normal > highest_missed) <= 0.05
    assert np.mean(normal >= highest_missed) > 0.05


def test_dice_at_fpr_needs_a_normal_validation_pixel() -> None:
    cases = random_cases(np.random.default_rng(5), 6)
    reasons = {m.id: m.reason for m in scored(cases).metrics}
    assert reasons["dice_at_fpr"] == "there is no validation split with masks"
    full = [replace(case, mask=np.ones_like(case.mask)) for case in cases]
    reasons = {m.id: m.reason for m in scored(cases, full).metrics}
    assert reasons["dice_at_fpr"] == "no validation pixel is normal"
    # One class is enough: the threshold looks at normal pixels alone.
    normal = [replace(case, mask=np.zeros_like(case.mask)) for case in cases]
    assert value(scored(cases, normal), "dice_at_fpr") is not None
    assert value(scored(cases, normal), "dice_at_valid") is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [None, 9])
@pytest.mark.parametrize("background", [0.0, 0.3])
def test_pro_05_is_pro_to_a_lower_rate(dtype: type, levels: int | None, background: float) -> None:
    cases = random_cases(
        np.random.default_rng(6), dtype=dtype, levels=levels, background=background
    )
    expected = slow_aupro([c.mask for c in cases], [c.anomaly_map for c in cases], 0.05)
    assert value(scored(cases), "pro_05") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_iou_max_is_the_best_over_every_threshold(dtype: type) -> None:
    cases = random_cases(np.random.default_rng(7), 4, (12, 11), dtype=dtype)
    labels, pixels = Split(cases).pooled()
    ious = []
    for threshold in np.unique(pixels):
        found = pixels >= threshold
        ious.append(np.sum(found & labels) / np.sum(found | labels))
    assert value(scored(cases), "iou_max") == pytest.approx(max(ious), abs=1e-15)
    best = max(slow_dice(labels, pixels, threshold) for threshold in np.unique(pixels))
    assert max(ious) == pytest.approx(best / (2 - best), abs=1e-15)


def test_aupimo_says_why_it_is_not_there() -> None:
    cases = random_cases(np.random.default_rng(8), 6)
    (few,) = {m.reason for m in scored(cases, grids=("native",)).metrics if m.id == "aupimo"}
    assert few == "the normal images have 1,426 pixels: too few for a false-positive rate of 1e-5"
    anomalous = [case for case in cases if case.label]
    assert {m.reason for m in scored(anomalous, grids=("native",)).metrics if m.id == "aupimo"} == {
        "no test image is normal"
    }
    assert FPR_BOUNDS[0] == 1 / LEAST_AUPIMO_PIXELS


@pytest.mark.parametrize("dtype", DTYPES)
def test_maps_kept_on_disk_give_the_same(dtype: type) -> None:
    cases = wide_cases(9, dtype)
    first = scored(cases, cases)
    assert scored(cases, cases, memory_limit_bytes=0).metrics == first.metrics


@pytest.mark.parametrize("dtype", DTYPES)
def test_older_evidence_tells_what_it_holds(dtype: type, tmp_path: Path) -> None:
    cases, valid = wide_cases(10, dtype), wide_cases(11, dtype, images=4)
    scores = scored(cases, valid, intervals=True)
    as_it_was(scores.evidence).save(tmp_path / "older.npz")
    older = Evidence.load(tmp_path / "older.npz")
    told = {(m.id, m.grid): m for m in score(older).metrics}
    now = {(m.id, m.grid): m for m in scores.metrics}
    assert told.keys() == now.keys()
    is_exact = dtype == np.float16
    for key, metric in told.items():
        if key[0] == "aupimo" or (key[0] in ("pro_05", "dice_at_fpr") and not is_exact):
            assert metric.value is None
            assert metric.reason == OLDER_EVIDENCE
        else:
            assert metric.value == now[key].value, key
            assert metric.low < metric.value < metric.high, key
    assert all(row.agrees for row in certify(older, told.values()))
    bare = as_it_was(scored(cases).evidence)
    without = {m.id: m.reason for m in score(bare, intervals=False).metrics}
    assert without["dice_at_fpr"] == OLDER_EVIDENCE


def as_it_was(evidence: Evidence) -> Evidence:
    """Evidence as metric version 2 wrote it."""
    last = "fpr" in evidence.threshold_names("native")
    grids = {
        grid: replace(
            part,
            states=part.states[:, :28],
            thresholds=part.thresholds[: -1 if last else None],
            threshold_counts=part.threshold_counts[: -1 if last else None],
            image_aupimo=None,
            group_recall=None,
        )
        for grid, part in evidence.grids.items()
    }
    return replace(evidence, grids=grids, no_fpr_threshold=None)
