"""Grey values: scaling a slice to 0..255, the bone colour map, equalisation of a liver.

All in whole numbers where the slice holds whole numbers, so that no machine differs in a bit.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.benchmarks.pixels import Mask, Pixels


def to_grey(values: npt.NDArray[Any]) -> Pixels:
    """Scale a slice to its own range: `min(255, trunc(256 (v - min) / (max - min)))`.

    Args:
        values: [H, W], finite numbers.

    Returns:
        uint8 [H, W]; all 0 where the slice is constant.
    """
    is_whole = values.dtype.kind in "iub"
    shifted: npt.NDArray[Any] = values.astype(np.int64 if is_whole else np.float64)
    shifted -= shifted.min()
    span = shifted.max()
    if not span:
        return np.zeros(values.shape, np.uint8)
    scaled = shifted * 256 // span if is_whole else np.trunc(256.0 * shifted / span)
    grey: Pixels = np.minimum(scaled, 255).astype(np.uint8)
    return grey


@cache
def bone_map() -> npt.NDArray[np.uint8]:
    """The colour map `bone`, uint8 [256, 3].

    `bone.csv` holds its published definition, piecewise linear in red (0.746032, 0.652778),
    green (0.365079, 0.319444), (0.746032, 0.777778) and blue (0.365079, 0.444444) between black
    and white, at i / 255, times 255, truncated.
    """
    text = resources.files("harness.benchmarks.prepare").joinpath("bone.csv").read_text("ascii")
    rows = [[int(value) for value in line.split(",")] for line in text.splitlines()[1:]]
    table = np.array(rows, np.uint8)
    table.flags.writeable = False
    return table


def equalised(grey: Pixels) -> Pixels:
    """Histogram equalisation over the pixels that are not 0, as BMAD's liver slices have it.

    With c(v) the number of pixels with values 1..v and N = c(255): t = floor(255 c(v) / N), and
    floor(0.8 t + 30) for 1 <= t < 150. Nothing changes where all is 0 (the original divides by 0).
    """
    counts = np.bincount(grey.reshape(-1), minlength=256).astype(np.int64)
    counts[0] = 0
    cumulative = counts.cumsum()
    if not cumulative[-1]:
        return grey
    table = 255 * cumulative // cumulative[-1]
    lifted = (4 * table + 150) // 5
    table = np.where((table >= 1) & (table < 150), lifted, table)
    table[0] = 0
    return np.asarray(table.astype(np.uint8)[grey])


def lesion_mask(labels: npt.NDArray[Any], *values: int) -> Mask:
    """bool [H, W]: where the label is one of these; any above 0 where none is named."""
    found: Mask = np.isin(labels, values) if values else labels > 0
    return found
