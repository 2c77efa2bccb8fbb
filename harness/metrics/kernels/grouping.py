"""Kernels that bring a split's collected pixels into groups: by score, and by bins of scores.

They read what `harness.metrics.kernels.counting` wrote, not the map.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.arrays import Floats, Halves, Integers, Words
from harness.metrics.kernels.jit import kernel
from harness.metrics.kernels.layout import (
    ANOMALOUS_BACKGROUND,
    FOUR_ROW,
    FRONT_ROW,
    KINDS,
    LARGE_ROW,
)

PIXELS, WEIGHT = 0, 1  # columns of a table of scores


class Block(NamedTuple):
    """The normal pixels of one kind of one image."""

    keys: Halves
    """Occupied bins, ascending: float16 keys or float32 buckets; a full bin stands twice."""
    counts: Halves
    """Pixels in each."""
    low: Halves
    """Lower halves of the float32 keys, bin by bucket; empty for float16."""


class AnomalousRuns(NamedTuple):
    """Runs of anomalous pixels, and what their pixels count."""

    lengths: NDArray[np.int32]
    """[R] pixels of each run."""
    patches: NDArray[np.int32]
    """[R] patch of each run; odd ones lie in the foreground."""
    weights: Floats
    """[U, 5] region weights of each patch."""


class ScoreGroups(NamedTuple):
    """Distinct anomalous scores of an image, ascending; each [m]."""

    scores: Words
    """Their keys."""
    counts: Integers
    """Pixels of each."""
    weights: Floats
    """Region weights of each."""


@kernel
def spread_normal(
    block: Block,
    is_bucketed: bool,
    scores: Words,
    ceiling: float,
    gaps: Integers,
    ties: Integers,
) -> None:
    """Count one block's normal pixels between and at an image's distinct anomalous scores.

    Args:
        is_bucketed: whether the entries are buckets (float32); if not, `block.low` is not read.
        scores: uint32 [m], distinct keys of the anomalous pixels, ascending.
        ceiling: pixels after which to stop: no more can matter below the FPR limit.
        gaps: int64 [m + 1], added to: pixels below, between and above the scores.
        ties: int64 [m], added to: pixels of exactly a score.
    """
    keys, counts, low = block.keys, block.counts, block.low
    table = np.zeros(65536 if is_bucketed else 0, np.uint32)
    ranks = np.zeros(1025, np.int64)
    end: Any = low.size
    top = scores.size
    taken: Any = 0
    for step in range(keys.size):
        entry = keys.size - 1 - step
        count = np.int64(counts[entry])
        first = np.uint32(keys[entry])
        last = first
        if is_bucketed:
            first = np.uint32(first << np.uint32(16))
            last = np.uint32(first | np.uint32(0xFFFF))
        while top > 0 and scores[top - 1] > last:
            top -= 1
        bottom = top
        while bottom > 0 and scores[bottom - 1] >= first:
            bottom -= 1
        if bottom == top:
            gaps[top] += count
        elif not is_bucketed:
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
    gaps: Integers,
    ties: Integers,
    ranks: Integers,
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
    gaps: Integers,
    ties: Integers,
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
    run_weights: Floats,
    table: Floats,
    groups: ScoreGroups,
) -> int:
    """Group an image's anomalous float16 pixels by score.

    Args:
        keys: uint16 [p] in run order.
        run_lengths, run_weights: pixels of each run, and what one of them counts.
        table: float64 [65536, 2] of zeros; zero afterwards.
        groups: room for them; filled in ascending order.

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
            table[key, PIXELS] += 1
            table[key, WEIGHT] += weight
            first = min(first, key)
            last = max(last, key)
        start = stop
    scores, counts, weights = groups.scores, groups.counts, groups.weights
    found = 0
    for key in range(first, last + 1):
        if table[key, PIXELS] > 0:
            scores[found] = key
            counts[found] = np.int64(table[key, PIXELS])
            weights[found] = table[key, WEIGHT]
            table[key, PIXELS] = table[key, WEIGHT] = 0.0
            found += 1
    return found


@kernel
def group_floats(ordered: NDArray[np.uint64], pixel_weights: Floats, groups: ScoreGroups) -> int:
    """Group an image's anomalous float32 pixels by score; as `group_halves`.

    Args:
        ordered: uint64 [p], key << 32 | place in run order, sorted.
        pixel_weights: float64 [p] in run order.
    """
    scores, counts, weights = groups.scores, groups.counts, groups.weights
    found = 0
    for place in range(ordered.size):
        item = ordered[place]
        key = np.uint32(item >> np.uint64(32))
        if found == 0 or scores[found - 1] != key:
            scores[found] = key
            counts[found] = 0
            weights[found] = 0.0
            found += 1
        counts[found - 1] += 1
        weights[found - 1] += pixel_weights[np.int64(item & np.uint64(0xFFFFFFFF))]
    return found


@kernel
def bin_entries(block: Block, is_bucketed: bool, edges: Words, bins: Integers) -> None:
    """Add one block's pixels to the bins between ascending edges (a bin holds its lower edge).

    Args:
        block, is_bucketed: as in `spread_normal`.
        edges: uint32 [E]; bins: int64 [E + 1].
    """
    keys, counts, low = block.keys, block.counts, block.low
    start: Any = 0
    place = 0
    for entry in range(keys.size):
        count = np.int64(counts[entry])
        first = np.uint32(keys[entry])
        last = first
        if is_bucketed:
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
def _third_of(weights: Floats, patch: int) -> int:
    """The one of the first three rows that the patch counts in."""
    third = 0
    while third < LARGE_ROW and weights[patch, third] == 0.0:
        third += 1
    return third


@kernel
def bin_runs(
    keys: Any, shift: int, runs: AnomalousRuns, edges: Words, ranks: Halves, bins: Floats
) -> None:
    """Add one image's anomalous pixels and their weights to the bins between edges.

    Args:
        keys: uint16 or uint32 [p] in run order; `shift` bits more than a float16 key.
        runs: those of the image.
        ranks: uint16 [65536], edges at or below the first key of each float16 key or bucket.
        bins: float64 [9, E + 1]; rows 0..3 pixels by kind, rows 4..8 region weights.
    """
    lengths, patches, weights = runs.lengths, runs.patches, runs.weights
    start = 0
    for run in range(lengths.size):
        patch = patches[run]
        stop = start + lengths[run]
        third = _third_of(weights, patch)
        pixels, in_third = bins[ANOMALOUS_BACKGROUND + (patch & 1)], bins[KINDS + third]
        in_four, in_front = bins[KINDS + FOUR_ROW], bins[KINDS + FRONT_ROW]
        weight_third, weight_four = weights[patch, third], weights[patch, FOUR_ROW]
        weight_front = weights[patch, FRONT_ROW]
        for key in keys[start:stop]:
            place = np.int64(ranks[key >> shift])
            while place < edges.size and edges[place] <= key:
                place += 1
            pixels[place] += 1
            in_third[place] += weight_third
            in_four[place] += weight_four
            in_front[place] += weight_front
        start = stop


@kernel
def tally_runs(keys: Any, shift: int, runs: AnomalousRuns, totals: Integers, sums: Floats) -> None:
    """Histograms of the anomalous pixels, and of their region weights, in run order.

    Args:
        keys: uint16 or uint32 [P] in run order; `shift` bits are cut off them.
        runs: those of the whole split.
        totals: int64 [4, 65536] by kind; the anomalous rows are added to.
        sums: float64 [5, 65536] weights; added to.
    """
    lengths, patches, weights = runs.lengths, runs.patches, runs.weights
    start = 0
    for run in range(lengths.size):
        patch = patches[run]
        stop = start + lengths[run]
        third = _third_of(weights, patch)
        pixels, in_third = totals[ANOMALOUS_BACKGROUND + (patch & 1)], sums[third]
        in_four, in_front = sums[FOUR_ROW], sums[FRONT_ROW]
        weight_third, weight_four = weights[patch, third], weights[patch, FOUR_ROW]
        weight_front = weights[patch, FRONT_ROW]
        for key in keys[start:stop]:
            place = key >> shift
            pixels[place] += 1
            in_third[place] += weight_third
            in_four[place] += weight_four
            in_front[place] += weight_front
        start = stop


@kernel
def sort_anomalous(keys: Words, runs: AnomalousRuns) -> tuple[Halves, NDArray[np.int32], Integers]:
    """Order all anomalous float32 pixels by score, those of one score in run order.

    Two counting sorts, by the lower and then by the upper half; both keep the order.

    Returns:
        uint16 [P] lower halves and int32 [P] patches in that order, and int64 [65537], where
        each bucket begins there.
    """
    lengths, patches = runs.lengths, runs.patches
    half = np.uint32(16)
    cursors = np.zeros(65537, np.int64)
    offsets = np.zeros(65537, np.int64)
    for pixel in range(keys.size):
        key = keys[pixel]
        cursors[np.int64(key & np.uint32(0xFFFF)) + 1] += 1
        offsets[np.int64(key >> half) + 1] += 1
    for place in range(65536):
        cursors[place + 1] += cursors[place]
        offsets[place + 1] += offsets[place]
    by_low = np.empty(keys.size, np.uint32)
    patches_by_low = np.empty(keys.size, np.int32)
    pixel = 0
    for run in range(lengths.size):
        for _ in range(lengths[run]):
            place = cursors[keys[pixel] & np.uint32(0xFFFF)]
            cursors[keys[pixel] & np.uint32(0xFFFF)] += 1
            by_low[place] = keys[pixel]
            patches_by_low[place] = patches[run]
            pixel += 1
    for place in range(65537):
        cursors[place] = offsets[place]
    low = np.empty(keys.size, np.uint16)
    sorted_patches = np.empty(keys.size, np.int32)
    for pixel in range(keys.size):
        key = by_low[pixel]
        place = cursors[key >> half]
        cursors[key >> half] += 1
        low[place] = key & np.uint32(0xFFFF)
        sorted_patches[place] = patches_by_low[pixel]
    return low, sorted_patches, offsets
