"""Colour jitter: brightness, contrast, saturation and hue by chance, in an order by chance.

torchvision's definitions, with a generator of one's own and without rounding to 8 bits.
Every image of a batch has its own factors and its own order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import functional

# What red, green and blue weigh in grey (ITU-R 601).
GREY = (0.2989, 0.587, 0.114)
WHITE = 255.0


def jitter(pixels: Tensor, strength: float, draw: torch.Generator) -> Tensor:
    """Colours changed by at most `strength`.

    Args:
        pixels: (B, 1 or 3, H, W) float in [0, 255]; one channel has no saturation or hue.
        strength: brightness, contrast and saturation are multiplied by 1 ± strength, the hue
            is turned by at most this share of the circle (at most 0.5).
        draw: on the CPU.
    """
    if not strength:
        return pixels
    count, channels = pixels.shape[:2]
    shares = torch.rand(count, len(OPERATIONS), generator=draw) * 2 - 1
    order = torch.rand(count, len(OPERATIONS), generator=draw).argsort(dim=1)
    jittered = pixels.clone()
    for place in range(len(OPERATIONS)):
        for number, operation in enumerate(OPERATIONS if channels > 1 else OPERATIONS[:2]):
            chosen = (order[:, place] == number).nonzero()[:, 0]
            if len(chosen):
                there = chosen.to(pixels.device)
                share = strength * shares[chosen, number].view(-1, 1, 1, 1).to(pixels.device)
                jittered[there] = operation(jittered[there], share)
    return jittered


def _brighten(pixels: Tensor, share: Tensor) -> Tensor:
    return (pixels * (1 + share)).clamp(0, WHITE)


def _contrast(pixels: Tensor, share: Tensor) -> Tensor:
    mean = grey(pixels).mean(dim=(1, 2, 3), keepdim=True)
    return (mean + (pixels - mean) * (1 + share)).clamp(0, WHITE)


def _saturate(pixels: Tensor, share: Tensor) -> Tensor:
    luma = grey(pixels)
    return (luma + (pixels - luma) * (1 + share)).clamp(0, WHITE)


def _turn_hue(pixels: Tensor, share: Tensor) -> Tensor:
    turned = [
        functional.adjust_hue(image / WHITE, turn) * WHITE
        for image, turn in zip(pixels, share.flatten().tolist(), strict=True)
    ]
    return torch.stack(turned)


def grey(pixels: Tensor) -> Tensor:
    """(B, 1, H, W): luma of (B, 3, H, W); one channel stays as it is."""
    if pixels.shape[1] == 1:
        return pixels
    weights = torch.tensor(GREY, device=pixels.device).view(1, 3, 1, 1)
    return (pixels * weights).sum(dim=1, keepdim=True)


OPERATIONS = (_brighten, _contrast, _saturate, _turn_hue)
