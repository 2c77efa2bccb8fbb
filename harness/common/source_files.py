"""Which files belong to an entry's source folder: what is hashed, reviewed, copied, built and run.

There is one list, so that nothing can be built in or run that is not hashed and reviewed. What
is left out of it is in no image and in no started copy. Byte code is left out where Python keeps
it (`__pycache__`): such a file may hold other code than the source beside it and is imported all
the same (PEP 552, unchecked hashes). Anywhere else (`helper.pyc`, `helper.so`) it is a file like
any other: hashed, and seen in the review as no text.

Traps:
- Names count as they are written: `__PyCache__` or `.GIT` is a file like any other.
- `.dockerignore` and its like ask a builder to leave files out of an image; they are never handed
  to one.
- Links, pipes and sockets are hashed by nobody and would be followed by everybody: refused.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.common.errors import EntryInvalid

LEFT_OUT = frozenset(
    {
        *("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"),
        *(".git", ".DS_Store"),
        *(".dockerignore", "Dockerfile.dockerignore", ".containerignore"),
    }
)
"""Names of files and folders, at any depth, that are no part of a source folder."""
SHARED_SOURCES = (
    *("Dockerfile.gpu", "requirements.lock", "harness/__init__.py", "harness/contract"),
    *("baselines/__init__.py", "baselines/kit"),
)
"""What every source folder stands on: all that is delivered into its image beside its own files."""
MAX_FILES = 10_000
MAX_DEPTH = 64


@dataclass(frozen=True)
class Listing:
    """What a source folder holds."""

    files: tuple[Path, ...]
    """Its regular files, sorted by path."""
    problems: tuple[str, ...]
    """Why it cannot be taken as it is: one sentence for each thing that is no plain file."""


def source_files(root: Path) -> list[Path]:
    """Files of a source folder (or `root` itself, if it is a file), sorted by path.

    Raises:
        EntryInvalid: the folder holds something that can be neither hashed nor reviewed.
    """
    if root.is_file():
        return [root]
    found = list_source(root)
    if found.problems:
        raise EntryInvalid(
            "; ".join(found.problems),
            where=str(root),
            fix="a source folder holds plain files alone, under plain names",
        )
    return list(found.files)


def list_source(root: Path) -> Listing:
    """Everything in a source folder, and what is wrong with it; links are not followed."""
    files, problems = [], []
    for count, (path, depth) in enumerate(_walk(root)):
        name = path.relative_to(root).as_posix()
        if count >= MAX_FILES:
            problems.append(f"it holds more than {MAX_FILES} files")
            break
        if problem := _problem_of(path, name, depth):
            problems.append(problem)
        else:
            files.append(path)
    problems += _same_but_for_case(root, files)
    return Listing(tuple(sorted(files)), tuple(sorted(problems)))


def copy_source(root: Path, target: Path) -> None:
    """Copy the listed files to `target`, a folder that is not there yet.

    Raises:
        EntryInvalid: as `source_files`.
    """
    files = source_files(root)
    target.mkdir(parents=True)
    for path in files:
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy, follow_symlinks=False)


def _walk(root: Path) -> Iterator[tuple[Path, int]]:
    """Everything below `root` that is no folder, and its depth; of folders those past the bound."""
    rest = [(root, 1)]
    while rest:
        folder, depth = rest.pop()
        try:
            items = sorted(os.scandir(folder), key=lambda item: item.name)
        except OSError as error:
            raise EntryInvalid(
                f"the folder cannot be read: {error.strerror}", where=str(folder)
            ) from error
        for item in items:
            if item.name in LEFT_OUT:
                continue
            if item.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                rest.append((Path(item.path), depth + 1))
            else:
                yield Path(item.path), depth


def _problem_of(path: Path, name: str, depth: int) -> str | None:
    """Why something in a folder is no plain file under a plain name."""
    if not name.isprintable():  # surrogates too: what was not UTF-8
        return f"the name {name!a} is not plain text"
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"{name} is a link"
    if stat.S_ISDIR(mode):
        return f"folders lie more than {depth} deep"
    if not stat.S_ISREG(mode):
        return f"{name} is neither a file nor a folder"
    return None


def _same_but_for_case(root: Path, files: list[Path]) -> Iterator[str]:
    """Names that are one file on a system that does not tell case apart."""
    seen: dict[str, str] = {}
    for path in sorted(files):
        name = path.relative_to(root).as_posix()
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            yield f"{other} and {name} differ in case alone"
