"""Writes over a picture, through and through, that it is for this machine alone.

What an image of a data set that may not be shown becomes says so itself, in every file: such a
picture cannot leave by accident without telling. The words are half transparent, so that what
lies below is still seen, and repeat over the whole picture, so that no crop is without them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image


WORDS = "local copy, not for publication"
ANGLE_DEGREES = 30
OPACITY = 0.4
_TEXT_SHARE = 1 / 22  # height of the letters as a share of the longer side
_LINES_APART = 4.0  # in heights of the letters


def watermarked(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, uint8 [h, w, 3], with the words over it."""
    from PIL import Image

    base = Image.fromarray(picture).convert("RGBA")
    over = _overlay(*picture.shape[:2])
    return np.asarray(Image.alpha_composite(base, over).convert("RGB"), np.uint8)


@lru_cache(maxsize=4)  # the pictures of a run have few sizes
def _overlay(height: int, width: int) -> Image.Image:
    """The words, turned, over a transparent ground of this size."""
    from PIL import Image

    side = 2 * max(height, width)  # whatever its angle, it covers the picture
    turned = _words(side, max(height, width) * _TEXT_SHARE).rotate(
        ANGLE_DEGREES, Image.Resampling.BICUBIC
    )
    left, top = (side - width) // 2, (side - height) // 2
    return turned.crop((left, top, left + width, top + height))


def _words(side: int, size: float) -> Image.Image:
    """A transparent square full of the words: white letters with a dark edge, on any ground."""
    from PIL import Image, ImageDraw, ImageFont

    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(square)
    font = ImageFont.load_default(max(9.0, size))
    line = f"{WORDS}      " * (side // 60)
    alpha = round(255 * OPACITY)
    for row, top in enumerate(np.arange(0.0, side, max(9.0, size) * _LINES_APART)):
        draw.text(
            (-(row % 2) * side / 5, float(top)), line, (255, 255, 255, alpha), font,
            stroke_width=1, stroke_fill=(0, 0, 0, alpha),
        )  # fmt: skip
    return square
