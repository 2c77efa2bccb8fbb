"""The exact sweep over a split's collected pixels, float16 and float32.

Beside the metrics' states a sweep notes edges: scores that cut the pixels into a
few hundred bins of comparable weight, on which the bootstrap works. They depend
on the scores alone, so float16 maps and the same maps as float32 get the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.kernels import sweep
from harness.metrics.kernels.grouping import AnomalousRuns, Block, sort_anomalous
from harness.metrics.kernels.keys import KEYS
from harness.metrics.kernels.layout import ANOMALOUS_KINDS, FRONT_ROW, NORMAL_KINDS, WEIGHTS

GATHER_BYTES = 64 << 20
_STATE = sweep.ROWS + sweep.ROW_SIZE * WEIGHTS + sweep.STRICT_SIZE


class Histograms(NamedTuple):
    """The pixels of a split by bin: a float16 key, or the upper half of a float32 one."""

    pixels: NDArray[np.int64]
    """[4, 65536] pixels by kind (`harness.metrics.kernels.layout`)."""
    weights: NDArray[np.float64]
    """[5, 65536] region weights (`WEIGHT_ROWS` there)."""


@dataclass(frozen=True)
class FloatPixels:
    """Every pixel of a float32 split of n images, as `harness.metrics.pixels` keeps them."""

    blocks: Sequence[tuple[Block, Block] | None]
    """[n] background and foreground of each image."""
    low: NDArray[np.uint16]
    """Lower halves of all normal pixels."""
    low_offsets: NDArray[np.int64]
    """[2 n + 1] where each image's background and foreground begin in `low`."""
    anomalous: NDArray[np.uint32]
    """Keys of all anomalous pixels in run order."""
    runs: AnomalousRuns
    """The runs of the whole split."""
    is_spilled: bool
    """Whether they lie on disk, where long stretches are read faster."""


class SweepLimits(NamedTuple):
    """False-positive rates up to which region overlap is integrated."""

    every: float
    """That of all areas."""
    strict: float
    """That of one more area over all pixels, of the 8-connected regions."""


class Targets(NamedTuple):
    """Counts of pixels, from the top, at which a bin of the bootstrap shall begin."""

    normal: NDArray[np.float64]
    """Ascending counts of normal pixels."""
    anomalous: NDArray[np.float64]
    """Ascending counts of anomalous pixels."""


@dataclass(frozen=True)
class ExactSweep:
    """What a sweep over all pixels of a split yields."""

    states: NDArray[np.float64]
    """[2, 30] final states (`harness.metrics.kernels.sweep`) over all pixels and over the
    foreground; weight rows as in `WEIGHT_ROWS`, the last one filled in the foreground's alone."""
    edges: NDArray[np.uint32]
    """Ascending keys that begin the bins for the bootstrap; empty unless asked for."""
    levels: int
    """Distinct scores."""
    largest: int
    """Pixels that hold the most frequent score."""


def exact_sweep(
    histograms: Histograms, floats: FloatPixels | None, *, limits: SweepLimits, wants_edges: bool
) -> ExactSweep:
    """Sweep over the whole split; every image has been given.

    Args:
        histograms: of all its pixels.
        floats: the pixels themselves; None for float16, whose histograms hold them.
        limits: false-positive rates up to which region overlap is integrated.
        wants_edges: whether to note edges.
    """
    targets = _targets(histograms.pixels) if wants_edges else Targets(np.zeros(0), np.zeros(0))
    if floats is not None:
        return _sweep_floats(floats, histograms.pixels, targets, limits)
    every = histograms.pixels.sum(axis=0)
    return ExactSweep(
        states=sweep_halves(histograms, limits),
        edges=_edges_of_halves(histograms.pixels, targets),
        levels=int(np.count_nonzero(every)),
        largest=int(every.max()),
    )


def sweep_halves(histograms: Histograms, limits: SweepLimits) -> NDArray[np.float64]:
    """States [2, 30] of histograms of any number of bins."""
    background, foreground, anomalous_background, anomalous_foreground = histograms.pixels
    weights = histograms.weights
    states = np.zeros((2, _STATE))
    everywhere, front = states
    (every,) = sweep.sweep_one(
        background + foreground,
        anomalous_background + anomalous_foreground,
        weights[:FRONT_ROW],
        *limits,
    )
    (within,) = sweep.sweep_one(
        foreground, anomalous_foreground, weights[FRONT_ROW:], limits.every, 0.0
    )
    rows = every.size - sweep.STRICT_SIZE
    everywhere[:rows] = every[:rows]
    everywhere[-sweep.STRICT_SIZE :] = every[rows:]
    front[: sweep.ROWS] = within[: sweep.ROWS]
    front[sweep.ROWS + sweep.ROW_SIZE * FRONT_ROW :] = within[sweep.ROWS :]
    return states


def _targets(pixels: NDArray[np.int64]) -> Targets:
    normal = float(pixels[NORMAL_KINDS].sum())
    anomalous = float(pixels[ANOMALOUS_KINDS].sum())
    if normal == 0 or anomalous == 0:
        return Targets(np.zeros(0), np.zeros(0))
    shares = np.union1d(np.linspace(0, 1, 97)[1:], np.geomspace(1e-5, 1, 128))
    return Targets(normal * shares, anomalous * np.linspace(0, 1, 161)[1:])


def _edges_of_halves(pixels: NDArray[np.int64], targets: Targets) -> NDArray[np.uint32]:
    edges = []
    for rows, wanted in (
        (pixels[NORMAL_KINDS], targets.normal),
        (pixels[ANOMALOUS_KINDS], targets.anomalous),
    ):
        from_top = np.cumsum(rows.sum(axis=0)[::-1])
        edges.append(KEYS - 1 - np.searchsorted(from_top, wanted))
    return np.unique(np.concatenate(edges)).astype(np.uint32)


def _normal_of(floats: FloatPixels) -> sweep.NormalPixels:
    """The blocks of a split, with cursors at their ends."""
    present = [
        (block, side, floats.low_offsets[2 * image + side + 1])
        for image, blocks in enumerate(floats.blocks)
        if blocks is not None
        for side, block in enumerate(blocks)
        if block.keys.size
    ]
    empty = np.zeros(0, np.uint16)
    sizes = np.array([block.keys.size for block, _, _ in present], np.int64)
    cursors = np.cumsum(sizes)
    return sweep.NormalPixels(
        low=floats.low,
        ends=np.array([end for _, _, end in present], np.int64),
        cursors=cursors,
        firsts=cursors - sizes,
        sides=np.array([side for _, side, _ in present], np.int64),
        buckets=np.concatenate([empty, *(block.keys for block, _, _ in present)]),
        sizes=np.concatenate([empty, *(block.counts for block, _, _ in present)]),
    )


def _reach(normal: sweep.NormalPixels, block: int, lowest: int) -> int:
    """Pixels of a block that lie in buckets from `lowest` up and were not taken yet."""
    todo = slice(normal.firsts[block], normal.cursors[block])
    buckets, sizes = normal.buckets[todo], normal.sizes[todo]
    return int(sizes[np.searchsorted(buckets, lowest) :].sum(dtype=np.int64))


class _FloatSweep:
    """The running state of a float32 sweep."""

    def __init__(
        self, floats: FloatPixels, pixels: NDArray[np.int64], targets: Targets, limits: SweepLimits
    ) -> None:
        self.normal = _normal_of(floats)
        self.anomalous = sweep.AnomalousPixels(
            *sort_anomalous(floats.anomalous, floats.runs), floats.runs.weights
        )
        self.states = np.zeros((2, _STATE))
        self.states[:, sweep.DICE_KEY] = -1
        background, foreground, outside, inside = (float(count) for count in pixels.sum(axis=1))
        everywhere, front = self.states
        normal = background + foreground
        self.sweeps = sweep.Sweeps(
            everywhere=everywhere,
            front=front,
            of_everywhere=sweep.Whole(outside + inside, *(limit * normal for limit in limits)),
            of_front=sweep.Whole(inside, limits.every * foreground, 0.0),
            has_background=background + outside > 0,
        )
        room = np.zeros(targets.normal.size + targets.anomalous.size, np.uint32)
        self.edges = sweep.Edges(targets.normal, targets.anomalous, room)
        self.tallies = np.zeros(sweep.TALLIES, np.int64)
        self._tables = np.zeros((2, KEYS), np.uint32)

    def take(self, buckets: NDArray[np.int64]) -> None:
        """Sweep over these buckets straight from the store."""
        self._run(buckets, self.normal, is_complete=True)

    def take_gathered(self, buckets: NDArray[np.int64]) -> None:
        """The same with the blocks' pieces read in long stretches, for a store on disk."""
        normal, lowest = self.normal, int(buckets[-1])
        pieces: list[NDArray[np.uint16]] = []
        chosen: list[int] = []
        size = 0
        for block in range(normal.ends.size):
            reach = _reach(normal, block, lowest)
            if reach == 0:
                continue
            if size and buckets.size == 1 and 2 * (size + reach) > GATHER_BYTES:
                self._run_pieces(buckets, chosen, pieces, is_complete=False)
                pieces, chosen, size = [], [], 0
            end = normal.ends[block]
            pieces.append(normal.low[end - reach : end])
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
        normal = self.normal
        sizes = np.array([piece.size for piece in pieces], np.int64)
        part = np.array(chosen, np.int64)
        gathered = normal._replace(
            low=np.concatenate([np.zeros(0, np.uint16), *pieces]),
            ends=np.cumsum(sizes),
            cursors=normal.cursors[part],
            firsts=normal.firsts[part],
            sides=normal.sides[part],
        )
        self._run(buckets, gathered, is_complete=is_complete)
        normal.cursors[part] = gathered.cursors
        normal.ends[part] -= sizes

    def _run(
        self, buckets: NDArray[np.int64], normal: sweep.NormalPixels, *, is_complete: bool
    ) -> None:
        sweep.sweep_buckets(
            buckets, normal, self.anomalous, self._tables, self.sweeps, self.edges,
            self.tallies, is_complete,
        )  # fmt: skip


def _sweep_floats(
    floats: FloatPixels, pixels: NDArray[np.int64], targets: Targets, limits: SweepLimits
) -> ExactSweep:
    running = _FloatSweep(floats, pixels, targets, limits)
    sizes = pixels.sum(axis=0)
    buckets = np.flatnonzero(sizes)[::-1].astype(np.int64)
    if floats.is_spilled:
        for part in _parts(buckets, sizes[buckets]):
            running.take_gathered(part)
    else:
        running.take(buckets)
    if not running.sweeps.has_background:
        running.sweeps.front[:] = running.sweeps.everywhere
    tallies = running.tallies
    return ExactSweep(
        states=running.states,
        edges=np.unique(running.edges.keys[: tallies[sweep.NOTED]]),
        levels=int(tallies[sweep.LEVELS]),
        largest=int(tallies[sweep.LARGEST]),
    )


def misranked_across(normal: FloatPixels, others: Sequence[FloatPixels]) -> NDArray[np.int64]:
    """Twice the pairs of a normal pixel of one split above an anomalous one of each other split,
    those of equal scores once; int64 [splits]."""
    blocks = _normal_of(normal)
    ordered = [sort_anomalous(other.anomalous, other.runs) for other in others]
    starts = np.cumsum([0, *(low.size for low, _, _ in ordered)])
    offsets = np.stack(
        [own + start for (_, _, own), start in zip(ordered, starts[:-1], strict=True)]
    )
    is_used = np.zeros(KEYS, np.bool_)
    is_used[blocks.buckets] = True
    is_used |= (np.diff(offsets, axis=1) > 0).any(axis=0)
    misranked = np.zeros(len(others), np.int64)
    sweep.count_misranked(
        np.flatnonzero(is_used)[::-1].astype(np.int64), blocks,
        np.concatenate([low for low, _, _ in ordered]), offsets,
        np.zeros((2, KEYS), np.uint32), misranked,
    )  # fmt: skip
    return misranked


def _parts(buckets: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut the buckets into stretches whose lower halves fit the gathering buffer."""
    start, size = 0, 0
    for place, count in enumerate(sizes):
        if place > start and 2 * (size + int(count)) > GATHER_BYTES:
            yield buckets[start:place]
            start, size = place, 0
        size += int(count)
    yield buckets[start:]
