"""WinCLIP's two folders: prompts, references, and anomalib's own network on the same CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import open_clip
import pytest
import torch

from baselines.kit import images, winclip
from baselines.kit.anomalib_parts import library

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def zero_shot() -> Baseline:
    return open_baseline(BASELINES / "winclip")


@pytest.fixture(scope="module")
def few_shot() -> Baseline:
    return open_baseline(BASELINES / "winclip-few-shot")


def normalised(image: np.ndarray) -> torch.Tensor:
    return images.normalise(
        images.from_array(image, 64), (winclip.CLIP.mean, winclip.CLIP.deviation)
    )


def test_zero_shot_compares_with_the_mean_of_the_prompts_at_temperature_007(
    zero_shot: Baseline,
) -> None:
    model = zero_shot.make()
    image = slice_image(1, 64, 64)
    prompting = library("models.image.winclip.prompting")
    with torch.no_grad():
        means = []
        for prompts in prompting.create_prompt_ensemble("brain MRI"):
            tokens = open_clip.tokenize(prompts, context_length=24)
            assert int(tokens[:, -1].max()) == 0  # none is cut off
            means.append(model.model.clip.encode_text(tokens).mean(dim=0).double().numpy())
        embedding = model.model.clip.encode_image(normalised(image))[0][0].double().numpy()
    cosines = [
        mean @ embedding / np.linalg.norm(mean) / np.linalg.norm(embedding) for mean in means
    ]
    expected = 1 / (1 + np.exp((cosines[0] - cosines[1]) / 0.07))
    found, score = model.predict(image)
    assert score == pytest.approx(expected, rel=1e-5)
    assert found.std() > 0


def test_the_class_name_is_the_benchmarks_and_changes_the_answer(zero_shot: Baseline) -> None:
    names = {
        name: zero_shot.entry.settings(name).params["class_name"]
        for name in ("brain", "liver", "resc", "oct2017", "rsna", "camelyon16", "another")
    }
    assert len(set(names.values())) == 6  # both retinal sets are called the same
    assert names["another"] == "object"
    image = slice_image(1, 64, 64)
    assert (
        zero_shot.make().predict(image)[1] != zero_shot.make(class_name="chair").predict(image)[1]
    )


def test_zero_shot_is_trained_on_nothing(zero_shot: Baseline, few_shot: Baseline) -> None:
    assert not zero_shot.entry.table.trains
    assert few_shot.entry.table.trains
    shared = ("image_size", "backbone", "weights", "class_name", "scales", "context_length")
    for benchmark in ("brain", "rsna"):
        first, second = (each.entry.settings(benchmark).params for each in (zero_shot, few_shot))
        assert {name: first[name] for name in shared} == {name: second[name] for name in shared}


def test_with_references_the_answer_is_anomalibs_on_the_same_clip(
    few_shot: Baseline, training_folder: Path, tmp_path: Path
) -> None:
    model = few_shot.make(batch_size=3)
    model.fit(training_folder, Listener())
    library("models.image.winclip.torch_model")
    with patch.object(
        open_clip, "create_model_and_transforms", lambda *_, **__: (model.model.clip, None, None)
    ):
        theirs = library("models.image.winclip.torch_model").WinClipModel(scales=(2, 3))
    theirs._text_embeddings = model.model.text_embeddings
    split = images.read_training_images(training_folder, 64)
    spread = (winclip.CLIP.mean, winclip.CLIP.deviation)
    theirs.setup(reference_images=images.normalise(split.pixels, spread))
    image = slice_image(9, 64, 64)
    expected = theirs.eval()(normalised(image))
    found, score = model.predict(image)
    assert score == pytest.approx(float(expected.pred_score), rel=1e-5)
    np.testing.assert_allclose(found, expected.anomaly_map[0].numpy(), rtol=1e-4)
    model.save(tmp_path)
    loaded = few_shot.make()
    assert loaded.model.k_shot == 0
    loaded.load(tmp_path)
    assert loaded.model.k_shot == 10
    assert loaded.predict(image)[1] == score


def test_no_more_references_are_kept_than_are_asked_for_and_the_seed_draws_them(
    few_shot: Baseline, training_folder: Path
) -> None:
    kept = []
    for seed in (0, 1):
        model = few_shot.make(seed, max_references=3)
        model.fit(training_folder, Listener())
        kept.append([patches.std().item() for patches in model.model.patch_embeddings])
        assert [len(each) for each in model.model.visual_embeddings] == [3, 3]
    assert len(kept[0]) == len(kept[1]) == 3
    assert kept[0] != kept[1]


def test_open_clip_is_asked_for_the_file_and_never_for_a_tag(
    zero_shot: Baseline, tmp_path: Path
) -> None:
    file = tmp_path / winclip.CLIP.file_name
    file.write_bytes(b"not looked into here")
    asked: list[Any] = []

    def create(*given: Any, **named: Any) -> torch.nn.Module:
        asked.append((given, named))
        vision = {**winclip.TRIAL_FORM["vision_cfg"], "image_size": 64}
        text = {**winclip.TRIAL_FORM["text_cfg"], "context_length": 24}
        return open_clip.CLIP(64, vision, text)

    params = zero_shot.params(backbone="ViT-B-16-plus-240", weights="pretrained")
    with (
        patch.object(winclip, "weight_path", lambda name, folder: folder / file.name),
        patch.object(open_clip, "create_model", create),
    ):
        model = zero_shot.model("cpu", 0, params, tmp_path)
    ((given, _),) = asked
    assert given == ("ViT-B-16-plus-240", str(file))
    assert model.frozen.identity.startswith("sha256:")


def test_a_clip_that_nobody_knows_is_refused(zero_shot: Baseline) -> None:
    with pytest.raises(ValueError, match="open_clip does not know"):
        zero_shot.make(backbone="ViT-of-nobody")
