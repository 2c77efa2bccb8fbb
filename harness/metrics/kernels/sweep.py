"""One pass over scores from high to low that yields every curve metric exactly, ties grouped.

The state of a sweep is a row of float64 that is fed one distinct score at a time
(`_step`), so that a histogram of 65,536 bins, a stream of float32 buckets and a
bootstrap resample all run through the same arithmetic, in the same order: equal
scores give equal metrics to the last bit, whatever dtype they came in. Sums are
compensated. Scores that no anomalous pixel has move the count of false positives
and cost one addition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.arrays import Floats, Halves, Integers, Words
from harness.metrics.kernels.jit import kernel
from harness.metrics.kernels.layout import BACKGROUND, FOREGROUND, FOUR_ROW, FRONT_ROW, WEIGHTS

NORMAL = 0  # normal pixels so far (false positives)
ANOMALOUS = 1  # anomalous pixels so far (true positives)
MISRANKED = 2  # pairs in the wrong order, ties as half; next place: compensation
PRECISION = 4  # sum over anomalous pixels of the precision at their score; compensation
DICE = 6  # best Dice so far
DICE_KEY = 7  # key at which it was met first
ROWS = 8  # per weight row: cover, compensation, area, compensation
ROW_SIZE = 4  # places of a weight row
AREA = 2  # where in its row the area is
STRICT_SIZE = 2  # last places: area of the thirds of regions to the strict limit, compensation

# Tallies of a sweep over buckets.
LEVELS = 0  # distinct scores
LARGEST = 1  # pixels that hold the most frequent score
NOTED = 2  # edges so far
NORMAL_TARGET = 3  # number of the next target of the normal pixels
ANOMALOUS_TARGET = 4  # that of the anomalous pixels
TALLIES = 5  # how many there are

_POINTS = 4096
"""Distinct anomalous scores that are looked up before both sweeps step through them."""


class Score(NamedTuple):
    """All pixels of one score."""

    key: float
    """Where `DICE_KEY` notes it."""
    normal: Any
    """Normal pixels, a whole number."""
    anomalous: Any
    """Anomalous pixels, at least one."""


class Whole(NamedTuple):
    """What a sweep needs to know from the start."""

    anomalous: float
    """All anomalous pixels."""
    limit: float
    """False positives up to which the areas are integrated."""
    strict_limit: float
    """The same for the one strict area; 0: there is none."""


class NormalPixels(NamedTuple):
    """The normal pixels of a float32 split. A block is one kind of one image."""

    low: Halves
    """Lower halves of the keys; each block holds its own by bucket."""
    ends: Integers
    """[B] where the block's pixels that are still to do end in `low`."""
    cursors: Integers
    """[B] where its entries that are still to do end."""
    firsts: Integers
    """[B] where its entries begin."""
    sides: Integers
    """[B] `BACKGROUND` or `FOREGROUND`."""
    buckets: Halves
    """[E] bucket of each entry, ascending within a block."""
    sizes: Halves
    """[E] pixels of each entry."""


class AnomalousPixels(NamedTuple):
    """The anomalous pixels of a float32 split by score, those of one score in run order."""

    low: Halves
    """[P] lower half of each key."""
    patches: NDArray[np.int32]
    """[P] patch of each pixel; odd ones lie in the foreground."""
    offsets: Integers
    """[65537] where each bucket begins."""
    weights: Floats
    """[U, 5] region weights of each patch."""


class Sweeps(NamedTuple):
    """The sweeps over all pixels and over the foreground."""

    everywhere: Floats
    """[8 + 4 * 5 + 2] state of the first."""
    front: Floats
    """[8 + 4 * 5 + 2] state of the second."""
    of_everywhere: Whole
    """What there is in all."""
    of_front: Whole
    """What of it lies in the foreground."""
    has_background: bool
    """Whether the two differ; if not, the second is not made, and the caller copies the first."""


class Edges(NamedTuple):
    """Where the bootstrap's bins shall begin."""

    normal_targets: Floats
    """Integers of normal pixels from the top, ascending."""
    anomalous_targets: Floats
    """The same of anomalous pixels."""
    keys: Words
    """Room for one key per target."""


class ScorePoints(NamedTuple):
    """What distinct anomalous scores of a bucket meet, from the highest one down; each [n]."""

    score: Integers
    """Lower half of the score."""
    above: Integers
    """Normal pixels of the bucket above it."""
    front_above: Integers
    """Those of them in the foreground."""
    normal: Integers
    """Normal pixels of this score."""
    front_normal: Integers
    """Those of them in the foreground."""
    anomalous: Integers
    """Anomalous pixels of this score."""
    front_anomalous: Integers
    """Those of them in the foreground."""
    weights: Floats
    """[5, n] their region weights, added up in run order."""


@kernel
def _add(state: Floats, place: int, value: float) -> None:
    """Add with the rounding error kept in the next place (TwoSum, Knuth)."""
    total = state[place]
    grown = total + value
    part = grown - total
    state[place + 1] += (total - (grown - part)) + (value - part)
    state[place] = grown


@kernel
def _width(before: float, normal: Any, limit: float) -> Any:
    """False positives up to the limit over which a score counts as found: `before` of them were
    above it, and over the `normal` ones of a tie it comes in linearly (`harness.metrics.pro`)."""
    if before + normal <= limit:
        return limit - (before + 0.5 * normal)
    if before < limit:
        return 0.5 * (limit - before) * ((limit - before) / normal)
    return 0.0


@kernel
def _step(
    state: Floats,
    score: Score,
    weights: Floats,
    column: int,
    first_row: int,
    rows: int,
    whole: Whole,
) -> None:
    """Take all pixels of one score, at least one of them anomalous.

    A weight that is covered from false-positive count F on adds (limit - F) to the area.
    """
    before = state[NORMAL]
    predicted_normal = before + score.normal
    found = state[ANOMALOUS] + score.anomalous
    state[NORMAL] = predicted_normal
    state[ANOMALOUS] = found
    _add(state, MISRANKED, score.anomalous * (before + 0.5 * score.normal))
    _add(state, PRECISION, score.anomalous * (found / (found + predicted_normal)))
    dice = 2.0 * found / (whole.anomalous + found + predicted_normal)
    if dice > state[DICE]:
        state[DICE] = dice
        state[DICE_KEY] = score.key
    width = _width(before, score.normal, whole.limit)
    for row in range(first_row, rows):
        weight = weights[row, column]
        if weight != 0.0:
            place = ROWS + ROW_SIZE * row
            _add(state, place, weight)
            _add(state, place + AREA, weight * width)
    if before < whole.strict_limit:
        total = 0.0
        for row in range(first_row, min(rows, FOUR_ROW)):
            total += weights[row, column]
        if total != 0.0:
            width = _width(before, score.normal, whole.strict_limit)
            _add(state, state.size - STRICT_SIZE, total * width)


@kernel
def sweep_histograms(
    normal: Floats, anomalous: Floats, weights: Floats, limit_share: float, strict_share: float = 0
) -> Floats:
    """Final states of one sweep per row of histograms.

    Args:
        normal, anomalous: float64 [B, K], pixels per bin, bins in ascending order of score.
        weights: float64 [B, W, K], region-weighted anomalous pixels per bin.
        limit_share: false-positive rate up to which the areas are integrated.
        strict_share: that of the one strict area, of the first three rows; 0: there is none.

    Returns:
        float64 [B, 8 + 4 W + 2]; `DICE_KEY` is a bin.
    """
    batch, bins = normal.shape
    rows = weights.shape[1]
    states = np.zeros((batch, ROWS + ROW_SIZE * rows + STRICT_SIZE))
    for item in range(batch):
        state = states[item]
        row_weights = weights[item]
        total_anomalous = 0.0
        total_normal = 0.0
        for place in range(bins):
            total_anomalous += anomalous[item, place]
            total_normal += normal[item, place]
        whole = Whole(total_anomalous, total_normal * limit_share, total_normal * strict_share)
        state[DICE_KEY] = -1
        for place in range(bins):
            column = bins - 1 - place
            count = anomalous[item, column]
            if count > 0:
                score = Score(column, normal[item, column], count)
                _step(state, score, row_weights, column, 0, rows, whole)
            else:
                state[NORMAL] += normal[item, column]
    return states


@kernel
def _sum_blocks(tables: Words, sums: Integers, tallies: Integers) -> None:
    """Count a bucket's normal pixels from each block of 64 scores up; note levels and largest bin.

    Args:
        tables: uint32 [2, 65536] by side and lower half.
        sums: int64 [2, 1025] by side, filled; the last column stays 0.
    """
    levels = np.uint32(0)
    largest = np.uint32(0)
    for block in range(1024):
        background = tables[BACKGROUND, 64 * block : 64 * block + 64]
        foreground = tables[FOREGROUND, 64 * block : 64 * block + 64]
        behind = np.uint32(0)
        front = np.uint32(0)
        # Casts keep the counts at 32 bits, which makes the vector code twice as wide.
        for score in range(64):
            count = np.uint32(background[score] + foreground[score])
            behind = np.uint32(behind + background[score])
            front = np.uint32(front + foreground[score])
            levels = np.uint32(levels + np.uint32(count > 0))
            largest = max(largest, count)
        sums[BACKGROUND, block] = behind
        sums[FOREGROUND, block] = front
    tallies[LEVELS] += np.int64(levels)
    tallies[LARGEST] = max(tallies[LARGEST], np.int64(largest))
    for step in range(1024):
        sums[BACKGROUND, 1023 - step] += sums[BACKGROUND, 1024 - step]
        sums[FOREGROUND, 1023 - step] += sums[FOREGROUND, 1024 - step]


@kernel
def _count_from(table: Words, sums: Integers, score: int) -> Any:
    """Pixels of a bucket at or above a lower half (0 to 65,536)."""
    block = (score + 63) >> 6
    count = sums[block]
    for place in range(np.uint64(score), np.uint64(64 * block)):
        count += np.int64(table[place])
    return count


@kernel
def _note_edges(
    bucket: int, tables: Words, sums: Integers, before: float, edges: Edges, tallies: Integers
) -> None:
    """Note where in a bucket the normal pixels from the top reach their next targets."""
    targets = edges.normal_targets
    within = sums[BACKGROUND, 0] + sums[FOREGROUND, 0]
    while (
        tallies[NORMAL_TARGET] < targets.size and before + within >= targets[tallies[NORMAL_TARGET]]
    ):
        reached, missed = 0, 65536
        while missed - reached > 1:
            middle = (reached + missed) >> 1
            count = _count_from(tables[BACKGROUND], sums[BACKGROUND], middle)
            count += _count_from(tables[FOREGROUND], sums[FOREGROUND], middle)
            if before + count >= targets[tallies[NORMAL_TARGET]]:
                reached = middle
            else:
                missed = middle
        edges.keys[tallies[NOTED]] = bucket * 65536 + reached
        tallies[NOTED] += 1
        tallies[NORMAL_TARGET] += 1


@kernel
def _gather_points(
    pixels: AnomalousPixels,
    first: int,
    last: int,
    tables: Words,
    sums: Integers,
    points: ScorePoints,
    tallies: Integers,
) -> tuple[int, int]:
    """Look up what each distinct anomalous score of a bucket meets, from the last one down.

    Args:
        pixels: those in [first:last] are to do.
        tables, sums: as in `_sum_blocks`.
        points: filled.

    Returns:
        how many points were filled, and where the pixels that are still to do end.
    """
    low, patches, patch_weights = pixels.low, pixels.patches, pixels.weights
    weights = points.weights
    found = 0
    while last > first and found < points.score.size:
        score = np.int64(low[last - 1])
        begin = last - 1
        while begin > first and low[begin - 1] == score:
            begin -= 1
        block = (score + 64) >> 6
        behind, front = sums[BACKGROUND, block], sums[FOREGROUND, block]
        for place in range(np.uint64(score + 1), np.uint64(64 * block)):
            behind += np.int64(tables[BACKGROUND, place])
            front += np.int64(tables[FOREGROUND, place])
        front_normal = np.int64(tables[FOREGROUND, score])
        normal = np.int64(tables[BACKGROUND, score]) + front_normal
        front_anomalous = 0
        for row in range(WEIGHTS):
            weights[row, found] = 0.0
        for pixel in range(begin, last):
            patch = patches[pixel]
            front_anomalous += patch & 1
            for row in range(WEIGHTS):
                if patch_weights[patch, row] != 0.0:
                    weights[row, found] += patch_weights[patch, row]
        points.score[found] = score
        points.above[found], points.front_above[found] = behind + front, front
        points.normal[found], points.front_normal[found] = normal, front_normal
        points.anomalous[found], points.front_anomalous[found] = last - begin, front_anomalous
        tallies[LEVELS] += normal == 0
        tallies[LARGEST] = max(tallies[LARGEST], normal + (last - begin))
        found += 1
        last = begin
    return found, last


@kernel
def _take_points(
    count: int,
    bucket: int,
    points: ScorePoints,
    before: float,
    front_before: float,
    sweeps: Sweeps,
    edges: Edges,
    tallies: Integers,
) -> None:
    """Step both sweeps through the points of a bucket, and note edges where targets are reached."""
    everywhere, front = sweeps.everywhere, sweeps.front
    targets = edges.anomalous_targets
    weights = points.weights
    rows = FRONT_ROW if sweeps.has_background else WEIGHTS
    for point in range(count):
        key = bucket * 65536 + points.score[point]
        everywhere[NORMAL] = before + points.above[point]
        score = Score(key, points.normal[point], points.anomalous[point])
        _step(everywhere, score, weights, point, 0, rows, sweeps.of_everywhere)
        while (
            tallies[ANOMALOUS_TARGET] < targets.size
            and everywhere[ANOMALOUS] >= targets[tallies[ANOMALOUS_TARGET]]
        ):
            edges.keys[tallies[NOTED]] = key
            tallies[NOTED] += 1
            tallies[ANOMALOUS_TARGET] += 1
    if sweeps.has_background:
        for point in range(count):
            if points.front_anomalous[point] > 0:
                key = bucket * 65536 + points.score[point]
                front[NORMAL] = front_before + points.front_above[point]
                score = Score(key, points.front_normal[point], points.front_anomalous[point])
                _step(front, score, weights, point, FRONT_ROW, WEIGHTS, sweeps.of_front)


@kernel
def _tally_bucket(bucket: int, pixels: NormalPixels, tables: Words) -> None:
    """Count the lower halves of a bucket's normal pixels over all blocks."""
    low, ends, cursors, firsts = pixels.low, pixels.ends, pixels.cursors, pixels.firsts
    buckets, sizes, sides = pixels.buckets, pixels.sizes, pixels.sides
    for block in range(cursors.size):
        cursor, first, end = cursors[block], firsts[block], ends[block]
        table = tables[sides[block]]
        while cursor > first and buckets[cursor - 1] == bucket:
            cursor -= 1
            count = np.int64(sizes[cursor])
            end -= count
            for pixel in range(np.uint64(end), np.uint64(end + count)):
                table[low[pixel]] += 1
        cursors[block], ends[block] = cursor, end


@kernel
def sweep_buckets(
    buckets: Integers,
    normal: NormalPixels,
    anomalous: AnomalousPixels,
    tables: Words,
    sweeps: Sweeps,
    edges: Edges,
    tallies: Integers,
    is_complete: bool,
) -> None:
    """Sweep over float32 buckets in descending order.

    Args:
        buckets: int64, those to do.
        normal: its `ends` and `cursors` move down.
        tables: uint32 [2, 65536] of zeros; zero afterwards.
        sweeps: their states go on.
        edges: `edges.keys` is filled.
        tallies: int64 [`TALLIES`], added to.
        is_complete: False where more blocks of the one bucket follow in another call.
    """
    sums = np.zeros((2, 1025), np.int64)
    points = ScorePoints(
        np.empty(_POINTS, np.int64), np.empty(_POINTS, np.int64), np.empty(_POINTS, np.int64),
        np.empty(_POINTS, np.int64), np.empty(_POINTS, np.int64), np.empty(_POINTS, np.int64),
        np.empty(_POINTS, np.int64), np.empty((WEIGHTS, _POINTS)),
    )  # fmt: skip
    everywhere, front, offsets = sweeps.everywhere, sweeps.front, anomalous.offsets
    for bucket in buckets:
        _tally_bucket(bucket, normal, tables)
        if not is_complete:
            continue
        _sum_blocks(tables, sums, tallies)
        before, front_before = everywhere[NORMAL], front[NORMAL]
        first, last = offsets[bucket], offsets[bucket + 1]
        while last > first:
            count, last = _gather_points(anomalous, first, last, tables, sums, points, tallies)
            _take_points(count, bucket, points, before, front_before, sweeps, edges, tallies)
        everywhere[NORMAL] = before + (sums[BACKGROUND, 0] + sums[FOREGROUND, 0])
        front[NORMAL] = front_before + sums[FOREGROUND, 0]
        _note_edges(bucket, tables, sums, before, edges, tallies)
        for score in range(65536):
            tables[BACKGROUND, score] = tables[FOREGROUND, score] = 0


@kernel
def count_misranked(
    buckets: Integers,
    normal: NormalPixels,
    low: Halves,
    offsets: Integers,
    tables: Words,
    misranked: Integers,
) -> None:
    """Count the pairs of a split's normal pixels above anomalous ones of other splits.

    Args:
        buckets: int64, every bucket with a pixel, descending.
        normal: its `ends` and `cursors` move down.
        low: lower halves of the anomalous pixels, split by split and bucket by bucket.
        offsets: int64 [I, 65537], where each bucket of each split begins in `low`.
        tables: uint32 [2, 65536] of zeros; zero afterwards.
        misranked: int64 [I], added to: twice these pairs, those of equal scores once.
    """
    from_here = np.zeros(65537, np.int64)
    above: Any = np.int64(0)
    for bucket in buckets:
        _tally_bucket(bucket, normal, tables)
        for step in range(65536):
            score = 65535 - step
            count = np.int64(tables[BACKGROUND, score]) + np.int64(tables[FOREGROUND, score])
            from_here[score] = from_here[score + 1] + count
            tables[BACKGROUND, score] = tables[FOREGROUND, score] = 0
        for split in range(misranked.size):
            for pixel in range(offsets[split, bucket], offsets[split, bucket + 1]):
                place = np.int64(low[pixel])
                misranked[split] += 2 * above + from_here[place] + from_here[place + 1]
        above += from_here[0]


@kernel
def area_of_gaps(
    gaps: Integers, normal: Integers, anomalous: Integers, weights: Floats, limit: float
) -> tuple[float, float]:
    """Area under one image's region overlap, by its m distinct anomalous scores, ascending.

    Args:
        gaps: int64 [m + 1], normal pixels below, between and above these scores.
        normal, anomalous: int64 [m], pixels of exactly these scores.
        weights: float64 [1, m], region-weighted anomalous pixels of these scores.
        limit: false positives up to which to integrate.

    Returns:
        the area over counts of false positives, and the sum of all weights.
    """
    state = np.zeros(ROWS + ROW_SIZE)
    count = anomalous.size
    total = 0.0
    cover = 0.0
    for place in range(count):
        total += anomalous[place]
        cover += weights[0, place]
    whole = Whole(total, limit, 0.0)
    for step in range(count):
        place = count - 1 - step
        state[NORMAL] += gaps[place + 1]
        if state[NORMAL] >= limit:
            break
        score = Score(0.0, normal[place], anomalous[place])
        _step(state, score, weights, place, 0, 1, whole)
    return state[ROWS + AREA] + state[ROWS + AREA + 1], cover


def sweep_one(
    normal: Any, anomalous: Any, weights: Any, limit_share: float, strict_share: float
) -> Floats:
    """`sweep_histograms` for a single histogram: [K], [K] and [W, K] give states [1, ...]."""
    return sweep_histograms(
        np.ascontiguousarray(normal, np.float64)[None],
        np.ascontiguousarray(anomalous, np.float64)[None],
        np.ascontiguousarray(weights, np.float64)[None],
        limit_share,
        strict_share,
    )
