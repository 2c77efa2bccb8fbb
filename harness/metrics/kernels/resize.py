"""Maps of another size by half-pixel bilinear sampling; the paper's grid of 256x256, masks by nearest-exact.

Computed in float64 and rounded once to the map's own dtype. There is no
antialiasing: it would be another smoothing that the method did not do.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.jit import kernel

PAPER_SIDE = 256
"""Height and width of every image on the paper's grid."""


def nearest_rows(size: int) -> NDArray[np.int64]:
    """Which of `size` rows (or columns) each of the 256 takes: floor((i + 1/2) size / 256)."""
    return (2 * np.arange(PAPER_SIDE, dtype=np.int64) + 1) * size // (2 * PAPER_SIDE)


class _Taps(NamedTuple):
    """What each of the wanted rows (or columns) is made of."""

    first: NDArray[np.int64]
    """One source row."""
    second: NDArray[np.int64]
    """The next one."""
    share: NDArray[np.float64]
    """Weight of the second, 0 to 1."""


@lru_cache(maxsize=64)
def _taps(size: int, wanted: int) -> _Taps:
    """Taps of `wanted` rows or columns from `size`."""
    place = (np.arange(wanted) + 0.5) * (size / wanted) - 0.5
    place = np.clip(place, 0.0, size - 1.0)
    first = np.floor(place).astype(np.int64)
    return _Taps(first, np.minimum(first + 1, size - 1), place - first)


@kernel
def _bilinear(
    values: NDArray[Any], rows: _Taps, columns: _Taps, resized: NDArray[np.float64]
) -> None:
    left, right, across = columns.first, columns.second, columns.share
    for row in range(resized.shape[0]):
        upper = values[rows.first[row]]
        lower = values[rows.second[row]]
        low_share = rows.share[row]
        for column in range(left.size):
            a = left[column]
            b = right[column]
            share = across[column]
            above = (1.0 - share) * np.float64(upper[a]) + share * np.float64(upper[b])
            below = (1.0 - share) * np.float64(lower[a]) + share * np.float64(lower[b])
            resized[row, column] = (1.0 - low_share) * above + low_share * below


def to_paper_grid(anomaly_map: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The map at 256x256, in its own dtype.

    Args:
        anomaly_map: finite float16 or float32 [H, W].
    """
    return resized_map(anomaly_map, PAPER_SIDE, PAPER_SIDE)


def resized_map(
    anomaly_map: NDArray[np.floating[Any]], height: int, width: int
) -> NDArray[np.floating[Any]]:
    """The map at another size, in its own dtype.

    Args:
        anomaly_map: finite float16 or float32 [H, W].
        height: wanted rows.
        width: wanted columns.
    """
    rows, columns = anomaly_map.shape
    resized = np.empty((height, width), np.float64)
    # Every float16 is a float32, so this widening changes nothing.
    _bilinear(anomaly_map.astype(np.float32), _taps(rows, height), _taps(columns, width), resized)
    return resized.astype(anomaly_map.dtype)
