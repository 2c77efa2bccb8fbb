"""What one number knows of an image: the least that a method must beat, and a test of the data.

Needs numpy alone. The data card of a pack measures with these very functions. A number knows no
direction: an AUROC of 0.2 tells as much as one of 0.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""[H, W] or [H, W, 3]."""

# Fill at the edge (padding, collimation, the white corners of turned images) lies in this frame.
FRAME_SHARE = 1 / 16


def grey(image: Pixels) -> npt.NDArray[np.uint8]:
    """Luma of ITU-R 601-2, rounded as Pillow does, uint8 [H, W]; grey images as they are."""
    if image.ndim == 2:
        return image
    red, green, blue = np.moveaxis(image.astype(np.uint32), 2, 0)
    luma: npt.NDArray[np.uint8] = (
        (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    ).astype(np.uint8)
    return luma


def mean_grey(image: Pixels) -> float:
    """Mean of the grey values, 0 to 255."""
    return float(grey(image).mean())


def standard_deviation(image: Pixels) -> float:
    """Standard deviation of the grey values."""
    return float(grey(image).std())


def foreground_area(image: Pixels) -> float:
    """Share of the pixels where some channel is not 0."""
    lit = image != 0 if image.ndim == 2 else (image != 0).any(axis=2)
    return float(lit.mean())


def border_share(image: Pixels) -> float:
    """Share of the outer frame, a sixteenth of each side wide, that is pure black or white."""
    values = grey(image)
    height, width = (max(1, round(side * FRAME_SHARE)) for side in values.shape)
    is_frame = np.ones(values.shape, np.bool_)
    is_frame[height:-height, width:-width] = False
    is_fill = (values == 0) | (values == 255)
    return float(is_fill[is_frame].mean())


def image_size(image: Pixels) -> float:
    """Number of pixels."""
    return float(image.shape[0] * image.shape[1])


STATISTICS: Mapping[str, Callable[[Pixels], float]] = {
    "mean-grey": mean_grey,
    "standard-deviation": standard_deviation,
    "foreground-area": foreground_area,
    "border-share": border_share,
    "image-size": image_size,
}
"""Every trivial baseline; `baselines/trivial-<name>` makes a row of it."""


class Trivial:
    """An entry that answers with one statistic of the image; subclasses name it."""

    statistic: str
    """Name in `STATISTICS`."""

    def __init__(
        self,
        device: str,  # noqa: ARG002 - the contract's arguments, of no use here
        seed: int,  # noqa: ARG002
        params: Mapping[str, Any],  # noqa: ARG002
        weights: Path | None,  # noqa: ARG002
    ) -> None:
        self._measure = STATISTICS[self.statistic]

    def predict(self, image: Pixels) -> tuple[None, float]:
        """No map, and the statistic as the score."""
        return None, self._measure(image)

    def load(self, folder: Path) -> None:
        """Nothing was trained."""
