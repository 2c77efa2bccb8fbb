"""Chooses the pictures of a run while its maps pass through, and draws them at the end.

Where the pack may show its images and is open, and nowhere else:
    best, worst     the anomalous images whose map ranks the lesion's pixels highest and lowest
                    within the image (AUROC of the image's own pixels); by score without maps
    median          the one nearest to the run's median, among 32 drawn by hash
    false alarm     the normal image with the highest score
    same            the same images for every run on the pack version: five lesions from small to
                    large (without masks: over the subclasses) and two normal images
    hard            the anomalous images with the lowest scores, the normal ones with the highest
Memory is bounded: maps are kept at the size of their pictures, at most 42 of them. The
order of the answers changes nothing: ties go by a hash of the image's key.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from harness.benchmarks import Pack, Sample
from harness.board import pictures
from harness.board.site_data import Gallery, GalleryCard, Picture, Role
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import PackInvalid
from harness.common.json_text import BadJson, parse_as
from harness.common.progress import Progress
from harness.metrics import GroundTruth
from harness.metrics.scorer import Map
from harness.records.record import Record
from harness.records.store import Store
from harness.session.scoring import ground_truth

CARD = "gallery.json"
MEDIAN_DRAWN = 32
SAME_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
SAME_NORMAL = 2
HARD_ANOMALOUS, HARD_NORMAL = 4, 2
_FILE = TypeAdapter(GalleryCard)


def open_gallery(pack: Pack, cache: Path, on_progress: Progress) -> GalleryMaker | None:
    """A gallery for one run on this pack; None where its images may not be shown."""
    may_be_shown = may_leave(Artefact.PICTURES, pack.card.visibility)
    if not may_be_shown or not pack.card.images_may_be_shown:
        return None
    return GalleryMaker(pack, ground_truth(pack, "test", cache, on_progress))


def read_galleries(root: Path, records: Iterable[Record]) -> dict[str, Gallery]:
    """The galleries of these records below a results folder, by run key.

    One of another run, format or visibility is passed over.
    """
    store = Store(root)
    found = {}
    for record in records:
        is_open = may_leave(Artefact.PICTURES, record.pack.visibility)
        may_be_shown = is_open and record.pack.images_may_be_shown
        name = store.name_of(record)
        folder = store.gallery_path(name)
        if not may_be_shown or not (folder / CARD).is_file():
            continue
        try:
            card = parse_as(_FILE.validate_json, (folder / CARD).read_bytes())
        except BadJson:
            continue
        names = file_names(card)
        if card.run_key == record.run_key and all(_is_plain(folder, name) for name in names):
            found[record.run_key] = Gallery(card, folder)
    return found


def file_names(card: GalleryCard) -> set[str]:
    """The picture files that a card names."""
    return {name for p in card.pictures for name in (p.shown, p.truth, p.map) if name}


def public_id(pack_version: str, key: str) -> str:
    """An image's name in galleries: the same in every run, and nothing of its file name."""
    return hashlib.sha256(f"{pack_version}:{key}".encode()).hexdigest()[:16]


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


@dataclass
class _Kept:
    """The best image so far by some order, with its map."""

    goodness: tuple[float, str]
    key: str
    map: NDArray[np.float32]


class GalleryMaker:
    """Takes a run's test answers one at a time, in any order.

    Args:
        pack: an open pack whose images may be shown.
        truth: the compiled ground truth of its test split.
    """

    def __init__(self, pack: Pack, truth: GroundTruth) -> None:
        self._pack = pack
        self._samples = {sample.key: sample for sample in pack.split("test")}
        self._same = same_images(truth)
        order = _hash_order(truth.keys, truth.pack_version, "median")
        drawn = [truth.keys[i] for i in order if truth.is_anomalous[i]][:MEDIAN_DRAWN]
        self._drawn = frozenset(drawn)
        self._scores: dict[str, float] = {}
        self._localisation: dict[str, float] = {}
        self._maps: dict[str, NDArray[np.float32]] = {}
        self._extremes: dict[Role, _Kept] = {}
        self._low, self._high = math.inf, -math.inf

    def offer(self, sample: Sample, score: float, anomaly_map: Map | None) -> None:
        """Take one answer of the test split."""
        self._scores[sample.key] = score
        if anomaly_map is None:
            return
        self._low = min(self._low, float(anomaly_map.min()))
        self._high = max(self._high, float(anomaly_map.max()))
        if sample.key in self._drawn or sample.key in self._same:
            self._maps[sample.key] = pictures.reduced(anomaly_map)
        if not sample.is_anomalous:
            self._keep("false alarm", score, sample.key, anomaly_map)
            return
        quality = within_image(anomaly_map, self._pack.mask(sample))
        if quality is not None:
            self._localisation[sample.key] = quality
            self._keep("best", quality, sample.key, anomaly_map)
            self._keep("worst", -quality, sample.key, anomaly_map)

    def write(self, folder: Path, run_key: str) -> None:
        """Draw the pictures and their card into an empty folder."""
        for kept in self._extremes.values():
            self._maps[kept.key] = kept.map
        drawn = [
            self._draw(folder, role, key) for role, keys in self._choice().items() for key in keys
        ]
        has_maps = bool(self._maps)
        by_map = bool(self._localisation)
        card = GalleryCard(
            run_key=run_key,
            low=self._low if has_maps else None,
            high=self._high if has_maps else None,
            chosen_by="map" if by_map else "score",
            drawn=len(self._drawn) if by_map else sum(s.is_anomalous for s in self._answered()),
            pictures=tuple(picture for picture in drawn if picture is not None),
        )
        (folder / CARD).write_bytes(_FILE.dump_json(card, indent=1) + b"\n")

    def _keep(self, role: Role, goodness: float, key: str, anomaly_map: Map) -> None:
        order = (goodness, _hash(key, role))
        kept = self._extremes.get(role)
        if kept is None or order > kept.goodness:
            self._extremes[role] = _Kept(order, key, pictures.reduced(anomaly_map))

    def _answered(self) -> list[Sample]:
        return [self._samples[key] for key in sorted(self._scores)]

    def _choice(self) -> dict[Role, list[str]]:
        """Keys by role, each list in the order in which it is shown."""
        by_score = sorted(self._scores, key=lambda key: (self._scores[key], key))
        anomalous = [key for key in by_score if self._samples[key].is_anomalous]
        normal = [key for key in by_score if not self._samples[key].is_anomalous]
        by_map = bool(self._localisation)
        return {
            "best": self._extreme("best") if by_map else anomalous[-1:],
            "median": self._median(anomalous),
            "worst": self._extreme("worst") if by_map else anomalous[:1],
            "false alarm": self._extreme("false alarm") or normal[-1:],
            "same": [key for key in self._same if key in self._scores],
            "hard": [*anomalous[:HARD_ANOMALOUS], *normal[::-1][:HARD_NORMAL]],
        }

    def _extreme(self, role: Role) -> list[str]:
        kept = self._extremes.get(role)
        return [kept.key] if kept else []

    def _median(self, anomalous: list[str]) -> list[str]:
        quality = self._localisation or {key: self._scores[key] for key in anomalous}
        among = [key for key in quality if key in self._drawn or not self._localisation]
        if not among:
            return []
        middle = float(np.median(list(quality.values())))
        return [min(among, key=lambda key: (abs(quality[key] - middle), _hash(key, "median")))]

    def _draw(self, folder: Path, role: Role, key: str) -> Picture | None:
        """The picture's files, unless an image has become unreadable since it was sent."""
        sample = self._samples[key]
        name = public_id(self._pack.version, key)
        try:
            shown = pictures.shown_image(self._pack.image(sample))
            mask = self._pack.mask(sample) if sample.mask_path is not None else None
        except PackInvalid:
            return None
        files = {"image": shown}
        if mask is not None:
            files["truth"] = pictures.with_contour(shown, mask, pictures.ON_IMAGE)
        if key in self._maps:
            heat = pictures.heat_map(self._maps[key], self._low, self._high)
            files["map"] = (
                heat if mask is None else pictures.with_contour(heat, mask, pictures.ON_MAP)
            )
        for kind, picture in files.items():
            if not (path := folder / f"{name}.{kind}.webp").exists():
                path.write_bytes(pictures.webp(picture))
        return Picture(
            role=role,
            image=name,
            is_anomalous=sample.is_anomalous,
            subclass=sample.subclass,
            score=self._scores[key],
            beyond=self._beyond(sample),
            localisation=self._localisation.get(key),
            size=shown.shape[:2],
            shown=f"{name}.image.webp",
            truth=f"{name}.truth.webp" if "truth" in files else None,
            map=f"{name}.map.webp" if "map" in files else None,
        )

    def _beyond(self, sample: Sample) -> float | None:
        mine = self._scores[sample.key]
        others = [
            self._scores[s.key] for s in self._answered() if s.is_anomalous != sample.is_anomalous
        ]
        is_beyond: Callable[[float], bool] = mine.__lt__ if sample.is_anomalous else mine.__gt__
        return sum(map(is_beyond, others)) / len(others) if others else None


def within_image(anomaly_map: Map, mask: NDArray[np.bool_]) -> float | None:
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


def _is_plain(folder: Path, name: str) -> bool:
    """A regular file of this folder itself."""
    path = folder / name
    return Path(name).name == name and path.is_file() and not path.is_symlink()
