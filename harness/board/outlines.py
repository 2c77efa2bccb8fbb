"""Hits, misses and false alarms of a thresholded map, as outlines that differ in line and colour.

    hit           of the lesion, at or above the threshold      solid    sky blue
    missed        of the lesion, below it                       dashed   vermilion
    false alarm   outside, at or above it                       dotted   yellow

The colours are of M. Okabe and K. Ito, «Color Universal Design» (2008), distinct to colour-blind
eyes; the lines tell the three apart in grey as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.benchmarks.pixels import Mask

if TYPE_CHECKING:
    from PIL import ImageDraw

_Points = NDArray[np.float64]

WIDTH_SHARE = 1 / 128
"""Width of a line as a share of the picture's longer side: two pixels of 256."""
_OVERSAMPLED = 3
_HALO = (0, 0, 0, 170)
MOST_LINES = 200
"""Closed lines that are drawn of each kind, the longest: noise has thousands, which nobody reads."""
_SMOOTHED = 2  # neighbours on either side: takes the steps off a pixel's edge


@dataclass(frozen=True)
class Line:
    """How one of the three is drawn."""

    colour: tuple[int, int, int]
    """Red, green, blue."""
    on: float
    """Length of a dash in widths of the line; 0 draws without gaps."""
    off: float = 0.0
    """Length of a gap in widths of the line."""


HIT = Line((86, 180, 233), 0.0)
MISSED = Line((213, 94, 0), 5.0, 3.0)
FALSE_ALARM = Line((240, 228, 66), 1.0, 2.0)


def outlined(picture: NDArray[np.uint8], lesion: Mask, found: Mask) -> NDArray[np.uint8]:
    """A picture with the outlines of what of the lesion was found, what was missed, and of false alarms.

    Args:
        picture: uint8 [h, w, 3].
        lesion: [h, w] the lesion's pixels, at the picture's size.
        found: [h, w] the pixels of the map at or above its threshold.
    """
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    size = (width * _OVERSAMPLED, height * _OVERSAMPLED)
    overlay = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(overlay)
    thick = max(height, width) * WIDTH_SHARE * _OVERSAMPLED
    # The rarest to miss comes last, on top: a lesion's edge is never hidden by false alarms.
    for region, line in (
        (found & ~lesion, FALSE_ALARM), (lesion & found, HIT), (lesion & ~found, MISSED),
    ):  # fmt: skip
        loops = sorted(boundaries(region), key=len, reverse=True)[:MOST_LINES]
        dashes = [dash for loop in loops for dash in _dashes(loop * _OVERSAMPLED, line, thick)]
        for colour, width_of in ((_HALO, 2.2 * thick), ((*line.colour, 255), thick)):
            for dash in dashes:
                _stroke(draw, dash, colour, width_of)
    reduced = overlay.convert("RGBa").resize((width, height), Image.Resampling.BOX)
    base = Image.fromarray(picture).convert("RGBA")
    drawn = Image.alpha_composite(base, reduced.convert("RGBA")).convert("RGB")
    return np.asarray(drawn, np.uint8)


def boundaries(region: Mask) -> Iterator[_Points]:
    """The closed lines around a region's pixels, those of its holes too.

    Args:
        region: [h, w].
    Yields:
        float64 [n, 2], x and y of the pixels' corners in order, the last joined to the first.
    """
    inside = np.pad(region, 1)
    rows, columns = np.nonzero(region)
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # The region lies to the right of each edge: above, right, below, left, in turn.
    for (y, x), start, end in (
        ((0, 1), (0, 0), (0, 1)), ((1, 2), (0, 1), (1, 1)),
        ((2, 1), (1, 1), (1, 0)), ((1, 0), (1, 0), (0, 0)),
    ):  # fmt: skip
        is_edge = ~inside[rows + y, columns + x]
        for row, column in zip(rows[is_edge].tolist(), columns[is_edge].tolist(), strict=True):
            first = (column + start[1], row + start[0])
            after.setdefault(first, []).append((column + end[1], row + end[0]))
    while after:
        corner = next(iter(after))
        loop = [corner]
        while (following := after.get(corner)) is not None:
            corner = following.pop()
            if not following:
                del after[loop[-1]]
            loop.append(corner)
        yield np.array(loop[:-1], np.float64)


def _dashes(loop: _Points, line: Line, thick: float) -> Iterator[_Points]:
    """The drawn parts of a closed line, smoothed; points lie closer than a third of a width."""
    if len(loop) > 4 * _SMOOTHED:
        shifts = range(-_SMOOTHED, _SMOOTHED + 1)
        loop = np.mean([np.roll(loop, shift, axis=0) for shift in shifts], axis=0)
    closed = np.concatenate([loop, loop[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    if not line.on:
        yield closed
        return
    period = (line.on + line.off) * thick
    periods = max(1, round(along[-1] / period))  # whole ones, so that the ends meet
    places = np.arange(0.0, along[-1], thick / 3)
    points = np.stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)], axis=1)
    phase = places * periods / along[-1]
    is_on = (phase % 1.0) < line.on / (line.on + line.off)
    for (shown, _), of_dash in groupby(zip(is_on, phase.astype(int), strict=True)):
        count = len(list(of_dash))
        if shown:
            yield points[:count]
        points = points[count:]


def _stroke(
    draw: ImageDraw.ImageDraw, points: _Points, colour: tuple[int, ...], width: float
) -> None:
    """A line with round ends."""
    flat = [(float(x), float(y)) for x, y in points]
    if len(flat) > 1:
        draw.line(flat, fill=colour, width=max(1, round(width)), joint="curve")
    half = width / 2
    for x, y in (flat[0], flat[-1]):
        draw.ellipse((x - half, y - half, x + half, y + half), fill=colour)
