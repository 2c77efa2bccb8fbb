"""The manifest: from which raw file each image of a pack comes, one JSON object a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Detail

# Files above this length are stated by their length alone: hashing 700 GB of slides takes hours.
HASHED_BYTES = 64 << 20


@dataclass(frozen=True)
class ManifestRow:
    """One image."""

    key: str
    """Path in the pack."""
    split: str
    """`train`, `valid` or `test`."""
    is_anomalous: bool
    """Label."""
    group: str | None
    """Patient, volume or slide."""
    subclass: str | None
    """Kind of anomaly."""
    source: str
    """Key of the image in its source, such as `00003_60`."""
    files: tuple[str, ...]
    """Raw files, relative to the raw folder."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    pixel_sha256: str
    """Hash over the decoded pixels."""
    mask_key: str | None
    """Path of the mask in the pack."""
    mask_sha256: str
    """Hash over the mask; empty without one."""
    details: Mapping[str, Detail]
    """Slice, orientation, position."""

    def as_line(self) -> str:
        """One line of the manifest."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


def row_from(document: Mapping[str, Any]) -> ManifestRow:
    """The row of a parsed line."""
    return ManifestRow(**{**document, "files": tuple(document["files"])})


@dataclass(frozen=True)
class Source:
    """One raw file that was read."""

    file: str
    """Path relative to the raw folder."""
    length: int
    """Bytes."""
    sha256: str
    """Hash; empty for files above `HASHED_BYTES`."""


def source_of(file: RawFile) -> Source:
    """Length and hash of a raw file."""
    length = file.path.stat().st_size
    digest = ""
    if length <= HASHED_BYTES:
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Source(str(file.relative), length, digest)


def sources_csv(sources: Iterable[Source]) -> str:
    """The file's text, sorted, each raw file once."""
    rows = sorted({(source.file, source.length, source.sha256) for source in sources})
    lines = [
        f"{json.dumps(name, ensure_ascii=False)},{size},{digest}" for name, size, digest in rows
    ]
    return "\n".join(["file,bytes,sha256", *lines]) + "\n"
