"""Decoding one image or mask file by Pillow, and the hashes over decoded pixels.

Traps: alpha, palettes, EXIF orientation and colour profiles carry no pixels and are dropped or
ignored (a TIFF's orientation tag alone is applied, by Pillow). Pillow opens 16-bit RGB as 8-bit
by dropping the low byte without a word, so depth is read from the raw mode and refused. Nothing
is scaled: a window is the pack maker's choice, not the reader's.
"""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

IMAGE_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib"),
        *(".webp", ".gif", ".jp2", ".pbm", ".pgm", ".ppm", ".pnm"),
    }
)
"""Endings of files that are read, in lower case."""

Mode = Literal["L", "RGB"]
Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# What Pillow and its decoders raise for files that are damaged or not images.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError
)  # fmt: skip
_GREY_MODES = frozenset({"1", "L", "LA"})
_PALETTE_MODES = frozenset({"P", "PA"})
_COLOUR_MODES = frozenset({"RGB", "RGBA", "RGBX"})
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_DEEP_RAW_MODE = re.compile(r"(?!BGR).*;(16|32)[BLNS]*$")
_LOSSY_FORMATS = frozenset({"JPEG", "MPO"})


class UnreadableImage(Exception):
    """A file that cannot be used as an image or mask; the message says why in a few words."""


def read_image(path: Path) -> Pixels:
    """Decode an image.

    Returns:
        uint8, C-contiguous: [H, W] for grey images (1, 2, 4 or 8 bits, palettes whose colours in
        use are all grey), [H, W, 3] for colour. Alpha is dropped, not blended.

    Raises:
        UnreadableImage: damaged, more than one frame, more than 8 bits a channel, or a colour
            space other than grey and RGB.
    """
    image = _load(path)
    if image.mode in _DEEP_MODES or image.mode == "F" or _is_deep(image):
        raise UnreadableImage("more than 8 bits a channel: convert to 8 bits, with a stated window")
    return _to_uint8(image)


def read_mask(path: Path) -> tuple[Mask, int]:
    """Decode a mask and binarise it: any channel of the native value > 0 is lesion.

    Returns:
        bool [H, W], and the number of distinct values above zero.

    Raises:
        UnreadableImage: as `read_image`, but 16-bit and 32-bit integers are fine; JPEG is not,
            since its ringing lifts pixels around every lesion above zero.
    """
    image = _load(path)
    if image.format in _LOSSY_FORMATS:
        raise UnreadableImage("a mask may not be JPEG: its ringing is > 0 around every lesion")
    if image.mode == "F":
        raise UnreadableImage("a mask of floating-point numbers")
    values = np.asarray(image) if image.mode in _DEEP_MODES else _to_uint8(image)
    if values.ndim == 3:
        values = values.max(axis=2)
    mask = values > 0
    levels = len(np.unique(values[mask]))
    return np.ascontiguousarray(mask), levels


def mode_of(pixels: Pixels) -> Mode:
    """`L` for [H, W], `RGB` for [H, W, 3]."""
    return "L" if pixels.ndim == 2 else "RGB"


def in_mode(pixels: Pixels, mode: Mode) -> Pixels:
    """The same image in the pack's mode; grey becomes RGB by repeating it."""
    if mode == "RGB" and pixels.ndim == 2:
        return np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
    return pixels


def pixel_hash(pixels: Pixels) -> str:
    """SHA-256 over `mode,W,H,` and the raw bytes, in hex: equal however a file was compressed."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{mode_of(pixels)},{width},{height},".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def mask_hash(mask: Mask) -> str:
    """SHA-256 over `mask,W,H,` and one byte (0 or 1) a pixel, in hex."""
    height, width = mask.shape
    digest = hashlib.sha256(f"mask,{width},{height},".encode())
    digest.update(np.ascontiguousarray(mask, dtype=np.uint8).data)
    return digest.hexdigest()


def _load(path: Path) -> Image.Image:
    """Open and decode the whole file, so that a truncated one fails here."""
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) != 1:
                raise UnreadableImage("more than one frame or page")
            image.info["raw_mode"] = _raw_mode(image)
            image.load()
            return image
    except _DAMAGED as error:
        raise UnreadableImage(f"unreadable ({_first_line(error)})") from error


def _to_uint8(image: Image.Image) -> Pixels:
    # Pillow warns when a palette with transparency becomes RGB; transparency is dropped anyway.
    image.info.pop("transparency", None)
    if image.mode in _GREY_MODES:
        return np.array(image.convert("L"))
    if image.mode in _COLOUR_MODES:
        return np.array(image.convert("RGB"))
    if image.mode in _PALETTE_MODES:
        colours = np.array(image.convert("RGB"))
        first = colours[:, :, :1]
        return np.ascontiguousarray(first[:, :, 0]) if (colours == first).all() else colours
    raise UnreadableImage(f"colour space {image.mode} (only grey, palette and RGB are read)")


def _raw_mode(image: Image.Image) -> str:
    """The decoder's raw mode, such as `RGB;16B`; empty where the format has none."""
    tiles: Any = getattr(image, "tile", ())
    if not tiles:
        return ""
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _is_deep(image: Image.Image) -> bool:
    return _DEEP_RAW_MODE.match(str(image.info.get("raw_mode", ""))) is not None


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    # Pillow names the whole path, which the problem's sentence already does.
    return re.sub(r"\s*'?/[^']*'?$", "", lines[0]) if lines else type(error).__name__
