"""Greedy k-centre selection: which of many normal patches a memory bank keeps.

PatchCore's (https://arxiv.org/abs/2106.08265, algorithm 1), also for other memory banks. Its time
is the number of points times the number that is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from baselines.kit.memory_bank import row_blocks, squared_norms


def select_coreset(
    points: Tensor,
    size: int,
    starts: Tensor,
    on_selected: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Greedy k-centre selection: again and again the point farthest from those chosen.

    Args:
        points: (N, d) float32 or, on a GPU, float16; changed in place (centred).
        size: how many to choose, at most N.
        starts: (1,) the first choice; or (n,) points that are not chosen themselves: the mean
            distance to them bounds the distances of all (the authors' code, with ten).
        on_selected: called with (chosen, size) after each choice.
    Returns:
        (size,) int64 on the device of `points`, in the order of choice.
    """
    _centre(points)
    norms = squared_norms(points)
    nearest = torch.full_like(norms, torch.inf)  # squared distance to the nearest choice
    choice = starts[0].to(points.device)
    if len(starts) > 1:
        nearest = _mean_distance(points, norms, starts).square_()
        choice = nearest.argmax()
    order = torch.empty(size, dtype=torch.int64, device=points.device)
    for number in range(size):
        order[number] = choice
        torch.minimum(nearest, _squared_distances(points, norms, choice), out=nearest)
        nearest[order[number]] = -torch.inf  # never twice, rounding or not
        choice = nearest.argmax()
        if on_selected:
            on_selected(number + 1, size)
    return order


def _centre(points: Tensor) -> None:
    """Move the mean to 0: smaller sums, less rounding."""
    total = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    for part in row_blocks(points):
        total += part.sum(dim=0, dtype=torch.float32)
    points -= (total / len(points)).to(points.dtype)


def _mean_distance(points: Tensor, norms: Tensor, starts: Tensor) -> Tensor:
    total = torch.zeros_like(norms)
    for start in starts.to(points.device):
        total += _squared_distances(points, norms, start).clamp_(min=0).sqrt_()
    return total.div_(len(starts))


def _squared_distances(points: Tensor, norms: Tensor, index: Tensor) -> Tensor:
    """(N,) float32 from all points to one of them."""
    return _products(points, points[index]).mul_(-2).add_(norms).add_(norms[index])


def _products(points: Tensor, centre: Tensor) -> Tensor:
    """(N,) float32 inner products; float16 points are summed up in float32."""
    if points.dtype == torch.float32:
        return points @ centre
    if points.is_cuda:
        return torch.mm(points, centre[:, None], out_dtype=torch.float32)[:, 0]
    return torch.cat([part.float() @ centre.float() for part in row_blocks(points)])
