"""Exact pixel counts of one split on one grid, collected map by map.

What is kept of an image lies at a place that the ground truth fixes beforehand,
so shards may come in any order and be merged: the final state is the same, byte
for byte, and every sum over it is taken in the order of the ground truth.

Normal pixels: per image and kind (background, foreground) a table of occupied
bins; a float32 run keeps the lower 16 bits of every one too, sorted by bucket.
Anomalous pixels, one in fifty or so, keep their full keys.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.errors import NonFinite
from harness.metrics.kernels import counting, grouping
from harness.metrics.kernels.exact import ExactSweep, FloatPixels, Histograms, exact_sweep
from harness.metrics.kernels.grouping import Block, ScoreGroups
from harness.metrics.kernels.keys import KEYS
from harness.metrics.kernels.layout import BACKGROUND, FOREGROUND, KINDS, NORMAL_KINDS, WEIGHT_ROWS
from harness.metrics.kernels.spool import Pool, Spool
from harness.metrics.pro import LIMITS, image_overlap
from harness.metrics.truth import GridTruth

_EMPTY = np.zeros(0, np.uint16)
_SIDES = (BACKGROUND, FOREGROUND)


class PixelCounts:
    """Everything of a split's maps that the metrics need, for one grid and dtype.

    Args:
        truth: the grid's masks.
        dtype: float16 or float32, the dtype of every map.
        spool: where the counts are kept.
    """

    def __init__(self, truth: GridTruth, dtype: np.dtype[Any], spool: Spool) -> None:
        images = len(truth.shapes)
        self.truth = truth
        self.dtype = dtype
        self.is_bucketed = dtype == np.float32
        self.totals = np.zeros((KINDS, KEYS), np.int64)
        """Normal pixels by kind and bin; the anomalous rows are filled by `histograms`."""
        self.blocks: list[tuple[Block, Block] | None] = [None] * images
        """Background and foreground of each image; None: not given yet."""
        self.image_overlap = np.full(images, np.nan)
        """PRO of each anomalous image by itself; NaN where it has no region or no normal pixel."""
        key_type = np.uint32 if self.is_bucketed else np.uint16
        self.anomalous = spool.array(int(truth.anomalous_offsets[-1]), key_type)
        """Keys of all anomalous pixels in run order."""
        self._pool = Pool(spool)
        self.low = spool.array(int(self.low_offsets[-1]), np.uint16)
        """Lower halves of the normal pixels of a float32 run, where `low_offsets` says."""
        self.is_spilled = spool.is_spilling
        self._tables = np.zeros((2, 2, KEYS), np.uint32)
        self._groups = np.zeros((KEYS, 2))

    @cached_property
    def low_offsets(self) -> NDArray[np.int64]:
        """[2 n + 1] where each image's background and foreground begin among the lower halves."""
        if not self.is_bucketed:
            return np.zeros(2 * len(self.truth.shapes) + 1, np.int64)
        return np.concatenate([[0], np.cumsum(self.truth.kind_counts[:, NORMAL_KINDS].ravel())])

    def add(self, image: int, anomaly_map: NDArray[np.floating[Any]]) -> None:
        """Take the map of one image.

        Args:
            image: its position in the ground truth.
            anomaly_map: [H, W], C-contiguous, of the image's shape and the run's dtype.

        Raises:
            NonFinite: the map holds NaN or infinity; the counts are of no use afterwards.
        """
        segments = self.truth.segments(image)
        keys = self.anomalous_keys(image)
        if self.is_bucketed:
            words = anomaly_map.reshape(-1).view(np.uint32)
            is_finite = counting.keep_floats(words, segments, keys) == 0
            blocks = [self._float_block(image, side, words, segments) for side in _SIDES]
        else:
            halves = anomaly_map.reshape(-1).view(np.uint16)
            is_finite = counting.tally_halves(halves, segments, self._tables, keys) == 0
            blocks = [self._half_block(image, side) for side in _SIDES]
        background, foreground = blocks
        if not is_finite or background is None or foreground is None:
            raise NonFinite(
                "an anomaly map holds NaN or infinity",
                fix="guard divisions, square roots and logarithms; float16 ends at 65504",
            )
        self.blocks[image] = (background, foreground)
        self.image_overlap[image] = self._overlap(image)

    def merge(self, other: PixelCounts) -> None:
        """Take over the images of another shard; none of them was given here."""
        self.totals += other.totals
        for image, blocks in enumerate(other.blocks):
            if blocks is None:
                continue
            self.anomalous_keys(image)[:] = other.anomalous_keys(image)
            self.image_overlap[image] = other.image_overlap[image]
            kept = []
            for kind, block in enumerate(blocks):
                low = self._low_of(image, kind)
                low[:] = block.low
                kept.append(Block(self._pool.keep(block.keys), self._pool.keep(block.counts), low))
            self.blocks[image] = (kept[0], kept[1])

    def anomalous_keys(self, image: int) -> NDArray[Any]:
        """Keys of one image's anomalous pixels in run order."""
        offsets = self.truth.anomalous_offsets
        return self.anomalous[offsets[image] : offsets[image + 1]]

    def _low_of(self, image: int, kind: int) -> NDArray[np.uint16]:
        offsets = self.low_offsets
        low: NDArray[np.uint16] = self.low[
            offsets[2 * image + kind] : offsets[2 * image + kind + 1]
        ]
        return low

    def _room(self, image: int, kind: int) -> counting.Room:
        pixels = int(self.truth.kind_counts[image, kind])
        entries = min(KEYS, pixels) + pixels // counting.ENTRY_MAX
        return counting.Room(np.empty(entries, np.uint16), np.empty(entries, np.uint16))

    def _half_block(self, image: int, kind: int) -> Block | None:
        room = self._room(image, kind)
        if room.keys.size == 0:
            return Block(_EMPTY, _EMPTY, _EMPTY)
        entries = counting.fold_halves(self._tables[kind], self.totals[kind], room)
        return self._kept(room, entries, _EMPTY)

    def _float_block(
        self, image: int, kind: int, bits: NDArray[np.uint32], segments: counting.Segments
    ) -> Block | None:
        room = self._room(image, kind)
        if room.keys.size == 0:
            return Block(_EMPTY, _EMPTY, _EMPTY)
        low = self._low_of(image, kind)
        entries = counting.partition_floats(
            bits, segments, kind, self._tables[kind], self.totals[kind], room, low
        )
        return self._kept(room, entries, low)

    def _kept(self, room: counting.Room, entries: int, low: NDArray[np.uint16]) -> Block | None:
        """The table entries that a kernel wrote, kept; None where it met NaN or infinity."""
        if entries < 0:
            return None
        keep = self._pool.keep
        return Block(keep(room.keys[:entries]), keep(room.counts[:entries]), low)

    def _overlap(self, image: int) -> float:
        """PRO of one image by itself, against its own normal pixels; NaN where it has none."""
        blocks = self.blocks[image]
        keys = self.anomalous_keys(image)
        normal = self.truth.normal_counts[image]
        if blocks is None or keys.size == 0 or normal == 0:
            return float("nan")
        return image_overlap(blocks, self._grouped(image, keys), normal, self.is_bucketed)

    def _grouped(self, image: int, keys: NDArray[Any]) -> ScoreGroups:
        """Distinct anomalous scores of an image, with the pixels and region weights of each."""
        part = self.truth.runs_of(image)
        lengths, weight = self.truth.run_lengths[part], self.truth.run_weights[part]
        room = ScoreGroups(
            np.empty(keys.size, np.uint32), np.empty(keys.size, np.int64), np.empty(keys.size)
        )
        if self.is_bucketed:
            places = np.arange(keys.size, dtype=np.uint64)
            ordered = np.left_shift(keys, 32, dtype=np.uint64) | places
            ordered.sort()
            found = grouping.group_floats(ordered, np.repeat(weight, lengths), room)
        else:
            found = grouping.group_halves(keys, lengths, weight, self._groups, room)
        return ScoreGroups(room.scores[:found], room.counts[:found], room.weights[:found])

    @cached_property
    def histograms(self) -> Histograms:
        """Pixels and region weights by bin. Only for the whole split."""
        totals, weights = self.totals.copy(), np.zeros((len(WEIGHT_ROWS), KEYS))
        shift = 16 if self.is_bucketed else 0
        grouping.tally_runs(self.anomalous, shift, self.truth.runs, totals, weights)
        return Histograms(totals, weights)

    @property
    def floats(self) -> FloatPixels:
        """Every pixel of a float32 run."""
        return FloatPixels(
            blocks=self.blocks,
            low=self.low,
            low_offsets=self.low_offsets,
            anomalous=self.anomalous,
            runs=self.truth.runs,
            is_spilled=self.is_spilled,
        )

    def sweep(self, *, wants_edges: bool) -> ExactSweep:
        """The exact sweep over the whole split."""
        floats = self.floats if self.is_bucketed else None
        return exact_sweep(self.histograms, floats, limits=LIMITS, wants_edges=wants_edges)
