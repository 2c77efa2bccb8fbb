"""What a file of pixels holds, before it is taken for an image or a mask, and how one is refused."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

MOST_PIXELS = 89_478_485
"""Of one image: as many as Pillow takes without a warning. 4 bytes each bound a decoder's memory."""

Values = npt.NDArray[Any]

_filters = threading.Lock()


class UnreadableImage(Exception):
    """A file that cannot be used as an image or mask; the message says why, and what to do."""


class Note(StrEnum):
    """What a file says beside its pixels, and is not followed."""

    ALPHA = "alpha"
    """An alpha channel that is the same everywhere."""
    VARYING_ALPHA = "varying alpha"
    """An alpha channel that is not."""
    TRANSPARENCY = "transparency"
    """A colour or palette entry that is to be shown as transparent."""
    TURNED = "turned"
    """An orientation note (EXIF, TIFF): to be turned or mirrored when shown."""
    WHITE_IS_ZERO = "white is zero"
    """A TIFF or DICOM in which 0 is to be shown white."""
    BLACK_IS_ONE = "black is one"
    """A bitmap (PBM) in which 1 is black."""
    LOSSY = "lossy"
    """A format that changes values, such as JPEG."""
    MORE_CHANNELS = "more channels"
    """Channels beyond grey, RGB and alpha."""


@dataclass(frozen=True)
class StoredPixels:
    """One file's pixels with the values that stand in it: nothing inverted, scaled or turned."""

    values: Values
    """[H, W] or [H, W, 3]: bool, whole numbers of 8 to 32 bits, or float32."""
    kind: Literal["grey", "colour", "index"]
    """`index`: numbers of a palette's colours."""
    bits: int
    """Bits of one value: 1, 2, 4, 8, 12, 16 or 32."""
    greatest: int
    """What stands for white where values are whole numbers of up to 8 bits: 1, 3, 15, 255, or what a
    PGM states."""
    file_format: str
    """`PNG`, `TIFF`, `DICOM`, …"""
    alpha: Values | None = None
    """[H, W], where there is an alpha channel."""
    palette: npt.NDArray[np.uint8] | None = None
    """Colours [256, 3] of an `index` image."""
    orientation: int = 1
    """EXIF's number; 1: as stored."""
    notes: frozenset[Note] = field(default_factory=frozenset)
    """What the file says beside."""


def check_pixels(width: int, height: int) -> None:
    """Refuse what a header promises before it is decoded.

    Raises:
        UnreadableImage: no pixel, or more than `MOST_PIXELS`.
    """
    if width < 1 or height < 1:
        raise UnreadableImage(f"{width}x{height} pixels: expected at least one")
    if width * height > MOST_PIXELS:
        raise UnreadableImage(
            f"{width}x{height} pixels, expected at most {MOST_PIXELS:,}: cut it to pieces, or"
            " shrink it"
        )


@contextmanager
def decoding(expected: str) -> Iterator[None]:
    """Around a decoder's calls: whatever it raises becomes a refusal.

    Args:
        expected: what the file should be, such as `a whole PNG`.

    Raises:
        UnreadableImage: the decoder gave up.
    """
    try:
        yield
    except UnreadableImage:
        raise
    # A decoder at a damaged file raises anything: TypeError, KeyError, RecursionError, …
    except Exception as error:
        raise UnreadableImage(
            f"unreadable ({reason_of(error)}): expected {expected}; download or export it again"
        ) from error


@contextmanager
def without_warnings(*errors: str) -> Iterator[None]:
    """Around a decoder's calls: it warns of damaged notes, which is not a reader's matter.

    Filters are the process's, so one thread at a time comes in.

    Args:
        errors: beginnings of warnings that are errors.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in errors:
            warnings.filterwarnings("error", text)
        yield


def reason_of(error: BaseException) -> str:
    """An error's first line without paths; its type where it says nothing, or no more than a key."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    lines = str(error).strip().splitlines()
    # Decoders name the whole path, which the problem's sentence already does.
    text = re.sub(r"\s*'?(?:/[^']*|<_io\.[^>]*>)'?$", "", lines[0]) if lines else ""
    if not text or isinstance(error, (KeyError, IndexError, AttributeError, TypeError)):
        return f"{type(error).__name__} {text}".strip()
    return text
