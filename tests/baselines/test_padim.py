"""PaDiM's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from .conftest import (
    BASELINES,
    Baseline,
    Listener,
    module_of,
    open_baseline,
    slice_image,
)


@pytest.fixture(scope="module")
def padim() -> Baseline:
    return open_baseline(BASELINES / "padim")


def test_streamed_gaussians_are_numpys(padim: Baseline) -> None:
    random = np.random.default_rng(0)
    embeddings = (5 + random.normal(size=(23, 6, 70))).astype(np.float32)  # (B, C, P)
    sums = module_of(padim).GaussianSums()
    for part in np.array_split(embeddings, [4, 5, 16]):
        sums.add(torch.from_numpy(part))
    mean, inverse = torch.empty(6, 70), torch.empty(70, 6, 6)
    sums.finish(mean, inverse, 0.01001)
    np.testing.assert_allclose(mean, embeddings.mean(axis=0), rtol=1e-6)
    for position in range(70):
        covariance = np.cov(embeddings[:, :, position].astype(np.float64).T)
        expected = np.linalg.inv(covariance + (0.01 + 1e-5) * np.eye(6))
        np.testing.assert_allclose(inverse[position], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("images", [4, 23, 400])
def test_shrunken_covariances_are_scikit_learns(padim: Baseline, images: int) -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(6, 6))
    embeddings = 5 + random.normal(size=(images, 6, 20)).transpose(0, 2, 1) @ mixing
    embeddings = np.ascontiguousarray(embeddings.transpose(0, 2, 1), np.float32)  # (B, C, P)
    sums = module_of(padim).GaussianSums(shrinks=True)
    for part in np.array_split(embeddings, 3):
        sums.add(torch.from_numpy(part))
    inverse = torch.empty(20, 6, 6)
    sums.finish(torch.empty(6, 20), inverse, 0.0)
    for position in range(20):
        expected, _ = ledoit_wolf(embeddings[:, :, position].astype(np.float64))
        found = np.linalg.inv(inverse[position].double().numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_vectors_that_never_change_need_no_shrinkage(padim: Baseline) -> None:
    sums = module_of(padim).GaussianSums(shrinks=True)
    sums.add(torch.full((3, 2, 1), 4.0))
    inverse = torch.empty(1, 2, 2)
    sums.finish(torch.empty(2, 1), inverse, 0.5)
    torch.testing.assert_close(inverse[0], 2 * torch.eye(2))


def test_a_shrunken_model_answers_too(padim: Baseline, training_folder: Path) -> None:
    image = slice_image(50, 64, 64)
    maps = []
    for shrinkage in ("none", "ledoit-wolf"):
        model = padim.make(shrinkage=shrinkage)
        model.fit(training_folder, Listener())
        maps.append(model.predict(image)[0])
    # Ten images of twenty channels: without it nothing but 0.01 holds the small directions.
    assert maps[1].max() < maps[0].max()
    with pytest.raises(ValueError, match="shrinkage is 'some'; it can be none or ledoit-wolf"):
        padim.make(shrinkage="some")


def test_ten_images_a_channel_are_wanted(padim: Baseline) -> None:
    wanted = padim.entry.table.images_wanted
    assert wanted is not None
    params = padim.entry.settings("liver").params
    told = wanted.shortage(999, params)
    assert told is not None
    assert told.startswith("999 training images for 100 channels, fewer than 10 for each: the cov")
    assert wanted.shortage(1000, params) is None
    wide = {**params, "backbone": "wide_resnet50_2"}
    assert wanted.shortage(1542, wide) is not None


def test_padims_map_is_the_mahalanobis_distance(padim: Baseline, training_folder: Path) -> None:
    model = padim.make()
    model.fit(training_folder, Listener())
    image = slice_image(50, 64, 64)
    pixels = torch.from_numpy(image)[None, None]
    vectors = model.embed(pixels)[0].flatten(1).T.double().numpy()  # (P, C)
    delta = vectors - model.mean.T.double().numpy()
    squares = np.einsum("pc,pcd,pd->p", delta, model.inverse.double().numpy(), delta)
    module = module_of(padim)
    distances = torch.from_numpy(np.sqrt(squares)).float().view(1, 1, 16, 16)
    expected = module.maps.gaussian_blur(module.maps.resize(distances, (64, 64)))
    anomaly_map, score = model.predict(image)
    np.testing.assert_allclose(anomaly_map, expected[0, 0], rtol=1e-4)
    assert score == anomaly_map.max()


def test_padim_chooses_channels_by_the_seed(padim: Baseline) -> None:
    first, again, other = (padim.make(seed=seed).channels for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(set(first.tolist())) == 20


def test_a_limit_below_the_model_names_what_to_change(
    padim: Baseline, training_folder: Path
) -> None:
    model = padim.make(memory_mib=70, channels_resnet18=200)
    message = r"memory_mib is 70, and .* needs at least 74: raise it, or .*channels_resnet18="
    with pytest.raises(ValueError, match=message):
        model.fit(training_folder, Listener())


def test_each_backbone_has_its_number_of_channels(padim: Baseline) -> None:
    entry = padim.entry
    assert entry.settings("brain").params["channels_resnet18"] == 100
    wide = padim.make(backbone="wide_resnet50_2")
    assert len(wide.channels) == 550
    assert wide.embed(torch.zeros(1, 1, 64, 64, dtype=torch.uint8)).shape == (1, 550, 16, 16)


def test_the_channels_are_those_of_the_layers_side_by_side(padim: Baseline) -> None:
    model = padim.make()
    pixels = torch.from_numpy(slice_image(0, 64, 64))[None, None]
    module = module_of(padim)
    features = model.backbone(module.images.normalise(pixels, "imagenet"))
    joined = module.patches.concatenate(features, "nearest")
    assert torch.equal(model.embed(pixels), joined[:, model.channels])
