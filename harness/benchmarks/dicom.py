"""Stored values of a DICOM file with one image.

Traps: values are taken as stored, without rescaling or window; JPEG is decoded by Pillow, so that
no other decoder can differ by a grey value; real files hold ages that are no ages, of which
pydicom warns, and it only warns of a file that is cut short.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from harness.benchmarks.stored import (
    Note,
    StoredPixels,
    UnreadableImage,
    check_pixels,
    decoding,
    without_warnings,
)

DICOM_HEAD = 132  # bytes: a preamble, and the magic word
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_GREY = ("MONOCHROME1", "MONOCHROME2")


def is_dicom(head: bytes) -> bool:
    """Whether a file's first `DICOM_HEAD` bytes are those of a DICOM file."""
    return head[128:132] == b"DICM"


def decode_dicom(stream: BinaryIO) -> StoredPixels:
    """One grey image of up to 16 bits.

    Raises:
        UnreadableImage: damaged, several frames, in colour, or pydicom is not installed.
    """
    try:
        import pydicom
        from pydicom.pixels.utils import pixel_array
    except ImportError as error:
        raise UnreadableImage(
            "a DICOM file, and pydicom is not installed: pip install 'bmad-leaderboard[prepare]'"
        ) from error
    with (
        decoding("a whole DICOM file with one grey image"),
        without_warnings("End of file reached"),
    ):
        data = pydicom.dcmread(stream)
        kind = _kind(data)
        syntax = str(data.file_meta.TransferSyntaxUID)
        values = pixel_array(data, decoding_plugin="pillow" if syntax in _JPEG else "")
        values = np.ascontiguousarray(values)
    notes = set()
    if kind == "MONOCHROME1":
        notes.add(Note.WHITE_IS_ZERO)
    if syntax.startswith("1.2.840.10008.1.2.4.") and syntax not in _LOSSLESS:
        notes.add(Note.LOSSY)
    bits = values.dtype.itemsize * 8
    return StoredPixels(values, "grey", bits, 255, "DICOM", notes=frozenset(notes))


# JPEG lossless, JPEG-LS lossless, JPEG 2000 lossless, high-throughput JPEG 2000 lossless.
_LOSSLESS = frozenset(f"1.2.840.10008.1.2.4.{one}" for one in (57, 70, 80, 90, 201, 202))


def _kind(data: Any) -> str:
    """Photometric interpretation of one grey image, refused before it is decoded if it is none."""
    kind = str(data.PhotometricInterpretation)
    frames = int(data.get("NumberOfFrames") or 1)
    check_pixels(int(data.Columns), int(data.Rows))
    if kind not in _GREY or int(data.get("SamplesPerPixel", 1)) != 1:
        raise UnreadableImage(f"{kind}, expected one grey image: convert it to grey")
    if frames != 1:
        raise UnreadableImage(f"{frames} frames, expected one: export each as a file")
    return kind
