"""What this machine sees of a running container's bounded folders from outside: whether they are full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FULL_BYTES = 64 * 1024  # less than this is no room: a file system keeps a last page for itself
# The file systems that an entry may write to; engines' tables of options have them.
WATCHED = ("/dev/shm", "/tmp")  # noqa: S108 - the container's own


class FolderGauge:
    """Which of a container's bounded folders were ever seen full.

    Held by descriptors that open no file: a file system can be asked through them also after the
    container has ended, and stays for so long. Nothing of the image's own choosing is followed.

    Args:
        process: the container's first process, as this machine counts.
        system: the root of /proc.
    """

    def __init__(self, process: int, system: Path = Path("/")) -> None:
        self.full: tuple[str, ...] = ()
        self._descriptors: dict[str, int] = {}
        for name in WATCHED:
            with contextlib.suppress(OSError):  # another user's container, or no such folder
                self._descriptors[name] = _opened(system / f"proc/{process}/root", name)

    def sample(self) -> None:
        """Look once."""
        for name, descriptor in self._descriptors.items():
            if name not in self.full and _is_full(descriptor):
                self.full = (*self.full, name)

    def close(self) -> None:
        """Look a last time, and let go."""
        self.sample()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}


def _opened(root: Path, name: str) -> int:
    """A folder below a root, no link followed on the way."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    here = os.open(root, flags)
    for part in name.strip("/").split("/"):
        above = here
        try:
            here = os.open(part, flags | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return here


def _is_full(descriptor: int) -> bool:
    try:
        seen = os.fstatvfs(descriptor)
    except OSError:
        return False
    return seen.f_blocks > 0 and seen.f_bavail * seen.f_frsize < FULL_BYTES
