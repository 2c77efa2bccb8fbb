"""One pass over scores from high to low that yields every curve metric exactly, ties grouped.

The state of a sweep is a row of float64 that is fed one distinct score at a time
(`_step`), so that a histogram of 65,536 bins, a stream of float32 buckets and a
bootstrap resample all run through the same arithmetic, in the same order: equal
scores give equal metrics to the last bit, whatever dtype they came in. Sums are
compensated. Scores that no anomalous pixel has move the count of false positives
and cost one addition.
"""

# ruff: noqa: PLR0917 - a kernel takes arrays, not records, and numba no keywords by name

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.jit import kernel

NORMAL = 0  # normal pixels so far (false positives)
ANOMALOUS = 1  # anomalous pixels so far (true positives)
MISRANKED = 2  # pairs in the wrong order, ties as half; next place: compensation
PRECISION = 4  # sum over anomalous pixels of the precision at their score; compensation
DICE = 6  # best Dice so far
DICE_KEY = 7  # key at which it was met first
ROWS = 8  # per weight row: cover, compensation, area, compensation

Floats = NDArray[np.float64]


@kernel
def _add(state: Floats, place: int, value: float) -> None:
    """Add with the rounding error kept in the next place (TwoSum, Knuth)."""
    total = state[place]
    grown = total + value
    part = grown - total
    state[place + 1] += (total - (grown - part)) + (value - part)
    state[place] = grown


@kernel
def _step(
    state: Floats,
    key: float,
    normal: Any,
    anomalous: Any,
    weights: Floats,
    column: int,
    first_row: int,
    rows: int,
    total_anomalous: float,
    limit: float,
) -> None:
    """Take all pixels of one score, at least one of them anomalous.

    A weight that is covered from false-positive count F on adds (limit - F) to the area;
    over the F of a tie it is covered linearly.
    """
    before = state[NORMAL]
    predicted_normal = before + normal
    found = state[ANOMALOUS] + anomalous
    state[NORMAL] = predicted_normal
    state[ANOMALOUS] = found
    _add(state, MISRANKED, anomalous * (before + 0.5 * normal))
    _add(state, PRECISION, anomalous * (found / (found + predicted_normal)))
    dice = 2.0 * found / (total_anomalous + found + predicted_normal)
    if dice > state[DICE]:
        state[DICE] = dice
        state[DICE_KEY] = key
    width = 0.0
    if predicted_normal <= limit:
        width = limit - (before + 0.5 * normal)
    elif before < limit:
        width = 0.5 * (limit - before) * ((limit - before) / normal)
    for row in range(first_row, rows):
        weight = weights[row, column]
        if weight != 0.0:
            _add(state, ROWS + 4 * row, weight)
            _add(state, ROWS + 4 * row + 2, weight * width)


@kernel
def sweep_histograms(
    normal: Floats, anomalous: Floats, weights: Floats, limit_share: float
) -> Floats:
    """Final states of one sweep per row of histograms.

    Args:
        normal, anomalous: float64 [B, K], pixels per bin, bins in ascending order of score.
        weights: float64 [B, W, K], region-weighted anomalous pixels per bin.
        limit_share: false-positive rate up to which the areas are integrated.

    Returns:
        float64 [B, 8 + 4 W]; `DICE_KEY` is a bin.
    """
    batch, bins = normal.shape
    rows = weights.shape[1]
    states = np.zeros((batch, ROWS + 4 * rows))
    for item in range(batch):
        state = states[item]
        row_weights = weights[item]
        total_anomalous = 0.0
        limit = 0.0
        for place in range(bins):
            total_anomalous += anomalous[item, place]
            limit += normal[item, place]
        limit *= limit_share
        state[DICE_KEY] = -1
        for place in range(bins):
            column = bins - 1 - place
            count = anomalous[item, column]
            if count > 0:
                _step(
                    state, column, normal[item, column], count, row_weights, column,
                    0, rows, total_anomalous, limit,
                )  # fmt: skip
            else:
                state[NORMAL] += normal[item, column]
    return states


@kernel
def _sum_blocks(
    tables: NDArray[np.uint32], sums: NDArray[np.int64], tallies: NDArray[np.int64]
) -> None:
    """Count a bucket's normal pixels from each block of 64 scores up; note levels and largest bin.

    Args:
        tables: uint32 [2, 65536].
        sums: int64 [2, 1025], filled; the last column stays 0.
    """
    levels = np.uint32(0)
    largest = np.uint32(0)
    for block in range(1024):
        background = tables[0, 64 * block : 64 * block + 64]
        foreground = tables[1, 64 * block : 64 * block + 64]
        hidden = np.uint32(0)
        shown = np.uint32(0)
        # Casts keep the counts at 32 bits, which makes the vector code twice as wide.
        for score in range(64):
            count = np.uint32(background[score] + foreground[score])
            hidden = np.uint32(hidden + background[score])
            shown = np.uint32(shown + foreground[score])
            levels = np.uint32(levels + np.uint32(count > 0))
            largest = max(largest, count)
        sums[0, block] = hidden
        sums[1, block] = shown
    tallies[0] += np.int64(levels)
    tallies[1] = max(tallies[1], np.int64(largest))
    for step in range(1024):
        sums[0, 1023 - step] += sums[0, 1024 - step]
        sums[1, 1023 - step] += sums[1, 1024 - step]


@kernel
def _count_from(table: NDArray[np.uint32], sums: NDArray[np.int64], score: int) -> Any:
    """Pixels of a bucket at or above a lower half (0 to 65,536)."""
    block = (score + 63) >> 6
    count = sums[block]
    for place in range(np.uint64(score), np.uint64(64 * block)):
        count += np.int64(table[place])
    return count


@kernel
def _note_edges(
    bucket: int,
    tables: NDArray[np.uint32],
    sums: NDArray[np.int64],
    before: float,
    targets: Floats,
    edges: NDArray[np.uint32],
    tallies: NDArray[np.int64],
) -> None:
    """Note where in a bucket the normal pixels from the top reach their next targets."""
    within = sums[0, 0] + sums[1, 0]
    while tallies[3] < targets.size and before + within >= targets[tallies[3]]:
        reached, missed = 0, 65536
        while missed - reached > 1:
            middle = (reached + missed) >> 1
            count = _count_from(tables[0], sums[0], middle)
            count += _count_from(tables[1], sums[1], middle)
            if before + count >= targets[tallies[3]]:
                reached = middle
            else:
                missed = middle
        edges[tallies[2]] = bucket * 65536 + reached
        tallies[2] += 1
        tallies[3] += 1


@kernel
def _gather_points(
    low: NDArray[np.uint16],
    patches: NDArray[np.int32],
    first: int,
    last: int,
    patch_weights: Floats,
    tables: NDArray[np.uint32],
    sums: NDArray[np.int64],
    points: NDArray[np.int64],
    weights: Floats,
    tallies: NDArray[np.int64],
) -> tuple[int, int]:
    """Look up what each distinct anomalous score of a bucket meets, from the last one down.

    Args:
        low, patches: lower half and patch of the anomalous pixels; [first:last] are to do.
        points: int64 [7, n], filled: score, normal pixels above it, those of the foreground,
            normal pixels of this score, those of the foreground, anomalous ones, those of the
            foreground.
        weights: float64 [5, n], filled: their region weights, added up in run order.

    Returns:
        how many points were filled, and where the pixels that are still to do end.
    """
    found = 0
    while last > first and found < points.shape[1]:
        score = np.int64(low[last - 1])
        begin = last - 1
        while begin > first and low[begin - 1] == score:
            begin -= 1
        block = (score + 64) >> 6
        hidden, front = sums[0, block], sums[1, block]
        for place in range(np.uint64(score + 1), np.uint64(64 * block)):
            hidden += np.int64(tables[0, place])
            front += np.int64(tables[1, place])
        here = np.int64(tables[1, score])
        points[0, found] = score
        points[1, found], points[2, found] = hidden + front, front
        points[3, found], points[4, found] = np.int64(tables[0, score]) + here, here
        points[5, found] = last - begin
        points[6, found] = 0
        for row in range(5):
            weights[row, found] = 0.0
        for pixel in range(begin, last):
            patch = patches[pixel]
            points[6, found] += patch & 1
            for row in range(5):
                if patch_weights[patch, row] != 0.0:
                    weights[row, found] += patch_weights[patch, row]
        tallies[0] += points[3, found] == 0
        tallies[1] = max(tallies[1], points[3, found] + points[5, found])
        found += 1
        last = begin
    return found, last


@kernel
def _take_points(
    count: int,
    bucket: int,
    points: NDArray[np.int64],
    weights: Floats,
    before: float,
    before_front: float,
    everywhere: Floats,
    front: Floats,
    totals: Floats,
    has_background: bool,
    targets: Floats,
    edges: NDArray[np.uint32],
    tallies: NDArray[np.int64],
) -> None:
    """Step both sweeps through the points of a bucket, and note edges where targets are reached."""
    rows = 4 if has_background else 5
    for point in range(count):
        key = bucket * 65536 + points[0, point]
        everywhere[NORMAL] = before + points[1, point]
        _step(
            everywhere, key, points[3, point], points[5, point], weights, point,
            0, rows, totals[0], totals[1],
        )  # fmt: skip
        while tallies[4] < targets.size and everywhere[ANOMALOUS] >= targets[tallies[4]]:
            edges[tallies[2]] = key
            tallies[2] += 1
            tallies[4] += 1
    if has_background:
        for point in range(count):
            if points[6, point] > 0:
                key = bucket * 65536 + points[0, point]
                front[NORMAL] = before_front + points[2, point]
                _step(
                    front, key, points[4, point], points[6, point], weights, point,
                    4, 5, totals[2], totals[3],
                )  # fmt: skip


@kernel
def _tally_bucket(
    bucket: int,
    low: NDArray[np.uint16],
    blocks: NDArray[np.int64],
    entries: NDArray[np.uint16],
    tables: NDArray[np.uint32],
) -> None:
    """Count the lower halves of a bucket's normal pixels over all blocks."""
    for block in range(blocks.shape[1]):
        cursor, first, end = blocks[0, block], blocks[1, block], blocks[2, block]
        table = tables[blocks[3, block]]
        while cursor > first and entries[0, cursor - 1] == bucket:
            cursor -= 1
            count = np.int64(entries[1, cursor])
            end -= count
            for pixel in range(np.uint64(end), np.uint64(end + count)):
                table[low[pixel]] += 1
        blocks[0, block], blocks[2, block] = cursor, end


@kernel
def sweep_buckets(
    buckets: NDArray[np.int64],
    low: NDArray[np.uint16],
    blocks: NDArray[np.int64],
    entries: NDArray[np.uint16],
    anomalous_low: NDArray[np.uint16],
    anomalous_patches: NDArray[np.int32],
    anomalous_offsets: NDArray[np.int64],
    patch_weights: Floats,
    tables: NDArray[np.uint32],
    states: Floats,
    totals: Floats,
    has_background: bool,
    normal_targets: Floats,
    anomalous_targets: Floats,
    edges: NDArray[np.uint32],
    tallies: NDArray[np.int64],
    is_complete: bool,
) -> None:
    """Sweep over float32 buckets in descending order.

    Args:
        low: the lower halves of the normal pixels; each block holds its own by bucket.
        blocks, entries: int64 [4, B], of each block the end and start of its entries, the end of
            its pixels in `low`, and their kind; uint16 [2, E], bucket and pixels of each entry.
        anomalous_low, anomalous_patches, anomalous_offsets: of `sort_anomalous`.
        patch_weights: float64 [U, 5]; odd patches lie in the foreground.
        tables: uint32 [2, 65536] of zeros; zero afterwards.
        states, totals: [2, 8 + 4 * 5], sweeps over all pixels and over the foreground, and [4]
            anomalous pixels and false-positive limit of both.
        has_background: whether the two differ; if not, the caller copies the first.
        normal_targets, anomalous_targets: ascending counts at which an edge is noted.
        tallies: levels, largest bin, edges noted, and the next target of either kind.
        is_complete: False where more blocks of the one bucket follow in another call.
    """
    sums = np.zeros((2, 1025), np.int64)
    points = np.empty((7, 4096), np.int64)
    weights = np.empty((5, 4096))
    everywhere, front = states[0], states[1]
    for bucket in buckets:
        _tally_bucket(bucket, low, blocks, entries, tables)
        if not is_complete:
            continue
        _sum_blocks(tables, sums, tallies)
        before, before_front = everywhere[NORMAL], front[NORMAL]
        first, last = anomalous_offsets[bucket], anomalous_offsets[bucket + 1]
        while last > first:
            count, last = _gather_points(
                anomalous_low, anomalous_patches, first, last, patch_weights,
                tables, sums, points, weights, tallies,
            )  # fmt: skip
            _take_points(
                count, bucket, points, weights, before, before_front, everywhere, front,
                totals, has_background, anomalous_targets, edges, tallies,
            )  # fmt: skip
        everywhere[NORMAL] = before + (sums[0, 0] + sums[1, 0])
        front[NORMAL] = before_front + sums[1, 0]
        _note_edges(bucket, tables, sums, before, normal_targets, edges, tallies)
        for score in range(65536):
            tables[0, score] = tables[1, score] = 0


@kernel
def region_overlap_of_gaps(
    gaps: NDArray[np.int64],
    normal: NDArray[np.int64],
    anomalous: NDArray[np.int64],
    weights: Floats,
    limit: float,
) -> float:
    """PRO area of one image by its m distinct anomalous scores in ascending order.

    Args:
        gaps: int64 [m + 1], normal pixels below, between and above these scores.
        normal, anomalous: int64 [m], pixels of exactly these scores.
        weights: float64 [1, m], region-weighted anomalous pixels of these scores.
        limit: false positives up to which to integrate.

    Returns:
        area divided by `limit` and by the sum of the weights.
    """
    state = np.zeros(ROWS + 4)
    count = anomalous.size
    total = 0.0
    whole = 0.0
    for place in range(count):
        total += anomalous[place]
        whole += weights[0, place]
    for step in range(count):
        place = count - 1 - step
        state[NORMAL] += gaps[place + 1]
        if state[NORMAL] >= limit:
            break
        _step(state, 0.0, normal[place], anomalous[place], weights, place, 0, 1, total, limit)
    area: float = state[ROWS + 2] + state[ROWS + 3]
    return area / (limit * whole)


def sweep_one(normal: Any, anomalous: Any, weights: Any, limit_share: float) -> Floats:
    """`sweep_histograms` for a single histogram: [K], [K] and [W, K] give states [1, ...]."""
    return sweep_histograms(
        np.ascontiguousarray(normal, np.float64)[None],
        np.ascontiguousarray(anomalous, np.float64)[None],
        np.ascontiguousarray(weights, np.float64)[None],
        limit_share,
    )
