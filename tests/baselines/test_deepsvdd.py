"""Deep SVDD's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def deepsvdd() -> Baseline:
    return open_baseline(BASELINES / "deepsvdd")


@pytest.fixture(scope="module")
def module(deepsvdd: Baseline) -> Any:
    return sys.modules[deepsvdd.model.__module__]


@pytest.fixture(scope="module")
def split(module: Any, training_folder: Path) -> Any:
    return module.images.read_training_images(training_folder, 32)


def test_no_layer_can_map_everything_onto_one_point(module: Any) -> None:
    network = module.Autoencoder(32, 128)
    names = [name for name, _ in network.named_parameters()]
    assert all(name.endswith("weight") for name in names)
    assert len(names) == 3 + 1 + 4  # convolutions, linear, transposed convolutions
    affine = [part.affine for part in network.modules() if hasattr(part, "affine")]
    assert affine == [False] * 7


@pytest.mark.parametrize(("size", "dimensions"), [(32, 128), (16, 4), (64, 128)])
def test_the_decoder_gives_the_image_back_in_its_own_size(
    module: Any, size: int, dimensions: int
) -> None:
    batch = torch.rand(2, 3, size, size)
    assert module.encoder(size, dimensions)(batch).shape == (2, dimensions)
    reconstruction = module.Autoencoder(size, dimensions)(batch).detach()
    assert reconstruction.shape == batch.shape
    assert 0 <= float(reconstruction.min()) <= float(reconstruction.max()) <= 1


def test_contrast_is_normalised_per_image(module: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)
    values = image / 255
    centred = values - values.mean()
    expected = centred / np.abs(centred).mean()
    found = module.equalised(torch.from_numpy(image))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    dimmer = module.equalised(torch.from_numpy(image // 2 * 2 // 2))
    np.testing.assert_allclose(dimmer, expected, atol=0.03)  # what half the grey levels round off


def test_the_training_images_fill_zero_to_one(module: Any, split: Any) -> None:
    contrast = module.Contrast("global")
    contrast.fit(split, 3, torch.device("cpu"))
    scaled = contrast(split.pixels)
    assert float(scaled.min()) == pytest.approx(0, abs=1e-6)
    assert float(scaled.max()) == pytest.approx(1, abs=1e-6)


def test_bmads_input_can_be_had_again(module: Any, split: Any) -> None:
    contrast = module.Contrast("imagenet")
    contrast.fit(split, 3, torch.device("cpu"))
    expected = module.images.normalise(split.pixels, "imagenet")
    assert torch.equal(contrast(split.pixels), expected)


def test_an_image_of_one_grey_value_has_a_finite_score(deepsvdd: Baseline) -> None:
    assert np.isfinite(deepsvdd.make().predict(np.zeros((40, 40), np.uint8))[1])


def test_reconstruction_errors_are_summed_over_an_image(module: Any) -> None:
    loss = module.reconstruction_loss(torch.full((2, 3, 4, 4), 0.5), torch.zeros(2, 3, 4, 4))
    assert float(loss) == pytest.approx(0.25 * 3 * 4 * 4)


def test_no_coordinate_of_the_centre_is_close_to_zero(module: Any) -> None:
    sphere = module.Sphere(5)
    sphere.put_at(torch.tensor([0.5, -0.02, 0.02, 0.0, -3.0]))
    assert sphere.centre.tolist() == pytest.approx([0.5, -0.1, 0.1, 0.1, -3.0])


def test_the_soft_boundary_counts_what_lies_outside(module: Any) -> None:
    sphere = module.Sphere(2)
    distances = sphere(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    assert distances.tolist() == [25, 1]
    sphere.radius.fill_(2)
    assert float(sphere.soft_boundary_loss(distances, 0.5)) == 4 + ((25 - 4) + 0) / 2 / 0.5


def test_the_radius_leaves_the_share_nu_outside(module: Any) -> None:
    sphere = module.Sphere(2)
    distances = torch.arange(101.0).square()
    sphere.fit_radius(distances, 0.1)
    assert float(sphere.radius) == pytest.approx(np.quantile(np.arange(101), 0.9))


@pytest.mark.parametrize("warm_up", [1, 2])
def test_the_radius_is_fitted_after_its_warm_up(
    deepsvdd: Baseline, training_folder: Path, warm_up: int
) -> None:
    model = deepsvdd.make(objective="soft-boundary", radius_warm_up_epochs=warm_up)
    model.fit(training_folder, Listener())
    assert (float(model.sphere.radius) > 0) == (warm_up < 2)


def test_the_score_is_the_squared_distance_from_the_centre(
    deepsvdd: Baseline, training_folder: Path
) -> None:
    for objective in ("one-class", "soft-boundary"):
        model = deepsvdd.make(objective=objective, radius_warm_up_epochs=0)
        model.fit(training_folder, Listener())
        image = slice_image(50, 32, 32)
        score = model.predict(image)[1]  # sets the encoder to evaluation, too
        with torch.inference_mode():
            embedding = model.encoder(model.contrast(torch.from_numpy(image)[None, None]))
        delta = embedding[0].numpy().astype(np.float64) - model.sphere.centre.numpy()
        expected = (delta**2).sum() - float(model.sphere.radius) ** 2
        # A difference of two sums that are much larger than it.
        assert score == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_centre_is_the_mean_embedding_and_stays(
    deepsvdd: Baseline, training_folder: Path
) -> None:
    model, centres = deepsvdd.make(epochs=3), []

    class Watcher(Listener):
        def __call__(self, step: int) -> Any:
            centres.append(model.sphere.centre.clone())
            return super().__call__(step)

    model.fit(training_folder, Watcher())
    assert len(centres) == 3
    assert all(torch.equal(centre, centres[0]) for centre in centres)
    assert float(centres[0].abs().min()) >= 0.1 - 1e-6


def test_training_brings_normal_images_closer_to_the_centre(
    deepsvdd: Baseline, training_folder: Path
) -> None:
    def mean_score(epochs: int) -> float:
        model = deepsvdd.make(epochs=epochs, learning_rate=1e-3)
        model.fit(training_folder, Listener())
        return np.mean([model.predict(slice_image(number))[1] for number in range(10)])

    assert mean_score(10) < 0.8 * mean_score(1)


def test_the_encoder_starts_from_the_autoencoder_or_without_it(
    deepsvdd: Baseline, training_folder: Path
) -> None:
    listener = Listener()
    deepsvdd.make(pretraining_epochs=0).fit(training_folder, listener)
    assert listener.points[-1][1] == 2 * 3
    listener = Listener()
    deepsvdd.make(pretraining_epochs=4).fit(training_folder, listener)
    assert listener.points[-1][1] == 4 * 1 + 2 * 3
    assert listener.checkpoints == [4 * 1 + 3, 4 * 1 + 6]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("image_size", 36),
        ("image_size", 96),
        ("dimensions", 100),
        ("objective", "hard"),
        ("contrast", "local"),
        ("nu", 0.0),
        ("nu", 1.5),
    ],
)
def test_settings_that_make_no_model_are_refused(
    deepsvdd: Baseline, setting: str, value: object
) -> None:
    with pytest.raises(ValueError, match=setting):
        deepsvdd.make(**{setting: value})
