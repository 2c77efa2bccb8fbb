"""The exact sweep over a split's collected pixels, float16 and float32.

Beside the metrics' states a sweep notes edges: scores that cut the pixels into a
few hundred bins of comparable weight, on which the bootstrap works. They depend
on the scores alone, so float16 maps and the same maps as float32 get the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels import counting, sweep
from harness.metrics.kernels.keys import KEYS
from harness.metrics.patches import WEIGHT_ROWS
from harness.metrics.pixels import FPR_LIMIT, PixelCounts

GATHER_BYTES = 64 << 20
_STATE = sweep.ROWS + 4 * len(WEIGHT_ROWS)


@dataclass(frozen=True)
class ExactSweep:
    """What a sweep over all pixels of a split yields."""

    states: NDArray[np.float64]
    """[2, 28] final states (`harness.metrics.kernels.sweep`) over all pixels and over the foreground;
    weight rows as in `WEIGHT_ROWS`, the last one filled in the foreground's state alone."""
    edges: NDArray[np.uint32]
    """Ascending keys that begin the bins for the bootstrap; empty unless asked for."""
    levels: int
    """Distinct scores."""
    largest: int
    """Pixels that hold the most frequent score."""


def exact_sweep(counts: PixelCounts, *, wants_edges: bool) -> ExactSweep:
    """Sweep over the whole split; every image has been given."""
    pixels, weights = counts.histograms
    targets = _targets(pixels) if wants_edges else (np.zeros(0), np.zeros(0))
    if counts.is_bucketed:
        return _sweep_floats(counts, targets)
    every = pixels.sum(axis=0)
    return ExactSweep(
        states=sweep_halves(pixels, weights),
        edges=_edges_of_halves(pixels, targets),
        levels=int(np.count_nonzero(every)),
        largest=int(every.max()),
    )


def sweep_halves(
    pixels: NDArray[np.int64], weights: NDArray[np.float64], limit: float = FPR_LIMIT
) -> NDArray[np.float64]:
    """States [2, 28] of histograms: int64 [4, K] pixels by kind, float64 [5, K] weights."""
    states = np.zeros((2, _STATE))
    every = sweep.sweep_one(pixels[0] + pixels[1], pixels[2] + pixels[3], weights[:4], limit)
    front = sweep.sweep_one(pixels[1], pixels[3], weights[4:], limit)
    states[0, : every.shape[1]] = every[0]
    states[1, : sweep.ROWS] = front[0, : sweep.ROWS]
    states[1, _STATE - 4 :] = front[0, sweep.ROWS :]
    return states


def _targets(pixels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts of normal and anomalous pixels, from the top, at which a bin shall begin."""
    normal = float(pixels[:2].sum())
    anomalous = float(pixels[2:].sum())
    if normal == 0 or anomalous == 0:
        return np.zeros(0), np.zeros(0)
    shares = np.union1d(np.linspace(0, 1, 97)[1:], np.geomspace(1e-5, 1, 128))
    return normal * shares, anomalous * np.linspace(0, 1, 161)[1:]


def _edges_of_halves(
    pixels: NDArray[np.int64], targets: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.uint32]:
    edges = []
    for rows, wanted in ((pixels[:2], targets[0]), (pixels[2:], targets[1])):
        from_top = np.cumsum(rows.sum(axis=0)[::-1])
        edges.append(KEYS - 1 - np.searchsorted(from_top, wanted))
    return np.unique(np.concatenate(edges)).astype(np.uint32)


class _Blocks:
    """The blocks of a float32 split, with cursors that move down through the buckets."""

    def __init__(self, counts: PixelCounts) -> None:
        offsets = counts.low_offsets
        self.low = counts.low
        present = [
            (block, kind, offsets[2 * image + kind + 1])
            for image, blocks in enumerate(counts.blocks)
            if blocks is not None
            for kind, block in enumerate(blocks)
            if block.keys.size
        ]
        empty = np.zeros((2, 0), np.uint16)
        entries = (np.stack([block.keys, block.counts]) for block, _, _ in present)
        self.entries = np.concatenate([empty, *entries], axis=1)
        """[2, E] buckets and pixels of all table entries."""
        sizes = np.array([block.keys.size for block, _, _ in present], np.int64)
        cursors = np.cumsum(sizes)
        ends = np.array([end for _, _, end in present], np.int64)
        kinds = np.array([kind for _, kind, _ in present], np.int64)
        self.table = np.stack([cursors, cursors - sizes, ends, kinds])
        """[4, B] end and start of each block's entries, end of its pixels, and their kind."""

    def reach(self, block: int, lowest: int) -> int:
        """Pixels of the block that lie in buckets from `lowest` up and were not taken yet."""
        cursor, first = self.table[:2, block]
        keys, counts = self.entries[:, first:cursor]
        return int(counts[np.searchsorted(keys, lowest) :].sum(dtype=np.int64))


class _FloatSweep:
    """The running state of a float32 sweep: arguments of the kernel, in its order."""

    def __init__(
        self, counts: PixelCounts, targets: tuple[NDArray[np.float64], NDArray[np.float64]]
    ) -> None:
        self.blocks = _Blocks(counts)
        pixels, _ = counts.histograms
        normal = pixels[:2].sum(axis=1)
        anomalous = pixels[2:].sum(axis=1)
        self.states = np.zeros((2, _STATE))
        self.states[:, sweep.DICE_KEY] = -1
        self.totals = np.array(
            [anomalous.sum(), FPR_LIMIT * normal.sum(), anomalous[1], FPR_LIMIT * normal[1]],
            np.float64,
        )
        self.has_background = bool(pixels[0].any() or pixels[2].any())
        self.targets = targets
        self.edges = np.zeros(targets[0].size + targets[1].size, np.uint32)
        self.tallies = np.zeros(5, np.int64)
        low = np.empty(counts.anomalous.size, np.uint16)
        patches = np.empty(counts.anomalous.size, np.int32)
        offsets = counting.sort_anomalous(
            counts.anomalous, counts.truth.run_lengths, counts.truth.patches.of_run, low, patches
        )
        self._fixed = (
            low, patches, offsets, counts.truth.patches.weights,
            np.zeros((2, KEYS), np.uint32),
        )  # fmt: skip

    def take(self, buckets: NDArray[np.int64]) -> None:
        """Sweep over these buckets straight from the store."""
        self._run(buckets, self.blocks.low, self.blocks.table, is_complete=True)

    def take_gathered(self, buckets: NDArray[np.int64]) -> None:
        """The same with the blocks' pieces read in long stretches, for a store on disk."""
        blocks, lowest = self.blocks, int(buckets[-1])
        pieces: list[NDArray[np.uint16]] = []
        chosen: list[int] = []
        size = 0
        for block in range(blocks.table.shape[1]):
            reach = blocks.reach(block, lowest)
            if reach == 0:
                continue
            if size and buckets.size == 1 and 2 * (size + reach) > GATHER_BYTES:
                self._run_pieces(buckets, chosen, pieces, is_complete=False)
                pieces, chosen, size = [], [], 0
            end = blocks.table[2, block]
            pieces.append(blocks.low[end - reach : end])
            chosen.append(block)
            size += reach
        self._run_pieces(buckets, chosen, pieces, is_complete=True)

    def _run_pieces(
        self,
        buckets: NDArray[np.int64],
        chosen: list[int],
        pieces: list[NDArray[np.uint16]],
        *,
        is_complete: bool,
    ) -> None:
        sizes = np.array([piece.size for piece in pieces], np.int64)
        low = np.concatenate([np.zeros(0, np.uint16), *pieces])
        part = np.array(chosen, np.int64)
        table = np.ascontiguousarray(self.blocks.table[:, part])
        table[2] = np.cumsum(sizes)
        self._run(buckets, low, table, is_complete=is_complete)
        self.blocks.table[0, part] = table[0]
        self.blocks.table[2, part] -= sizes

    def _run(
        self,
        buckets: NDArray[np.int64],
        low: NDArray[np.uint16],
        table: NDArray[np.int64],
        *,
        is_complete: bool,
    ) -> None:
        sweep.sweep_buckets(
            buckets, low, table, self.blocks.entries, *self._fixed, self.states, self.totals,
            self.has_background, *self.targets, self.edges, self.tallies, is_complete,
        )  # fmt: skip


def _sweep_floats(
    counts: PixelCounts, targets: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> ExactSweep:
    running = _FloatSweep(counts, targets)
    pixels, _ = counts.histograms
    sizes = pixels.sum(axis=0)
    buckets = np.flatnonzero(sizes)[::-1].astype(np.int64)
    if counts.is_spilled:
        for part in _parts(buckets, sizes[buckets]):
            running.take_gathered(part)
    else:
        running.take(buckets)
    if not running.has_background:
        running.states[1] = running.states[0]
    found = int(running.tallies[2])
    return ExactSweep(
        states=running.states,
        edges=np.unique(running.edges[:found]),
        levels=int(running.tallies[0]),
        largest=int(running.tallies[1]),
    )


def _parts(buckets: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut the buckets into stretches whose lower halves fit the gathering buffer."""
    start, size = 0, 0
    for place, count in enumerate(sizes):
        if place > start and 2 * (size + int(count)) > GATHER_BYTES:
            yield buckets[start:place]
            start, size = place, 0
        size += int(count)
    yield buckets[start:]
