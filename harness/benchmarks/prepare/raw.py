"""Walking a download: every file once, in one order, whatever the file system says first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from harness.benchmarks.problems import Problem
from harness.common.errors import DataMissing

_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
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
    """Folders that cannot be listed."""

    def ending(self, *suffixes: str) -> Iterator[RawFile]:
        """Files whose names end so; case makes no difference."""
        return (file for file in self.files if file.name.lower().endswith(suffixes))

    @property
    def archives(self) -> tuple[str, ...]:
        """Archives that may still have to be unpacked."""
        return tuple(str(file.relative) for file in self.ending(*_ARCHIVES))


def list_raw_files(roots: Iterable[Path]) -> Listing:
    """Every file below the folders; links are followed, each real folder once.

    Raises:
        DataMissing: a folder is not there.
    """
    files: list[RawFile] = []
    problems: list[Problem] = []
    for root in roots:
        if not root.is_dir():
            raise DataMissing(
                "there is no such folder", where=str(root), fix="give the download with --raw DIR"
            )
        files += _walk(root, problems)
    return Listing(tuple(sorted(files)), tuple(problems))


def _walk(root: Path, problems: list[Problem]) -> Iterator[RawFile]:
    def note(error: OSError) -> None:
        problems.append(Problem("folder", f"{error.filename}: cannot be listed ({error.strerror})"))

    seen: set[str] = set()
    for folder, inner, names in os.walk(root, onerror=note, followlinks=True):
        inner[:] = sorted(name for name in inner if not _is_litter(name))
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        relative = PurePosixPath(Path(folder).relative_to(root).as_posix())
        yield from (
            RawFile(relative / name, Path(folder, name))
            for name in sorted(names)
            if not _is_litter(name)
        )


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


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
