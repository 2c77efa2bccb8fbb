"""The pictures of the pages: which files are copied, and what is written under each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.board.site_data import Gallery, HardImage, Material, Picture, Role
from harness.records.record import Record
from leaderboard import formats, words
from leaderboard.addresses import benchmark_page, entry_page
from leaderboard.downloads import row_key

FOLDER = "pictures"
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
    images: tuple[Exhibit, ...]
    """Head of the columns: the image and its contour."""
    methods: tuple[Method, ...]
    """By title."""


def exhibits(gallery: Gallery, album: Album) -> tuple[Exhibit, ...]:
    """Best, median, worst and false alarm of one run."""
    return tuple(
        _exhibit(picture, gallery, album, ROLE_TITLES[picture.role])
        for picture in gallery.card.pictures
        if picture.role in ROLE_TITLES
    )


def hard_exhibits(
    images: Sequence[HardImage], material: Material, album: Album
) -> tuple[Exhibit, ...]:
    """The images of a benchmark that most entries get wrong."""
    shown = []
    for image in images:
        made = _exhibit(image.picture, material.galleries[image.run_key], album, "")
        kind = "missed" if image.picture.is_anomalous else "false alarm"
        count = f"{len(image.entries)} of {formats.plural(image.of, 'entry', 'entries')}"
        told = f"hardest for {count}"
        shown.append(replace(made, title=kind.capitalize(), told=told, map=""))
    return tuple(shown)


def side_by_side(material: Material, album: Album) -> tuple[SideBySide, ...]:
    """One page per benchmark with pictures, in the order of the board."""
    drawn: dict[str, list[Record]] = {}
    for record in material.records:
        if record.run_key in material.galleries:
            drawn.setdefault(record.pack.benchmark, []).append(record)
    return tuple(
        _side_by_side(name, drawn[name], material, album)
        for name in sorted(drawn, key=words.benchmark_order)
    )


def side_by_side_path(benchmark: str) -> str:
    """File of a benchmark's side-by-side page, from the site's root."""
    return f"side-by-side/{formats.file_stem(benchmark)}.html"


def _side_by_side(
    name: str, records: Sequence[Record], material: Material, album: Album
) -> SideBySide:
    ordered = sorted(records, key=lambda r: (r.entry.title.casefold(), row_key(r)))
    pictures = {r.run_key: _same(material.galleries[r.run_key]) for r in ordered}
    images: dict[str, Exhibit] = {}
    for record in ordered:
        for image, picture in pictures[record.run_key].items():
            if image not in images:
                title = f"Image {len(images) + 1}"
                images[image] = _exhibit(picture, material.galleries[record.run_key], album, title)
    return SideBySide(
        path=side_by_side_path(name),
        benchmark=name,
        title=words.benchmark_title(formats.plain(name)),
        home=benchmark_page(name),
        has_maps=any(p.map for each in pictures.values() for p in each.values()),
        has_masks=any(image.truth for image in images.values()),
        images=tuple(images.values()),
        methods=tuple(
            Method(
                title=formats.plain(record.entry.title),
                page=entry_page(record.entry.name),
                row=formats.file_stem(".".join(row_key(record)[1:])),
                track=words.TRACKS[record.track],
                exhibits=tuple(
                    _exhibit(found, material.galleries[record.run_key], album, "")
                    if (found := pictures[record.run_key].get(image))
                    else None
                    for image in images
                ),
            )
            for record in ordered
        ),
    )


def _same(gallery: Gallery) -> dict[str, Picture]:
    return {picture.image: picture for picture in gallery.card.pictures if picture.role == "same"}


def _exhibit(picture: Picture, gallery: Gallery, album: Album, title: str) -> Exhibit:
    kind = "Anomalous test image" if picture.is_anomalous else "Normal test image"
    if picture.subclass:
        kind += f" ({formats.plain(picture.subclass)})"
    return Exhibit(
        title=title,
        told=_numbers(picture),
        alt=kind,
        height=picture.size[0],
        width=picture.size[1],
        shown=album.add(gallery, picture.shown),
        truth=album.add(gallery, picture.truth),
        map=album.add(gallery, picture.map),
    )


def _numbers(picture: Picture) -> str:
    told = []
    if picture.localisation is not None:
        told.append(f"AUROC within the image {formats.percent(picture.localisation)}")
    if picture.beyond is not None:
        share = f"{100 * picture.beyond:.0f} %"
        told.append(
            f"{share} of the normal images score higher"
            if picture.is_anomalous
            else f"{share} of the anomalous images score lower"
        )
    return "; ".join(told)
