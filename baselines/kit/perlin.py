"""Perlin noise, and masks of it: shapes of anomalies at many scales.

Perlin, "Improving noise" (2002), as DRAEM uses it (Zavrtanik et al. 2021, section 3.3). All
draws are numpy's, on the CPU, so that every device gets the same shapes; what they draw is
computed for a whole batch at once, on the device. Trap: nothing here may make the CPU wait for a
GPU, whose steps go on while the next anomalies are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from baselines.kit import images

# Along each side the noise has 1, 2, 4 … 32 cells, and is an anomaly above the threshold.
FINEST = 6
THRESHOLD = 0.5


@dataclass(frozen=True)
class NoiseDraw:
    """What is drawn of one image of noise."""

    cells: tuple[int, int]
    """Cells of the lattice along height and width."""
    angles: npt.NDArray[np.float64]
    """[cells[0] + 1, cells[1] + 1] directions of its gradients, in radians."""

    @classmethod
    def of(cls, random: np.random.Generator) -> NoiseDraw:
        """Noise of a random fineness in each direction."""
        down, across = (int(2**power) for power in random.integers(0, FINEST, 2))
        return cls((down, across), random.uniform(0, 2 * np.pi, (down + 1, across + 1)))


@dataclass(frozen=True)
class MaskDraw:
    """What is drawn of one mask."""

    noise: NoiseDraw
    """Of which it is the highest parts."""
    degrees: float
    """By how much it is turned."""

    @classmethod
    def of(cls, random: np.random.Generator) -> MaskDraw:
        """A mask of any shape, turned by up to 90 degrees."""
        return cls(NoiseDraw.of(random), random.uniform(-90, 90))


def perlin_noise(size: int, cells: Tensor, angles: Tensor) -> Tensor:
    """Gradient noise (N, S, S), about -1 to 1, for any size.

    Args:
        size: side S.
        cells: (N, 2) int64, cells of each lattice along height and width.
        angles: (N, rows, columns) directions of the gradients, in radians: of each image those of
            its own (cells[0] + 1, cells[1] + 1) corners first; what lies beyond is not read.
    """
    steps = torch.arange(size, device=angles.device, dtype=angles.dtype)
    down, across = (steps * (count[:, None].to(angles.dtype) / size) for count in cells.unbind(1))
    row, column = down.long(), across.long()  # (N, S)
    y, x = (down - row)[:, :, None], (across - column)[:, None]  # place in the cell
    gradient_y, gradient_x = angles.cos(), angles.sin()
    image = torch.arange(len(angles), device=angles.device)[:, None, None]

    def corner(below: int, right: int) -> Tensor:
        at = (image, (row + below)[:, :, None], (column + right)[:, None])
        return gradient_y[at] * (y - below) + gradient_x[at] * (x - right)

    whole = (len(angles), size, size)
    top = torch.lerp(corner(0, 0), corner(1, 0), _fade(y).expand(whole))
    bottom = torch.lerp(corner(0, 1), corner(1, 1), _fade(y).expand(whole))
    return 2**0.5 * torch.lerp(top, bottom, _fade(x).expand(whole))


def _fade(place: Tensor) -> Tensor:
    """Perlin's quintic, flat at both ends of a cell."""
    return place**3 * (place * (6 * place - 15) + 10)


def noise_of(draws: Sequence[NoiseDraw], size: int, device: torch.device) -> Tensor:
    """Noise (N, S, S), float32, of so many draws."""
    sides = np.max([draw.angles.shape for draw in draws], axis=0)
    angles = np.zeros((len(draws), *sides), np.float32)
    for place, draw in zip(angles, draws, strict=True):
        place[: draw.angles.shape[0], : draw.angles.shape[1]] = draw.angles
    cells = torch.tensor([draw.cells for draw in draws])
    on_device = images.sent(cells, device), images.sent(torch.from_numpy(angles), device)
    return perlin_noise(size, *on_device)


def masks_of(draws: Sequence[MaskDraw], size: int, device: torch.device) -> Tensor:
    """Where anomalies shall be: bool (N, 1, S, S); one may be empty."""
    noise = noise_of([draw.noise for draw in draws], size, device)[:, None]
    return rotated(noise, [draw.degrees for draw in draws]) > THRESHOLD


def rotated(batch: Tensor, degrees: Sequence[float]) -> Tensor:
    """Each image of (N, C, S, S) turned about its centre, bilinear; the corners are 0.

    The arithmetic of torchvision's `rotate`, which turns a whole batch by one angle.
    """
    size = batch.shape[-1]
    half = 0.5 * size
    # From a pixel to where it is read, (3, 2) each, over half of the side: `grid_sample`'s units.
    turns = [(math.cos(angle), math.sin(angle)) for angle in map(math.radians, degrees)]
    matrices = torch.tensor([[[c, s], [-s, c], [0.0, 0.0]] for c, s in turns]) / half
    line = torch.linspace((1.0 - size) * 0.5, (size - 1.0) * 0.5, size, device=batch.device)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).view(1, size**2, 3)
    grid = places.expand(len(batch), -1, -1) @ images.sent(matrices, batch.device).to(batch)
    return functional.grid_sample(
        batch, grid.view(len(batch), size, size, 2), "bilinear", "zeros", align_corners=False
    )
