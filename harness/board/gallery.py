"""Draws the pictures of a run, and reads them back where they may be seen.

Which images are shown is the rule of `picture_choice`; where they may be seen, that of
`harness.common.disclosure`. Of a pack whose images may not be shown the same pictures are drawn
for the machine of the run, each watermarked; they lie beside its record and go nowhere else. Of a
hidden pack there are none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness.benchmarks import Pack, Sample
from harness.board import pictures
from harness.board.picture_choice import PictureChoice, PictureMap
from harness.board.site_data import Gallery, GalleryCard, Picture, Role
from harness.board.watermark import watermarked
from harness.common.disclosure import PictureReach, picture_reach
from harness.common.errors import PackInvalid
from harness.common.json_text import BadJson, parse_as
from harness.common.progress import Progress
from harness.metrics import GroundTruth
from harness.metrics.operating_points import OperatingPoints
from harness.metrics.scorer import Map
from harness.records.record import Record
from harness.records.store import Store
from harness.session.scoring import ground_truth

CARD = "gallery.json"
_FILE = TypeAdapter(GalleryCard)


def reach_of(pack: Pack) -> PictureReach:
    """Where pictures of a pack may be seen."""
    return picture_reach(pack.card.visibility, may_be_shown=pack.card.images_may_be_shown)


def open_gallery(pack: Pack, cache: Path, on_progress: Progress) -> GalleryMaker | None:
    """A gallery for one run on this pack; None of a hidden one."""
    reach = reach_of(pack)
    if reach is PictureReach.NOWHERE:
        return None
    truth = ground_truth(pack, "test", cache, on_progress)
    return GalleryMaker(pack, truth, is_local=reach is PictureReach.THIS_MACHINE)


def read_galleries(
    root: Path, records: Iterable[Record], *, with_local: bool = False
) -> dict[str, Gallery]:
    """The galleries of these records below a results folder, by run key.

    One of another run, format or reach than its record allows is passed over.

    Args:
        root: the results folder.
        records: of it.
        with_local: also those that may be seen on this machine alone. Nothing that publishes asks
            for them.
    """
    store = Store(root)
    found = {}
    for record in records:
        reach = picture_reach(record.pack.visibility, may_be_shown=record.pack.images_may_be_shown)
        is_local = reach is PictureReach.THIS_MACHINE
        folder = store.gallery_path(store.name_of(record))
        is_refused = reach is PictureReach.NOWHERE or (is_local and not with_local)
        if is_refused or not (folder / CARD).is_file():
            continue
        try:
            card = read_gallery_card(folder / CARD)
        except BadJson:
            continue
        is_its_own = card.run_key == record.run_key and card.is_local == is_local
        if is_its_own and all(_is_plain(folder, name) for name in file_names(card)):
            found[record.run_key] = Gallery(card, folder)
    return found


def read_gallery_card(path: Path) -> GalleryCard:
    """A gallery's card.

    Raises:
        BadJson: the file is none.
    """
    return parse_as(_FILE.validate_json, path.read_bytes())


def picture_files(picture: Picture) -> tuple[str, ...]:
    """The files that one picture names."""
    named = (picture.shown, picture.truth, picture.map, picture.outlined)
    return tuple(name for name in named if name)


def file_names(card: GalleryCard) -> set[str]:
    """The picture files that a card names."""
    return {name for picture in card.pictures for name in picture_files(picture)}


def public_id(pack_version: str, key: str) -> str:
    """An image's name in galleries: the same in every run, and nothing of its file name."""
    return hashlib.sha256(f"{pack_version}:{key}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Drawn:
    """One image on disk, whatever it was chosen for."""

    name: str
    """Public id."""
    size: tuple[int, int]
    """Height and width of its files."""
    files: Mapping[str, str]
    """Names by what they show."""
    lesion: float | None
    """As in `Picture`."""
    found: float | None
    """As in `Picture`."""


class GalleryMaker:
    """Takes a run's test answers one at a time, in any order.

    Args:
        pack: an open pack.
        truth: the compiled ground truth of its test split.
        is_local: its images may not be shown: every picture is watermarked.
    """

    def __init__(self, pack: Pack, truth: GroundTruth, *, is_local: bool = False) -> None:
        self._pack = pack
        self._is_local = is_local
        self._samples = {sample.key: sample for sample in pack.split("test")}
        self._choice = PictureChoice(truth)
        self._drawn: dict[str, _Drawn | None] = {}

    def offer(self, sample: Sample, score: float, anomaly_map: Map | None) -> None:
        """Take one answer of the test split; its map in the image's own size."""
        has_lesion = anomaly_map is not None and sample.is_anomalous and self._pack.has_masks
        mask = self._pack.mask(sample) if has_lesion else None
        self._choice.offer(sample, score, anomaly_map, mask)

    def write(self, folder: Path, run_key: str, points: OperatingPoints) -> None:
        """Draw the pictures and their card into an empty folder.

        Args:
            folder: where to.
            run_key: of the run.
            points: its thresholds.
        """
        choice, maps = self._choice, self._choice.maps()
        shown = [
            self._picture(role, key, drawn, points)
            for role, keys in choice.chosen().items()
            for key in keys
            if (drawn := self._draw(folder, key, maps.get(key), points.pixel)) is not None
        ]
        card = GalleryCard(
            run_key=run_key,
            low=choice.low if choice.has_maps else None,
            high=choice.high if choice.has_maps else None,
            chosen_by="map" if choice.is_by_map else "score",
            drawn=choice.median_among,
            pictures=tuple(shown),
            threshold=points.image,
            threshold_from=None if points.image is None else "test",
            map_threshold=points.pixel,
            is_local=self._is_local,
        )
        (folder / CARD).write_bytes(_FILE.dump_json(card, indent=1) + b"\n")

    def _draw(
        self, folder: Path, key: str, kept: PictureMap | None, threshold: float | None
    ) -> _Drawn | None:
        """An image's files, written once; None where it has become unreadable since it was sent."""
        if key not in self._drawn:
            try:
                self._drawn[key] = self._draw_anew(folder, key, kept, threshold)
            except PackInvalid:
                self._drawn[key] = None
        return self._drawn[key]

    def _draw_anew(
        self, folder: Path, key: str, kept: PictureMap | None, threshold: float | None
    ) -> _Drawn:
        image = self._pack.image(self._samples[key])
        mask = self._pack.mask(self._samples[key]) if self._pack.has_masks else None
        values = None if kept is None else kept.values
        scale = (self._choice.low, self._choice.high)
        drawn = pictures.of_one_image(image, mask, values, scale, threshold)
        name = public_id(self._pack.version, key)
        for kind, picture in drawn.items():
            marked = watermarked(picture) if self._is_local else picture
            (folder / f"{name}.{kind}.webp").write_bytes(pictures.webp(marked))
        return _Drawn(
            name=name,
            size=drawn["image"].shape[:2],
            files={kind: f"{name}.{kind}.webp" for kind in drawn},
            lesion=float(mask.mean()) if mask is not None and "truth" in drawn else None,
            found=None if kept is None or threshold is None else kept.found(threshold),
        )

    def _picture(self, role: Role, key: str, drawn: _Drawn, points: OperatingPoints) -> Picture:
        sample, score = self._samples[key], self._choice.scores[key]
        return Picture(
            role=role,
            image=drawn.name,
            is_anomalous=sample.is_anomalous,
            subclass=sample.subclass,
            score=score,
            beyond=self._beyond(sample),
            localisation=self._choice.localisation.get(key),
            size=drawn.size,
            shown=drawn.files["image"],
            truth=drawn.files.get("truth"),
            map=drawn.files.get("map"),
            lesion=drawn.lesion,
            is_called=None if points.image is None else score >= points.image,
            found=drawn.found,
            outlined=drawn.files.get("outlined"),
        )

    def _beyond(self, sample: Sample) -> float | None:
        scores = self._choice.scores
        mine = scores[sample.key]
        others = [
            score for key, score in scores.items()
            if self._samples[key].is_anomalous != sample.is_anomalous
        ]  # fmt: skip
        is_beyond: Callable[[float], bool] = mine.__lt__ if sample.is_anomalous else mine.__gt__
        return sum(map(is_beyond, others)) / len(others) if others else None


def _is_plain(folder: Path, name: str) -> bool:
    """A regular file of this folder itself."""
    path = folder / name
    return Path(name).name == name and path.is_file() and not path.is_symlink()
