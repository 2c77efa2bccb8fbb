"""What the scorer refuses, and that spilling to disk changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.common.errors import HarnessError, StoreUnusable
from harness.metrics import CheckpointScorer, MetricsInputError, RunScorer
from harness.metrics.errors import (
    ImagesMissing,
    MapMissing,
    NonFinite,
    TruthMismatch,
    WrongDtype,
    WrongKey,
    WrongShape,
)
from harness.metrics.kernels import exact
from tests.metrics.oracles import Case, Split, random_cases, scored, value

CASES = random_cases(np.random.default_rng(0), 4)
GOOD = CASES[1].anomaly_map


def changed(anomaly_map: np.ndarray, number: float, *, where: np.ndarray) -> np.ndarray:
    copy = anomaly_map.copy()
    copy[tuple(np.argwhere(where)[0])] = number
    return copy


@pytest.fixture
def scorer(tmp_path: Path) -> RunScorer:
    return RunScorer(Split(CASES).truth(), None, spool=tmp_path / "spool", maps=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("number", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_anomalous", [True, False])
def test_one_pixel_that_is_not_finite_is_named_by_its_image(
    scorer: RunScorer, dtype: type, number: float, is_anomalous: bool
) -> None:
    bad = changed(GOOD.astype(dtype), number, where=CASES[1].mask == is_anomalous)
    with pytest.raises(NonFinite, match=r"NaN or infinity \(image-0001\)"):
        scorer.add("test", "image-0001", 0.0, bad)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_an_image_score_that_is_not_finite_is_refused(scorer: RunScorer, score: float) -> None:
    with pytest.raises(NonFinite, match="image score"):
        scorer.add("test", "image-0001", score, GOOD)


@pytest.mark.parametrize("shape", [(31, 23), (23, 30), (23, 31, 1), (713,)])
def test_a_map_of_another_shape_is_refused(scorer: RunScorer, shape: tuple[int, ...]) -> None:
    with pytest.raises(WrongShape, match=r"the image \(23, 31\)"):
        scorer.add("test", "image-0001", 0.0, np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint8, np.complex64, ">f4"])
def test_a_map_of_another_kind_of_number_is_refused(scorer: RunScorer, dtype: type) -> None:
    with pytest.raises(WrongDtype, match="send float32 or float16"):
        scorer.add("test", "image-0001", 0.0, GOOD.astype(dtype))


def test_the_first_map_fixes_the_dtype_of_the_run(scorer: RunScorer) -> None:
    scorer.add("test", "image-0001", 0.0, GOOD)
    with pytest.raises(WrongDtype, match="keep one dtype"):
        scorer.add("test", "image-0002", 0.0, GOOD.astype(np.float16))


def test_unknown_repeated_and_missing_images_are_refused(scorer: RunScorer) -> None:
    with pytest.raises(WrongKey, match="does not know"):
        scorer.add("test", "image-0009", 0.0, GOOD)
    with pytest.raises(WrongKey, match="no split 'valid'"):
        scorer.add("valid", "image-0001", 0.0, GOOD)
    with pytest.raises(MapMissing, match="image-0001"):
        scorer.add("test", "image-0001", 0.0, None)
    scorer.add("test", "image-0001", 0.0, GOOD)
    with pytest.raises(WrongKey, match="answered twice"):
        scorer.add("test", "image-0001", 0.0, GOOD)
    with pytest.raises(ImagesMissing, match="3 of 4 test images"):
        scorer.finish()


def test_every_refusal_is_one_named_kind_of_harness_error() -> None:
    kinds = (ImagesMissing, MapMissing, NonFinite, TruthMismatch, WrongDtype, WrongKey, WrongShape)
    assert all(issubclass(kind, MetricsInputError) for kind in kinds)
    assert issubclass(MetricsInputError, HarnessError)


def test_shards_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    truth = Split(CASES).truth()
    first, second, third = (RunScorer(truth, None, spool=tmp_path, maps=True) for _ in range(3))
    first.add("test", "image-0001", 0.0, GOOD)
    second.add("test", "image-0001", 0.0, GOOD)
    with pytest.raises(WrongKey, match="two shards"):
        first.merge(second)
    third.add("test", "image-0002", 0.0, GOOD.astype(np.float16))
    with pytest.raises(WrongDtype, match="the other float16"):
        first.merge(third)
    other = RunScorer(Split(CASES[:3]).truth(), None, spool=tmp_path, maps=True)
    with pytest.raises(TruthMismatch, match="different ground truths"):
        first.merge(other)


def test_a_map_may_be_read_only_and_not_contiguous() -> None:
    expected = scored(CASES)
    turned = [
        Case(c.mask, np.asfortranarray(c.anomaly_map), c.image, score=c.image_score) for c in CASES
    ]
    for case in turned:
        case.anomaly_map.setflags(write=False)
    assert scored(turned).metrics == expected.metrics


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("gather_bytes", [1 << 30, 4000, 1])
@pytest.mark.parametrize("levels", [None, 5], ids=["many buckets", "few buckets"])
def test_spilling_to_disk_changes_nothing_and_leaves_nothing(
    dtype: type,
    gather_bytes: int,
    levels: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exact, "GATHER_BYTES", gather_bytes)
    cases = random_cases(np.random.default_rng(1), 5, dtype=dtype, levels=levels, background=0.3)
    split = Split(cases)
    scorer = RunScorer(
        split.truth(), None, spool=tmp_path / "spool", memory_limit_bytes=0, maps=True
    )
    for key, case in zip(split.keys, cases, strict=True):
        scorer.add("test", key, case.image_score, case.anomaly_map)
    assert (tmp_path / "spool").is_dir()
    assert not list((tmp_path / "spool").iterdir())
    assert scorer.finish().metrics == scored(cases, intervals=True).metrics


def test_a_spool_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    scorer = RunScorer(
        Split(CASES).truth(), None, spool=tmp_path / "file", memory_limit_bytes=0, maps=True
    )
    with pytest.raises(StoreUnusable, match="spilled to disk"):
        scorer.add("test", "image-0001", 0.0, GOOD)


def test_a_checkpoint_is_judged_by_the_same_metrics() -> None:
    split = Split(CASES)
    scores = scored(CASES)
    answers = [
        (key, case.image_score, case.anomaly_map)
        for key, case in zip(split.keys, CASES, strict=True)
    ]
    for metric, grid in (("image_auroc", None), ("pixel_auroc", "native")):
        with CheckpointScorer(metric, split.truth()) as judged:
            for answer in answers:
                judged.add(*answer)
            assert judged.value() == value(scores, metric, grid)
    with pytest.raises(ValueError, match="not judged by dice_max"):
        CheckpointScorer("dice_max", split.truth())


def test_a_checkpoint_on_images_of_one_class_has_no_value() -> None:
    split = Split(CASES[:1])
    with CheckpointScorer("image_auroc", split.truth()) as judged:
        judged.add("image-0000", 0.5, None)
        assert judged.value() is None


def test_few_levels_and_full_bins_are_warned_about() -> None:
    rng = np.random.default_rng(2)
    fine = [Case(c.mask, c.anomaly_map) for c in random_cases(rng, 4, (64, 64))]
    assert scored(fine).warnings == ()
    rough = random_cases(rng, 4, (64, 64), levels=400)
    assert "distinct scores" in scored(rough).warnings[0]
    flat = [Case(c.mask, np.where(c.anomaly_map > -2, c.anomaly_map, 0)) for c in fine]
    scores = scored(flat)
    assert len(scores.warnings) == 1
    assert "of the pixels have one and the same score" in scores.warnings[0]
    every = np.concatenate([case.anomaly_map.ravel() for case in flat])
    distinct, counts = np.unique(every, return_counts=True)
    assert scores.maps.levels == distinct.size
    assert scores.maps.largest_bin == counts.max() / every.size
