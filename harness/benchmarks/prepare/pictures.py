"""Reading a download's images, masks and labels, and bringing pictures of several sizes to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from harness.benchmarks.pixels import (
    DecodedImage,
    DecodedMask,
    Mask,
    Pixels,
    decode_image,
    decode_mask,
    read_labels,
)
from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Unusable
from harness.benchmarks.problems import Problem
from harness.benchmarks.stored import UnreadableImage, Values

Read = TypeVar("Read")


def raw_image(file: RawFile) -> DecodedImage:
    """An image of any format.

    Raises:
        Unusable: as `pixels.decode_image`, with the file's name.
    """
    return _named(decode_image, file)


def raw_mask(file: RawFile) -> DecodedMask:
    """A mask of any format.

    Raises:
        Unusable: as `pixels.decode_mask`, with the file's name.
    """
    return _named(decode_mask, file)


def raw_labels(file: RawFile, shape: tuple[int, int], known: tuple[int, ...]) -> Values:
    """Label numbers [H, W].

    Args:
        file: the label image.
        shape: height and width that it must have.
        known: the labels that may occur.

    Raises:
        Unusable: as `pixels.read_labels`, of another size, or with other labels.
    """
    labels = _named(read_labels, file)
    _check_size(file, labels.shape, shape)
    unknown = sorted(set(np.unique(labels).tolist()) - set(known))
    if unknown:
        shown = ", ".join(map(str, unknown[:5]))
        raise Unusable(
            Problem(
                "labels", f"{file.relative}: label {shown}, known are {known}: get the original"
            )
        )
    return labels


def read_grey(file: RawFile, shape: tuple[int, int] | None = None) -> Pixels:
    """An image with one channel, or with three equal ones.

    Args:
        file: an image of any format, DICOM too.
        shape: height and width that it must have; None takes any.

    Returns:
        uint8 [H, W].

    Raises:
        Unusable: damaged, coloured, deeper than 8 bits, or of another size.
    """
    pixels = raw_image(file).pixels
    if pixels.ndim == 3:
        if (pixels != pixels[:, :, :1]).any():
            raise Unusable(
                Problem(
                    "colour", f"{file.relative}: a colour image, expected grey: get the original"
                )
            )
        pixels = np.ascontiguousarray(pixels[:, :, 0])
    if shape is not None:
        _check_size(file, pixels.shape, shape)
    return pixels


def _check_size(file: RawFile, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if found != wanted:
        raise Unusable(
            Problem(
                "size",
                f"{file.relative}: {found[1]}x{found[0]} pixels, expected {wanted[1]}x{wanted[0]}",
            )
        )


def _named(read: Callable[[Path], Read], file: RawFile) -> Read:
    try:
        return read(file.path)
    except UnreadableImage as error:
        raise Unusable(Problem("damaged", f"{file.relative}: {error}")) from error


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
