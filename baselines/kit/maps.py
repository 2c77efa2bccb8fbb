"""Anomaly maps on their way out: resize, Gaussian blur, an array of the image's own size."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# The blur that nearly every method of this family uses, in pixels of the network's input.
SIGMA = 4.0
# The kernel ends at 4 standard deviations, as scipy's and anomalib's do.
TRUNCATE = 4.0

Border = Literal["mirror", "reflect"]
"""scipy's names. Methods' own code calls scipy, whose default is `reflect` (the edge pixel is
repeated: c b a | a b c); anomalib, and so BMAD, mirrors without repeating it (c b | a b c)."""


def resize(
    maps: Tensor, size: tuple[int, int], mode: str = "bilinear", *, align_corners: bool = False
) -> Tensor:
    """(B, 1, h, w) to (B, 1, *size); mode `bilinear` or `nearest`."""
    if mode == "nearest":
        return functional.interpolate(maps, size=size, mode=mode)
    return functional.interpolate(maps, size=size, mode=mode, align_corners=align_corners)


def residual(image: Tensor, reconstruction: Tensor) -> Tensor:
    """(B, 1, H, W) from twice (B, C, H, W): the absolute difference, mean over the channels."""
    return (image - reconstruction).abs().mean(dim=1, keepdim=True)


def gaussian_blur(maps: Tensor, sigma: float = SIGMA, border: Border = "mirror") -> Tensor:
    """Separable Gaussian, `scipy.ndimage.gaussian_filter`.

    Args:
        maps: (B, 1, h, w) float32, both sides longer than 4 sigma.
        sigma: standard deviation in pixels.
        border: how the map goes on beyond its edge.
    Raises:
        ValueError: another border.
    """
    if border not in get_args(Border):
        raise ValueError(f"border is {border!r}; it can be {' or '.join(get_args(Border))}")
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(maps)  # (2 radius + 1,)
    padded = _padded(maps, radius, border)
    rows = functional.conv2d(padded, kernel.view(1, 1, -1, 1))
    return functional.conv2d(rows, kernel.view(1, 1, 1, -1))


def _padded(maps: Tensor, radius: int, border: Border) -> Tensor:
    if border == "mirror":
        return functional.pad(maps, (radius, radius, radius, radius), mode="reflect")
    for dim in (2, 3):
        before, after = maps.narrow(dim, 0, radius), maps.narrow(dim, -radius, radius)
        maps = torch.cat([before.flip(dim), maps, after.flip(dim)], dim=dim)
    return maps


def to_array(anomaly_map: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The answer to one image: float32 [H, W], C-contiguous.

    Args:
        anomaly_map: (1, 1, h, w) at the network's size.
        size: height and width of the image.
    """
    resized = resize(anomaly_map.float(), size)[0, 0]
    return np.ascontiguousarray(resized.cpu().numpy())
