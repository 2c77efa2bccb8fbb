"""Chooses the pictures of a run while its answers pass through.

    best, worst     the anomalous images whose map ranks the lesion's pixels highest and lowest
                    within the image (AUROC of the image's own pixels); without masks or maps
                    those of the highest and the lowest score
    median          the one nearest to the run's median, with maps among 32 drawn by hash
    false alarm     the normal image with the highest score
    same            the same images for every run on the pack version: five lesions from small to
                    large (without masks: over the subclasses) and two normal images
    hard            the anomalous images with the lowest scores, the normal ones with the highest
Memory is bounded: maps are kept at the size of their pictures, at most `MOST_MAPS` of them. The
order of the answers changes nothing: ties go by a hash of the image's key.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.benchmarks import Sample
from harness.benchmarks.pixels import Mask
from harness.board import pictures
from harness.board.site_data import Role
from harness.metrics import GroundTruth
from harness.metrics.scorer import Map

MEDIAN_DRAWN = 32
SAME_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
SAME_NORMAL = 2
HARD_ANOMALOUS, HARD_NORMAL = 4, 2
MOST_MAPS = MEDIAN_DRAWN + len(SAME_QUANTILES) + SAME_NORMAL + 3 + HARD_ANOMALOUS + HARD_NORMAL


@dataclass(frozen=True)
class PictureMap:
    """What is kept of one map until the run's thresholds are known."""

    values: NDArray[np.float32]
    """[h, w] at the size of its picture."""
    in_lesion: NDArray[np.floating[Any]] | None
    """Its values on the lesion's pixels, in its own size and dtype; None without a lesion."""

    @classmethod
    def of(cls, anomaly_map: Map, mask: Mask | None) -> PictureMap:
        """Of a map [H, W], and the mask of its image where that has a lesion."""
        return cls(pictures.reduced(anomaly_map), None if mask is None else anomaly_map[mask])

    def found(self, threshold: float) -> float | None:
        """Share of the lesion's pixels at or above a threshold; None without a lesion."""
        if self.in_lesion is None or not self.in_lesion.size:
            return None
        return float((self.in_lesion >= threshold).mean())


@dataclass
class _Highest:
    """The few images that come highest in some order, with their maps."""

    count: int
    heap: list[tuple[tuple[float, str], str, PictureMap | None]] = field(default_factory=list)

    def offer(
        self, order: tuple[float, str], key: str, keep: Callable[[], PictureMap | None]
    ) -> None:
        """Take one image; its map is reduced only where it comes among the highest."""
        if len(self.heap) < self.count:
            heapq.heappush(self.heap, (order, key, keep()))
        elif order > self.heap[0][0]:
            heapq.heapreplace(self.heap, (order, key, keep()))

    def keys(self) -> list[str]:
        """The highest first."""
        return [key for _, key, _ in sorted(self.heap, key=lambda one: one[0], reverse=True)]


class PictureChoice:
    """Takes a run's test answers one at a time, in any order, and keeps what may be shown.

    Args:
        truth: the compiled ground truth of the test split.
    """

    def __init__(self, truth: GroundTruth) -> None:
        self._same = same_images(truth)
        order = _hash_order(truth.keys, truth.pack_version, "median")
        self.drawn = frozenset(
            [truth.keys[i] for i in order if truth.is_anomalous[i]][:MEDIAN_DRAWN]
        )
        """Anomalous images among which the median is found."""
        self.scores: dict[str, float] = {}
        """Image score of each answered image."""
        self.localisation: dict[str, float] = {}
        """AUROC within the image of each image with a lesion and a map."""
        self.low, self.high = math.inf, -math.inf
        """Smallest and largest value of all maps."""
        self._anomalous: list[str] = []
        self._maps: dict[str, PictureMap] = {}
        self._best, self._worst = _Highest(1), _Highest(1)
        self._top, self._bottom = _Highest(1), _Highest(HARD_ANOMALOUS)
        self._alarms = _Highest(HARD_NORMAL)

    @property
    def has_maps(self) -> bool:
        """Whether the run gave maps."""
        return self.low <= self.high

    @property
    def is_by_map(self) -> bool:
        """Whether best, median and worst go by the map within the image."""
        return bool(self.localisation)

    def offer(
        self, sample: Sample, score: float, anomaly_map: Map | None, mask: Mask | None
    ) -> None:
        """Take one answer.

        Args:
            sample: a test image.
            score: its image score.
            anomaly_map: float32 or float16 [H, W] in the image's own size; None without one.
            mask: [H, W], where the image is anomalous and the pack has masks.
        """
        key = sample.key
        self.scores[key] = score
        kept: list[PictureMap] = []

        def keep() -> PictureMap | None:
            if anomaly_map is not None and not kept:
                kept.append(PictureMap.of(anomaly_map, mask))
            return kept[0] if kept else None

        if anomaly_map is not None:
            self.low = min(self.low, float(anomaly_map.min()))
            self.high = max(self.high, float(anomaly_map.max()))
            if (key in self.drawn or key in self._same) and (own := keep()) is not None:
                self._maps[key] = own
        tie = _hash(key, "tie")
        if not sample.is_anomalous:
            self._alarms.offer((score, tie), key, keep)
            return
        self._anomalous.append(key)
        self._top.offer((score, tie), key, keep)
        self._bottom.offer((-score, tie), key, keep)
        quality = None if anomaly_map is None or mask is None else within_image(anomaly_map, mask)
        if quality is not None:
            self.localisation[key] = quality
            self._best.offer((quality, tie), key, keep)
            self._worst.offer((-quality, tie), key, keep)

    def maps(self) -> dict[str, PictureMap]:
        """The kept maps by key; every chosen image has one where the run gave maps."""
        return self._maps | {key: kept for key, kept in self._held() if kept is not None}

    def chosen(self) -> dict[Role, list[str]]:
        """Keys by role, each list in the order in which it is shown."""
        best, worst = (self._best, self._worst) if self.is_by_map else (self._top, self._bottom)
        return {
            "best": best.keys()[:1],
            "median": self._median(),
            "worst": worst.keys()[:1],
            "false alarm": self._alarms.keys()[:1],
            "same": [key for key in self._same if key in self.scores],
            "hard": [*self._bottom.keys(), *self._alarms.keys()],
        }

    @property
    def median_among(self) -> int:
        """Number of anomalous images among which the median is found."""
        return len(self.drawn) if self.has_maps else len(self._anomalous)

    def _median(self) -> list[str]:
        quality = self.localisation or {key: self.scores[key] for key in self._anomalous}
        among = [key for key in quality if key in self.drawn or not self.has_maps]
        if not among:
            return []
        middle = float(np.median(list(quality.values())))
        return [min(among, key=lambda key: (abs(quality[key] - middle), _hash(key, "median")))]

    def _held(self) -> Iterator[tuple[str, PictureMap | None]]:
        for highest in (self._best, self._worst, self._top, self._bottom, self._alarms):
            yield from ((key, kept) for _, key, kept in highest.heap)


def same_images(truth: GroundTruth) -> tuple[str, ...]:
    """Keys of the images that every run on this pack version shows."""
    order = _hash_order(truth.keys, truth.pack_version, "same")
    anomalous = [i for i in order if truth.is_anomalous[i]]
    normal = [i for i in order if not truth.is_anomalous[i]]
    if truth.native is not None:
        areas = np.diff(truth.native.anomalous_offsets)
        anomalous.sort(key=lambda i: int(areas[i]))  # stable: equal areas stay in hash order
        places = [int(q * len(anomalous)) for q in SAME_QUANTILES] if anomalous else []
        chosen = [anomalous[place] for place in dict.fromkeys(places)]
    else:
        chosen = _over_subclasses(anomalous, truth)[: len(SAME_QUANTILES)]
    return tuple(truth.keys[i] for i in (*chosen, *normal[:SAME_NORMAL]))


def within_image(anomaly_map: Map, mask: Mask) -> float | None:
    """AUROC of one image's own pixels, ties counted as half; None without both classes."""
    normal, lesion = anomaly_map[~mask].astype(np.float32), anomaly_map[mask].astype(np.float32)
    if normal.size == 0 or lesion.size == 0:
        return None
    normal.sort()
    below = np.searchsorted(normal, lesion, side="left").mean()
    at_most = np.searchsorted(normal, lesion, side="right").mean()
    return float((below + at_most) / 2 / normal.size)


def _over_subclasses(anomalous: list[int], truth: GroundTruth) -> list[int]:
    """The images one subclass after the other, each in the order given."""
    seen: dict[str, int] = {}
    turns = {}
    for i in anomalous:
        subclass = truth.subclasses[i] or ""
        turns[i] = (seen.setdefault(subclass, 0), subclass)
        seen[subclass] += 1
    return sorted(anomalous, key=turns.__getitem__)


def _hash_order(keys: Iterable[str], version: str, salt: str) -> list[int]:
    hashes = [_hash(f"{version}:{key}", salt) for key in keys]
    return sorted(range(len(hashes)), key=hashes.__getitem__)


def _hash(key: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{key}".encode()).hexdigest()
