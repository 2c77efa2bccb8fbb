"""Patch descriptors: the feature maps of several layers on one grid.

Three ways of three papers: plain concatenation (PaDiM), the mean over a 3x3
neighbourhood (PatchCore as anomalib has it, CFA), and PatchCore's own pooling over
neighbourhood and channels at once (its official code; SimpleNet).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from baselines.kit.upsampling import doubled

NEIGHBOURHOOD = 3


def concatenate(features: Sequence[Tensor], mode: str) -> Tensor:
    """All layers on the grid of the first, one after the other.

    Args:
        features: (B, C_l, h_l, w_l) per layer, the finest first.
        mode: `nearest` or `bilinear` (corners not aligned).
    Returns:
        (B, sum of C_l, h_0, w_0).
    """
    grid = features[0].shape[-2:]
    return torch.cat([features[0], *(_resize(layer, grid, mode) for layer in features[1:])], dim=1)


def mean_patches(features: Sequence[Tensor]) -> Tensor:
    """Mean over the 3x3 neighbourhood (zeros beyond the border), then bilinear concatenation.

    Returns:
        (B, sum of C_l, h_0, w_0).
    """
    means = [functional.avg_pool2d(layer, NEIGHBOURHOOD, stride=1, padding=1) for layer in features]
    return concatenate(means, "bilinear")


def pooled_patches(features: Sequence[Tensor], dims: int) -> Tensor:
    """PatchCore's own descriptor (Roth et al. 2022, official code): `dims` numbers per patch.

    Each layer's 3x3xC neighbourhood is flattened (channel first), averaged down to `dims`
    contiguous groups, brought to the finest grid, and the layers' vectors end to end are
    averaged down to `dims` again. Pooling before resizing gives the same numbers as the
    official order (both are linear, over different axes) at a fraction of the memory.

    Returns:
        (B, dims, h_0, w_0).
    """
    grid = features[0].shape[-2:]
    pooled = []
    for layer in features:
        batch, _, height, width = layer.shape
        columns = functional.unfold(layer, NEIGHBOURHOOD, padding=1)  # (B, C*9, h*w)
        groups = functional.adaptive_avg_pool1d(columns.transpose(1, 2), dims)  # (B, h*w, dims)
        maps = groups.transpose(1, 2).reshape(batch, dims, height, width)
        pooled.append(_resize(maps, grid, "bilinear").flatten(2).transpose(1, 2))
    joined = functional.adaptive_avg_pool1d(torch.cat(pooled, dim=2), dims)  # (B, h*w, dims)
    return joined.transpose(1, 2).reshape(len(joined), dims, *grid)


def _resize(layer: Tensor, grid: torch.Size, mode: str) -> Tensor:
    if layer.shape[-2:] == grid:
        return layer
    if mode == "bilinear" and tuple(grid) == (2 * layer.shape[-2], 2 * layer.shape[-1]):
        return doubled(layer, align_corners=False)
    return functional.interpolate(layer, size=grid, mode=mode)
