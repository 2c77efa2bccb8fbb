"""What a file among images is by its name: an image that is read, one that is not, or no image.

Where the name says nothing, the first bytes do, so that no image is left out because somebody
called it `scan` or `scan.png.bak`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.benchmarks.pixels import IMAGE_SUFFIXES

FileKind = Literal["image", "unread", "other"]

# Formats of images and volumes, and of what may hold them, that packs are not read from.
_UNREAD = (
    *(".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".mha", ".mhd", ".mnc", ".nrrd", ".nhdr"),
    *(".hdr", ".img", ".npy", ".npz", ".mat", ".h5", ".hdf5", ".svs", ".ndpi", ".mrxs", ".scn"),
    *(".czi", ".lif", ".heic", ".heif", ".avif", ".jxl", ".psd", ".exr", ".svg", ".raw", ".tga"),
    *(".ico", ".pcx", ".j2k", ".jpx", ".dng", ".cr2", ".nef", ".sgi", ".ras", ".xcf"),
    *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z"),
)
_PLAIN_TEXT = frozenset(
    {
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".md",
        ".html",
        ".yaml",
        ".yml",
        ".toml",
        ".log",
    }
)
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"), (b"BM", "BMP"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\x93NUMPY", "NumPy"), (b"PK\x03\x04", "ZIP"),
)  # fmt: skip
_DICOM_AT = 128


def kind_of(name: str) -> FileKind:
    """What a file is by its ending."""
    lower = name.lower()
    if Path(lower).suffix in IMAGE_SUFFIXES:
        return "image"
    return "unread" if lower.endswith(_UNREAD) else "other"


def format_inside(path: Path) -> str:
    """The format of images that a file's first bytes show; empty where they show none.

    Files whose endings promise text, and those that cannot be read, are not looked into.
    """
    if path.suffix.lower() in _PLAIN_TEXT:
        return ""
    try:
        with path.open("rb") as stream:
            head = stream.read(_DICOM_AT + 4)
    except OSError:
        return ""
    if head[_DICOM_AT:] == b"DICM":
        return "DICOM"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in _BEGINNINGS if head.startswith(start)), "")
