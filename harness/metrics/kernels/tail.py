"""Kernels that read a split's highest pixels: those of one float32 bucket, and those above it."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.metrics.kernels.arrays import Floats, Halves, Integers, Words
from harness.metrics.kernels.jit import kernel


@kernel
def tally_bucket(keys: Halves, counts: Halves, low: Halves, bucket: int, table: Integers) -> None:
    """Count the lower halves of one bucket of a block.

    Args:
        keys, counts, low: of a `harness.metrics.kernels.grouping.Block`.
        table: int64 [65536], added to.
    """
    end: Any = low.size
    entry = keys.size - 1
    while entry >= 0 and keys[entry] >= bucket:
        count = np.int64(counts[entry])
        if keys[entry] == bucket:
            for pixel in range(end - count, end):
                table[low[pixel]] += 1
        end -= count
        entry -= 1


@kernel
def keep_above(
    keys: Halves, counts: Halves, low: Halves, bucket: int, kept: Words, filled: int
) -> int:
    """Write the whole keys of a block's pixels in the buckets above one, from `filled` on.

    Args:
        keys, counts, low: as in `tally_bucket`.
        kept: room for them.

    Returns:
        how many of `kept` are filled then.
    """
    end: Any = low.size
    entry = keys.size - 1
    while entry >= 0 and keys[entry] > bucket:
        count = np.int64(counts[entry])
        upper = np.uint32(np.uint32(keys[entry]) << np.uint32(16))
        for pixel in range(end - count, end):
            kept[filled] = upper | np.uint32(low[pixel])
            filled += 1
        end -= count
        entry -= 1
    return filled


@kernel
def sum_shares(
    keys: Halves, shift: int, scores: Words, firsts: Integers, between: Floats, at: Floats
) -> float:
    """Sum over pixels of what their score is worth.

    Args:
        keys: uint16 or uint32 [p]; `shift` bits more than a float16 key.
        scores: uint32 [m], distinct keys, ascending.
        firsts: int64 [65537], how many of these lie below each float16 key or bucket.
        between: float64 [m + 1], worth of a score below, between and above them.
        at: float64 [m], worth of exactly such a score.
    """
    total = 0.0
    for pixel in range(keys.size):
        key = np.uint32(keys[pixel])
        bucket = np.int64(key >> np.uint32(shift))
        place = firsts[bucket]
        end = firsts[bucket + 1]
        while place < end:
            middle = (place + end) >> 1
            if scores[middle] < key:
                place = middle + 1
            else:
                end = middle
        if place < scores.size and scores[place] == key:
            total += at[place]
        else:
            total += between[place]
    return total
