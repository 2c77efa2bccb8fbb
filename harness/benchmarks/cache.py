"""The cache folder, and the two ways to write into it so that a kill leaves nothing half-done."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from harness.common.errors import EnvironmentFault
from harness.common.room_to_write import writing_problem


def default_cache() -> Path:
    """`$BMAD_CACHE`, else the user's cache folder of this platform."""
    stated = os.environ.get("BMAD_CACHE")
    return Path(stated).expanduser() if stated else platformdirs.user_cache_path("bmad", False)


def check_cache(cache: Path) -> None:
    """See that the cache can be written, before work of hours ends in it.

    Raises:
        EnvironmentFault: it cannot.
    """
    if problem := writing_problem(cache):
        raise EnvironmentFault(
            f"the cache folder cannot be written: {problem}",
            where=str(cache),
            fix="give another folder with BMAD_CACHE=DIR",
        )
    cache.mkdir(parents=True, exist_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either wholly there or not at all; the last of several writers wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(0o644)  # mkstemp makes 0600
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def make_folder_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Make a folder that is either wholly there or not at all.

    Several processes may call this at once: each fills a folder of its own, the first to finish
    gives it the name, the others drop theirs. No lock, so that it also holds on network file
    systems.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fill(temporary)
        temporary.chmod(0o755)  # mkdtemp makes 0700, which a container's user cannot enter
        _take_name(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _take_name(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        # Somebody else was first: renaming onto a filled folder fails.
        if not target.is_dir():
            raise
