"""One page per row with pictures: every image at full size, with what the run made of it.

    full-size/heron--brain-trained-here-container.html#i-<image>

An image that was chosen for several reasons is shown once. The page is complete without
`static/pictures.js`, which adds a slider and arrow keys. Trap: the anchor stands alone after `#` and
the slider's value in the query before it, so that an address opens at its image without a script too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.board.site_data import Alarms, Gallery, Material, Picture, Role
from harness.records.record import Record
from leaderboard import formats, outcomes, words
from leaderboard.addresses import benchmark_page, entry_page, section_key
from leaderboard.downloads import row_key
from leaderboard.galleries import (
    Album,
    kind_of,
    numbers,
    picture_anchor,
    picture_page_path,
    same_pictures,
    side_by_side_path,
)

WHY_SHOWN: dict[Role, str] = {
    "best": "best",
    "median": "median",
    "worst": "worst",
    "false alarm": "normal with the highest score",
    "same": "the same for every method",
    "hard": "among the hardest",
}
BY_PIXEL = "By pixel: found solid, missed dashed, marked by mistake dotted"
MISTAKES = "By pixel: marked by mistake, dotted"


@dataclass(frozen=True)
class View:
    """One file of an image."""

    path: str
    """From the site's root."""
    alt: str
    """What is seen, for those who do not see it."""
    caption: str
    """Below it."""


@dataclass(frozen=True)
class Plate:
    """One image with everything that is known of the run's answer."""

    anchor: str
    """Of its section."""
    why: str
    """For which reasons it is shown."""
    verdict: outcomes.Verdict | None
    """How the run did; None without a threshold."""
    head: str
    """The image and its fate in one line."""
    facts: tuple[str, ...]
    """Numbers of the answer."""
    height: int
    """Of every view, in pixels."""
    width: int
    """Of every view, in pixels."""
    views: tuple[View, ...]
    """Image, lesion outlined, map, and hits and misses by pixel; those that there are."""
    under: View | None
    """What the map is laid over; None without a map."""
    over: View | None
    """The map."""
    everybody: str
    """The same image with all methods, from the site's root; empty where they do not show it."""


@dataclass(frozen=True)
class PicturePage:
    """All pictures of one row."""

    path: str
    """File of the page."""
    title: str
    """The method's name."""
    entry: str
    """The row on its entry's page, from the site's root."""
    benchmark: str
    """Title of the benchmark."""
    home: str
    """The benchmark's page."""
    row: str
    """Track, isolation and seed in words."""
    threshold: str
    """From which score on an image is called anomalous; empty without a threshold."""
    side_by_side: str
    """The page with all methods on the same images."""
    plates: tuple[Plate, ...]
    """In the order of the gallery."""

    @property
    def has_maps(self) -> bool:
        """Whether any image has a map."""
        return any(plate.over for plate in self.plates)

    @property
    def has_verdicts(self) -> bool:
        """Whether the run says what it calls an image."""
        return any(plate.verdict for plate in self.plates)


def picture_pages(material: Material, album: Album) -> tuple[PicturePage, ...]:
    """A page for every row with a gallery, in the order of the records."""
    return tuple(
        _page(record, material.galleries[record.run_key], material, album)
        for record in material.records
        if record.run_key in material.galleries
    )


def _page(record: Record, gallery: Gallery, material: Material, album: Album) -> PicturePage:
    place, entry, track, isolation = row_key(record)
    benchmark = record.pack.benchmark
    alarms = material.alarms.get(benchmark, {})
    same = same_pictures(gallery)
    by_image: dict[str, list[Picture]] = {}
    for picture in gallery.card.pictures:
        by_image.setdefault(picture.image, []).append(picture)
    together = side_by_side_path(benchmark)
    return PicturePage(
        path=picture_page_path(record),
        title=formats.plain(record.entry.title),
        entry=f"{entry_page(entry)}#{section_key(place, track, isolation)}",
        benchmark=words.benchmark_title(formats.plain(benchmark)),
        home=benchmark_page(benchmark),
        row=f"{words.TRACKS[track]}, {words.ISOLATIONS[isolation]}, seed {record.seed}",
        threshold=outcomes.threshold_told(gallery.card),
        side_by_side=together,
        plates=tuple(
            _plate(
                pictures,
                gallery,
                album,
                alarms.get(image),
                f"{together}#{picture_anchor(image)}" if image in same else "",
            )
            for image, pictures in by_image.items()
        ),
    )


def _plate(
    pictures: Sequence[Picture],
    gallery: Gallery,
    album: Album,
    alarms: Alarms | None,
    everybody: str,
) -> Plate:
    """Of the pictures of one image, which differ in why they were chosen, and in who kept the map."""
    picture = next((each for each in pictures if each.map), pictures[0])
    under, over, views = _views(picture, gallery, album)
    return Plate(
        anchor=picture_anchor(picture.image),
        why=", ".join(dict.fromkeys(WHY_SHOWN[each.role] for each in pictures)),
        verdict=outcomes.verdict(picture),
        head=outcomes.head(picture, alarms),
        facts=(outcomes.score_told(picture, gallery.card), *numbers(picture)),
        height=picture.size[0],
        width=picture.size[1],
        views=views,
        under=under if over else None,
        over=over,
        everybody=everybody,
    )


def _views(
    picture: Picture, gallery: Gallery, album: Album
) -> tuple[View, View | None, tuple[View, ...]]:
    """What lies under the map, the map, and all views."""
    kind = kind_of(picture)
    image = View(album.add(gallery, picture.shown), kind, "Image")
    views, under = [image], image
    over: View | None = None
    if path := album.add(gallery, picture.truth):
        under = View(path, f"{kind}, lesion outlined", "Lesion outlined")
        views.append(under)
    if path := album.add(gallery, picture.map):
        outline = ", lesion outlined" if picture.truth else ""
        over = View(path, f"Anomaly map of the same image{outline}", "Anomaly map")
        views.append(over)
    if path := album.add(gallery, picture.outlined):
        alt = f"{kind}, with the pixels that the map finds, misses and marks by mistake outlined"
        views.append(View(path, alt, BY_PIXEL if picture.truth else MISTAKES))
    return under, over, tuple(views)
