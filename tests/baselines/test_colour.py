"""The kit's colour jitter against torchvision's single operations."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import functional

from baselines.kit import colour

SHARES = torch.tensor([0.3, -0.2]).view(2, 1, 1, 1)


def picture(channels: int) -> torch.Tensor:
    return torch.rand(2, channels, 8, 6, generator=torch.Generator().manual_seed(channels)) * 255


@pytest.mark.parametrize(
    ("ours", "theirs", "channels"),
    [
        (colour._brighten, functional.adjust_brightness, 3),
        (colour._brighten, functional.adjust_brightness, 1),
        (colour._contrast, functional.adjust_contrast, 3),
        (colour._contrast, functional.adjust_contrast, 1),
        (colour._saturate, functional.adjust_saturation, 3),
    ],
)
def test_each_operation_is_torchvisions(ours, theirs, channels: int) -> None:
    pixels = picture(channels)
    expected = [
        theirs(image / 255, 1 + float(share)) * 255
        for image, share in zip(pixels, SHARES, strict=True)
    ]
    torch.testing.assert_close(ours(pixels, SHARES), torch.stack(expected), rtol=1e-4, atol=1e-3)


def test_a_hue_turned_by_a_third_swaps_the_channels() -> None:
    pixels = picture(3)
    turned = colour._turn_hue(pixels, torch.full((2, 1, 1, 1), 1 / 3))
    torch.testing.assert_close(turned, pixels[:, [2, 0, 1]], rtol=1e-3, atol=0.05)


def test_no_strength_changes_nothing_and_the_same_seed_gives_the_same() -> None:
    for channels in (1, 3):
        pixels = picture(channels)
        assert torch.equal(colour.jitter(pixels, 0.0, torch.Generator()), pixels)
        same = colour.jitter(pixels, 1e-9, torch.Generator())
        torch.testing.assert_close(same, pixels, rtol=1e-4, atol=1e-3)
        first, again, other = (
            colour.jitter(pixels, 0.1, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert not torch.equal(first, pixels)


def test_each_image_has_factors_and_an_order_of_its_own() -> None:
    pixels = picture(3)[:1].repeat(40, 1, 1, 1)
    jittered = colour.jitter(pixels, 0.4, torch.Generator().manual_seed(0))
    assert len(jittered.flatten(1).unique(dim=0)) == 40
    assert jittered.min() >= 0
    assert jittered.max() <= 255
