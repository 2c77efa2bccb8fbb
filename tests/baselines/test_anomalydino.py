"""AnomalyDINO's memory and distances, against anomalib's own and the plainest way to compute them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.kit import images
from baselines.kit.anomalib_parts import library

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def anomalydino() -> Baseline:
    return open_baseline(BASELINES / "anomalydino")


@pytest.fixture(scope="module")
def whole(anomalydino: Baseline, training_folder: Path) -> Any:
    """A model that kept every token."""
    model = anomalydino.make(bank_size=10_000)
    model.fit(training_folder, Listener())
    return model


def as_anomalib(model: Any, training_folder: Path) -> nn.Module:
    """anomalib's own memory and map around the same ViT."""
    theirs = library("models.image.anomaly_dino.torch_model").AnomalyDINOModel
    made = theirs.__new__(theirs)
    nn.Module.__init__(made)
    for name, value in vars(model.model).items():
        setattr(made, name, value)
    generator = library("models.image.patchcore.anomaly_map").AnomalyMapGenerator
    made._modules = {**model.model._modules, "anomaly_map_generator": generator()}
    made._buffers = {"memory_bank": torch.empty(0)}
    made.train()
    model.frozen.eval()
    split = images.read_training_images(training_folder, 64)
    with torch.no_grad():
        made(images.normalise(split.pixels, "imagenet"))
    made.fit()
    return made.eval()


def test_with_room_for_every_token_memory_score_and_map_are_anomalibs(
    anomalydino: Baseline, whole: Any, training_folder: Path
) -> None:
    theirs = as_anomalib(whole, training_folder)
    torch.testing.assert_close(whole.model.memory_bank, theirs.memory_bank)
    image = slice_image(50, 64, 64)
    normalised = images.normalise(images.from_array(image, 64), "imagenet")
    with torch.no_grad():
        expected = theirs(normalised)
    nearest = anomalydino.make(bank_size=10_000, upsample="nearest")
    nearest.fit(training_folder, Listener())
    found, score = nearest.predict(image)
    assert score == pytest.approx(float(expected.pred_score), rel=1e-5)
    inside = slice(16, -16)  # further out the blurs continue the map differently
    plain = expected.anomaly_map[0, 0].numpy()
    np.testing.assert_allclose(found[inside, inside], plain[inside, inside], rtol=1e-4)
    smooth, same = whole.predict(image)
    assert same == score
    assert not np.allclose(smooth, found, rtol=1e-3)


def test_the_score_is_the_mean_cosine_distance_of_the_farthest_hundredth(whole: Any) -> None:
    image = slice_image(51, 64, 64)
    with torch.no_grad():
        tokens = whole.embed(images.from_array(image, 64))[0].double().numpy()
    bank = whole.model.memory_bank.double().numpy()
    squares = ((tokens[:, None] - bank[None]) ** 2).sum(axis=2)  # (patches, memory)
    distances = squares.min(axis=1) / 2
    _, score = whole.predict(image)
    assert score == pytest.approx(distances.max(), rel=1e-4)  # a hundredth of 64 patches: one
    assert np.linalg.norm(bank, axis=1) == pytest.approx(1)


def test_a_full_bank_is_thinned_to_its_size_out_of_what_may_enter(
    anomalydino: Baseline, whole: Any, training_folder: Path
) -> None:
    every = {tuple(row) for row in whole.model.memory_bank.tolist()}
    assert len(whole.model.memory_bank) == 10 * 64
    thinned = anomalydino.make(bank_size=50, cpu_max_patches=100)
    listener = Listener()
    thinned.fit(training_folder, listener)
    kept = {tuple(row) for row in thinned.model.memory_bank.tolist()}
    assert thinned.model.memory_bank.shape == (50, 96)
    assert len(kept & every) == len(kept) > 25  # black patches are equal tokens
    assert listener.points[-1][0] == listener.points[-1][1]


def test_references_are_turned_around_their_middle_the_upright_first(anomalydino: Baseline) -> None:
    upright = torch.from_numpy(np.stack([slice_image(seed, 64, 64) for seed in range(2)]))[:, None]
    turned = anomalydino.make(rotations=8).prepare(images.TrainingImages(upright)).pixels
    assert turned.shape == (16, 1, 64, 64)
    torch.testing.assert_close(turned[:2], upright)
    torch.testing.assert_close(turned[8:10], upright.flip(2, 3))
    torch.testing.assert_close(turned[4:6], upright.rot90(1, (2, 3)))
    slanted = turned[2:4].float()
    assert not torch.equal(turned[2:4], upright)
    assert slanted.mean() == pytest.approx(float(upright.float().mean()), rel=0.2)


def test_the_mask_is_of_test_images_alone_and_draws_from_no_one_elses_numbers(
    anomalydino: Baseline, training_folder: Path
) -> None:
    masked = anomalydino.make(foreground_mask=True, bank_size=10_000)
    extract = masked.model.extract_features
    # Random tokens differ by less than the threshold that the authors found for DINOv2's.
    masked.model.extract_features = lambda pixels: 100 * extract(pixels)
    masked.fit(training_folder, Listener())
    assert len(masked.model.memory_bank) == 10 * 64
    image = slice_image(52, 64, 64)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, score = masked.predict(image)
    second, again = masked.predict(image)
    np.testing.assert_array_equal(first, second)
    assert score == again
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    unmasked = anomalydino.make(bank_size=10_000)
    unmasked.fit(training_folder, Listener())
    assert not np.array_equal(first, unmasked.predict(image)[0])


@pytest.mark.slow  # 90 MB are written and read twice
def test_dinov2s_published_file_is_read_under_the_publishers_own_names(
    anomalydino: Baseline, tmp_path: Path
) -> None:
    name = "vit_small_patch14_dinov2"
    drawn = anomalydino.make(backbone=name, image_size=56).model.feature_encoder.feature_extractor
    published: dict[str, Tensor] = dict(drawn.state_dict())
    published["mask_token"] = torch.zeros(1, 384)  # which timm knows nothing of
    torch.save(published, tmp_path / "dinov2_vits14_pretrain.pth")
    params = anomalydino.params(backbone=name, image_size=56, weights="pretrained")
    read = anomalydino.model("cpu", 1, params, tmp_path)
    assert read.frozen.identity.startswith("sha256:")
    for key, value in read.model.feature_encoder.feature_extractor.state_dict().items():
        torch.testing.assert_close(value, drawn.state_dict()[key])
