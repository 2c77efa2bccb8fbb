"""Perlin noise, and masks of it: shapes of anomalies at many scales.

Perlin, "Improving noise" (2002), as DRAEM uses it (Zavrtanik et al. 2021, section 3.3). All
draws are numpy's, on the CPU, so that every device gets the same shapes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

# Along each side the noise has 1, 2, 4 … 32 cells, and is an anomaly above the threshold.
FINEST = 6
THRESHOLD = 0.5


def perlin_noise(size: int, cells: tuple[int, int], angles: Tensor) -> Tensor:
    """Gradient noise (S, S), about -1 to 1, for any size.

    Args:
        size: side S.
        cells: cells of the lattice along height and width.
        angles: (cells[0] + 1, cells[1] + 1) directions of its gradients, in radians.
    """
    down, across = (
        torch.arange(size, device=angles.device, dtype=angles.dtype) * (count / size)
        for count in cells
    )
    row, column = down.long(), across.long()
    y, x = (down - row)[:, None], (across - column)[None]  # (S, 1), (1, S): place in the cell
    gradient_y, gradient_x = angles.cos(), angles.sin()

    def corner(below: int, right: int) -> Tensor:
        at = ((row + below)[:, None], (column + right)[None])
        return gradient_y[at] * (y - below) + gradient_x[at] * (x - right)

    top = torch.lerp(corner(0, 0), corner(1, 0), _fade(y).expand(size, size))
    bottom = torch.lerp(corner(0, 1), corner(1, 1), _fade(y).expand(size, size))
    return 2**0.5 * torch.lerp(top, bottom, _fade(x).expand(size, size))


def _fade(place: Tensor) -> Tensor:
    """Perlin's quintic, flat at both ends of a cell."""
    return place**3 * (place * (6 * place - 15) + 10)


def random_noise(size: int, random: np.random.Generator, device: torch.device) -> Tensor:
    """Perlin noise (S, S) of a random fineness in each direction."""
    down, across = (int(2**power) for power in random.integers(0, FINEST, 2))
    angles = torch.from_numpy(random.uniform(0, 2 * np.pi, (down + 1, across + 1)))
    return perlin_noise(size, (down, across), angles.float().to(device))


def random_mask(size: int, random: np.random.Generator, device: torch.device) -> Tensor:
    """Where an anomaly shall be: bool (1, S, S), turned by up to 90 degrees; it may be empty."""
    noise = random_noise(size, random, device)[None]
    return rotated(noise, random.uniform(-90, 90)) > THRESHOLD


def rotated(image: Tensor, degrees: float) -> Tensor:
    """(C, S, S) turned about its centre, bilinear; the corners are 0."""
    turned: Tensor = transforms.rotate(
        image, degrees, interpolation=transforms.InterpolationMode.BILINEAR
    )
    return turned
