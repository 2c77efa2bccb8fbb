"""Bilinear upsampling to twice the sides, whose gradient is deterministic and fast on a GPU.

On a CPU torch's own kernel. On a GPU torch has no deterministic gradient for that kernel, and
under the kit's deterministic algorithms `interpolate` falls back to gathers whose gradients are
sorted sums (`torch/_decomp`): there it is two products with a fixed matrix, one for each side,
and so is the gradient. Trap: in bfloat16 the matrix is rounded to steps of 1/256 of a pixel, so that
the two weights of every output still add up to exactly 1.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

# Weights in [0, 1] that are multiples of it are exact in bfloat16, which has 8 significant bits.
BFLOAT16_STEP = 1 / 256


def doubled(batch: Tensor, *, align_corners: bool) -> Tensor:
    """(B, C, h, w) to (B, C, 2h, 2w), in the type of `batch`.

    Args:
        align_corners: as of `torch.nn.functional.interpolate`.
    """
    if is_deterministic(batch.device):
        return functional.interpolate(
            batch, scale_factor=2, mode="bilinear", align_corners=align_corners
        )
    return doubled_by_products(batch, align_corners=align_corners)


def is_deterministic(device: torch.device) -> bool:
    """Whether torch's own kernel has a deterministic gradient there."""
    return device.type == "cpu"


def doubled_by_products(batch: Tensor, *, align_corners: bool) -> Tensor:
    """The same by two matrix products; the result is in channels-last order."""
    count, channels, height, width = batch.shape

    def weights(side: int) -> Tensor:
        return _weights(side, align_corners, batch.dtype, batch.device)

    rows = batch.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    rows = torch.bmm(weights(height).expand(count, -1, -1), rows)  # (B, 2h, w C)
    columns = rows.view(count * 2 * height, width, channels)
    columns = torch.bmm(weights(width).expand(len(columns), -1, -1), columns)  # (B 2h, 2w, C)
    return columns.view(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def _weights(side: int, align_corners: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2 side, side): what each output takes of each input."""
    if is_deterministic(device):
        return _matrix(side, align_corners, dtype)
    return _kept_weights(side, align_corners, dtype, device)


@cache
def _kept_weights(
    side: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Copied once: each copy would make the CPU wait for the GPU."""
    with torch.inference_mode(mode=False):  # a training may use what a prediction asked for first
        return _matrix(side, align_corners, dtype).to(device)


def _matrix(side: int, align_corners: bool, dtype: torch.dtype) -> Tensor:
    outputs = torch.arange(2 * side)
    if align_corners:
        places = outputs.double() * (side - 1) / (2 * side - 1)
    else:
        places = ((outputs.double() + 0.5) / 2 - 0.5).clamp(0, side - 1)
    before = places.floor().long()
    share = places - before  # of the later of the two inputs
    if dtype == torch.bfloat16:
        share = (share / BFLOAT16_STEP).round() * BFLOAT16_STEP
    matrix = torch.zeros(2 * side, side, dtype=torch.float64)
    matrix[outputs, before] = 1 - share
    matrix[outputs, (before + 1).clamp(max=side - 1)] += share
    return matrix.to(dtype)
