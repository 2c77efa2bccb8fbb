"""GANomaly's arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from harness.contract import NotApplicable

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image


@pytest.fixture(scope="module")
def ganomaly() -> Baseline:
    return open_baseline(BASELINES / "ganomaly")


@pytest.fixture(scope="module")
def module(ganomaly: Baseline) -> Any:
    return module_of(ganomaly)


@pytest.fixture
def real() -> torch.Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_networks_have_the_papers_size(module: Any) -> None:
    with torch.device("meta"):
        networks = module.Generator(256, 100, 64, 1), module.Discriminator(256, 64, 1)
    count = sum(value.numel() for one in networks for value in one.parameters())
    assert count / 1e6 == pytest.approx(188.7, abs=0.05)


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("padding", [1, 4])
def test_images_come_back_in_their_size(module: Any, size: int, padding: int) -> None:
    made, code, second = module.Generator(size, 7, 4, padding)(torch.rand(2, 3, size, size))
    assert made.shape == (2, 3, size, size)
    assert code.shape == second.shape == (2, 7)
    logits, features = module.Discriminator(size, 4, padding)(made)
    assert logits.shape == (2,)
    assert features.shape == (2, 4 * size // 8, 4, 4)


def parts(model: Any, real: torch.Tensor) -> dict[str, np.ndarray]:
    """Everything that the losses compare, in float64; the networks stay in training mode."""
    with torch.no_grad():
        made, code, second = model.generator(real)
        real_logits, real_features = model.discriminator(real)
        made_logits, made_features = model.discriminator(made)
    named = {
        "made": made,
        "code": code,
        "second": second,
        "real_logits": real_logits,
        "made_logits": made_logits,
        "real_features": real_features,
        "made_features": made_features,
    }
    return {name: value.double().numpy() for name, value in named.items()}


def test_the_official_loss_matches_features_and_squares_codes(
    ganomaly: Baseline, real: torch.Tensor
) -> None:
    model = ganomaly.make(adversarial_weight=3.0, image_weight=50.0, code_weight=7.0)
    p = parts(model, real)
    loss, made, _ = model._generator_loss(real)
    expected = (
        3 * np.mean((p["made_features"] - p["real_features"]) ** 2)
        + 50 * np.mean(np.abs(p["made"] - real.double().numpy()))
        + 7 * np.mean((p["code"] - p["second"]) ** 2)
    )
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert not made.requires_grad


def test_anomalibs_loss_compares_opinions_and_bends_the_codes_norm(
    ganomaly: Baseline, real: torch.Tensor
) -> None:
    model = ganomaly.make(variant="anomalib", adversarial_weight=3.0, code_weight=7.0)
    p = parts(model, real)
    opinions = [1 / (1 + np.exp(-p[name])) for name in ("real_logits", "made_logits")]
    away = np.abs(p["code"] - p["second"])
    expected = (
        3 * np.mean((opinions[0] - opinions[1]) ** 2)
        + 50 * np.mean(np.abs(p["made"] - real.double().numpy()))
        + 7 * np.mean(np.where(away < 1, away**2 / 2, away - 0.5))
    )
    assert float(model._generator_loss(real)[0].detach()) == pytest.approx(expected, rel=1e-5)


def test_the_discriminators_loss_is_the_mean_of_two_cross_entropies(
    ganomaly: Baseline, real: torch.Tensor
) -> None:
    model = ganomaly.make()
    p = parts(model, real)
    _, made, logits = model._generator_loss(real)
    verdict = model._discriminator_loss(logits, made)
    expected = np.mean(np.log1p(np.exp(-p["real_logits"])) + np.log1p(np.exp(p["made_logits"]))) / 2
    assert float(verdict.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_generators_loss_leaves_the_discriminator_alone(
    ganomaly: Baseline, module: Any, real: torch.Tensor
) -> None:
    model = ganomaly.make()
    loss, _, _ = model._generator_loss(real)
    module.descend(loss, model._adam(model.generator), only=model.generator)
    assert all(value.grad is None for value in model.discriminator.parameters())
    assert all(value.grad is not None for value in model.generator.parameters())


def test_the_official_start_is_dcgans(ganomaly: Baseline) -> None:
    official, library = (ganomaly.make(variant=name, width=16) for name in ("official", "anomalib"))
    for network in (official.generator, official.discriminator):
        deviations = [
            float(layer.weight.detach().std())
            for layer in network.modules()
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        ]
        assert deviations == pytest.approx([0.02] * len(deviations), rel=0.15)
    norms = [one for one in library.generator.modules() if isinstance(one, nn.BatchNorm2d)]
    assert all((one.weight == 1).all() for one in norms)


@pytest.mark.parametrize(
    ("variant", "victory", "is_drawn_anew"),
    [("official", 1e9, True), ("official", 1e-5, False), ("anomalib", 1e9, False)],
)
def test_a_discriminator_that_has_won_begins_anew(
    ganomaly: Baseline,
    module: Any,
    training_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    victory: float,
    is_drawn_anew: bool,
) -> None:
    monkeypatch.setattr(module, "VICTORY", victory)
    model = ganomaly.make(variant=variant, epochs=1)
    model.fit(training_folder, Listener())
    shifts = [one.bias for one in model.discriminator.modules() if isinstance(one, nn.BatchNorm2d)]
    assert all(bool((one == 0).all()) == is_drawn_anew for one in shifts)


def test_the_score_is_the_mean_squared_difference_of_the_codes(ganomaly: Baseline) -> None:
    model = ganomaly.make(native_map=True)
    image = slice_image(3, 64, 64)
    x = torch.from_numpy(np.stack([image] * 3) / 127.5 - 1).float()[None]
    model.generator.eval()
    with torch.no_grad():
        made, code, second = model.generator(x)
    anomaly_map, score = model.predict(image)
    expected = np.mean((code - second).double().numpy() ** 2)
    assert score == pytest.approx(expected, rel=1e-5)
    residual = (x - made).abs().mean(dim=1)[0].double().numpy()
    smooth = ndimage.gaussian_filter(residual, 4, mode="mirror")
    np.testing.assert_allclose(anomaly_map, smooth, rtol=1e-4)


def test_other_sizes_are_padded_and_the_border_is_not_in_the_map(ganomaly: Baseline) -> None:
    model = ganomaly.make(image_size=49, native_map=True)
    assert model.padded_size == 64
    image = slice_image(3, 49, 49)
    padded = np.zeros((64, 64))
    padded[8:57, 8:57] = image / 127.5 - 1
    x = torch.from_numpy(np.stack([padded] * 3)).float()[None]
    model.generator.eval()
    with torch.no_grad():
        made, code, second = model.generator(x)
    anomaly_map, score = model.predict(image)
    assert score == pytest.approx(float((code - second).square().mean()), rel=1e-5)
    residual = (x - made).abs().mean(dim=1)[0, 8:57, 8:57].double().numpy()
    smooth = ndimage.gaussian_filter(residual, 4, mode="mirror")
    np.testing.assert_allclose(anomaly_map, smooth, rtol=1e-4)


def test_a_last_batch_can_be_dropped(ganomaly: Baseline, training_folder: Path) -> None:
    for is_dropped, steps in ((False, 3), (True, 2)):
        listener = Listener()
        ganomaly.make(epochs=1, drop_last=is_dropped).fit(training_folder, listener)
        assert listener.points[-1][0] == steps  # ten images, four at a time
    with pytest.raises(NotApplicable, match="for a batch"):
        ganomaly.make(batch_size=16, drop_last=True).fit(training_folder, Listener())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image_size", 24, "must be 32 or more"),
        ("variant", "keras", "can be official or anomalib"),
        ("normalisation", "zero", "can be imagenet or unit or symmetric"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    ganomaly: Baseline, name: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ganomaly.make(**{name: value})
