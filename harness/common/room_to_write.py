"""Whether a folder can be written and has room, found out before work of hours ends in it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
LEAST_ROOM = 1024**2
"""Bytes: the record, the evidence and the pictures of a small run; how large one gets nobody knows yet."""


def writing_problem(folder: Path) -> str | None:
    """Why nothing can be written into a folder, which is made where it is missing; None: it can.

    Room is taken and given back: what a quota leaves is in no table of free space.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, LEAST_ROOM)
    except (FileExistsError, NotADirectoryError):
        return "it, or a folder above it, is a file"
    except OSError as error:
        if error.errno not in DISK_FULL:
            return str(error.strerror)
        return f"the disk is full ({free_mebibytes(folder)} MiB free)"
    return None


def access_problem(folder: Path) -> str | None:
    """Why nothing can be made in a folder, or in what is there of its path; nothing is tried.

    Returns:
        A sentence that names the place; None: nothing speaks against it.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        return f"{there} is no folder"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} may not be written"


def free_mebibytes(folder: Path) -> int:
    """What is free on the disk of a folder, or of what is there of its path."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free // 1024**2
