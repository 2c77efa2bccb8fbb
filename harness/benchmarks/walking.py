"""Every file under a folder, once, in one order: what surveys of packs and of downloads begin with.

Links are followed wherever they lead, as if their target lay in their place, so that a split may
be a link and two names for one file are seen as identical images. A link back to a folder that it
lies in holds nothing new: it is counted and not followed. What cannot be followed, listed, or
named in UTF-8 is a problem that names it, found before anything is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.benchmarks.litter import is_litter
from harness.benchmarks.problems import Problem

MAX_FOLDERS_DEEP = 64


@dataclass(frozen=True)
class Walk:
    """What lies under a folder."""

    files: tuple[PurePosixPath, ...]
    """Regular files, relative to the folder, folder by folder, each folder's sorted by name."""
    litter: tuple[str, ...]
    """Files and folders that are nobody's data; what lies in such a folder is not looked at."""
    returning: tuple[str, ...]
    """Links to a folder that they lie in."""
    problems: tuple[Problem, ...]
    """Folders that cannot be listed (`folder`); what can be neither followed nor named
    (`unusable-files`)."""


@dataclass
class _Walking:
    root: Path
    litter: list[str] = field(default_factory=list)
    returning: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def unusable(self, text: str) -> None:
        self.problems.append(Problem("unusable-files", text))


def walk(root: Path) -> Walk:
    """Walk a folder; nothing in it is opened."""
    walking = _Walking(root)
    files = tuple(_files(walking, PurePosixPath(), (os.path.realpath(root),)))
    return Walk(files, tuple(walking.litter), tuple(walking.returning), tuple(walking.problems))


def _files(
    walking: _Walking, folder: PurePosixPath, above: tuple[str, ...]
) -> Iterator[PurePosixPath]:
    """The files of a folder, then those of its folders.

    Args:
        walking: what is being gathered.
        folder: relative to the root.
        above: where this folder and those around it really lie.
    """
    try:
        with os.scandir(walking.root / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        walking.problems.append(
            Problem("folder", f"{walking.root / folder}: cannot be listed ({error.strerror})")
        )
        return
    inner: list[PurePosixPath] = []
    for entry in found:
        relative = folder / entry.name
        if entry.name.endswith(".icloud"):
            walking.unusable(f"{_named(relative)}: only in iCloud, not on this disk: download it")
        elif is_litter(entry.name):
            walking.litter.append(_named(relative))
        elif not _is_utf8(entry.name):
            walking.unusable(
                f"{_named(relative)}: its name is not UTF-8, which records and tables are written"
                " in: rename it (convmv -f latin1 -t utf8 --notest -r FOLDER)"
            )
        elif kind := _kind(entry, relative, walking):
            if kind == "folder":
                inner.append(relative)
            else:
                yield relative
    for relative in inner:
        yield from _inner(walking, relative, above)


def _inner(
    walking: _Walking, relative: PurePosixPath, above: tuple[str, ...]
) -> Iterator[PurePosixPath]:
    real = os.path.realpath(walking.root / relative)
    if any(place == real or place.startswith(real.rstrip(os.sep) + os.sep) for place in above):
        walking.returning.append(str(relative))
    elif len(above) > MAX_FOLDERS_DEEP:
        walking.problems.append(
            Problem("folder", f"{relative}: more than {MAX_FOLDERS_DEEP} folders deep")
        )
    else:
        yield from _files(walking, relative, (*above, real))


def _kind(entry: os.DirEntry[str], relative: PurePosixPath, walking: _Walking) -> str:
    """`folder`, `file`, or nothing where it is neither."""
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    if entry.is_file(follow_symlinks=False):
        return "file"
    try:
        mode = entry.stat().st_mode
    except OSError as error:  # a link to nothing, or round in a circle
        target = f" to {Path(entry.path).readlink()}" if entry.is_symlink() else ""
        walking.unusable(f"{relative}: a link{target} that leads nowhere ({error.strerror})")
        return ""
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    walking.unusable(f"{relative}: a pipe, socket or device, not a file")
    return ""


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(relative: PurePosixPath) -> str:
    """The path with bytes that are no UTF-8 written out, so that the text can be shown and kept."""
    return os.fsencode(str(relative)).decode("utf-8", "backslashreplace")
