"""INP-Former's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from .conftest import BASELINES, open_baseline, slice_image


@pytest.fixture(scope="module")
def model() -> Any:
    return open_baseline(BASELINES / "inp-former").make()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """(3, 1, 32, 32) uint8."""
    return torch.from_numpy(np.stack([slice_image(seed, 32, 32) for seed in range(3)]))[:, None]


def test_the_loss_is_reconstruction_and_a_fifth_of_the_distance_to_the_nearest_prototype(
    model: Any, pixels: Tensor
) -> None:
    model.model.train()
    loss = float(model.loss_of(pixels).detach())
    with torch.no_grad():
        encoded, decoded, coherence = model.reconstruct(pixels)
    distances = [
        1 - torch.cosine_similarity(one.flatten(1), two.flatten(1)).mean()
        for one, two in zip(encoded, decoded, strict=True)
    ]
    assert loss == pytest.approx(float(sum(distances) / 2 + 0.2 * coherence), rel=1e-5)
    assert model.model.distribution.shape == (3, 16, 6)  # images, patches, prototypes
    assert float(coherence) == pytest.approx(
        float(model.model.distribution.min(dim=2).values.mean())
    )


def test_points_pull_with_the_third_power_of_their_distance(model: Any) -> None:
    torch.manual_seed(0)
    encoded = torch.randn(2, 6, 4, 4)
    plain = torch.randn(2, 6, 4, 4, requires_grad=True)
    (1 - torch.cosine_similarity(encoded.flatten(1), plain.flatten(1))).mean().backward()
    points = 1 - torch.cosine_similarity(encoded, plain.detach())
    decoded = plain.detach().clone().requires_grad_()
    model.model.loss([encoded], [decoded], torch.zeros(())).backward()
    expected = plain.grad * ((points / points.mean()) ** 3)[:, None]
    torch.testing.assert_close(decoded.grad, expected)


def test_the_class_token_takes_no_part(model: Any, pixels: Tensor) -> None:
    assert [group.shape for group in model.reconstruct(pixels)[0]] == [(3, 96, 4, 4)] * 2
    assert model.model.remove_class_token


def test_prototypes_learn_and_the_encoder_does_not(model: Any, pixels: Tensor) -> None:
    model.model.zero_grad()
    model.model.train()
    model.loss_of(pixels).backward()
    assert model.model.prototype_token[0].grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in model.model.encoder.parameters())
    assert all(
        mlp.mlp.fc1.bias is not None for mlp in (*model.model.aggregation, *model.model.decoder)
    )
