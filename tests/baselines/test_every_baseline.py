"""What every baseline must keep, whatever its method: found by folder, on shrunken settings."""

from __future__ import annotations

import contextlib
import filecmp
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.contract import NotApplicable
from harness.entries.opening import open_folder

from .conftest import FOLDERS, Baseline, Listener, open_baseline

NAMES = [folder.name for folder in FOLDERS]
TRAINED = [folder.name for folder in FOLDERS if open_folder(folder).table.trains]
NETWORKS = [folder.name for folder in FOLDERS if open_folder(folder).table.backbones]

Answers = list[tuple[np.ndarray | None, float]]


@dataclass(frozen=True)
class Trained:
    """A baseline after `fit`, with what it told and what it saved."""

    baseline: Baseline
    model: Any
    listener: Listener
    saved: Path


@pytest.fixture(scope="module", params=TRAINED)
def trained(
    request: pytest.FixtureRequest,
    training_folder: Path,
    test_images: list[np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    baseline = open_baseline(next(path for path in FOLDERS if path.name == request.param))
    model = make(baseline)
    listener = Listener(model, test_images)
    model.fit(training_folder, listener)
    saved = tmp_path_factory.mktemp(request.param)
    model.save(saved)
    return Trained(baseline, model, listener, saved)


def make(baseline: Baseline, seed: int = 0) -> Any:
    """The model with whatever map it has."""
    is_optional = "native_map" in baseline.params()
    return baseline.make(seed, **({"native_map": True} if is_optional else {}))


def answers(model: Any, images: list[np.ndarray]) -> Answers:
    return [model.predict(image) for image in images]


def assert_equal(first: Answers, second: Answers) -> None:
    for (map_one, score_one), (map_two, score_two) in zip(first, second, strict=True):
        assert (map_one is None) == (map_two is None)
        if map_one is not None:
            np.testing.assert_array_equal(map_one, map_two)
        assert score_one == score_two


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_a_folder_holds_what_a_reader_and_the_harness_need(folder: Path) -> None:
    entry = open_folder(folder)
    for preset in ("bmad", *entry.document.get("presets", {})):
        for benchmark in ("rsna", *entry.document.get("benchmarks", {})):
            entry.settings(benchmark, preset=preset)
    assert entry.table.description
    assert entry.supervision is not None, "what it had learned from is declared ([supervision])"
    assert entry.deviations
    assert len((folder / "README.md").read_text().splitlines()) > 5
    assert not (folder / "Dockerfile").exists(), "what every folder gets does for baselines"


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_the_demo_settings_need_no_download(folder: Path) -> None:
    entry = open_folder(folder)
    if entry.table.backbones:
        assert entry.settings("demo").params["weights"] == "random"
        assert entry.settings("brain").params["weights"] in {"imagenet", "pretrained"}


@pytest.mark.parametrize("name", NETWORKS)
def test_missing_weights_name_the_command_and_are_never_replaced(name: str, tmp_path: Path) -> None:
    baseline = open_baseline(next(path for path in FOLDERS if path.name == name))
    backbones = "|".join(baseline.entry.table.backbones)
    full = baseline.entry.settings("brain").params
    changes = {"weights": full["weights"]}
    if baseline.params().get("backbone", backbones) not in backbones:  # one for trials alone
        changes |= {"backbone": full["backbone"], "image_size": full["image_size"]}
    for folder in (tmp_path, None):
        with pytest.raises(
            FileNotFoundError, match=rf"python -m harness\.weights fetch ({backbones})"
        ):
            baseline.model("cpu", 0, baseline.params(**changes), folder)


def test_maps_are_float32_of_the_images_own_size(
    trained: Trained, test_images: list[np.ndarray]
) -> None:
    for image in test_images:
        anomaly_map, score = trained.model.predict(image)
        assert np.isfinite(score)
        if not trained.baseline.entry.table.maps:
            assert anomaly_map is None
            continue
        assert anomaly_map.dtype == np.float32
        assert anomaly_map.shape == image.shape[:2]
        assert anomaly_map.flags.c_contiguous
        assert np.isfinite(anomaly_map).all()
        assert anomaly_map.std() > 0


def test_a_map_that_the_paper_does_not_know_comes_only_where_it_is_asked_for(
    trained: Trained, test_images: list[np.ndarray]
) -> None:
    if "native_map" not in trained.baseline.params():
        assert getattr(trained.model, "maps", True)
        return
    assert trained.baseline.entry.settings("brain").params["native_map"] is False
    assert trained.model.maps
    plain = trained.baseline.make()
    assert plain.maps is False
    plain.load(trained.saved)
    for image, (_, score) in zip(test_images, answers(trained.model, test_images), strict=True):
        assert plain.predict(image) == (None, score)


def test_answers_depend_neither_on_order_nor_on_what_came_before(
    trained: Trained, test_images: list[np.ndarray]
) -> None:
    forward = answers(trained.model, test_images)
    assert_equal(forward, answers(trained.model, test_images[::-1])[::-1])
    alone = make(trained.baseline)
    alone.load(trained.saved)
    assert_equal(forward[2:3], answers(alone, test_images[2:3]))


def test_the_image_itself_stays_untouched(trained: Trained, test_images: list[np.ndarray]) -> None:
    image = test_images[1].copy()
    image.flags.writeable = False  # as it comes from the pipe
    trained.model.predict(image)
    np.testing.assert_array_equal(image, test_images[1])


def test_what_was_saved_answers_like_what_was_trained(
    trained: Trained, test_images: list[np.ndarray]
) -> None:
    loaded = make(trained.baseline)
    loaded.load(trained.saved)
    assert_equal(answers(trained.model, test_images), answers(loaded, test_images))


def test_the_same_seed_gives_the_same_bytes(
    trained: Trained, training_folder: Path, test_images: list[np.ndarray], tmp_path: Path
) -> None:
    again = make(trained.baseline)
    # Without the harness's questions: what is asked at a checkpoint must not change training.
    again.fit(training_folder, Listener())
    again.save(tmp_path)
    assert_same_files(trained.saved, tmp_path)
    assert_equal(answers(trained.model, test_images), answers(again, test_images))


def assert_same_files(first: Path, second: Path) -> None:
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert filecmp.cmpfiles(first, second, names, shallow=False) == (names, [], [])


def test_a_training_that_was_killed_goes_on_to_the_same_bytes(
    trained: Trained, training_folder: Path, tmp_path: Path
) -> None:
    if "checkpoint_every_epochs" not in trained.baseline.params():
        return  # one pass without a checkpoint: it starts anew
    state, written = tmp_path / "state", tmp_path / "saved"
    state.mkdir()
    written.mkdir()
    with pytest.raises(KeyboardInterrupt):
        make(trained.baseline).fit(training_folder, Listener(dies_at=1, state_folder=state))
    again, listener = make(trained.baseline), Listener(state_folder=state)
    again.fit(training_folder, listener)
    again.save(written)
    assert listener.checkpoints == trained.listener.checkpoints
    assert listener.points[0][0] > listener.checkpoints[0]
    assert_same_files(trained.saved, written)


def test_a_model_is_not_loaded_onto_other_features(trained: Trained) -> None:
    has_backbone = bool(trained.baseline.entry.table.backbones)
    refusal = pytest.raises(ValueError, match="trained on the backbone random/0")
    with refusal if has_backbone else contextlib.nullcontext():
        trained.baseline.make(seed=1).load(trained.saved)


def test_progress_rises_to_its_end(trained: Trained) -> None:
    points = trained.listener.points
    steps = [step for step, _, _ in points]
    assert steps == sorted(set(steps))
    assert len({total for _, total, _ in points}) == 1
    assert points[-1][0] == points[-1][1]
    assert all(loss is None or np.isfinite(loss) for _, _, loss in points)


def test_checkpoints_come_while_training_and_at_its_end(trained: Trained) -> None:
    is_judged = "checkpoint_every_epochs" in trained.baseline.params()
    metric = trained.baseline.entry.settings("demo").training.checkpoint_metric
    assert is_judged == (metric != "none")
    if is_judged:
        assert len(trained.listener.checkpoints) == 2
        assert trained.listener.checkpoints[-1] == trained.listener.points[-1][1]
    else:
        assert trained.listener.checkpoints == []


def test_training_ends_when_the_harness_says_stop(trained: Trained, training_folder: Path) -> None:
    listener = Listener(stops_at=1)
    trained.baseline.make().fit(training_folder, listener)
    assert listener.checkpoints == trained.listener.checkpoints[:1]
    last_step, steps, _ = listener.points[-1]
    assert last_step == (listener.checkpoints[0] if listener.checkpoints else steps)


def learn_from(count: int, baseline: Baseline, training_folder: Path, few: Path) -> Any:
    """The model that learned from the first images alone."""
    few.mkdir()
    for file in sorted(training_folder.iterdir())[:count]:
        shutil.copy(file, few)
    model, listener = make(baseline), Listener()
    model.fit(few, listener)
    assert listener.points, "no step was done, and nothing said so"
    return model


@pytest.mark.parametrize("name", TRAINED)
def test_with_one_image_it_learns_or_says_how_many_it_needs(
    name: str, training_folder: Path, test_images: list[np.ndarray], tmp_path: Path
) -> None:
    baseline = open_baseline(next(path for path in FOLDERS if path.name == name))
    try:
        model = learn_from(1, baseline, training_folder, tmp_path / "one")
    except NotApplicable as refusal:
        needed = int(re.search(r"at least (\d+)", str(refusal))[1])
        model = learn_from(needed, baseline, training_folder, tmp_path / "enough")
    for anomaly_map, score in answers(model, test_images):
        assert np.isfinite(score)
        assert anomaly_map is None or np.isfinite(anomaly_map).all()


@pytest.mark.parametrize("name", ["cutpaste", "deepsvdd", "padim"])
def test_one_image_is_too_few_for_a_density_a_covariance_and_a_normalised_code(
    name: str, training_folder: Path, tmp_path: Path
) -> None:
    baseline = open_baseline(next(path for path in FOLDERS if path.name == name))
    with pytest.raises(NotApplicable, match="at least 2"):
        learn_from(1, baseline, training_folder, tmp_path / "one")
