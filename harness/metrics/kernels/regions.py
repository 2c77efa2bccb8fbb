"""Kernels that turn a mask into segments and its runs into connected regions.

A segment is a stretch of pixels of one kind in row-major order. Normal segments
go on across row ends (long stretches are what the counting kernels like);
anomalous ones, called runs, end with their row, for labelling works by rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels.jit import kernel
from harness.metrics.kernels.layout import ANOMALOUS_BACKGROUND

Ints = NDArray[np.int32]


@kernel
def find_segments(
    kinds: NDArray[np.uint8],
    lengths: Ints,
    segment_kinds: NDArray[np.uint8],
    run_rows: Ints,
    run_columns: Ints,
) -> tuple[int, int]:
    """Write the segments of `kinds` [H, W] and where its runs start; return both counts.

    The outputs hold at least H*W entries each.
    """
    height, width = kinds.shape
    segments = 0
    runs = 0
    previous = -1
    for row in range(height):
        for column in range(width):
            kind = kinds[row, column]
            is_anomalous = kind >= ANOMALOUS_BACKGROUND
            if kind == previous and not (is_anomalous and column == 0):
                lengths[segments - 1] += 1
                continue
            lengths[segments] = 1
            segment_kinds[segments] = kind
            segments += 1
            previous = kind
            if is_anomalous:
                run_rows[runs] = row
                run_columns[runs] = column
                runs += 1
    return segments, runs


@kernel
def _root(parents: Ints, node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@kernel
def label_runs(rows: Ints, starts: Ints, lengths: Ints, reach: int, labels: Ints) -> int:
    """Number the connected regions of runs sorted by row and start; return how many there are.

    Args:
        rows, starts, lengths: int32 [R], row, first column and length of each run.
        reach: 1 for 8-connectivity (diagonals touch), 0 for 4-connectivity.
        labels: int32 [R], filled with 0-based numbers in order of first appearance.
    """
    count = rows.size
    parents = np.empty(count, np.int32)
    for run in range(count):
        parents[run] = run
    above = 0
    for run in range(count):
        start = starts[run]
        end = start + lengths[run]
        row = rows[run]
        if run > 0 and rows[run - 1] == row and starts[run - 1] + lengths[run - 1] == start:
            parents[_root(parents, run)] = _root(parents, run - 1)
        while above < run and (
            rows[above] < row - 1
            or (rows[above] == row - 1 and starts[above] + lengths[above] + reach <= start)
        ):
            above += 1
        other = above
        while other < run and rows[other] == row - 1 and starts[other] < end + reach:
            a = _root(parents, run)
            b = _root(parents, other)
            parents[max(a, b)] = min(a, b)
            other += 1
    regions = 0
    for run in range(count):
        root = _root(parents, run)
        if root == run:
            labels[run] = regions
            regions += 1
        else:
            labels[run] = labels[root]
    return regions


def label_with(
    rows: Ints, starts: Ints, lengths: Ints, connectivity: int
) -> tuple[NDArray[Any], int]:
    """Labels int32 [R] and number of regions of `label_runs` for connectivity 8 or 4."""
    labels = np.empty(rows.size, np.int32)
    regions = label_runs(rows, starts, lengths, 1 if connectivity == 8 else 0, labels)
    return labels, regions
