"""CS-Flow's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.kit import images, maps

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image

CHANNELS, SIDES = 4, (4, 2, 1)


@pytest.fixture(scope="module")
def cs_flow() -> Baseline:
    return open_baseline(BASELINES / "cs-flow")


@pytest.fixture(scope="module")
def code(cs_flow: Baseline) -> ModuleType:
    return sys.modules[cs_flow.model.__module__]


@pytest.fixture(scope="module")
def trained(cs_flow: Baseline, training_folder: Path) -> Any:
    model = cs_flow.make(native_map=True)
    model.fit(training_folder, Listener())
    return model


def small_flow(code: ModuleType, *, opened: bool) -> torch.nn.Module:
    """Two blocks over four channels in float64; `opened`: with gates that let much through."""
    torch.manual_seed(0)
    params = {
        "clamp": 3.0, "hidden_channels": 5, "kernel_size": 3, "last_kernel_size": 5,
        "coupling_blocks": 2,
    }  # fmt: skip
    region = lambda: torch.autocast("cpu", enabled=False)  # noqa: E731
    flow = code.CrossScaleFlow(CHANNELS, params, region).double().eval()
    # The nets answer in float32; in float64 nothing is lost.
    for module in flow.modules():
        if isinstance(module, code.CrossScaleNet):
            module.gates.data = torch.randn(3).double() * 2 * opened
    return flow


def scales_of(flat: Tensor) -> list[Tensor]:
    parts = flat.split([CHANNELS * side**2 for side in SIDES], dim=1)
    return [
        part.view(len(flat), CHANNELS, side, side) for part, side in zip(parts, SIDES, strict=True)
    ]


def test_an_untrained_flow_shuffles_channels_and_no_more(code: ModuleType) -> None:
    flat = torch.randn(2, 84).double()
    latent, log_determinant = small_flow(code, opened=False)(scales_of(flat))
    assert log_determinant.tolist() == [0, 0]
    for before, after in zip(scales_of(flat), latent, strict=True):
        assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)


def test_the_log_determinant_is_that_of_the_jacobian(code: ModuleType) -> None:
    flow = small_flow(code, opened=True)
    flat = torch.randn(1, 84).double()
    jacobian = torch.autograd.functional.jacobian(
        lambda row: code.flattened(flow(scales_of(row[None]))[0])[0], flat[0]
    )
    _, found = flow(scales_of(flat))
    found = found.detach()
    assert abs(float(found)) > 1
    assert float(found) == pytest.approx(float(jacobian.slogdet().logabsdet), abs=1e-4)


def test_a_log_determinant_does_not_depend_on_batch_mates(code: ModuleType) -> None:
    flow = small_flow(code, opened=True)
    flat = torch.randn(3, 84).double()
    _, together = flow(scales_of(flat))
    alone = [float(flow(scales_of(row[None]))[1].detach()) for row in flat]
    np.testing.assert_allclose(together.detach(), alone, rtol=1e-5)


def test_the_loss_is_the_negative_log_likelihood_per_number(code: ModuleType) -> None:
    latent = scales_of(torch.arange(168.0).view(2, 84) / 100)
    loss = code.flow_loss(latent, torch.tensor([3.0, 5.0]))
    rows = np.arange(168).reshape(2, 84) / 100
    expected = np.mean(0.5 * (rows**2).sum(axis=1) - [3, 5]) / 84
    assert float(loss) == pytest.approx(expected)


def test_the_three_sizes_are_every_second_and_fourth_pixel(cs_flow: Baseline) -> None:
    model = cs_flow.make()
    pixels = images.from_array(slice_image(1, 128, 128), 128)
    scales = model.extract(pixels)
    assert [tuple(scale.shape) for scale in scales] == [(1, 304, side, side) for side in (4, 2, 1)]
    for step, scale in zip((1, 2, 4), scales, strict=True):
        smaller = images.normalise(pixels[..., ::step, ::step].contiguous(), "imagenet")
        assert torch.equal(scale, model.backbone(smaller)[0])


def test_standardised_training_features_have_mean_0_and_deviation_1(
    trained: Any, code: ModuleType, training_folder: Path
) -> None:
    pixels = images.read_training_images(training_folder, 128).pixels
    for scale, mean, deviation in zip(
        trained.extract(pixels), trained.means, trained.deviations, strict=True
    ):
        values = scale.double().transpose(0, 1).flatten(1).numpy()
        np.testing.assert_allclose(mean, values.mean(axis=1), rtol=1e-4, atol=1e-12)
        np.testing.assert_allclose(deviation, values.std(axis=1), rtol=1e-3, atol=1e-12)
    constant = torch.full((2, 1, 1, 1), 7.0)
    _, deviations = code.standards([[constant] * 3])
    assert deviations.tolist() == [[1]] * 3


def test_stored_features_train_like_extracted_ones(
    cs_flow: Baseline, trained: Any, training_folder: Path
) -> None:
    extracting = cs_flow.make(native_map=True, store_mib=0)
    extracting.fit(training_folder, Listener())
    image = slice_image(50)
    assert extracting.predict(image)[1] == pytest.approx(trained.predict(image)[1], rel=1e-3)


def test_the_score_is_half_the_mean_square_and_the_map_the_finest_scale(trained: Any) -> None:
    image = slice_image(51, 128, 128)
    with torch.inference_mode():
        latent, _ = trained.latent(trained.extract(images.from_array(image, 128)))
    numbers = np.concatenate([scale.double().numpy().ravel() for scale in latent])
    anomaly_map, score = trained.predict(image)
    assert score == pytest.approx((numbers**2).mean() / 2, rel=1e-5)
    squares = torch.from_numpy((latent[0][0].double().numpy() ** 2).mean(axis=0)).float()
    expected = maps.gaussian_blur(maps.resize(squares[None, None], (128, 128)), 4.0)
    np.testing.assert_allclose(anomaly_map, expected[0, 0], rtol=1e-4)


def test_a_size_that_cannot_be_halved_to_the_coarsest_scale_is_refused(cs_flow: Baseline) -> None:
    with pytest.raises(ValueError, match="image_size is 224; it must be a multiple of 128"):
        cs_flow.make(image_size=224)
