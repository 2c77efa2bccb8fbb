"""Twice the sides, by products with a fixed matrix as by torch's own kernel."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from baselines.kit import upsampling

SIZES = [(1, 1), (1, 2), (2, 3), (7, 7), (28, 14)]


def tensors(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch in double precision, and a gradient of what becomes of it."""
    draw = torch.Generator().manual_seed(0)
    batch = torch.randn(2, 3, height, width, generator=draw, dtype=torch.float64)
    gradient = torch.randn(2, 3, 2 * height, 2 * width, generator=draw, dtype=torch.float64)
    return batch.requires_grad_(), gradient


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_interpolations(
    size: tuple[int, int], align_corners: bool
) -> None:
    batch, gradient = tensors(*size)
    expected = functional.interpolate(
        batch, scale_factor=2, mode="bilinear", align_corners=align_corners
    )
    found = upsampling.doubled_by_products(batch, align_corners=align_corners)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    slopes = [torch.autograd.grad(each, batch, gradient)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-12)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("align_corners", [True, False])
def test_on_a_cpu_it_is_torchs_own_kernel(align_corners: bool) -> None:
    batch, _ = tensors(5, 6)
    own = functional.interpolate(
        batch.float(), size=(10, 12), mode="bilinear", align_corners=align_corners
    )
    assert torch.equal(upsampling.doubled(batch.float(), align_corners=align_corners), own)


@pytest.mark.parametrize("align_corners", [True, False])
def test_in_bfloat16_a_constant_stays_what_it_is(align_corners: bool) -> None:
    # With weights rounded one by one their sum would miss 1 by up to 1 in 256.
    batch = torch.full((1, 4, 112, 112), 0.7265625, dtype=torch.bfloat16)
    found = upsampling.doubled_by_products(batch, align_corners=align_corners)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, torch.full_like(found, 0.7265625))


def test_in_bfloat16_places_are_right_to_a_500th_of_a_pixel() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    exact = functional.interpolate(ramp, scale_factor=2, mode="bilinear", align_corners=True)
    found = upsampling.doubled_by_products(ramp.bfloat16(), align_corners=True).float()
    rounding = exact.abs() / 256  # of the result itself
    assert bool(((found - exact).abs() <= 1 / 512 + rounding).all())
