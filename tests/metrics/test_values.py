"""Values against scikit-learn and against slow oracles written from the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from tests.metrics.oracles import (
    Case,
    Split,
    random_cases,
    scored,
    slow_aupro,
    slow_dice,
    value,
)

DTYPES = [np.float16, np.float32]
HOSTILE = [0.0, -0.0, 6e-8, -6e-8, 1.2e-7, 6.1e-5, 1.0, -1.0, 65504.0, -65504.0, 0.5, 0.50049]


def best_f1(labels: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    return float(np.max(np.where(total > 0, 2 * precision * recall / np.maximum(total, 1e-300), 0)))


def assert_agrees_with_sklearn(cases: list[Case]) -> None:
    scores = scored(cases)
    labels, pixels = Split(cases).pooled()
    if labels.all() or not labels.any():
        assert value(scores, "pixel_auroc") is None
        return
    assert value(scores, "pixel_auroc") == pytest.approx(roc_auc_score(labels, pixels), abs=1e-12)
    assert value(scores, "pixel_ap") == pytest.approx(
        average_precision_score(labels, pixels), abs=1e-12
    )
    if np.unique(pixels).size > 1:
        assert value(scores, "dice_max") == pytest.approx(best_f1(labels, pixels), abs=1e-12)


def small_maps(dtype: type) -> st.SearchStrategy[np.ndarray]:
    """Maps of few values, so that ties, both zeros and subnormals meet."""
    shape = st.tuples(st.integers(1, 9), st.integers(1, 9))
    element = st.sampled_from(HOSTILE).map(lambda number: float(dtype(number)))
    return arrays.arrays(dtype, shape, elements=element)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(DTYPES))
def test_any_small_map_agrees_with_sklearn(data: st.DataObject, dtype: type) -> None:
    maps = data.draw(st.lists(small_maps(dtype), min_size=1, max_size=3))
    masks = [data.draw(arrays.arrays(bool, anomaly_map.shape)) for anomaly_map in maps]
    assert_agrees_with_sklearn([Case(m, a) for m, a in zip(masks, maps, strict=True)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("levels", "scale", "offset"),
    [(None, 1, 0), (7, 1, 0), (200, 1, 0), (None, 1e-6, 0), (None, 100, -300), (None, 1e-3, 1)],
    ids=["smooth", "7 levels", "200 levels", "subnormal", "offset", "narrow"],
)
def test_pooled_metrics_agree_with_sklearn(
    dtype: type, levels: int | None, scale: float, offset: float
) -> None:
    rng = np.random.default_rng(5)
    assert_agrees_with_sklearn(
        random_cases(rng, dtype=dtype, levels=levels, scale=scale, offset=offset)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [None, 9])
def test_region_overlap_agrees_with_its_definition(dtype: type, levels: int | None) -> None:
    cases = random_cases(np.random.default_rng(1), dtype=dtype, levels=levels, background=0.3)
    masks, maps = [c.mask for c in cases], [c.anomaly_map for c in cases]
    fronts = [case.pixels > 0 for case in cases]
    scores = scored(cases)
    assert value(scores, "pixel_pro") == pytest.approx(slow_aupro(masks, maps), abs=1e-9)
    assert value(scores, "pixel_pro_4") == pytest.approx(
        slow_aupro(masks, maps, connectivity=4), abs=1e-9
    )
    assert value(scores, "pixel_pro_foreground") == pytest.approx(
        slow_aupro(masks, maps, foregrounds=fronts), abs=1e-9
    )
    own = [slow_aupro([c.mask], [c.anomaly_map]) for c in cases if c.mask.any()]
    assert value(scores, "pixel_pro_per_image") == pytest.approx(np.mean(own), abs=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_region_overlap_by_size_takes_each_third_of_the_regions(dtype: type) -> None:
    cases = random_cases(np.random.default_rng(2), dtype=dtype)
    masks, maps = [c.mask for c in cases], [c.anomaly_map for c in cases]
    sizes = np.concatenate(
        [np.bincount(ndimage.label(mask, np.ones((3, 3)))[0].ravel())[1:] for mask in masks]
    )
    ranked = np.sort(sizes)
    first, second = (ranked[int(np.ceil(sizes.size * share / 3)) - 1] for share in (1, 2))
    thirds = {
        "small": np.flatnonzero(sizes <= first),
        "medium": np.flatnonzero((sizes > first) & (sizes <= second)),
        "large": np.flatnonzero(sizes > second),
    }
    scores = scored(cases)
    for name, members in thirds.items():
        expected = slow_aupro(masks, maps, is_counted=members.tolist())
        assert value(scores, f"region_overlap_{name}") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dice_at_a_share_of_the_range_counts_pixels_at_or_above_it(dtype: type) -> None:
    cases = random_cases(np.random.default_rng(3), dtype=dtype, levels=30)
    labels, pixels = Split(cases).pooled()
    scores = scored(cases)
    low, high = pixels.min(), pixels.max()
    for share in (0.5, 0.6, 0.7):
        threshold = low + (high - low) * share
        assert value(scores, f"dice_at_{share}") == slow_dice(labels, pixels, threshold)
    half = low + (high - low) * 0.5
    own = [slow_dice(c.mask, c.anomaly_map.astype(float), half) for c in cases if c.mask.any()]
    assert value(scores, "dice_per_image") == pytest.approx(np.mean(own), abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_of_the_range_is_taken_in_float64(dtype: type) -> None:
    """Between two neighbouring numbers of the dtype the middle belongs to the upper one."""
    one = dtype(1)
    above = np.nextafter(one, dtype(2))
    anomaly_map = np.array([[one, above, above, one]], dtype)
    mask = np.array([[False, True, False, False]])
    assert value(scored([Case(mask, anomaly_map)]), "dice_at_0.5") == 2 / 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_dice_at_valid_applies_the_best_validation_threshold(dtype: type) -> None:
    rng = np.random.default_rng(4)
    valid = random_cases(rng, 4, dtype=dtype, levels=25)
    test = random_cases(rng, 5, dtype=dtype, levels=25)
    labels, pixels = Split(valid).pooled()
    dice = {score: slow_dice(labels, pixels, score) for score in np.unique(pixels)}
    threshold = max(score for score in dice if dice[score] == max(dice.values()))
    expected = slow_dice(*Split(test).pooled(), threshold)
    assert value(scored(test, valid), "dice_at_valid") == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_foreground_auroc_leaves_black_pixels_out(dtype: type) -> None:
    cases = random_cases(np.random.default_rng(6), dtype=dtype, background=0.4)
    front = np.concatenate([case.pixels.ravel() > 0 for case in cases])
    labels, pixels = Split(cases).pooled()
    assert value(scored(cases), "pixel_auroc_foreground") == pytest.approx(
        roc_auc_score(labels[front], pixels[front]), abs=1e-12
    )


def test_a_colour_pixel_is_background_where_all_channels_are_zero() -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, 1, 2] = image[0, 2, 0] = image[0, 3, 1] = 9
    mask = np.array([[False, True, False, False]])
    anomaly_map = np.array([[9, 1, 0, 2]], np.float32)
    scores = scored([Case(mask, anomaly_map, image)])
    assert value(scores, "pixel_auroc_foreground") == 0.5
    assert value(scores, "pixel_auroc") == pytest.approx(1 / 3)


def test_image_metrics_agree_with_sklearn_and_group_ties() -> None:
    rng = np.random.default_rng(7)
    labels = rng.random(300) < 0.7
    image_scores = np.round(rng.normal(size=300) + labels, 1)
    kinds = np.where(labels, rng.choice(["CNV", "DME"], 300), None)
    blank = np.zeros((1, 1), np.float32)
    cases = [
        Case(blank > 1, blank, score=float(score), is_anomalous=bool(label), subclass=kind)
        for score, label, kind in zip(image_scores, labels, kinds, strict=True)
    ]
    scores = scored(cases, maps=False, has_masks=False)
    assert value(scores, "image_auroc", None) == pytest.approx(
        roc_auc_score(labels, image_scores), abs=1e-12
    )
    assert value(scores, "image_ap", None) == pytest.approx(
        average_precision_score(labels, image_scores), abs=1e-12
    )
    assert value(scores, "image_f1_max", None) == pytest.approx(
        best_f1(labels, image_scores), abs=1e-12
    )
    chosen = ~labels | (kinds == "DME")
    assert value(scores, "image_auroc:DME", None) == pytest.approx(
        roc_auc_score(labels[chosen], image_scores[chosen]), abs=1e-12
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bucket_with_more_pixels_than_an_entry_holds_counts_them_all(dtype: type) -> None:
    """More than 65,535 pixels of one image in one bin."""
    rng = np.random.default_rng(8)
    anomaly_map = (1 + 1e-3 * rng.random((300, 300))).astype(dtype)
    mask = rng.random((300, 300)) < 0.05
    assert_agrees_with_sklearn([Case(mask, anomaly_map), Case(~mask, anomaly_map)])
    scores = scored([Case(mask, anomaly_map)])
    assert value(scores, "pixel_pro") == pytest.approx(
        value(scores, "pixel_pro_per_image"), abs=1e-12
    )
