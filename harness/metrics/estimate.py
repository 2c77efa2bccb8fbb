"""From evidence to statistics: exact ones of the run, and those of every resample of its units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.metrics.evidence import WEIGHT_UNIT, Evidence, GridEvidence, ScoreEvidence
from harness.metrics.kernels.exact import Histograms, sweep_halves
from harness.metrics.kernels.keys import KEYS
from harness.metrics.kernels.layout import (
    ANOMALOUS_BACKGROUND,
    ANOMALOUS_FOREGROUND,
    ANOMALOUS_KINDS,
    FOUR_ROW,
    FRONT_ROW,
    KINDS,
    NORMAL_BACKGROUND,
    NORMAL_FOREGROUND,
    NORMAL_KINDS,
    WEIGHTS,
)
from harness.metrics.kernels.sweep import (
    ANOMALOUS,
    AREA,
    DICE,
    MISRANKED,
    NORMAL,
    PRECISION,
    ROW_SIZE,
    ROWS,
    STRICT_SIZE,
    sweep_histograms,
)
from harness.metrics.needs import Facts
from harness.metrics.pimo import binned_aupimo
from harness.metrics.pro import FPR_LIMIT, LIMITS, STRICT_FPR_LIMIT, overlap_of
from harness.metrics.table import Bearer, PixelStatistics, Rows, Sweep

_EVERYWHERE = {"small": (0,), "medium": (1,), "large": (2,), "all": (0, 1, 2), "four": (FOUR_ROW,)}
_TILE = 256


def facts_of(evidence: Evidence, grid: str | None) -> Facts:
    """What of the run there is to score, on one grid."""
    anomalous_images = int(evidence.test.is_anomalous.sum())
    normal_images = len(evidence.test.keys) - anomalous_images
    images = (normal_images, anomalous_images, evidence.has_masks, evidence.dtype is not None)
    if grid is None or grid not in evidence.grids:
        return Facts(*images)
    part = evidence.grids[grid]
    background, foreground, outside, inside = (int(count) for count in part.pixels.sum(axis=1))
    small, medium, large = (int(count) for count in part.regions[3:])
    return Facts(
        *images,
        normal_pixels=background + foreground,
        anomalous_pixels=outside + inside,
        foreground_normal_pixels=foreground,
        foreground_anomalous_pixels=inside,
        regions_by_size=(small, medium, large),
        is_constant=part.is_constant,
        no_valid_threshold=evidence.no_valid_threshold.get(grid),
        no_fpr_threshold=evidence.why_no_fpr_threshold(grid),
        has_strict_area=evidence.dtype == "float16" or part.has_strict_area,
        pixels_of_normal_images=(
            None if part.group_recall is None else int(part.group_recall[:, 0].sum())
        ),
    )


def image_bearers(split: ScoreEvidence, subclass: str | None = None) -> int:
    """Units that hold a normal image, or those that hold an anomalous one, where fewer do."""
    number, unit_of = split.group_index
    anomalous = split.is_anomalous
    if subclass is not None:
        anomalous = anomalous & np.array([name == subclass for name in split.subclasses])
    return min(
        int((np.bincount(unit_of[chosen], minlength=number) > 0).sum())
        for chosen in (~split.is_anomalous, anomalous)
    )


def pixel_bearers(part: GridEvidence) -> dict[Bearer, int]:
    """The same for what the pixel metrics count: units that hold the scarcer of its two kinds."""
    pixels = part.group_pixels.sum(axis=2) > 0  # (G, kinds)
    regions = part.group_weights.sum(axis=2) > 0  # (G, weights)
    normal = pixels[:, NORMAL_KINDS].any(axis=1)
    held: dict[Bearer, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {
        "pixels": (normal, pixels[:, ANOMALOUS_KINDS].any(axis=1)),
        "foreground": (pixels[:, NORMAL_FOREGROUND], pixels[:, ANOMALOUS_FOREGROUND]),
        "small": (normal, regions[:, 0]),
        "medium": (normal, regions[:, 1]),
        "large": (normal, regions[:, 2]),
    }
    if part.group_recall is not None:
        of_normal, of_anomalous = (part.group_recall.sum(axis=2) > 0).T
        held["normal images"] = (of_normal, of_anomalous)
    return {name: min(int(kind.sum()) for kind in kinds) for name, kinds in held.items()}


def exact_statistics(evidence: Evidence, grid: str) -> PixelStatistics:
    """Statistics of the run itself, in arrays of one row.

    float16: recomputed from the histograms. float32: the stored exact sweeps.
    """
    part = evidence.grids[grid]
    counts = part.threshold_counts
    states = part.states
    if evidence.dtype == "float16":
        states = sweep_halves(Histograms(part.pixels, part.weights), LIMITS)
        counts = np.stack([threshold_counts(part, int(key)) for key in part.thresholds])
    anomalous = part.pixels[ANOMALOUS_KINDS].sum(dtype=np.float64)
    with np.errstate(invalid="ignore"):
        dice = {
            name: dice_of(found, alarms, anomalous)
            for name, (alarms, found) in zip(
                evidence.threshold_names(grid), counts[..., None].astype(np.float64), strict=True
            )
        }
    everywhere, foreground = sweeps_of(states)
    aupimo = float("nan") if part.image_aupimo is None else _mean(part.image_aupimo)
    return PixelStatistics(
        everywhere=everywhere,
        foreground=foreground,
        dice_at=dice,
        image_overlap=np.array([_mean(part.image_overlap)]),
        image_dice=np.array([_mean(part.image_dice)]),
        aupimo=np.array([aupimo]),
    )


def sweeps_of(states: Rows) -> tuple[Sweep, Sweep]:
    """Metrics over all pixels and over the foreground from their final states [2, 30] (or 28)."""
    has_strict = states.shape[1] > ROWS + ROW_SIZE * WEIGHTS
    everywhere = _sweep_everywhere(states[:1], has_strict=has_strict)
    return everywhere, _sweep(states[1:], {"all": (FRONT_ROW,)})


def threshold_counts(part: GridEvidence, key: int) -> NDArray[np.int64]:
    """Normal and anomalous pixels of float16 evidence at or above a key, int64 [2]."""
    above = part.pixels[:, min(key, KEYS - 1) :].sum(axis=1)
    return np.array([above[NORMAL_KINDS].sum(), above[ANOMALOUS_KINDS].sum()])


def resampled_statistics(
    evidence: Evidence, grid: str, counts: NDArray[np.uint16]
) -> PixelStatistics:
    """Statistics of every resample of groups, uint16 [B, G], on the bins of the groups.

    Thresholds stay those of the run. Bins are whole numbers of pixels (weights: of
    2**-32), so the sums are exact and do not depend on the matrix library.
    """
    part = evidence.grids[grid]
    groups, _, bins = part.group_pixels.shape
    recall = part.group_recall
    recall = np.zeros((groups, 2, bins), np.int64) if recall is None else recall
    parts = [part.group_pixels, recall[:, :1], part.group_weights, recall[:, 1:]]
    whole = np.concatenate(parts, axis=1, dtype=np.float64)
    whole[:, KINDS + 1 :] *= WEIGHT_UNIT
    tiles = []
    for start in range(0, counts.shape[0], _TILE):
        drawn = counts[start : start + _TILE].astype(np.float64)
        sums = (drawn @ whole.reshape(groups, -1)).reshape(len(drawn), -1, bins)
        tiles.append(_resampled_tile(evidence, grid, drawn, sums))
    return PixelStatistics(
        everywhere=_joined_sweep([tile.everywhere for tile in tiles]),
        foreground=_joined_sweep([tile.foreground for tile in tiles]),
        dice_at=_joined([tile.dice_at for tile in tiles]),
        image_overlap=np.concatenate([tile.image_overlap for tile in tiles]),
        image_dice=np.concatenate([tile.image_dice for tile in tiles]),
        aupimo=np.concatenate([tile.aupimo for tile in tiles]),
    )


def _resampled_tile(evidence: Evidence, grid: str, drawn: Rows, sums: Rows) -> PixelStatistics:
    """Statistics of resamples [B, G] whose sums [B, 11, K] are pixels by kind (4), those of normal
    images, region weights (5) and weights by image."""
    part = evidence.grids[grid]
    normal = sums[:, NORMAL_BACKGROUND] + sums[:, NORMAL_FOREGROUND]
    anomalous = sums[:, ANOMALOUS_BACKGROUND] + sums[:, ANOMALOUS_FOREGROUND]
    of_normal, weights, by_image = sums[:, KINDS], sums[:, KINDS + 1 : -1], sums[:, -1]
    places = np.searchsorted(part.edges, part.thresholds) + 1
    every = anomalous.sum(axis=1)
    with np.errstate(invalid="ignore"):
        dice = {
            name: dice_of(anomalous[:, place:].sum(axis=1), normal[:, place:].sum(axis=1), every)
            for name, place in zip(evidence.threshold_names(grid), places, strict=True)
        }
    everywhere = sweep_histograms(
        normal, anomalous, np.ascontiguousarray(weights[:, :FRONT_ROW]), *LIMITS
    )
    foreground = sweep_histograms(
        np.ascontiguousarray(sums[:, NORMAL_FOREGROUND]),
        np.ascontiguousarray(sums[:, ANOMALOUS_FOREGROUND]),
        np.ascontiguousarray(weights[:, FRONT_ROW:]),
        FPR_LIMIT,
    )
    _, index = evidence.test.group_index
    return PixelStatistics(
        everywhere=_sweep_everywhere(everywhere, has_strict=True),
        foreground=_sweep(foreground, {"all": (0,)}),
        dice_at=dice,
        image_overlap=_resampled_mean(part.image_overlap, drawn, index),
        image_dice=_resampled_mean(part.image_dice, drawn, index),
        aupimo=binned_aupimo(of_normal, by_image),
    )


def _sweep(states: Rows, kinds: Mapping[str, tuple[int, ...]]) -> Sweep:
    """Metrics from final states [B, …]; NaN where a class or kind of region is missing."""
    normal, anomalous = states[:, NORMAL], states[:, ANOMALOUS]
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = 1.0 - _total(states, MISRANKED) / (normal * anomalous)
        precision = _total(states, PRECISION) / anomalous
        dice = np.where(normal * anomalous > 0, states[:, DICE], np.nan)
        overlap = {}
        for name, rows in kinds.items():
            places = [ROWS + ROW_SIZE * row for row in rows]
            cover = np.sum([_total(states, place) for place in places], axis=0)
            area = np.sum([_total(states, place + AREA) for place in places], axis=0)
            overlap[name] = np.clip(overlap_of(area, normal, cover), 0.0, 1.0)
    return Sweep(
        auroc=np.clip(auroc, 0.0, 1.0),
        average_precision=np.where(normal > 0, np.clip(precision, 0.0, 1.0), np.nan),
        dice_max=dice,
        region_overlap=overlap,
    )


def _sweep_everywhere(states: Rows, *, has_strict: bool) -> Sweep:
    """The same over all pixels, with the one area to the strict limit where states hold it."""
    sweep = _sweep(states, _EVERYWHERE)
    strict = np.full(len(states), np.nan)
    if has_strict:
        area = _total(states, states.shape[1] - STRICT_SIZE)
        cover = np.sum(
            [_total(states, ROWS + ROW_SIZE * row) for row in _EVERYWHERE["all"]], axis=0
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            overlap = overlap_of(area, states[:, NORMAL], cover, STRICT_FPR_LIMIT)
        strict = np.clip(overlap, 0.0, 1.0)
    return replace(sweep, region_overlap={**sweep.region_overlap, "strict": strict})


def _total(states: Rows, place: int) -> Rows:
    total: Rows = states[:, place] + states[:, place + 1]
    return total


def dice_of(found: Rows, alarms: Rows, anomalous: Rows) -> Rows:
    """Dice 2 TP / (2 TP + FP + FN) of true positives, false positives and anomalous pixels."""
    return np.asarray(2 * found / (anomalous + found + alarms))


def _mean(values: Rows) -> float:
    defined = values[np.isfinite(values)]
    return float(np.mean(defined)) if defined.size else float("nan")


def _resampled_mean(values: Rows, drawn: Rows, index: NDArray[np.int64]) -> Rows:
    """Mean over images of every resample of groups; images without a value do not count."""
    is_defined = np.isfinite(values)
    groups = drawn.shape[1]
    sums = np.bincount(index, np.where(is_defined, values, 0.0), groups)
    counts = np.bincount(index, is_defined.astype(np.float64), groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Rows = (drawn @ sums) / (drawn @ counts)
    return mean


def _joined(tiles: list[Mapping[str, Rows]]) -> dict[str, Rows]:
    return {name: np.concatenate([tile[name] for tile in tiles]) for name in tiles[0]}


def _joined_sweep(tiles: list[Sweep]) -> Sweep:
    return Sweep(
        auroc=np.concatenate([tile.auroc for tile in tiles]),
        average_precision=np.concatenate([tile.average_precision for tile in tiles]),
        dice_max=np.concatenate([tile.dice_max for tile in tiles]),
        region_overlap=_joined([tile.region_overlap for tile in tiles]),
    )
