"""DICOM images give their stored values: pydicom writes them from known arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from harness.benchmarks.pixels import decode_image, decode_mask, read_image, read_labels
from harness.benchmarks.stored import Note, UnreadableImage

from .conftest import grey, square

GREY, MASK = grey(1), square()


def written(path: Path, values: np.ndarray, syntax: str, **changes: Any) -> Path:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 1 if values.ndim == 2 else values.shape[2]
    data.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = values.dtype.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    for name, value in changes.items():
        setattr(data, name, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    data["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    if syntax == RLELossless:
        data.compress(RLELossless)
    data.save_as(path, enforce_file_format=True)
    return path


SYNTAXES = [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian, RLELossless,
]  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_come_as_they_are_stored(syntax: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", GREY, syntax)
    np.testing.assert_array_equal(read_image(path), GREY)
    assert not decode_image(path).notes
    deep = np.where(MASK > 0, 700, 0).astype(np.uint16)
    path = written(tmp_path / "b.dcm", deep, syntax)
    np.testing.assert_array_equal(read_labels(path), deep)
    with pytest.raises(UnreadableImage, match="uint16, expected 8 bits"):
        read_image(path)


def test_an_image_whose_white_is_0_is_inverted_and_a_mask_is_not(tmp_path: Path) -> None:
    kind = {"PhotometricInterpretation": "MONOCHROME1"}
    path = written(tmp_path / "a.dcm", GREY, ExplicitVRLittleEndian, **kind)
    np.testing.assert_array_equal(read_image(path), 255 - GREY)
    decoded = decode_mask(written(tmp_path / "b.dcm", MASK, ExplicitVRLittleEndian, **kind))
    np.testing.assert_array_equal(decoded.mask, MASK > 0)
    assert decoded.notes == {Note.WHITE_IS_ZERO}


@pytest.mark.parametrize(
    ("values", "changes", "message"),
    [
        (np.stack([GREY] * 3, axis=2), {}, "RGB, expected one grey image"),
        (GREY, {"NumberOfFrames": 2}, "2 frames, expected one"),
        (GREY, {"Rows": 65535, "Columns": 65535}, "65535x65535 pixels, expected at most"),
        (GREY, {"Rows": 200}, "unreadable"),
        (GREY.astype(np.int16) - 300, {}, "negative values, down to -2"),
    ],
)
def test_what_is_no_grey_image_is_refused(
    values: np.ndarray, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.dcm", values, ExplicitVRLittleEndian, **changes)
    with pytest.raises(UnreadableImage, match=message):
        decode_mask(path)
