"""The curves and pictures beside a published record: decoded whole, and held to what it says.

A curve's area is the metric that the record has; a picture is one still WebP of the size and name
that its gallery's card gives, and one chunk of pixels alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from harness.board.gallery import picture_files
from harness.board.pictures import LEAST_SIDE, MOST_SIDE
from harness.board.site_data import BandedCurve, GalleryCard, Picture, RunCurves
from harness.records.record import Grid, Record

AREA_SLACK = 0.02
"""Largest difference of a curve's area to its metric: a stored curve has few points and digits."""
_AREAS: dict[tuple[str, Grid | None], tuple[str, Grid | None]] = {
    ("roc", None): ("image_auroc", None),
    ("roc", "native"): ("pixel_auroc", "native"),
    ("pro", "native"): ("pixel_pro", "native"),
}
_PUBLIC_ID = re.compile(r"[0-9a-f]{16}")
_ANOMALOUS_ROLES = {"best", "median", "worst"}


def curve_problems(made: RunCurves, record: Record) -> Iterator[str]:
    """What in the curves of a run is no curve, or not that of its metrics.

    Args:
        made: of this very run.
        record: its record.
    """
    names = [(curve.kind, curve.grid) for curve in made.curves]
    if len(set(names)) < len(names):
        yield "a curve stands in it twice"
    for curve in made.curves:
        where = f"{curve.kind} ({curve.grid or 'image'})"
        if problem := _shape_problem(curve):
            yield f"{where}: {problem}"
            continue
        if (curve.kind, curve.grid) not in _AREAS:
            continue
        name, grid = _AREAS[curve.kind, curve.grid]
        metric = record.metric(name, grid)
        if metric is None or metric.value is None:
            yield f"{where}: its record has no {name}"
        elif abs((area := _area(curve)) - metric.value) > AREA_SLACK:
            yield f"{where}: its area is {area:.3f}, and {name} is {metric.value:.3f} in its record"


def _shape_problem(curve: BandedCurve) -> str | None:
    """Why these numbers are no curve with its band, or None."""
    if len(curve.x) != len(curve.y) or len(curve.x) < 2:
        return "it has not as many x as y, or fewer than two"
    if not len(curve.band_x) == len(curve.low) == len(curve.high):
        return "its band has edges of different lengths"
    numbers = np.array([*curve.x, *curve.y, *curve.band_x, *curve.low, *curve.high])
    if not (np.isfinite(numbers).all() and numbers.min() >= 0 and numbers.max() <= 1):
        return "a number is not from 0 to 1"
    if not (_is_ascending(curve.x) and _is_ascending(curve.band_x)):
        return "its x do not ascend"
    if curve.kind != "precision_recall" and not _is_ascending(curve.y):
        return "it falls"
    is_between = all(low <= high for low, high in zip(curve.low, curve.high, strict=True))
    return None if is_between else "its band's lower edge is above the upper one"


def _is_ascending(values: Sequence[float]) -> bool:
    return all(a <= b for a, b in pairwise(values))


def _area(curve: BandedCurve) -> float:
    """The area below the curve, as a share of the x that it covers."""
    x, y = np.array(curve.x), np.array(curve.y)
    area = float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())
    return area / float(x[-1]) if x[-1] > 0 else 0.0


# -- pictures -----------------------------------------------------------------------------------


def card_problems(card: GalleryCard, record: Record, folder: Path) -> Iterator[str]:
    """What in a gallery's card is not as the harness writes it, or names what is not there.

    Its thresholds cannot be derived again, for the evidence is not published: every picture is
    held to them, and they to what the record has of them.
    """
    if card.drawn > record.pack.test_anomalous:
        yield "it draws from more anomalous images than the pack has"
    ends = [end for end in (card.low, card.high) if end is not None]
    has_map = any(picture.map for picture in card.pictures)
    if not all(map(math.isfinite, ends)) or ends != sorted(ends) or (has_map and len(ends) < 2):
        yield "the ends of its colours are none"
    yield from _threshold_problems(card, record)
    for picture in card.pictures:
        told = [*_entry_problems(picture, card, record), *_call_problems(picture, card, record)]
        yield from (f"{picture.role}: {each}" for each in told)
        for name in picture_files(picture):
            if not (folder / name).is_file():
                yield f"{picture.role}: {name} is not there"


def _threshold_problems(card: GalleryCard, record: Record) -> Iterator[str]:
    """Why these are not the thresholds of this run."""
    if card.is_local:
        yield "its images may not be shown: it is for the machine that it was drawn on"
    if card.schema_version == 1:
        if (card.threshold, card.threshold_from, card.map_threshold) != (None, None, None):
            yield "it is of the first version, which has no thresholds"
        return
    thresholds = [each for each in (card.threshold, card.map_threshold) if each is not None]
    if not all(map(math.isfinite, thresholds)):
        yield "a threshold is no number"
    if card.threshold_from != (None if card.threshold is None else "test"):
        yield "the threshold of its images is that of the best F1 on the test images, or none"
    for name, grid, threshold in (
        ("image_f1_max", None, card.threshold),
        ("dice_at_valid", "native", card.map_threshold),
    ):  # each where its metric is defined, as `harness.metrics.operating_points` has it
        metric = record.metric(name, grid)
        is_defined = metric is not None and metric.value is not None
        if is_defined != (threshold is not None):
            yield f"a threshold where its record has no {name}, or none where it has one"


def _entry_problems(picture: Picture, card: GalleryCard, record: Record) -> Iterator[str]:
    """Why an entry of a card is not one that the harness writes."""
    if not _PUBLIC_ID.fullmatch(picture.image):
        yield "its image has no public id"
    kinds = {
        "image": picture.shown, "truth": picture.truth,
        "map": picture.map, "outlined": picture.outlined,
    }  # fmt: skip
    if any(name not in (None, f"{picture.image}.{kind}.webp") for kind, name in kinds.items()):
        yield "a file is not named after its image and what it shows"
    most = LEAST_SIDE if card.schema_version == 1 else MOST_SIDE
    if min(picture.size) < 1 or not LEAST_SIDE <= max(picture.size) <= most:
        yield f"its size is {picture.size[0]}x{picture.size[1]}"
    if picture.map and not record.entry.maps:
        yield "it shows a map, and its run has none"
    if picture.role in _ANOMALOUS_ROLES and not picture.is_anomalous:
        yield "its image is normal"
    if picture.role == "false alarm" and picture.is_anomalous:
        yield "its image is anomalous"
    told = (picture.beyond, picture.localisation, picture.lesion, picture.found)
    shares = [value for value in told if value is not None]
    if not math.isfinite(picture.score) or not all(0 <= share <= 1 for share in shares):
        yield "its score is no number, or a share is not from 0 to 1"


def _call_problems(picture: Picture, card: GalleryCard, record: Record) -> Iterator[str]:
    """Why what it says of lesion and call does not follow from the card's thresholds."""
    if card.schema_version == 1:
        if (picture.lesion, picture.is_called, picture.found, picture.outlined) != (None,) * 4:
            yield "it is of the first version, which says nothing of lesions found"
        return
    is_called = None if card.threshold is None else picture.score >= card.threshold
    if picture.is_called != is_called:
        yield "whether its image is called anomalous does not follow from score and threshold"
    has_lesion = picture.truth is not None
    if has_lesion != (picture.lesion is not None) or (has_lesion and not picture.is_anomalous):
        yield "a lesion without its share or its contour, or of a normal image"
    if has_lesion and record.pack.regions is None:
        yield "it shows a lesion, and its pack has no masks"
    is_marked = picture.map is not None and card.map_threshold is not None
    if (picture.found is not None) != (has_lesion and is_marked):
        yield "the share found of a lesion needs a lesion, a map and its threshold, and follows from them"
    if (picture.outlined is not None) != is_marked:
        yield "hits and misses are outlined where there is a map and its threshold, and nowhere else"


def picture_problems(path: Path, card: GalleryCard) -> Iterator[str]:
    """Why a file is not the one picture that the card says, decoded whole."""
    from PIL import Image

    sizes = {each.size for each in card.pictures if path.name in picture_files(each)}
    if len(sizes) != 1:
        yield "the gallery's card does not name it, or names it with several sizes"
        return
    (height, width), content = sizes.pop(), path.read_bytes()
    if not _is_one_still(content):
        yield "it is no WebP file of one still picture and nothing else"
        return
    try:
        with Image.open(path, formats=["WEBP"]) as image:
            if image.size != (width, height):
                yield f"it is {image.size[1]}x{image.size[0]}, and its card says {height}x{width}"
                return
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        yield f"it cannot be decoded: {type(error).__name__}"


def _is_one_still(content: bytes) -> bool:
    """A simple WebP file (RFC 9649, 2.5): one chunk of lossy pixels from its head to its end.

    Animations, transparency, EXIF and whatever else a file can carry need further chunks.
    """
    size = int.from_bytes(content[16:20], "little")
    whole = 20 + size + size % 2  # chunks are padded to even lengths
    head = b"RIFF" + (whole - 8).to_bytes(8, "little")[:4] + b"WEBPVP8 "
    return content[:16] == head and len(content) == whole
