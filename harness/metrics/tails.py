"""The highest normal pixels of a split, exactly by score: what a small false-positive rate costs.

Their scores follow from a histogram for float16. For float32 the bucket in which a count is
reached is counted by lower halves, and what lies above it is kept, which is little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.grouping import Block
from harness.metrics.kernels.keys import KEYS
from harness.metrics.kernels.tail import keep_above, tally_bucket
from harness.metrics.pixels import PixelCounts


class Tail(NamedTuple):
    """Distinct scores of the highest pixels, ascending; each [m]."""

    keys: NDArray[np.uint32]
    """Their keys."""
    pixels: NDArray[np.int64]
    """Pixels of exactly this score."""

    @property
    def from_here(self) -> NDArray[np.int64]:
        """Pixels of each score or a higher one."""
        return np.cumsum(self.pixels[::-1])[::-1]


def highest_beyond(histogram: NDArray[np.int64], allowed: int) -> int:
    """The highest bin such that more pixels than are allowed lie in it and above it."""
    from_top = np.cumsum(histogram[::-1])
    return int(histogram.size - 1 - np.searchsorted(from_top, allowed, side="right"))


def normal_histogram(counts: PixelCounts, images: Iterable[int]) -> NDArray[np.int64]:
    """Normal pixels of some images by float16 key or float32 bucket, int64 [65536]."""
    blocks = list(_blocks_of(counts, images))
    none = np.zeros(0, np.uint16)
    keys = np.concatenate([none, *(block.keys for block in blocks)])
    pixels = np.concatenate([none, *(block.counts for block in blocks)])
    return np.bincount(keys, pixels, KEYS).astype(np.int64)  # exact below 2**53


def key_beyond(counts: PixelCounts, histogram: NDArray[np.int64], allowed: int) -> int:
    """Key of the highest score such that more normal pixels than are allowed lie at or above it.

    Args:
        counts: all images of a split.
        histogram: its normal pixels, more than `allowed`.
        allowed: pixels, at least 0.
    """
    bucket = highest_beyond(histogram, allowed)
    if not counts.is_bucketed:
        return bucket
    above = int(histogram[bucket + 1 :].sum())
    table = _table_of(_blocks_of(counts, range(len(counts.blocks))), bucket)
    return (bucket << 16) + highest_beyond(table, allowed - above)


def tail_of(counts: PixelCounts, images: list[int], allowed: int) -> Tail:
    """Scores of the normal pixels of some images, from the highest one down to the one with which
    they are more than are allowed; all of them where they never are."""
    histogram = normal_histogram(counts, images)
    total = int(histogram.sum())
    if total == 0:
        return Tail(np.zeros(0, np.uint32), np.zeros(0, np.int64))
    allowed = min(allowed, total - 1)
    lowest = highest_beyond(histogram, allowed)
    if not counts.is_bucketed:
        keys = np.flatnonzero(histogram)
        keys = keys[keys >= lowest]
        return Tail(keys.astype(np.uint32), histogram[keys])
    kept = np.empty(int(histogram[lowest + 1 :].sum()), np.uint32)
    filled = 0
    for block in _blocks_of(counts, images):
        filled = keep_above(block.keys, block.counts, block.low, lowest, kept, filled)
    keys, pixels = np.unique(kept, return_counts=True)
    table = _table_of(_blocks_of(counts, images), lowest)
    halves = np.flatnonzero(table)
    halves = halves[halves >= highest_beyond(table, allowed - kept.size)]
    return Tail(
        np.concatenate([halves + (lowest << 16), keys]).astype(np.uint32),
        np.concatenate([table[halves], pixels]).astype(np.int64),
    )


def _blocks_of(counts: PixelCounts, images: Iterable[int]) -> Iterator[Block]:
    for image in images:
        yield from (block for block in counts.blocks[image] or () if block.keys.size)


def _table_of(blocks: Iterable[Block], bucket: int) -> NDArray[np.int64]:
    """Pixels of one float32 bucket by lower half, int64 [65536]."""
    table = np.zeros(KEYS, np.int64)
    for block in blocks:
        tally_bucket(block.keys, block.counts, block.low, bucket, table)
    return table
