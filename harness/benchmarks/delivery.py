"""One size and one mode for every image: so that neither tells from which benchmark it is."""

from __future__ import annotations

import numpy as np
from PIL import Image

from harness.benchmarks.pixels import Pixels, in_mode
from harness.records.regime import Delivery

DELIVERED_SIDE = 256
"""Height and width of an image delivered as `256`."""


def delivered(pixels: Pixels, delivery: Delivery) -> Pixels:
    """An image as it reaches an entry.

    Args:
        pixels: uint8 [H, W] or [H, W, 3].
        delivery: `native` changes nothing; `256` gives RGB of 256x256 by bilinear interpolation,
            antialiased where it reduces (Pillow's `BILINEAR`, on whole numbers: the same bytes on
            every machine), without regard to the ratio of the sides. Grey becomes RGB by repeating.

    Returns:
        uint8, C-contiguous: as it came, or [256, 256, 3].
    """
    if delivery == "native":
        return pixels
    resized = Image.fromarray(pixels).resize(
        (DELIVERED_SIDE, DELIVERED_SIDE), Image.Resampling.BILINEAR
    )
    return np.ascontiguousarray(in_mode(np.asarray(resized), "RGB"))
