"""From collected pixels to evidence: thresholds, and counts by image and group at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.evidence import WEIGHT_UNIT, GridEvidence
from harness.metrics.kernels import grouping
from harness.metrics.kernels.keys import KEYS, key_from, values_of
from harness.metrics.kernels.layout import ANOMALOUS_KINDS, KINDS, NORMAL_KINDS, WEIGHTS
from harness.metrics.pimo import edges_of, image_aupimo, normal_tail
from harness.metrics.pixels import PixelCounts
from harness.metrics.table import METRICS
from harness.metrics.thresholds import Threshold

RANGE_SHARES = tuple(
    metric.range_share for metric in METRICS.values() if metric.range_share is not None
)
"""Shares of the run's score range at which some metric asks for Dice."""


class Units(NamedTuple):
    """The images of a split, as the intervals see them."""

    number: int
    """How many groups there are."""
    group: NDArray[np.int64]
    """[n] group of each image."""
    is_normal: NDArray[np.bool_]
    """[n] whether the image is labelled normal."""


def distil(
    counts: PixelCounts,
    valid: Sequence[Threshold],
    units: Units,
    *,
    wants_groups: bool,
) -> GridEvidence:
    """Evidence of one grid of the test split.

    Args:
        counts: all images of the split.
        valid: thresholds from the validation split.
        units: labels and groups of the images.
        wants_groups: whether to keep what the intervals need.
    """
    exact = counts.sweep(wants_edges=wants_groups)
    pixels, weights = counts.histograms
    score_range = _score_range(counts)
    low, high = score_range
    thresholds = [
        key_from(float(low + (high - low) * share), counts.dtype) for share in RANGE_SHARES
    ]
    thresholds += [threshold.key for threshold in valid if threshold.key is not None]
    edges = np.union1d(exact.edges, np.array(thresholds, np.uint32)).astype(np.uint32)
    tail, normal = normal_tail(counts, units.is_normal)
    if wants_groups:
        edges = np.union1d(edges, edges_of(tail, normal)).astype(np.uint32)
    places = np.searchsorted(edges, np.array(thresholds, np.uint32)) + 1
    binned = _bin_images(counts, edges, units, places[0])
    from_top = np.cumsum(binned.pixels.sum(axis=0)[:, ::-1], axis=1)[:, ::-1]
    return GridEvidence(
        pixels=pixels,
        weights=weights,
        states=exact.states,
        regions=_regions(counts),
        score_range=score_range,
        levels=np.array([exact.levels, exact.largest], np.int64),
        thresholds=np.array(thresholds, np.uint32),
        threshold_counts=np.stack(
            [from_top[kinds].sum(axis=0)[places] for kinds in (NORMAL_KINDS, ANOMALOUS_KINDS)],
            axis=1,
        ),
        edges=edges,
        group_pixels=binned.pixels,
        group_weights=np.rint(binned.weights / WEIGHT_UNIT).astype(np.int64),
        image_overlap=counts.image_overlap,
        image_dice=binned.image_dice,
        image_aupimo=image_aupimo(counts, units.is_normal, tail, normal),
        group_recall=binned.recall,
    )


def _regions(counts: PixelCounts) -> NDArray[np.int64]:
    truth = counts.truth
    eight, four = (sizes.size for sizes in truth.region_sizes)
    thirds = np.bincount(truth.region_tertiles, minlength=3)
    return np.array([eight, four, truth.regions_lost, *thirds], np.int64)


def _score_range(counts: PixelCounts) -> NDArray[np.float64]:
    """Smallest and largest score of the split in float64."""
    every = [
        _extreme_keys(block.keys, block.low, block.counts, counts.is_bucketed)
        for blocks in counts.blocks
        if blocks is not None
        for block in blocks
        if block.keys.size
    ]
    if counts.anomalous.size:
        every.append((int(counts.anomalous.min()), int(counts.anomalous.max())))
    keys = np.array([min(low for low, _ in every), max(high for _, high in every)], np.uint32)
    return values_of(keys, counts.dtype).astype(np.float64)


def _extreme_keys(
    keys: NDArray[np.uint16], low: NDArray[np.uint16], counts: NDArray[np.uint16], is_bucketed: bool
) -> tuple[int, int]:
    first, last = int(keys[0]), int(keys[-1])
    if not is_bucketed:
        return first, last
    # A full bucket takes several entries; the extreme may lie in any of them.
    head = int(counts[keys == keys[0]].sum(dtype=np.int64))
    tail = int(counts[keys == keys[-1]].sum(dtype=np.int64))
    return (first << 16) + int(low[:head].min()), (last << 16) + int(low[-tail:].max())


@dataclass(frozen=True)
class _Binned:
    pixels: NDArray[np.int64]
    weights: NDArray[np.float64]
    image_dice: NDArray[np.float64]
    recall: NDArray[np.int64]


def _bin_images(
    counts: PixelCounts,
    edges: NDArray[np.uint32],
    units: Units,
    half_range: Any,
) -> _Binned:
    """Bins of every group, and Dice of every image from bin `half_range` up."""
    number = units.number
    every_run = counts.truth.runs
    bins = edges.size + 1
    pixels = np.zeros((number, KINDS, bins), np.int64)
    weights = np.zeros((number, WEIGHTS, bins))
    recall = np.zeros((number, 2, bins), np.int64)
    dice = np.full(len(counts.blocks), np.nan)
    shift = 16 if counts.is_bucketed else 0
    first_keys = np.arange(KEYS, dtype=np.uint32) << np.uint32(shift)
    ranks = np.searchsorted(edges, first_keys, side="right").astype(np.uint16)
    for image, blocks in enumerate(counts.blocks):
        if blocks is None:
            continue
        own = np.zeros((2, bins), np.int64)
        for kind, block in enumerate(blocks):
            if block.keys.size:
                grouping.bin_entries(block, counts.is_bucketed, edges, own[kind])
        group = units.group[image]
        pixels[group, NORMAL_KINDS] += own
        if units.is_normal[image]:
            recall[group, 0] += own.sum(axis=0)
        part, keys = counts.truth.runs_of(image), counts.anomalous_keys(image)
        if keys.size == 0:
            continue
        runs = grouping.AnomalousRuns(
            every_run.lengths[part], every_run.patches[part], every_run.weights
        )
        anomalous = np.zeros((KINDS + WEIGHTS, bins))
        grouping.bin_runs(keys, shift, runs, edges, ranks, anomalous)
        shown = anomalous[ANOMALOUS_KINDS]
        pixels[group, ANOMALOUS_KINDS] += shown.astype(np.int64)
        weights[group] += anomalous[KINDS:]
        if not units.is_normal[image]:
            each = shown.sum(axis=0) / keys.size
            recall[group, 1] += np.rint(each / WEIGHT_UNIT).astype(np.int64)
        found = shown[:, half_range:].sum()
        alarms = own[:, half_range:].sum()
        dice[image] = 2 * found / (keys.size + found + alarms)
    return _Binned(pixels, weights, dice, recall)
