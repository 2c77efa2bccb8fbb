"""Real small files of every format, damaged at random, each read as a pack or a converter reads it.

Run as a program it reads so many and prints what came of it as JSON: an exception that is not a
typed refusal stands there with the seed that makes it again. It is a process of its own, so that
the memory it took can be told.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from harness.benchmarks.pixels import decode_image, decode_mask, read_labels
from harness.benchmarks.prepare import rsna
from harness.benchmarks.prepare.annotations import read_outlines
from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Options, Unusable
from harness.benchmarks.prepare.volumes import Volume, check_labels
from harness.benchmarks.stored import MOST_PIXELS, UnreadableImage

MASK = np.zeros((24, 20), np.uint8)
MASK[5:15, 4:16] = 255
GREY = np.random.default_rng(1).integers(0, 256, (24, 20), dtype=np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], MASK], axis=2)
DEEP = MASK.astype(np.uint16) * 3
AFFINE = np.diag([-1.0, -1, 2, 1])


def pictures() -> dict[str, bytes]:
    """Files that Pillow decodes."""
    files = {}
    for name, pixels in (("grey", GREY), ("mask", MASK), ("colour", COLOUR)):
        for suffix in ("png", "jpg", "bmp", "gif", "webp", "ppm", "jp2"):
            files[f"{name}.{suffix}"] = _saved(Image.fromarray(pixels), suffix)
    exif = Image.Exif()
    exif[274] = 6
    palette = Image.fromarray(MASK // 255).convert("P")
    palette.putpalette([0, 0, 9, 255, 0, 0])
    rgba = Image.fromarray(np.dstack([COLOUR, MASK]))
    files |= {
        "turned.jpg": _saved(Image.fromarray(GREY), "jpg", exif=exif),
        "turned.png": _saved(Image.fromarray(GREY), "png", exif=exif),
        "palette.png": _saved(palette, "png"),
        "rgba.png": _saved(rgba, "png"),
        "bits.png": _saved(Image.fromarray(MASK > 0), "png"),
        "deep.png": _saved(Image.fromarray(DEEP), "png"),
        "lossless.webp": _saved(Image.fromarray(COLOUR), "webp", lossless=True),
        "palette.tif": _saved(palette, "tif"),
        "fax.tif": _saved(Image.fromarray(MASK > 0), "tif", compression="group4"),
    }
    return files


def tiffs() -> dict[str, bytes]:
    """TIFFs of several kinds."""
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "plain": (GREY, {}),
        "white": (MASK > 0, {}),
        "zlib": (GREY, {"compression": "zlib"}),
        "lzw": (COLOUR, {"compression": "lzw", "photometric": "rgb"}),
        "packbits": (GREY, {"compression": "packbits", "byteorder": ">"}),
        "jpeg": (GREY, {"compression": "jpeg"}),
        "planes": (np.moveaxis(COLOUR, 2, 0).copy(), {"photometric": "rgb"}),
        "deep": (np.dstack([DEEP] * 3), {"photometric": "rgb"}),
        "float": (MASK.astype(np.float32), {"compression": "zlib", "byteorder": ">"}),
        "tiles": (np.tile(GREY, (3, 3)), {"tile": (16, 16)}),
        "big": (GREY, {"bigtiff": True}),
        "turned": (GREY, {"extratags": [(274, "H", 1, 6, True)]}),
        "double": (MASK.astype(np.float64), {}),
    }
    files = {}
    for name, (pixels, options) in kinds.items():
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, **options)
        files[f"{name}.tif"] = stream.getvalue()
    return files


def _saved(image: Image.Image, suffix: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(suffix, suffix.upper())
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def dicoms() -> dict[str, bytes]:
    """One stored plainly, one as JPEG, one of 16 bits."""
    return {
        "plain.dcm": _dicom(GREY, GREY.tobytes(), ExplicitVRLittleEndian),
        "jpeg.dcm": _dicom(
            GREY, encapsulate([_saved(Image.fromarray(GREY), "jpg")]), JPEGBaseline8Bit
        ),
        "deep.dcm": _dicom(DEEP, DEEP.tobytes(), ExplicitVRLittleEndian),
    }


def _dicom(pixels: np.ndarray, content: bytes, syntax: str) -> bytes:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    data.PixelData = content
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def volumes() -> dict[str, bytes]:
    """NIfTI, packed and not, big-endian too."""
    values = np.arange(5 * 6 * 4, dtype=np.int16).reshape(5, 6, 4) % 3
    plain = nib.Nifti1Image(values, AFFINE)
    scaled = nib.Nifti1Image(values, AFFINE)
    scaled.header.set_slope_inter(2.0, -1.0)
    swapped = nib.Nifti1Image(values, AFFINE, nib.Nifti1Header(endianness=">"))
    return {
        "plain.nii": plain.to_bytes(),
        "scaled.nii": scaled.to_bytes(),
        "swapped.nii": swapped.to_bytes(),
        "second.nii": nib.Nifti2Image(values, AFFINE).to_bytes(),
        "packed.nii.gz": gzip.compress(plain.to_bytes(), mtime=0),
    }


def tables() -> dict[str, bytes]:
    """ASAP's XML and RSNA's class table."""
    corners = "".join(
        f'<Coordinate Order="{n}" X="{x}" Y="{y}" />'
        for n, (x, y) in enumerate(((1, 1), (90, 1), (90, 90.5)))
    )
    outline = f'<Annotation Name="é" PartOfGroup="_0"><Coordinates>{corners}</Coordinates>'
    xml = f"<?xml version='1.0' encoding='UTF-8'?><A><Annotations>{outline}</Annotation></Annotations></A>"
    rows = "".join(f'"p{n}","{kind}"\r\n' for n, kind in enumerate(rsna.SOURCE))
    return {"slide.xml": xml.encode(), rsna.CLASS_TABLE: f"patientId,class\r\n{rows}".encode()}


def read_picture(path: Path) -> None:
    """As images, masks and labels are read."""
    for read in (decode_image, decode_mask, read_labels):
        try:
            found: Any = read(path)
        except UnreadableImage:
            continue
        values = getattr(found, "pixels", getattr(found, "mask", found))
        assert values.ndim in (2, 3)
        assert 0 < values.size <= 3 * MOST_PIXELS


def read_volume(path: Path) -> None:
    """As a label and as an image, and each laid on the undamaged one."""
    whole = Volume(_raw(path.parent / "whole.nii"))
    try:
        volume = Volume(_raw(path))
        check_labels(volume, volume.block(1, 3), range(3))
        volume.scaled(volume.stored()[:, :, 0])
        assert volume.laid_on(whole).stored().shape == whole.shape
        whole.laid_on(volume)
    except Unusable as error:
        _check_name(error, path)


def read_xml(path: Path) -> None:
    """As the audit of Camelyon16 does."""
    try:
        read_outlines(path)
    except Unusable as error:
        _check_name(error, path)


def _check_name(error: Unusable, path: Path) -> None:
    assert all(path.name in problem.text for problem in error.problems)


def read_table(path: Path) -> None:
    """As RSNA's converter does: what is wrong is listed."""
    for problem in rsna.survey(Options((path.parent,))).problems:
        assert problem.text


def _raw(path: Path) -> RawFile:
    return RawFile(PurePosixPath(path.name), path)


def readers() -> list[tuple[str, bytes, Callable[[Path], None]]]:
    """Every file with its reader."""
    kinds = (
        (pictures(), read_picture), (tiffs(), read_picture), (dicoms(), read_picture),
        (volumes(), read_volume),
    )  # fmt: skip
    listed = [(name, content, read) for files, read in kinds for name, content in files.items()]
    for name, content in tables().items():
        listed.append((name, content, read_xml if name.endswith("xml") else read_table))
    return listed


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Cut, flipped, overwritten with pointers, shifted or spliced."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(data)) if data else 0
        if chance.random() < 0.4:  # heads hold the sizes and pointers
            place = min(place, chance.randrange(160))
        match chance.randrange(6):
            case 0:
                del data[place:]
            case 1:
                for _ in range(chance.randint(1, 8)):
                    if data:
                        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 2:
                number = chance.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, place, len(data) - 2])
                order = chance.choice(["little", "big"])
                data[place : place + 4] = (number % 2**32).to_bytes(4, order)
            case 3:
                data[place : place + 2] = chance.randbytes(2)
            case 4:
                del data[place : place + chance.randint(1, 20)]
            case _:
                data[place:place] = data[: chance.randint(1, 60)]
    return bytes(data)


def main(reads: int, seed: int) -> dict[str, Any]:
    """Read so many damaged files."""
    chance = random.Random(seed)
    listed = readers()
    ways: Counter[str] = Counter()
    escaped: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "whole.nii").write_bytes(volumes()["plain.nii"])
        for name, content, read in listed:  # the undamaged ones first
            _tried(Path(folder) / name, content, read, escaped, f"{name}, undamaged")
        for number in range(reads):
            name, content, read = listed[number % len(listed)]
            _tried(
                Path(folder) / name, damaged(content, chance), read, escaped, f"{name}, {number}"
            )
            ways[Path(name).suffix] += 1
    return {"reads": dict(ways), "escaped": escaped, "peak_mib": _peak_mib()}


def _peak_mib() -> int:
    """Of this program alone: what `getrusage` tells begins with the peak of whoever started it."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _tried(
    path: Path, content: bytes, read: Callable[[Path], None], escaped: list[str], what: str
) -> None:
    path.write_bytes(content)
    try:
        read(path)
    except BaseException:  # noqa: BLE001 - what escapes is what is looked for
        escaped.append(f"{what}: {traceback.format_exc(limit=-3)}")
    path.unlink()


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
