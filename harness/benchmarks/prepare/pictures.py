"""Reading raw pictures as 8-bit grey, and bringing pictures of several sizes to one."""

from __future__ import annotations

import numpy as np
from PIL import Image

from harness.benchmarks.pixels import Mask, Pixels, read_image
from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Unusable
from harness.benchmarks.problems import Problem
from harness.benchmarks.stored import UnreadableImage


def read_grey(file: RawFile, shape: tuple[int, int] | None = None) -> Pixels:
    """An image with one channel, or with three equal ones.

    Args:
        file: BMP, PNG, JPEG or TIFF.
        shape: height and width that it must have; None takes any.

    Returns:
        uint8 [H, W].

    Raises:
        Unusable: damaged, coloured, deeper than 8 bits, or of another size.
    """
    try:
        pixels = read_image(file.path)
    except UnreadableImage as error:
        raise Unusable(Problem("damaged", f"{file.relative}: {error}")) from error
    if pixels.ndim == 3:
        if (pixels != pixels[:, :, :1]).any():
            raise Unusable(Problem("colour", f"{file.relative}: a colour image, expected grey"))
        pixels = np.ascontiguousarray(pixels[:, :, 0])
    if shape is not None and pixels.shape != shape:
        found, wanted = pixels.shape[::-1], shape[::-1]
        raise Unusable(
            Problem(
                "size",
                f"{file.relative}: {found[0]}x{found[1]} pixels, expected {wanted[0]}x{wanted[1]}",
            )
        )
    return pixels


def in_size(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Bring an image to a width and height: bicubic, antialiased where it shrinks."""
    if pixels.shape[1::-1] == size:
        return pixels
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def mask_in_size(mask: Mask, size: tuple[int, int]) -> Mask:
    """Bring a mask to a width and height: nearest."""
    if mask.shape[::-1] == size:
        return mask
    values = Image.fromarray(mask.astype(np.uint8) * 255)
    resized: Mask = np.array(values.resize(size, Image.Resampling.NEAREST)) > 0
    return resized
