"""The identity of an entry's source: hashes over its files, and over what every baseline stands on.

Trap: file systems differ in order, time stamps and permissions, so every hash here
is over sorted relative POSIX paths and contents alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from harness.common.paths import REPOSITORY
from harness.common.source_files import SHARED_SOURCES, source_files
from harness.common.toml_text import read_toml
from harness.records.record import content_hash

ENTRY_FILE = "entry.toml"
Digests = Mapping[str, str]
"""SHA-256 (hex) of each file by its relative path, wherever they were listed: on a disk or in git."""


def list_contents(roots: Iterable[Path], *, base: Path) -> dict[str, str]:
    """The listing of every source file under `roots`.

    Raises:
        EntryInvalid: a folder holds what is no plain file (`harness.common.source_files`).
    """
    return {
        path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for root in roots
        for path in source_files(root)
    }


def tree_hash(roots: Iterable[Path], *, base: Path) -> str:
    """`sha256:…` over the relative path and content of every file under `roots`.

    Raises:
        EntryInvalid: a folder holds what is no plain file.
    """
    return listing_hash(list_contents(roots, base=base))


def listing_hash(listing: Digests) -> str:
    """`sha256:…` over the relative path and content of every file of a listing."""
    digest = hashlib.sha256()
    for path in sorted(listing, key=PurePosixPath):
        digest.update(f"{path}\0{listing[path]}\n".encode())
    return "sha256:" + digest.hexdigest()


@cache
def shared_sources() -> dict[str, str]:
    """The listing of what every source folder stands on."""
    return list_contents((REPOSITORY / name for name in SHARED_SOURCES), base=REPOSITORY)


def folder_identity(folder: Path) -> str:
    """Identity of a source folder: its own files and the shared sources below them.

    Raises:
        EntryInvalid: the folder holds what is no plain file.
    """
    return identity_of(list_contents([folder], base=folder), shared_sources())


def identity_of(folder: Digests, shared: Digests) -> str:
    """Identity of a source folder by the listings of its files and of what it stands on."""
    return "folder:" + content_hash(
        {"folder": listing_hash(folder), "shared": listing_hash(shared)}
    )


def submitted_folder_hash(folder: Path) -> str:
    """Hash of a submitted folder's own files: what a reviewer looked at."""
    return tree_hash([folder], base=folder)


def method_hash(folder: Path) -> str:
    """Hash of what a folder does, whatever it calls itself (`method_of`)."""
    return method_of(list_contents([folder], base=folder), read_toml(folder / ENTRY_FILE))


def method_of(folder: Digests, document: Mapping[str, Any]) -> str:
    """Hash of what a folder does, whatever it calls itself.

    Every file but entry.toml counts, and of entry.toml all but its name and description.

    Args:
        folder: its listing.
        document: its entry.toml.
    """
    files = {path: content for path, content in folder.items() if path != ENTRY_FILE}
    entry = document.get("entry", {})
    told = {name: entry.get(name) for name in ("model", "maps", "trains")}
    settings = {
        name: table
        for name, table in document.items()
        if name not in ("entry", "deviations", "supervision")
    }
    return content_hash([listing_hash(files), told, settings])
