"""PaDiM's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

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


def test_one_image_has_no_covariance(padim: Baseline, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(slice_image(0)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least 2"):
        padim.make().fit(tmp_path, Listener())


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
