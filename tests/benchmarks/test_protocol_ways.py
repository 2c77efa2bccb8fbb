"""Each way of counting does to maps and masks what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.protocol_ways import REFERENCE, WAYS, Answers, core_alone, measured


@pytest.fixture(scope="module")
def answers() -> Answers:
    random = np.random.default_rng(0)
    masks = np.zeros((6, 240, 240), np.uint8)
    masks[0, 100:140, 90:150] = 255
    masks[1, 2:12, 50:90] = 255  # at the border
    masks[2, 50:60, 50:60] = 255
    maps = random.normal(size=masks.shape).astype(np.float32) + (masks > 0)
    return Answers(maps, masks, masks.any(axis=(1, 2)))


def area(answers: Answers) -> np.ndarray:
    return (answers.masks > 0).mean(axis=(1, 2))


def test_the_reference_is_the_answers_as_they_are(answers: Answers) -> None:
    assert WAYS[REFERENCE](answers) is answers


def test_masks_shrink_by_255_alone_and_grow_by_a_tenth(answers: Answers) -> None:
    nearest, narrow, wide = (area(WAYS[way](answers)) for way in list(WAYS)[1:4])
    assert (narrow <= nearest).all()
    assert narrow.sum() < nearest.sum()
    assert (nearest <= wide).all()
    assert nearest.sum() < wide.sum()
    np.testing.assert_allclose(nearest, area(answers), rtol=0.15)


def test_the_core_is_about_half_of_the_mask_and_inside_it(answers: Answers) -> None:
    core = core_alone(answers)
    assert not ((core.masks > 0) & (answers.masks == 0)).any()
    assert area(core)[:3] / area(answers)[:3] == pytest.approx(0.5, abs=0.2)
    assert not core.masks[3:].any()


def test_a_crop_loses_what_lies_at_the_border(answers: Answers) -> None:
    cropped = WAYS["centre crop of 224 in 256"](answers)
    assert cropped.maps.shape == cropped.masks.shape == (6, 224, 224)
    assert not cropped.masks[1].any()
    assert cropped.is_anomalous[1]


def test_maps_scaled_by_themselves_lose_their_level(answers: Answers) -> None:
    raised = Answers(
        answers.maps + np.arange(6, dtype=np.float32)[:, None, None],
        answers.masks,
        answers.is_anomalous,
    )
    scaled = WAYS["each map from 0 to 1"](raised)
    assert (scaled.maps.min(axis=(1, 2)) == 0).all()
    assert (scaled.maps.max(axis=(1, 2)) == 1).all()
    np.testing.assert_allclose(scaled.maps, WAYS["each map from 0 to 1"](answers).maps, atol=1e-5)
    assert measured(scaled)["image_auroc"] == 0.5


def test_numbers_are_the_harnesss(answers: Answers) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    found, truth = measured(answers), answers.masks.ravel() > 0
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, answers.maps.ravel()))
    assert found["pixel_ap"] == pytest.approx(average_precision_score(truth, answers.maps.ravel()))
    assert {"image_auroc", "pixel_pro", "dice_at_0.5", "dice_max"} <= found.keys()
