"""Images and masks as arrays, by rules that hold for every format, and the hashes over them.

What a file stores counts, not how a viewer shows it. An image is grey or RGB of 8 bits; alpha,
orientation notes and colour profiles carry no pixels and are left out; nothing is scaled, for a
window is the pack maker's choice. A mask's lesion is where a stored value is above zero: a
palette's index and not its colour, a TIFF's value and not its inversion. Traps: in a lossy mask the
value is uncertain around every edge; a mask whose alpha channel or palette says something else
than its values has two readings, and is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.benchmarks.decoding import decode
from harness.benchmarks.dicom import DICOM_HEAD, decode_dicom, is_dicom
from harness.benchmarks.stored import Note, StoredPixels, UnreadableImage, Values, decoding

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

# A lossy mask is lesion from the middle of its range on; within these it is not certain.
_LOSSY_LESION, _UNCERTAIN = 128, (64, 192)
_ONE_CHANNEL = "save it as a PNG of one channel, 0 where there is no lesion"


@dataclass(frozen=True)
class DecodedImage:
    """An image, and what its file says beside."""

    pixels: Pixels
    """[H, W] or [H, W, 3]."""
    notes: frozenset[Note]
    """Alpha, orientation and the like, which were left out."""
    orientation: int
    """EXIF's number; 1: as stored."""


@dataclass(frozen=True)
class DecodedMask:
    """A mask, and how sure it is."""

    mask: Mask
    """[H, W], True where lesion."""
    levels: int
    """Distinct stored values above zero."""
    uncertain_pixels: int
    """Of a lossy mask: pixels of 64 to 191, taken for lesion from 128 on."""
    notes: frozenset[Note]
    """What the file says beside."""
    orientation: int
    """EXIF's number; 1: as stored."""


def read_image(path: Path) -> Pixels:
    """An image as `decode_image` gives it, without its notes.

    Raises:
        UnreadableImage: as `decode_image`.
    """
    return decode_image(path).pixels


def read_mask(path: Path) -> tuple[Mask, int]:
    """A mask as `decode_mask` gives it: bool [H, W], and the number of distinct values above zero.

    Raises:
        UnreadableImage: as `decode_mask`.
    """
    decoded = decode_mask(path)
    return decoded.mask, decoded.levels


def decode_image(path: Path) -> DecodedImage:
    """Decode an image: PNG, JPEG, TIFF, BMP, GIF, WebP, PGM, PPM or DICOM, by its content.

    Returns:
        uint8, C-contiguous: [H, W] for grey images (1, 2, 4 or 8 bits, palettes whose colours in
        use are all grey), [H, W, 3] for colour. Alpha is dropped, not blended; where white is 0
        (TIFF, DICOM) the image is inverted.

    Raises:
        UnreadableImage: damaged, more than one frame, more than 8 bits a channel, signed numbers,
            or a colour space other than grey and RGB.
    """
    stored = _stored(path, most_bits=8)
    if stored.values.dtype not in (np.bool_, np.uint8):
        raise UnreadableImage(
            f"{stored.values.dtype.name}, expected 8 bits without sign: convert to 8 bits,"
            " with a stated window"
        )
    return DecodedImage(_shown(stored), stored.notes, stored.orientation)


def decode_mask(path: Path) -> DecodedMask:
    """Decode a mask and binarise it: any channel of the stored value > 0 is lesion.

    Of a lossy file (JPEG) lesion is from 128 on.

    Raises:
        UnreadableImage: damaged, more than one frame, values that are no whole numbers from 0 on,
            or two readings (alpha, palette, more grey than lesion in a lossy file).
    """
    stored = _stored(path, most_bits=32)
    values = _one_channel(stored)
    if Note.LOSSY in stored.notes:
        return _from_lossy(values, stored)
    mask = np.ascontiguousarray(values > 0)
    if Note.VARYING_ALPHA in stored.notes and stored.alpha is not None:
        _check_alpha(mask, stored.alpha)
    levels = len(np.unique(values[mask]))
    return DecodedMask(mask, levels, 0, stored.notes, stored.orientation)


def read_labels(path: Path) -> Values:
    """Stored label numbers [H, W] of an image that marks several things.

    Raises:
        UnreadableImage: as `decode_mask`; colours, and a lossy file, too.
    """
    stored = _stored(path, most_bits=32)
    if Note.LOSSY in stored.notes:
        raise UnreadableImage(
            f"labels in a lossy {stored.file_format}, which changes them: get a lossless copy"
        )
    if stored.kind == "colour" and (stored.values != stored.values[:, :, :1]).any():
        raise UnreadableImage(f"a colour image, expected one number a pixel: {_ONE_CHANNEL}")
    return _one_channel(stored)


def _stored(path: Path, most_bits: int) -> StoredPixels:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UnreadableImage(
            f"unreadable ({error.strerror}): see that the file is there and may be read"
        ) from error
    with stream:
        with decoding("a file that can be read"):
            head = stream.read(DICOM_HEAD)
            stream.seek(0)
        return decode_dicom(stream) if is_dicom(head) else decode(stream, head, most_bits)


def _shown(stored: StoredPixels) -> Pixels:
    """uint8 as a viewer of images shows it, but for alpha and orientation."""
    values = stored.values
    if stored.palette is not None:
        colours = stored.palette[values]
        first = colours[:, :, :1]
        is_grey = (colours == first).all()
        return np.ascontiguousarray(first[:, :, 0]) if is_grey else colours
    if stored.greatest != 255:
        values = np.rint(values / stored.greatest * 255).astype(np.uint8)
    if stored.notes & {Note.WHITE_IS_ZERO, Note.BLACK_IS_ONE}:
        values = 255 - values
    return np.array(values, np.uint8, order="C")  # one that may be written to


def _one_channel(stored: StoredPixels) -> Values:
    """Whole numbers from 0 on, [H, W]: the greatest of several channels.

    Raises:
        UnreadableImage: there are none such, or there is a second reading of them.
    """
    values = stored.values.max(axis=2) if stored.values.ndim == 3 else stored.values
    if Note.MORE_CHANNELS in stored.notes:
        raise UnreadableImage(f"more channels than grey, RGB and alpha: {_ONE_CHANNEL}")
    if Note.BLACK_IS_ONE in stored.notes:
        raise UnreadableImage(f"a PBM bitmap, in which 1 is black: {_ONE_CHANNEL}")
    if values.dtype.kind == "f":
        broken = values[~np.isfinite(values) | (values != np.trunc(values))]
        if broken.size:
            raise UnreadableImage(
                f"a mask of floating-point numbers, {broken.size} of them no whole ones, such as"
                f" {broken[0]!s}: choose a threshold and {_ONE_CHANNEL}"
            )
    if values.dtype.kind in "if" and (lowest := values.min()) < 0:
        raise UnreadableImage(f"negative values, down to {lowest!s}: {_ONE_CHANNEL}")
    if stored.palette is not None:
        _check_palette(values, stored.palette)
    return values


def _check_palette(values: Values, palette: Values) -> None:
    """The index is the value; where some colours in use are black, they must be those of index 0."""
    used = np.unique(values)
    black = used[~palette[used].any(axis=1)]
    if 0 < len(black) < len(used) and black.tolist() != [0]:
        raise UnreadableImage(
            f"a palette in which black is index {', '.join(map(str, black[:5]))}, expected 0: it"
            f" cannot be known whether index or colour marks the lesion; {_ONE_CHANNEL}"
        )


def _check_alpha(mask: Mask, alpha: Values) -> None:
    by_alpha = alpha > 0
    if (by_alpha != mask).any():
        raise UnreadableImage(
            f"an alpha channel that contradicts the values: these mark {int(mask.sum())} pixels, it"
            f" marks {int(by_alpha.sum())}; save the one that is meant as a PNG of one channel"
        )


def _from_lossy(values: Values, stored: StoredPixels) -> DecodedMask:
    greatest = int(values.max())
    uncertain = int(((values >= _UNCERTAIN[0]) & (values < _UNCERTAIN[1])).sum())
    certain = int((values >= _UNCERTAIN[1]).sum())
    if uncertain > certain or (greatest and not certain):
        raise UnreadableImage(
            f"a lossy {stored.file_format} whose greatest value is {greatest}, with {uncertain}"
            f" pixels of 64 to 191 and {certain} above: expected a mask of 0 and 255, with few"
            " between; get the lossless original, or binarise it"
        )
    mask = np.ascontiguousarray(values >= _LOSSY_LESION)
    return DecodedMask(mask, int(mask.any()), uncertain, stored.notes, stored.orientation)


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
