"""Slow, independent ways to the same numbers, and small splits to try them on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import ndimage

from harness.metrics import GroundTruth, RunScorer, RunScores, TruthImage


@dataclass(frozen=True)
class Case:
    """One image with its answer."""

    mask: np.ndarray
    anomaly_map: np.ndarray
    image: np.ndarray | None = None
    group: str | None = None
    subclass: str | None = None
    score: float | None = None
    is_anomalous: bool | None = None

    @property
    def label(self) -> bool:
        return bool(self.mask.any()) if self.is_anomalous is None else self.is_anomalous

    @property
    def image_score(self) -> float:
        return float(self.anomaly_map.max()) if self.score is None else self.score

    @property
    def pixels(self) -> np.ndarray:
        return np.ones(self.mask.shape, np.uint8) if self.image is None else self.image


@dataclass(frozen=True)
class Split:
    """Named cases; the names sort in the order of the list."""

    cases: Sequence[Case]
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(f"image-{i:04}" for i in range(len(self.cases))))

    @property
    def images(self) -> list[TruthImage]:
        return [
            TruthImage(
                key=key,
                is_anomalous=case.label,
                group=case.group or key,
                subclass=case.subclass,
                image=lambda case=case: case.pixels,
                mask=lambda case=case: case.mask,
            )
            for key, case in zip(self.keys, self.cases, strict=True)
        ]

    def truth(self, *, has_masks: bool = True) -> GroundTruth:
        return GroundTruth.compile(self.images, has_masks=has_masks)

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and scores (float64) of all pixels."""
        labels = np.concatenate([case.mask.ravel() for case in self.cases])
        scores = np.concatenate([case.anomaly_map.ravel() for case in self.cases])
        return labels, scores.astype(np.float64)


def scored(
    cases: Sequence[Case],
    valid: Sequence[Case] | None = None,
    *,
    order: Iterable[int] | None = None,
    intervals: bool = False,
    maps: bool = True,
    has_masks: bool = True,
    **options: object,
) -> RunScores:
    """The scores of a run with these answers."""
    split = Split(cases)
    with TemporaryDirectory() as spool:
        scorer = RunScorer(
            split.truth(has_masks=has_masks),
            Split(valid).truth() if valid is not None else None,
            spool=Path(spool),
            maps=maps,
            intervals=intervals,
            **options,
        )
        for position in order if order is not None else range(len(cases)):
            case = cases[position]
            scorer.add("test", split.keys[position], case.image_score, case.anomaly_map)
        for key, case in zip(Split(valid or ()).keys, valid or (), strict=True):
            scorer.add("valid", key, case.image_score, case.anomaly_map)
        return scorer.finish()


def value(scores: RunScores, metric: str, grid: str | None = "native") -> float | None:
    """One value of a scored run."""
    return next(m.value for m in scores.metrics if m.id == metric and m.grid == grid)


def values(scores: RunScores) -> dict[tuple[str, str | None], float | None]:
    """All values of a scored run."""
    return {(m.id, m.grid): m.value for m in scores.metrics}


def slow_aupro(
    masks: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    limit: float = 0.3,
    *,
    connectivity: int = 8,
    foregrounds: Sequence[np.ndarray] | None = None,
    is_counted: Sequence[int] | None = None,
) -> float:
    """Area under the PRO curve from its definition: a sweep over every distinct score.

    MVTec AD (Bergmann et al. 2021, section 5.2): at each threshold the mean over regions of
    the share found, against the false-positive rate; trapezoids, cut at the limit by linear
    interpolation, divided by it. Regions are numbered over all masks (`is_counted`: which).
    """
    structure = np.ones((3, 3)) if connectivity == 8 else None
    fronts = foregrounds or [np.ones(mask.shape, bool) for mask in masks]
    regions: list[np.ndarray] = []
    for mask, scores, front in zip(masks, maps, fronts, strict=True):
        labels, count = ndimage.label(mask, structure)
        regions += [scores[(labels == label) & front] for label in range(1, count + 1)]
    if is_counted is not None:
        regions = [regions[place] for place in is_counted]
    regions = [region.astype(np.float64) for region in regions if region.size]
    normal = np.concatenate(
        [scores[~mask & front] for mask, scores, front in zip(masks, maps, fronts, strict=True)]
    ).astype(np.float64)
    thresholds = np.unique(np.concatenate([normal, *regions]))[::-1]
    rate, overlap = [0.0], [0.0]
    for threshold in thresholds:
        rate.append(float(np.mean(normal >= threshold)))
        overlap.append(float(np.mean([np.mean(region >= threshold) for region in regions])))
    return area_to(np.array(rate), np.array(overlap), limit)


def area_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Trapezoids under a rising curve up to the limit, divided by it."""
    area = 0.0
    for left, right, low, high in zip(x, x[1:], y, y[1:], strict=False):
        if left >= limit or left == right:
            continue
        end = min(right, limit)
        top = low + (high - low) * (end - left) / (right - left)
        area += (end - left) * (low + top) / 2
    return area / limit


def slow_dice(labels: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """Dice of score >= threshold."""
    found = scores >= threshold
    return float(2 * np.sum(found & labels) / (np.sum(found) + np.sum(labels)))


def random_cases(
    rng: np.random.Generator,
    images: int = 6,
    shape: tuple[int, int] = (23, 31),
    *,
    dtype: type = np.float32,
    levels: int | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    background: float = 0.0,
) -> list[Case]:
    """Images with ragged regions, every third one normal."""
    cases = []
    for place in range(images):
        smooth = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
        mask = smooth > np.quantile(smooth, 0.9) if place % 3 else np.zeros(shape, bool)
        mask &= rng.random(shape) < 0.9  # stray pixels and holes
        anomaly_map = rng.normal(size=shape) + mask
        if levels is not None:
            anomaly_map = np.round(anomaly_map * levels / 6) / levels * 6
        image = (rng.random(shape) >= background).astype(np.uint8)
        cases.append(Case(mask, (anomaly_map * scale + offset).astype(dtype), image))
    return cases
