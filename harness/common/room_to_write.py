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
    """Why nothing could be written into a folder, or into what is there of its path; None: it can.

    Nothing is left there, not even the folder. Room is taken and given back: what a quota leaves is
    in no table of free space.
    """
    there = _there(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            os.posix_fallocate(probe.fileno(), 0, LEAST_ROOM)
    except OSError as error:
        if error.errno not in DISK_FULL:
            return str(error.strerror)
        return f"the disk is full ({free_mebibytes(folder)} MiB free)"
    return None


def access_problem(folder: Path) -> str | None:
    """The same by the permissions alone, for many folders; nothing is tried."""
    there = _there(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} may not be written"


def free_mebibytes(folder: Path) -> int:
    """What is free on the disk of a folder, or of what is there of its path."""
    return shutil.disk_usage(_there(folder)).free // 1024**2


def _there(folder: Path) -> Path:
    """A folder, or the last part of its path that is there; a link that leads nowhere is."""
    return next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
