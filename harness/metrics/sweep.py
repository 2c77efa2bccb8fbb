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

from harness.metrics.jit import kernel

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
        total_anomalous = anomalous[item].sum()
        limit = limit_share * normal[item].sum()
        state[DICE_KEY] = -1
        for place in range(bins):
            column = bins - 1 - place
            count = anomalous[item, column]
            if count > 0:
                _step(
                    state, column, normal[item, column], count, weights[item], column,
                    0, rows, total_anomalous, limit,
                )  # fmt: skip
            else:
                state[NORMAL] += normal[item, column]
    return states


@kernel
def _mark(
    state: Floats,
    key: int,
    normal_targets: Floats,
    anomalous_targets: Floats,
    edges: NDArray[np.uint32],
    tallies: NDArray[np.int64],
) -> None:
    """Note the key as an edge where a count has reached its next target."""
    is_edge = False
    while tallies[3] < normal_targets.size and state[NORMAL] >= normal_targets[tallies[3]]:
        tallies[3] += 1
        is_edge = True
    while tallies[4] < anomalous_targets.size and state[ANOMALOUS] >= anomalous_targets[tallies[4]]:
        tallies[4] += 1
        is_edge = True
    if is_edge:
        edges[tallies[2]] = key
        tallies[2] += 1


@kernel
def _scan_normal_block(
    base: int, tables: NDArray[np.uint32], states: Floats, tallies: NDArray[np.int64], room: float
) -> bool:
    """Take 64 neighbouring scores without an anomalous pixel, unless they fill `room`."""
    background = tables[0]
    foreground = tables[1]
    every: Any = 0
    front: Any = 0
    distinct: Any = 0
    largest: Any = 0
    for low in range(base, base + 64):
        shown = np.int64(foreground[low])
        count = np.int64(background[low]) + shown
        every += count
        front += shown
        distinct += count > 0
        largest = max(largest, count)
    if every >= room:
        return False
    states[0, NORMAL] += every
    states[1, NORMAL] += front
    tallies[0] += distinct
    tallies[1] = max(tallies[1], largest)
    background[base : base + 64] = 0
    foreground[base : base + 64] = 0
    return True


@kernel
def _scan_scores(
    bucket: int,
    base: int,
    tables: NDArray[np.uint32],
    weights: Floats,
    states: Floats,
    totals: Floats,
    normal_targets: Floats,
    anomalous_targets: Floats,
    edges: NDArray[np.uint32],
    tallies: NDArray[np.int64],
) -> None:
    """Take 64 neighbouring scores of a bucket one by one, from high to low; clear them."""
    levels: Any = 0
    largest: Any = 0
    for place in range(64):
        low = base + 63 - place
        background, front = np.int64(tables[0, low]), np.int64(tables[1, low])
        hidden, shown = np.int64(tables[2, low]), np.int64(tables[3, low])
        normal, anomalous = background + front, hidden + shown
        count = normal + anomalous
        if count == 0:
            continue
        key = bucket * 65536 + low
        levels += 1
        largest = max(largest, count)
        if anomalous == 0:
            states[0, NORMAL] += normal
            states[1, NORMAL] += front
            if tallies[3] == normal_targets.size or (
                states[0, NORMAL] < normal_targets[tallies[3]]
            ):
                continue
        else:
            _step(states[0], key, normal, anomalous, weights, low, 0, 4, totals[0], totals[1])
            if shown > 0:
                _step(states[1], key, front, shown, weights, low, 4, 5, totals[2], totals[3])
            else:
                states[1, NORMAL] += front
        _mark(states[0], key, normal_targets, anomalous_targets, edges, tallies)
    tallies[0] += levels
    tallies[1] = max(tallies[1], largest)
    tables[:, base : base + 64] = 0
    weights[:, base : base + 64] = 0.0


@kernel
def scan_bucket(
    bucket: int,
    tables: NDArray[np.uint32],
    weights: Floats,
    touched: NDArray[np.uint8],
    states: Floats,
    totals: Floats,
    normal_targets: Floats,
    anomalous_targets: Floats,
    edges: NDArray[np.uint32],
    tallies: NDArray[np.int64],
) -> None:
    """Sweep over one bucket's counts of the lower 16 bits, and clear them.

    Args:
        tables: uint32 [4, 65536], pixels of each kind.
        weights: float64 [5, 65536], region weights; the last row is the foreground's.
        touched: uint8 [1024], per 64 scores: bit 0 normal, bit 1 anomalous pixels there.
        states: [2, 8 + 4 * 5], sweeps over all pixels and over the foreground.
        totals: anomalous pixels and false-positive limit of both sweeps.
        normal_targets, anomalous_targets: ascending counts at which an edge is noted.
        tallies: levels, largest bin, edges noted, and the next target of either kind.
    """
    for step in range(1024):
        block = 1023 - step
        mark = touched[block]
        if mark == 0:
            continue
        touched[block] = 0
        if mark == 1:
            room = np.inf
            if tallies[3] < normal_targets.size:
                room = normal_targets[tallies[3]] - states[0, NORMAL]
            if _scan_normal_block(block * 64, tables, states, tallies, room):
                continue
        _scan_scores(
            bucket, block * 64, tables, weights, states, totals,
            normal_targets, anomalous_targets, edges, tallies,
        )  # fmt: skip


@kernel
def sweep_buckets(
    buckets: NDArray[np.int64],
    low: NDArray[np.uint16],
    cursors: NDArray[np.int64],
    firsts: NDArray[np.int64],
    ends: NDArray[np.int64],
    block_kinds: NDArray[np.uint8],
    entry_keys: NDArray[np.uint16],
    entry_counts: NDArray[np.uint16],
    anomalous_low: NDArray[np.uint16],
    anomalous_runs: NDArray[np.int32],
    anomalous_offsets: NDArray[np.int64],
    run_weights: Floats,
    run_kinds: NDArray[np.uint8],
    tables: NDArray[np.uint32],
    weights: Floats,
    touched: NDArray[np.uint8],
    states: Floats,
    totals: Floats,
    normal_targets: Floats,
    anomalous_targets: Floats,
    edges: NDArray[np.uint32],
    tallies: NDArray[np.int64],
    is_complete: bool,
) -> None:
    """Sweep over float32 buckets in descending order (arguments as in `scan_bucket`).

    Args:
        low: the lower halves of the normal pixels; each block holds its own by bucket.
        cursors, firsts, ends: per block, end and start of its entries (`entry_keys`: bucket,
            `entry_counts`: pixels), and the end of its pixels in `low`; both ends move down.
        anomalous_low, anomalous_runs: lower half and run of each anomalous pixel, by bucket;
            `anomalous_offsets` [65537] says where each bucket begins.
        run_weights, run_kinds: [R, 5] weights and [R] kind of the pixels of each run.
        is_complete: False where more blocks of the one bucket follow in another call.
    """
    for bucket in buckets:
        for block in range(cursors.size):
            table = tables[block_kinds[block]]
            while cursors[block] > firsts[block] and entry_keys[cursors[block] - 1] == bucket:
                cursors[block] -= 1
                count = np.int64(entry_counts[cursors[block]])
                ends[block] -= count
                for pixel in range(ends[block], ends[block] + count):
                    score = low[pixel]
                    table[score] += 1
                    touched[score >> 6] |= 1
        if not is_complete:
            continue
        for pixel in range(anomalous_offsets[bucket], anomalous_offsets[bucket + 1]):
            score = anomalous_low[pixel]
            run = anomalous_runs[pixel]
            tables[run_kinds[run], score] += 1
            touched[score >> 6] |= 2
            for row in range(5):
                if run_weights[run, row] != 0.0:
                    weights[row, score] += run_weights[run, row]
        scan_bucket(
            bucket, tables, weights, touched, states, totals,
            normal_targets, anomalous_targets, edges, tallies,
        )  # fmt: skip


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
    total = float(anomalous.sum())
    count = anomalous.size
    for step in range(count):
        place = count - 1 - step
        state[NORMAL] += gaps[place + 1]
        if state[NORMAL] >= limit:
            break
        _step(state, 0.0, normal[place], anomalous[place], weights, place, 0, 1, total, limit)
    area: float = state[ROWS + 2] + state[ROWS + 3]
    whole: float = limit * weights.sum()
    return area / whole


def sweep_one(normal: Any, anomalous: Any, weights: Any, limit_share: float) -> Floats:
    """`sweep_histograms` for a single histogram: [K], [K] and [W, K] give states [1, ...]."""
    return sweep_histograms(
        np.ascontiguousarray(normal, np.float64)[None],
        np.ascontiguousarray(anomalous, np.float64)[None],
        np.ascontiguousarray(weights, np.float64)[None],
        limit_share,
    )
