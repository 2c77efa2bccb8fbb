"""The evidence of a suite's run: one file that holds each member's own evidence, whole."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from harness.metrics.errors import TruthMismatch
from harness.metrics.evidence import Evidence

_EPOCH = (1980, 1, 1, 0, 0, 0)
_SUFFIX = ".evidence.npz"


def save_members(path: Path, members: Mapping[str, Evidence]) -> None:
    """Write a file beside which nothing is needed; equal evidence gives equal bytes.

    Args:
        path: the file; its folder exists.
        members: by name of the member, its evidence.
    """
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder,
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive,  # its parts are packed already
    ):
        for name in sorted(members):
            part = Path(folder) / "part.npz"
            members[name].save(part)
            archive.writestr(zipfile.ZipInfo(f"{name}{_SUFFIX}", _EPOCH), part.read_bytes())


def load_members(path: Path) -> dict[str, Evidence]:
    """By name of the member, the evidence that `save_members` wrote.

    Raises:
        TruthMismatch: the file is damaged or of another format.
        FileNotFoundError: there is no such file.
    """
    found: dict[str, Evidence] = {}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bmad-evidence-") as folder,
            zipfile.ZipFile(path) as archive,
        ):
            for info in archive.infolist():
                name = info.filename.removesuffix(_SUFFIX)
                # Packed, or twice, it would be larger than the file that was bounded.
                is_whole = info.compress_type == zipfile.ZIP_STORED and name not in found
                if name == info.filename or not is_whole:
                    raise _not_a_suite(path)
                part = Path(folder) / "part.npz"
                part.write_bytes(archive.read(info))
                found[name] = Evidence.load(part)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _not_a_suite(path) from error
    return found


def _not_a_suite(path: Path) -> TruthMismatch:
    return TruthMismatch(
        "the file is damaged, or is not the evidence of a suite's run",
        where=str(path),
        fix="restore it from a copy, or run the entry again",
    )
