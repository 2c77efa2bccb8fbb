"""The pictures of the pages: which files are copied, and what is written under each.

Every picture is a link to its own section on a page of full pictures (`picture_pages`), which this
module names and does not make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.board.site_data import Alarms, Gallery, HardImage, Material, Picture, Role
from harness.records.record import Record
from leaderboard import formats, outcomes, words
from leaderboard.addresses import benchmark_page, entry_page, section_key
from leaderboard.downloads import row_key

FOLDER = "pictures"
PAGES = "full-size"
ROLE_TITLES: dict[Role, str] = {
    "best": "Best",
    "median": "Median",
    "worst": "Worst",
    "false alarm": "False alarm",
}


@dataclass
class Album:
    """Collects the picture files of a site; equal pictures are one file."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Content by path from the site's root."""

    def add(self, gallery: Gallery, name: str | None) -> str:
        """Take a file along and return its path; an empty one for no file."""
        if name is None:
            return ""
        content = gallery.content(name)
        path = f"{FOLDER}/{hashlib.sha256(content).hexdigest()[:20]}.webp"
        self.files[path] = content
        return path


@dataclass(frozen=True)
class Exhibit:
    """One image with its contour and map, and what is said about it."""

    title: str
    """Why it is shown."""
    told: str
    """Its numbers."""
    alt: str
    """What the image is, for those who do not see it."""
    height: int
    """Of each picture, in pixels."""
    width: int
    """Of each picture, in pixels."""
    shown: str
    """File of the image."""
    truth: str
    """File of the image with its contour; empty without a mask."""
    map: str
    """File of the heat map; empty without one."""
    link: str
    """Its section on the page of full pictures, from the site's root."""
    answer: str
    """The method, and how it did on the image: `Heron: missed`."""
    verdict: outcomes.Verdict | None
    """How the method did; None without a threshold."""
    about: str
    """What is true of the image for every method; empty where nothing is known."""
    score: str
    """The image score, and the threshold that it was held to."""


@dataclass(frozen=True)
class Method:
    """One row of the side-by-side page."""

    title: str
    """The method's name."""
    page: str
    """Its page, from the site's root."""
    row: str
    """Its row, as tables anchor it."""
    track: str
    """Its track in words."""
    exhibits: tuple[Exhibit | None, ...]
    """By image, in the order of the head; None where the run did not show it."""


@dataclass(frozen=True)
class SideBySide:
    """All methods on the same images of one benchmark."""

    path: str
    """File of the page."""
    benchmark: str
    """Name of the benchmark."""
    title: str
    """Title of the benchmark."""
    home: str
    """The benchmark's page."""
    has_maps: bool
    """Whether any method shows maps."""
    has_masks: bool
    """Whether the lesions are outlined."""
    has_verdicts: bool
    """Whether any method says what it calls an image."""
    images: tuple[Exhibit, ...]
    """Head of the columns: the image and its contour."""
    methods: tuple[Method, ...]
    """By title."""


@dataclass(frozen=True)
class _Run:
    """One run with its pictures."""

    record: Record
    gallery: Gallery
    album: Album

    def exhibit(self, picture: Picture, title: str, alarms: Alarms | None = None) -> Exhibit:
        """One of its pictures, which is taken along."""
        verdict = outcomes.verdict(picture)
        method = formats.plain(self.record.entry.title)
        return Exhibit(
            title=title,
            told="; ".join(numbers(picture)),
            alt=kind_of(picture),
            height=picture.size[0],
            width=picture.size[1],
            shown=self.album.add(self.gallery, picture.shown),
            truth=self.album.add(self.gallery, picture.truth),
            map=self.album.add(self.gallery, picture.map),
            link=f"{picture_page_path(self.record)}#{picture_anchor(picture.image)}",
            answer=f"{method}: {verdict.word}" if verdict else method,
            verdict=verdict,
            about=outcomes.lesion_and_alarms(picture, alarms),
            score=outcomes.score_told(picture, self.gallery.card),
        )

    def same(self) -> dict[str, Picture]:
        """By image, the pictures of those that every method shows."""
        return same_pictures(self.gallery)


def exhibits(gallery: Gallery, record: Record, album: Album) -> tuple[Exhibit, ...]:
    """Best, median, worst and false alarm of one run."""
    run = _Run(record, gallery, album)
    return tuple(
        run.exhibit(picture, _title(picture))
        for picture in gallery.card.pictures
        if picture.role in ROLE_TITLES
    )


def hard_exhibits(
    images: Sequence[HardImage], material: Material, album: Album
) -> tuple[Exhibit, ...]:
    """The images of a benchmark that most entries get wrong."""
    records = {record.run_key: record for record in material.records}
    shown = []
    for image in images:
        run = _Run(records[image.run_key], material.galleries[image.run_key], album)
        is_anomalous = image.picture.is_anomalous
        title = f"{'Anomalous' if is_anomalous else 'Normal'} image that scores"
        title += " low" if is_anomalous else " high"
        made = run.exhibit(image.picture, title)
        count = f"{len(image.entries)} of {formats.plural(image.of, 'entry', 'entries')}"
        told = f"hardest for {count}"
        shown.append(replace(made, told=told, verdict=None, map=""))
    return tuple(shown)


def side_by_side(material: Material, album: Album) -> tuple[SideBySide, ...]:
    """One page per benchmark with pictures, in the order of the board."""
    drawn: dict[str, list[_Run]] = {}
    for record in material.records:
        if gallery := material.galleries.get(record.run_key):
            drawn.setdefault(record.pack.benchmark, []).append(_Run(record, gallery, album))
    return tuple(
        _side_by_side(name, drawn[name], material.alarms.get(name, {}))
        for name in sorted(drawn, key=words.benchmark_order)
    )


def side_by_side_path(benchmark: str) -> str:
    """File of a benchmark's side-by-side page, from the site's root."""
    return f"side-by-side/{formats.file_stem(benchmark)}.html"


def picture_page_path(record: Record) -> str:
    """File of the page with a row's full pictures, from the site's root."""
    place, entry, track, isolation = row_key(record)
    row = section_key(place, track, isolation)
    return f"{PAGES}/{formats.file_stem(entry)}--{row}.html"


def picture_anchor(image: str) -> str:
    """Anchor of an image, by its public id, on any page that shows it once."""
    return f"i-{formats.file_stem(image)}"


def _side_by_side(name: str, runs: Sequence[_Run], alarms: Mapping[str, Alarms]) -> SideBySide:
    ordered = sorted(runs, key=lambda r: (r.record.entry.title.casefold(), row_key(r.record)))
    images: dict[str, Exhibit] = {}
    for run in ordered:
        for image, picture in run.same().items():
            if image not in images:
                title = f"Image {len(images) + 1}"
                images[image] = run.exhibit(picture, title, alarms.get(image))
    every = [picture for run in ordered for picture in run.same().values()]
    return SideBySide(
        path=side_by_side_path(name),
        benchmark=name,
        title=words.benchmark_title(formats.plain(name)),
        home=benchmark_page(name),
        has_maps=any(picture.map for picture in every),
        has_masks=any(image.truth for image in images.values()),
        has_verdicts=any(outcomes.verdict(picture) for picture in every),
        images=tuple(images.values()),
        methods=tuple(_method(run, images) for run in ordered),
    )


def _method(run: _Run, images: Mapping[str, Exhibit]) -> Method:
    record, same = run.record, run.same()
    return Method(
        title=formats.plain(record.entry.title),
        page=entry_page(record.entry.name),
        row=formats.file_stem(".".join(row_key(record)[1:])),
        track=words.TRACKS[record.track],
        exhibits=tuple(
            run.exhibit(same[image], head.title) if image in same else None
            for image, head in images.items()
        ),
    )


def same_pictures(gallery: Gallery) -> dict[str, Picture]:
    """By image, the pictures of those that every method shows."""
    return {picture.image: picture for picture in gallery.card.pictures if picture.role == "same"}


def kind_of(picture: Picture) -> str:
    """What the image is, for those who do not see it."""
    kind = "Anomalous test image" if picture.is_anomalous else "Normal test image"
    return f"{kind} ({formats.plain(picture.subclass)})" if picture.subclass else kind


def numbers(picture: Picture) -> tuple[str, ...]:
    """What is measured of an answer beside its score."""
    told = []
    if picture.localisation is not None:
        told.append(f"AUROC within the image {formats.percent(picture.localisation)}")
    if found := outcomes.found_told(picture):
        told.append(found)
    if picture.beyond is not None:
        share = f"{100 * picture.beyond:.0f} %"
        told.append(
            f"{share} of the normal images score higher"
            if picture.is_anomalous
            else f"{share} of the anomalous images score lower"
        )
    return tuple(told)


def _title(picture: Picture) -> str:
    """Why a picture is shown; the normal image with the highest score may have raised no alarm."""
    if picture.role == "false alarm" and picture.is_called is False:
        return "Highest score of a normal image"
    return ROLE_TITLES[picture.role]
