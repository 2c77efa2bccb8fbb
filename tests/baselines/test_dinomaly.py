"""Dinomaly's own arithmetic, and where it leaves anomalib's, against the plainest way to compute it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from baselines.kit import images, maps
from baselines.kit.anomalib_parts import library
from baselines.kit.token_reconstruction import rate_at

from .conftest import BASELINES, Baseline, module_of, open_baseline, slice_image


@pytest.fixture(scope="module")
def dinomaly() -> Baseline:
    return open_baseline(BASELINES / "dinomaly")


@pytest.fixture(scope="module")
def model(dinomaly: Baseline) -> Any:
    return dinomaly.make(dropout=0.0)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """(3, 1, 32, 32) uint8."""
    return torch.from_numpy(np.stack([slice_image(seed, 32, 32) for seed in range(3)]))[:, None]


def test_the_learning_rate_follows_the_authors_schedule_step_by_step(model: Any) -> None:
    steps, warmup = 400, 100
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2e-3)
    theirs = library("models.image.dinomaly.components.optimizer").WarmCosineScheduler(
        optimiser, base_value=2e-3, final_value=2e-4, total_iters=steps, warmup_iters=warmup
    )
    ours = [2e-3 * rate_at(step, steps, warmup, 0.1) for step in range(steps)]
    np.testing.assert_allclose(ours, theirs.schedule, rtol=1e-12)
    assert rate_at(steps, steps, warmup, 0.1) == 0.1
    made = model.optimiser(list(model.model.decoder.parameters()))
    rates = model.rates(made, epochs=10, steps_per_epoch=2)  # fewer steps than the warm-up has
    highest = 0
    for _ in range(20):
        highest = max(highest, made.param_groups[0]["lr"])
        made.step()
        rates.step()
    assert highest == 2e-3


def test_linear_attention_is_anomalibs_until_its_denominator_underflows(dinomaly: Baseline) -> None:
    kind = library("models.image.dinomaly.components.layers").LinearAttention
    guarded = module_of(dinomaly).linear_attention
    torch.manual_seed(0)
    attention = kind(12, num_heads=3, qkv_bias=True)
    tokens = torch.randn(2, 5, 12)
    for ours, theirs in zip(guarded(attention, tokens, epsilon=0), attention(tokens), strict=True):
        torch.testing.assert_close(ours, theirs)
    attention.qkv.bias.data[:12] = -40  # every query's weights are exp(-40 …): 0 in float32
    assert torch.isnan(attention(tokens)[0]).any()
    assert torch.isfinite(guarded(attention, tokens, epsilon=1e-6)[0]).all()


def test_the_network_is_built_as_the_authors_build_it(model: Any) -> None:
    kind = library("models.image.dinomaly.components.layers").DinomalyMLP
    mlps = [module for module in model.model.modules() if isinstance(module, kind)]
    assert len(mlps) == 1 + 8
    assert all(mlp.fc1.bias is not None and mlp.fc2.bias is not None for mlp in mlps)
    assert [mlp.apply_input_dropout for mlp in mlps] == [True] + [False] * 8
    weights = torch.cat([mlp.fc1.weight.flatten() for mlp in mlps])
    assert weights.abs().max() <= 0.03
    assert float(weights.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not any(parameter.requires_grad for parameter in model.model.encoder.parameters())


def test_points_that_fit_already_pull_a_tenth_and_more_of_them_the_longer_it_trains(
    model: Any,
) -> None:
    torch.manual_seed(0)
    encoded = torch.randn(2, 6, 4, 4)
    plain = torch.randn(2, 6, 4, 4, requires_grad=True)
    distance = 1 - torch.cosine_similarity(encoded.flatten(1), plain.flatten(1))
    distance.mean().backward()
    points = 1 - torch.cosine_similarity(encoded, plain.detach())
    for step, share in ((0, 0.0), (1, 0.45), (50, 0.9)):
        decoded = plain.detach().clone().requires_grad_()
        loss = model.model.loss_fn([encoded], [decoded], global_step=step)
        assert float(loss.detach()) == pytest.approx(float(distance.detach().mean()))
        loss.backward()
        kept = points.flatten().sort(descending=True).values[int(32 * (1 - share)) - 1]
        expected = plain.grad * torch.where(points < kept, 0.1, 1.0)[:, None]
        torch.testing.assert_close(decoded.grad, expected)


def test_the_loss_is_that_of_anomalibs_own_forward_pass(model: Any, pixels: Tensor) -> None:
    model.steps_done = 1
    model.model.train()
    model.frozen.eval()
    gradients = []
    for loss in (
        model.loss_of(pixels),
        model.model(images.normalise(pixels, "imagenet"), global_step=1),
    ):
        model.model.zero_grad()
        loss.backward()
        gradients.append(model.model.bottleneck[0].fc1.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert gradients[0].abs().max() > 0


def test_map_and_score_are_those_of_the_blurred_cosine_distances(
    model: Any, pixels: Tensor
) -> None:
    with torch.no_grad():
        encoded, decoded = model.reconstruct(pixels[:1])
    groups = []
    for theirs, ours in zip(encoded, decoded, strict=True):
        first, second = theirs[0].double().numpy(), ours[0].double().numpy()
        norms = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
        grid = torch.from_numpy(1 - (first * second).sum(axis=0) / norms)[None, None]
        groups.append(maps.resize(grid, (32, 32), align_corners=True)[0, 0].numpy())
    y, x = np.mgrid[-2:3, -2:3]
    kernel = np.exp(-(x**2 + y**2) / 32)
    expected = ndimage.convolve(np.mean(groups, axis=0), kernel / kernel.sum(), mode="mirror")
    found, score = model.predict(pixels[0, 0].numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert score == pytest.approx(np.sort(found.ravel())[-10:].mean(), rel=1e-4)  # of 1,024 pixels


def test_recentering_takes_the_class_token_from_every_patch(
    dinomaly: Baseline, pixels: Tensor
) -> None:
    plain, recentred = dinomaly.make(), dinomaly.make(context_recentering=True)
    with torch.no_grad():
        blocks = plain.model.encoder(images.normalise(pixels, "imagenet"))
        tokens = torch.stack([blocks[f"blocks.{index}"] for index in (2, 3, 4, 5)]).mean(dim=0)
        encoded, _ = recentred.reconstruct(pixels)
        kept, _ = plain.reconstruct(pixels)
    torch.testing.assert_close(kept[0].flatten(2).mT, tokens[:, 1:])
    torch.testing.assert_close(encoded[0].flatten(2).mT, tokens[:, 1:] - tokens[:, :1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 60}, "multiple of 8"),
        ({"layers": [2, 3]}, "must name 8 blocks"),
        ({"backbone": "vit_of_nobody"}, "timm does not know"),
        ({"backbone": "resnet18"}, "no vision transformer"),
    ],
)
def test_what_the_network_cannot_be_made_of_is_refused(
    dinomaly: Baseline, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dinomaly.make(**change)
