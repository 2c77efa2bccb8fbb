"""Kernels that bring an image's collected pixels into groups: by score, and by bins of scores.

They read the table entries that `harness.metrics.kernels.counting` wrote, not the map.
"""

# ruff: noqa: PLR0917 - a kernel takes arrays, not records, and numba no keywords by name

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.counting import Counts, Halves, Words
from harness.metrics.kernels.jit import kernel


@kernel
def spread_normal(
    keys: Halves,
    counts: Halves,
    low: Halves,
    is_bucket: bool,
    scores: Words,
    ceiling: float,
    gaps: Counts,
    ties: Counts,
) -> None:
    """Count one block's normal pixels between and at an image's distinct anomalous scores.

    Args:
        keys, counts, low: table entries of the block, ascending, and its lower halves;
            without `is_bucket` (float16) the entries are exact and `low` is not read.
        scores: uint32 [m], distinct keys of the anomalous pixels, ascending.
        ceiling: pixels after which to stop: no more can matter below the FPR limit.
        gaps: int64 [m + 1], added to: pixels below, between and above the scores.
        ties: int64 [m], added to: pixels of exactly a score.
    """
    table = np.zeros(65536 if is_bucket else 0, np.uint32)
    ranks = np.zeros(1025, np.int64)
    end: Any = low.size
    top = scores.size
    taken: Any = 0
    for step in range(keys.size):
        entry = keys.size - 1 - step
        count = np.int64(counts[entry])
        first = np.uint32(keys[entry])
        last = first
        if is_bucket:
            first = np.uint32(first << np.uint32(16))
            last = np.uint32(first | np.uint32(0xFFFF))
        while top > 0 and scores[top - 1] > last:
            top -= 1
        bottom = top
        while bottom > 0 and scores[bottom - 1] >= first:
            bottom -= 1
        if bottom == top:
            gaps[top] += count
        elif not is_bucket:
            ties[bottom] += count
        elif top - bottom < 1024:
            _locate(low[end - count : end], scores, bottom, top, gaps, ties, ranks)
        else:
            _tabulate(low[end - count : end], scores, bottom, top, gaps, ties, table)
        end -= count
        taken += count
        if taken >= ceiling and (step + 1 == keys.size or keys[entry - 1] != keys[entry]):
            break


@kernel
def _locate(
    low: Halves,
    scores: Words,
    bottom: int,
    top: int,
    gaps: Counts,
    ties: Counts,
    ranks: Counts,
) -> None:
    """`spread_normal` within a bucket of few scores: most pixels find their gap in a table
    over the upper ten bits (`ranks`: int64 [1025])."""
    place = bottom
    for part in range(1025):
        while place < top and np.int64((scores[place] & np.uint32(0xFFFF)) >> 6) < part:
            place += 1
        ranks[part] = place
    for index in range(low.size):
        pixel = low[index]
        place = ranks[pixel >> 6]
        end = ranks[(pixel >> 6) + 1]
        score = np.uint32(pixel)
        while place < end and (scores[place] & np.uint32(0xFFFF)) < score:
            place += 1
        if place < end and (scores[place] & np.uint32(0xFFFF)) == score:
            ties[place] += 1
        else:
            gaps[place] += 1


@kernel
def _tabulate(
    low: Halves,
    scores: Words,
    bottom: int,
    top: int,
    gaps: Counts,
    ties: Counts,
    table: Words,
) -> None:
    """`spread_normal` within a bucket of many scores: by a count of every lower half."""
    for pixel in range(low.size):
        table[low[pixel]] += 1
    above: Any = 65536
    for step in range(top - bottom):
        place = top - 1 - step
        score = np.int64(scores[place] & np.uint32(0xFFFF))
        for between in range(score + 1, above):
            gaps[place + 1] += table[between]
        ties[place] += table[score]
        above = score
    for between in range(above):
        gaps[bottom] += table[between]
    for between in range(65536):
        table[between] = 0


@kernel
def group_halves(
    keys: Halves,
    run_lengths: NDArray[np.int32],
    run_weights: NDArray[np.float64],
    table: NDArray[np.float64],
    scores: Words,
    counts: Counts,
    weights: NDArray[np.float64],
) -> int:
    """Group an image's anomalous float16 pixels by score.

    Args:
        keys: uint16 [p] in run order.
        run_lengths, run_weights: pixels of each run, and what one of them counts.
        table: float64 [65536, 2] of zeros; zero afterwards.
        scores, counts, weights: room for the groups; filled in ascending order.

    Returns:
        number of groups.
    """
    start = 0
    first: Any = 65535
    last: Any = 0
    for run in range(run_lengths.size):
        stop = start + run_lengths[run]
        weight = run_weights[run]
        for pattern in keys[start:stop]:
            key: Any = np.int64(pattern)
            table[key, 0] += 1
            table[key, 1] += weight
            first = min(first, key)
            last = max(last, key)
        start = stop
    groups = 0
    for key in range(first, last + 1):
        if table[key, 0] > 0:
            scores[groups] = key
            counts[groups] = np.int64(table[key, 0])
            weights[groups] = table[key, 1]
            table[key, 0] = table[key, 1] = 0.0
            groups += 1
    return groups


@kernel
def group_floats(
    ordered: NDArray[np.uint64],
    pixel_weights: NDArray[np.float64],
    scores: Words,
    counts: Counts,
    weights: NDArray[np.float64],
) -> int:
    """Group an image's anomalous float32 pixels by score.

    Args:
        ordered: uint64 [p], key << 32 | place in run order, sorted.
        pixel_weights: float64 [p] in run order.
        scores, counts, weights: as in `group_halves`.
    """
    groups = 0
    for place in range(ordered.size):
        item = ordered[place]
        key = np.uint32(item >> np.uint64(32))
        if groups == 0 or scores[groups - 1] != key:
            scores[groups] = key
            counts[groups] = 0
            weights[groups] = 0.0
            groups += 1
        counts[groups - 1] += 1
        weights[groups - 1] += pixel_weights[np.int64(item & np.uint64(0xFFFFFFFF))]
    return groups


@kernel
def bin_entries(
    keys: Halves, counts: Halves, low: Halves, is_bucket: bool, edges: Words, bins: Counts
) -> None:
    """Add one block's pixels to the bins between ascending edges (a bin holds its lower edge).

    Args:
        keys, counts, low, is_bucket: as in `spread_normal`.
        edges: uint32 [E]; bins: int64 [E + 1].
    """
    start: Any = 0
    place = 0
    for entry in range(keys.size):
        count = np.int64(counts[entry])
        first = np.uint32(keys[entry])
        last = first
        if is_bucket:
            first = np.uint32(first << np.uint32(16))
            last = np.uint32(first | np.uint32(0xFFFF))
        while place < edges.size and edges[place] <= first:
            place += 1
        upper = place
        while upper < edges.size and edges[upper] <= last:
            upper += 1
        bins[place] += count
        for edge in range(place, upper):
            limit = edges[edge] & np.uint32(0xFFFF)
            above = np.int64(0)
            for pixel in range(start, start + count):
                above += np.int64(low[pixel] >= limit)
            bins[edge] -= above
            bins[edge + 1] += above
        start += count


@kernel
def bin_runs(
    keys: Any,
    shift: int,
    edges: Words,
    ranks: Halves,
    run_lengths: NDArray[np.int32],
    run_patches: NDArray[np.int32],
    patch_weights: NDArray[np.float64],
    bins: NDArray[np.float64],
) -> None:
    """Add one image's anomalous pixels and their weights to the bins between edges.

    Args:
        keys: uint16 or uint32 [p] in run order; `shift` bits more than a float16 key.
        ranks: uint16 [65536], edges at or below the first key of each float16 key or bucket.
        bins: float64 [9, E + 1]; rows 0..3 pixels by kind, rows 4..8 region weights.
    """
    start = 0
    for run in range(run_lengths.size):
        patch = run_patches[run]
        stop = start + run_lengths[run]
        pixels = bins[2 + (patch & 1)]
        third: Any = 0  # the one of the first three rows that the patch counts in
        while third < 2 and patch_weights[patch, third] == 0.0:
            third += 1
        in_third, in_four, in_foreground = bins[4 + third], bins[4 + 3], bins[4 + 4]
        weight_third, weight_four = patch_weights[patch, third], patch_weights[patch, 3]
        weight_foreground = patch_weights[patch, 4]
        for key in keys[start:stop]:
            place = np.int64(ranks[key >> shift])
            while place < edges.size and edges[place] <= key:
                place += 1
            pixels[place] += 1
            in_third[place] += weight_third
            in_four[place] += weight_four
            in_foreground[place] += weight_foreground
        start = stop
