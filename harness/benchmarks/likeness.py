"""Near-duplicates: images that look the same although their bytes differ.

A 64-bit difference hash (Krawetz, 2013) finds candidates: the image as 9x8 grey values, and of each
pair of neighbours in a row which one is brighter. Medical slices have large black areas and share
outlines, so equal hashes alone prove little: a candidate counts when the two 32x32 thumbnails
differ by a few grey values on the mean, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.benchmarks.pixels import Pixels

MOST_BITS = 2  # of 64 that may differ
MOST_GREY = 3.0  # mean absolute difference of the thumbnails, of 255
_THUMBNAIL = 32
_ROWS_AT_ONCE = 256  # bounds the table of distances: 256 x 26,315 bytes


@dataclass(frozen=True)
class Look:
    """What an image looks like, in 64 bits and in 1,024 grey values."""

    difference_hash: int
    """64 bits."""
    thumbnail: npt.NDArray[np.uint8]
    """uint8 [1024]."""


@dataclass(frozen=True)
class NearDuplicate:
    """An image, and one of another set that looks the same."""

    index: int
    """Position in the second set."""
    other: int
    """Position in the first set."""


def look_of(pixels: Pixels) -> Look:
    """Hash and thumbnail of a uint8 image [H, W] or [H, W, 3]."""
    grey = Image.fromarray(pixels).convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = (small[:, 1:] > small[:, :-1]).reshape(-1)
    thumbnail = grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    number = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return Look(number, np.asarray(thumbnail, np.uint8).reshape(-1))


def near_duplicates(first: Sequence[Look], second: Sequence[Look]) -> list[NearDuplicate]:
    """Those of the second set that look like one of the first: the most alike of it each.

    Time grows with the product of the sets: 138 million pairs take seconds.
    """
    if not first or not second:
        return []
    ours = np.array([look.difference_hash for look in first], np.uint64)
    theirs = np.array([look.difference_hash for look in second], np.uint64)
    thumbnails = np.stack([look.thumbnail for look in first])
    twins = []
    for start in range(0, len(second), _ROWS_AT_ONCE):
        rows = theirs[start : start + _ROWS_AT_ONCE, np.newaxis]
        is_near = np.bitwise_count(rows ^ ours) <= MOST_BITS
        for row in np.flatnonzero(is_near.any(axis=1)):
            candidates = np.flatnonzero(is_near[row])
            look = second[start + int(row)]
            difference = np.abs(
                thumbnails[candidates].astype(np.int16) - look.thumbnail.astype(np.int16)
            ).mean(axis=1)
            best = int(difference.argmin())
            if difference[best] <= MOST_GREY:
                twins.append(NearDuplicate(start + int(row), int(candidates[best])))
    return twins
