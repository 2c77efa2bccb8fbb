"""The identity of an entry's source: hashes over its files, and over what every baseline stands on.

Trap: file systems differ in order, time stamps and permissions, so every hash here
is over sorted relative POSIX paths and contents alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from harness.common.paths import REPOSITORY
from harness.common.source_files import source_files
from harness.common.toml_text import read_toml
from harness.records.record import content_hash

# Everything beside an entry's own folder that decides what its program does.
SHARED_SOURCES = ("Dockerfile.gpu", "requirements.lock", "harness/contract", "baselines/kit")


def tree_hash(roots: Iterable[Path], *, base: Path) -> str:
    """`sha256:…` over the relative path and content of every file under `roots`.

    Raises:
        EntryInvalid: a folder holds what is no plain file (`harness.common.source_files`).
    """
    digest = hashlib.sha256()
    for root in roots:
        for path in source_files(root):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(base).as_posix()}\0{content}\n".encode())
    return "sha256:" + digest.hexdigest()


@cache
def shared_sources_hash() -> str:
    """Hash of what every baseline stands on: Dockerfile.gpu, lock file, contract and kit."""
    return tree_hash((REPOSITORY / name for name in SHARED_SOURCES), base=REPOSITORY)


def folder_identity(folder: Path) -> str:
    """Identity of a source folder: its own files and the shared sources below them."""
    own = tree_hash([folder], base=folder)
    return "folder:" + content_hash({"folder": own, "shared": shared_sources_hash()})


def submitted_folder_hash(folder: Path) -> str:
    """Hash of a submitted folder's own files: what a reviewer looked at."""
    return tree_hash([folder], base=folder)


def method_hash(folder: Path) -> str:
    """Hash of what a folder does, whatever it calls itself.

    Every file but entry.toml counts, and of entry.toml all but its name and description.
    """
    document = read_toml(folder / "entry.toml")
    files = [path for path in source_files(folder) if path != folder / "entry.toml"]
    entry = document.get("entry", {})
    told = {name: entry.get(name) for name in ("model", "maps", "trains")}
    settings = {
        name: table for name, table in document.items() if name not in ("entry", "deviations")
    }
    return content_hash([tree_hash(files, base=folder), told, settings])
