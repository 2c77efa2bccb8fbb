"""Stored values of a file that Pillow decodes: PNG, JPEG, TIFF, BMP, GIF, WebP, PGM, PPM, JPEG 2000.

Traps, each undone or refused here: Pillow inverts TIFFs in which white is 0, turns TIFFs by their
orientation note, swaps the bytes of compressed big-endian words, leaves black what no strip covers,
cuts 16-bit channels to 8 bits, takes planar 16-bit channels for 8-bit noise and signed bytes for
unsigned ones, drops channels it has no name for, and spreads 1, 2 and 4 bits over 0 to 255.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL import TiffImagePlugin as Tiff

from harness.benchmarks.stored import (
    Note,
    StoredPixels,
    UnreadableImage,
    Values,
    check_pixels,
    decoding,
    without_warnings,
)

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it tells stderr of odd tags

# What Pillow may try, whatever a file is called: no format that runs programs or draws.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "PPM", "JPEG2000")
_EXPECTED = "a whole PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP, PGM or PPM image"

_SAMPLE_FORMATS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_BIG_BIG_ENDIAN = b"MM\0+"
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", _BIG_BIG_ENDIAN)
_LOSSY_COMPRESSIONS = frozenset({"jpeg", "tiff_jpeg", "webp"})
# Files that lie where an image should: how they begin, what they are, what helps.
_NO_IMAGES = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch it with `git lfs pull`"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
    (b"%PDF", "a PDF", "export its image as PNG"),
    (b"<", "a web page or XML", "download the image itself"),
)

# Pillow's names for what it turned by an orientation note, and the turn that undoes it.
_TURNS_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

_KINDS: dict[str, Literal["grey", "colour", "index"]] = {
    "1": "grey", "L": "grey", "LA": "grey", "I": "grey", "F": "grey",
    "P": "index", "PA": "index", "RGB": "colour", "RGBX": "colour", "RGBA": "colour",
}  # fmt: skip
_JPEG2000_HEAD = 1 << 20  # bytes in which its codestream begins: boxes of notes come first
_NOTES = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"})


def decode(stream: BinaryIO, head: bytes, most_bits: int) -> StoredPixels:
    """Stored values of an image file.

    Args:
        stream: the file, at its beginning.
        head: its first bytes.
        most_bits: of one value; a deeper image is refused before it is decoded.

    Raises:
        UnreadableImage: damaged, too large or deep, several frames, or a kind that cannot be
            given exactly.
    """
    if not head:
        raise UnreadableImage(f"unreadable (an empty file): expected {_EXPECTED}; get it again")
    for begin, what, fix in _NO_IMAGES:
        if head.startswith(begin):
            raise UnreadableImage(f"unreadable (it is {what}): expected {_EXPECTED}; {fix}")
    with decoding(_EXPECTED):
        opened = _opened(stream, head)
        if opened.bits > most_bits:
            raise UnreadableImage(
                f"more than {most_bits} bits a channel, namely {opened.bits}: convert to {most_bits}"
                " bits, with a stated window"
            )
        _refuse_inexact(opened)
        if opened.image.format == "TIFF":
            _in_native_order(opened.image)
        with without_warnings() if opened.image.format == "TIFF" else nullcontext():
            opened.image.load()
        if opened.bits == 16 and opened.image.mode in ("RGB", "RGBA"):
            return _parted(opened, _deep(stream, opened))
        return _parted(opened, _undone(opened))


@dataclass(frozen=True)
class _Opened:
    """An image file of which the head is read, and what Pillow forgets once it is decoded."""

    image: Image.Image
    raw: str
    """The decoder's raw mode, such as `RGB;16B`; empty where the format has none."""
    bits: int
    """Of one value as stored."""
    orientation: int
    """EXIF's number."""
    scaled_from: int | None
    """What stands for white in a PGM whose values Pillow scales."""
    is_lossy: bool
    """Whether the format changes values."""


def _opened(stream: BinaryIO, head: bytes) -> _Opened:
    with without_warnings():
        try:
            image = Image.open(stream, formats=_FORMATS)
        except UnidentifiedImageError as error:
            if head.startswith(_TIFF_HEADS):
                _refuse_tiff(stream, head, error)
            raise UnreadableImage(
                f"unreadable (not the beginning of an image): expected {_EXPECTED}; get it again"
            ) from error
        check_pixels(*image.size)
        if (frames := getattr(image, "n_frames", 1)) != 1:
            raise UnreadableImage(
                f"more than one frame or page: it has {frames}, expected one; export each as a file"
            )
    raw = _raw_mode(image)
    scaled_from = _scaled_from(image)
    bits = scaled_from.bit_length() if scaled_from else _bits(image, raw)
    if image.format == "JPEG2000":
        bits = _jpeg2000_bits(stream)
    is_lossy = _is_lossy(image) and b"VP8L" not in head  # WebP's lossless form
    return _Opened(image, raw, bits, _orientation(image), scaled_from, is_lossy)


def _raw_mode(image: Image.Image) -> str:
    """The decoder's raw mode, such as `RGB;16B`; empty where the format has none."""
    tiles: Any = getattr(image, "tile", ())
    if not tiles:
        return ""
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _bits(image: Image.Image, raw: str) -> int:
    if isinstance(image, Tiff.TiffImageFile):
        return int(max(image.tag_v2.get(Tiff.BITSPERSAMPLE, (1,))))
    if image.mode == "1":
        return 1
    depth = re.search(r";(\d+)", raw) if ";" in raw else None
    if depth and not raw.startswith("BGR"):
        return int(depth[1])
    return 32 if image.mode in ("I", "F") else 8


def _jpeg2000_bits(stream: BinaryIO) -> int:
    """The deepest channel's bits, from the head of the codestream (ISO/IEC 15444-1, A.5.1: SIZ)."""
    stream.seek(0)
    content = stream.read(_JPEG2000_HEAD)
    start = content.index(b"\xff\x4f\xff\x51") + 4
    channels = int.from_bytes(content[start + 36 : start + 38], "big")
    depths = content[start + 38 : start + 38 + 3 * channels : 3]
    return max((depth & 0x7F) + 1 for depth in depths)


def _scaled_from(image: Image.Image) -> int | None:
    tile: Any = getattr(image, "tile", ()) if image.format == "PPM" else ()
    if not tile or not tile[0][0].startswith("ppm") or not isinstance(tile[0][3], tuple):
        return None
    return int(tile[0][3][1])


def _is_lossy(image: Image.Image) -> bool:
    if image.format == "TIFF":
        return image.info.get("compression") in _LOSSY_COMPRESSIONS
    return image.format in ("JPEG", "MPO", "WEBP", "JPEG2000")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; looked for only where there are notes at all."""
    if image.format != "TIFF" and not _NOTES & image.info.keys():
        return 1
    with without_warnings():
        stated = image.getexif().get(ExifTags.Base.Orientation, 1)
    return stated if stated in _TURNS_BACK else 1


def _refuse_inexact(opened: _Opened) -> None:
    """Refuse what Pillow would give in other values than the stored ones.

    Raises:
        UnreadableImage: with what was found.
    """
    image, fix = opened.image, "save it as PNG, grey or RGB, of 8 or 16 bits"
    if image.mode not in _KINDS and not image.mode.startswith("I;16"):
        raise UnreadableImage(
            f"colour space {image.mode} (only grey, palette and RGB are read): {fix}"
        )
    is_colour = image.mode in ("RGB", "RGBA")
    if is_colour and image.format in ("PPM", "JPEG2000") and opened.bits > 8:
        raise UnreadableImage(
            f"a {image.format} of more than 8 bits a channel, which is not read: {fix}"
        )
    if isinstance(image, Tiff.TiffImageFile):
        tags = image.tag_v2
        formats = set(tags.get(Tiff.SAMPLEFORMAT, (1,)))
        is_planar = (
            tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2 and tags.get(Tiff.SAMPLESPERPIXEL, 1) > 1
        )
        if (is_colour and formats != {1}) or (is_planar and opened.bits > 8) or len(formats) > 1:
            raise UnreadableImage(f"{_tiff_kind(tags)}, which is not read: {fix}")
        _refuse_missing_parts(image)


def _refuse_missing_parts(image: Tiff.TiffImageFile) -> None:
    """Pillow leaves black what no strip or tile of the list covers."""
    tags = image.tag_v2
    width, height = tags[Tiff.IMAGEWIDTH], tags[Tiff.IMAGELENGTH]
    planes = tags.get(Tiff.SAMPLESPERPIXEL, 1) if tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2 else 1
    if Tiff.TILEOFFSETS in tags:
        found = len(tags[Tiff.TILEOFFSETS])
        needed = -(-width // tags[Tiff.TILEWIDTH]) * -(-height // tags[Tiff.TILELENGTH])
    else:
        found = len(tags[Tiff.STRIPOFFSETS])
        needed = -(-height // tags.get(Tiff.ROWSPERSTRIP, height))
    if found < needed * planes:
        raise UnreadableImage(
            f"a TIFF of {found} strips or tiles, expected {needed * planes} for {width}x{height}"
            " pixels: damaged; download or export it again"
        )


def _tiff_kind(tags: Any) -> str:
    """What a TIFF holds, in words."""
    samples, bits = tags.get(Tiff.SAMPLESPERPIXEL, 1), tags.get(Tiff.BITSPERSAMPLE, (1,))
    kinds = {_SAMPLE_FORMATS.get(one, "") for one in tags.get(Tiff.SAMPLEFORMAT, (1,))}
    planes = " in planes" if samples > 1 and tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2 else ""
    each = f"{samples} channels{planes} of" if samples != 1 else "one channel of"
    return (
        f"a TIFF with {each} {' or '.join(sorted(kinds))}{max(bits)} bits"
        f" (photometric {tags.get(Tiff.PHOTOMETRIC_INTERPRETATION, 'not stated')},"
        f" compression {tags.get(Tiff.COMPRESSION, 1)})"
    )


def _refuse_tiff(stream: BinaryIO, head: bytes, error: Exception) -> NoReturn:
    """Say what a TIFF holds that Pillow does not take for an image."""
    kind = "a big-endian BigTIFF"
    if not head.startswith(_BIG_BIG_ENDIAN):  # whose tags Pillow does not find
        tags = Tiff.ImageFileDirectory_v2(head[: 16 if head[2:3] == b"+" else 8])
        stream.seek(tags.next)
        tags.load(stream)
        kind = _tiff_kind(tags)
    raise UnreadableImage(
        f"{kind}, which is not read: save it as PNG or TIFF, grey or RGB, of 8 or 16 bits"
    ) from error


def _deep(stream: BinaryIO, opened: _Opened) -> Values:
    """Two bytes a channel: Pillow gives the upper one, and the lower one when asked for it as such.

    Grey with alpha has no such second name; its four bytes are asked for as RGBA.
    """
    raw = opened.raw
    has_grey_alpha = raw.startswith("LA;")
    names = ("RGBA",) if has_grey_alpha else (raw, raw[:-1] + _OTHER_BYTE[raw[-1]])
    parts = []
    for name in names:
        stream.seek(0)
        with without_warnings():
            again: Any = Image.open(stream, formats=(str(opened.image.format),))
            again.tile = [tile._replace(args=_renamed(tile.args, name)) for tile in again.tile]
            again.load()
        parts.append(_turned_back(again, opened.orientation).astype(np.uint16))
    if has_grey_alpha:
        return parts[0][:, :, ::2] << 8 | parts[0][:, :, 1::2]
    return parts[0] << 8 | parts[1]


def _in_native_order(image: Any) -> None:
    """Libtiff gives numbers in the machine's order, and Pillow turns big-endian ones once more."""
    image.tile = [
        tile._replace(args=_renamed(tile.args, re.sub(r"B(?=[SF]$)", "", tile.args[0])))
        if tile.codec_name == "libtiff" and sys.byteorder == "little"
        else tile
        for tile in image.tile
    ]


def _renamed(arguments: Any, name: str) -> Any:
    return (name, *arguments[1:]) if isinstance(arguments, tuple) else name


def _turned_back(image: Image.Image, orientation: int) -> Values:
    """A decoded image's array as stored: TIFFs alone are turned by Pillow."""
    if image.format == "TIFF" and orientation != 1:
        return np.asarray(image.transpose(_TURNS_BACK[orientation]))
    return np.asarray(image)


def _undone(opened: _Opened) -> Values:
    """A decoded image's array with inverting, spreading and taking for unsigned undone."""
    image, bits = opened.image, opened.bits
    values = _turned_back(image, opened.orientation)
    if ";" in opened.raw and re.search(r";\d*IR?$", opened.raw):
        values = ~values if values.dtype == np.bool_ else np.iinfo(values.dtype).max - values
    if opened.scaled_from is not None and values.dtype != np.bool_:
        white = 255 if image.mode == "L" else 65535
        return np.rint(values / white * opened.scaled_from).astype(values.dtype)
    if image.mode == "L" and bits < 8:
        return values // (255 // _greatest(opened))
    sample_format = (1,)
    if isinstance(image, Tiff.TiffImageFile):
        sample_format = image.tag_v2.get(Tiff.SAMPLEFORMAT, (1,))
    if bits == 8 and sample_format[0] == 2:
        return values.view(np.int8)
    if bits == 32 and sample_format[0] == 1 and values.dtype == np.int32 and image.format == "TIFF":
        return values.view(np.uint32)
    return values


def _greatest(opened: _Opened) -> int:
    if opened.image.mode not in ("1", "L"):
        return 255
    return opened.scaled_from or (1 << opened.bits) - 1


def _parted(opened: _Opened, values: Values) -> StoredPixels:
    """Colours, alpha and notes, each for itself."""
    image = opened.image
    kind, alpha, palette = _KINDS.get(image.mode, "grey"), None, None
    if image.mode in ("LA", "RGBA", "PA"):
        values, alpha = values[:, :, :-1], values[:, :, -1]
        if values.shape[2] == 1:
            kind, values = ("index" if image.mode == "PA" else "grey"), values[:, :, 0]
    if kind == "index":
        palette = np.zeros((256, 3), np.uint8)
        colours = np.array(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
        palette[: len(colours)] = colours
    return StoredPixels(
        values=np.ascontiguousarray(values),
        kind=kind,
        bits=opened.bits,
        greatest=_greatest(opened),
        file_format=str(image.format),
        alpha=alpha,
        palette=palette,
        orientation=opened.orientation,
        notes=frozenset(_notes(opened, alpha)),
    )


def _notes(opened: _Opened, alpha: Values | None) -> Iterator[Note]:
    image = opened.image
    if alpha is not None:
        yield Note.ALPHA if (alpha == alpha.flat[0]).all() else Note.VARYING_ALPHA
    if "transparency" in image.info:
        yield Note.TRANSPARENCY
    if opened.orientation != 1:
        yield Note.TURNED
    if (
        isinstance(image, Tiff.TiffImageFile)
        and image.tag_v2.get(Tiff.PHOTOMETRIC_INTERPRETATION) == 0
    ):
        yield Note.WHITE_IS_ZERO
    if image.mode == "1" and image.format == "PPM":
        yield Note.BLACK_IS_ONE
    if opened.is_lossy:
        yield Note.LOSSY
    if "X" in opened.raw and image.format not in ("BMP", "DIB"):  # a BMP's fourth byte is padding
        yield Note.MORE_CHANNELS
