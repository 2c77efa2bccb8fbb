"""Walking a download: every file once, in one order, whatever the file system says first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from harness.benchmarks.prepared_files import REPORT_NAME
from harness.benchmarks.problems import Problem
from harness.benchmarks.walking import Walk, walk
from harness.common.errors import DataMissing

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")
_BLOCK = 1 << 20

Key = TypeVar("Key")


@dataclass(frozen=True, order=True)
class RawFile:
    """One file of a download."""

    relative: PurePosixPath
    """Path below the raw folder."""
    path: Path
    """Where it lies."""

    @property
    def name(self) -> str:
        """File name."""
        return self.relative.name

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders below the raw folder, blanks at their ends cut off."""
        return tuple(part.strip() for part in self.relative.parts[:-1])


@dataclass(frozen=True)
class Listing:
    """What lies in the raw folders."""

    files: tuple[RawFile, ...]
    """Sorted by relative path, then by raw folder."""
    problems: tuple[Problem, ...]
    """Folders that cannot be listed, files that cannot be named or followed, packs of our own."""
    litter: int = 0
    """Files and folders of `litter.py`."""

    def ending(self, *suffixes: str) -> Iterator[RawFile]:
        """Files whose names end so; case makes no difference."""
        return (file for file in self.files if file.name.lower().endswith(suffixes))

    @property
    def archives(self) -> tuple[str, ...]:
        """Archives that may still have to be unpacked."""
        return tuple(str(file.relative) for file in self.ending(*_ARCHIVES))


def list_raw_files(roots: Iterable[Path]) -> Listing:
    """Every file below the folders (`walking.walk`).

    A pack that was prepared inside one of them is a problem: its images would be read again as raw.

    Raises:
        DataMissing: a folder is not there.
    """
    files: list[RawFile] = []
    problems: list[Problem] = []
    litter = 0
    for root in roots:
        walked = walk_raw(root)
        files += (RawFile(relative, root / relative) for relative in walked.files)
        problems += walked.problems
        problems += own_output(walked)
        litter += len(walked.litter)
    return Listing(tuple(sorted(files)), tuple(problems), litter)


def walk_raw(root: Path) -> Walk:
    """What lies below a raw folder.

    Raises:
        DataMissing: it is not there, or is a file.
    """
    if root.is_file():
        raise DataMissing(
            "a file, not a folder", where=str(root), fix="unpack it, and give its folder: --raw DIR"
        )
    if not root.is_dir():
        raise DataMissing(
            "there is no such folder", where=str(root), fix="give the download with --raw DIR"
        )
    return walk(root)


def own_output(walked: Walk) -> Iterator[Problem]:
    """Packs that lie inside a raw folder; the raw folder itself may be one."""
    for relative in walked.files:
        if relative.name == REPORT_NAME and len(relative.parts) > 1:
            yield Problem(
                "own-output",
                f"{relative.parent}: a pack that harness.prepare made lies in the raw folder: move it",
            )


def one_each(
    found: Mapping[Key, list[RawFile]],
) -> tuple[dict[Key, RawFile], list[Problem]]:
    """One file for each key: the first of several with equal bytes.

    Returns:
        The files, and a problem for every key with files that differ.
    """
    chosen, problems = {}, []
    for key, files in found.items():
        first, *others = sorted(files)
        chosen[key] = first
        different = [other for other in others if not have_equal_bytes(first.path, other.path)]
        if different:
            names = ", ".join(str(file.relative) for file in (first, *different))
            problems.append(Problem("duplicate", f"different files for one thing: {names}"))
    return chosen, problems


def have_equal_bytes(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes."""
    if first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as one, second.open("rb") as two:
        while block := one.read(_BLOCK):
            if block != two.read(_BLOCK):
                return False
    return True


def not_unpacked(listing: Listing) -> str:
    """A hint at archives that lie among the raw files; empty where there are none."""
    if not listing.archives:
        return ""
    shown = ", ".join(listing.archives[:3]) + (", …" if len(listing.archives) > 3 else "")
    return f"unpack the archives in the raw folder first: {shown}"
