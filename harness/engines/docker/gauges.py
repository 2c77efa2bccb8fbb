"""What this machine sees of a running container from outside: its memory, kills for memory, full folders.

Where the harness itself runs in a container, the engine's numbers are other processes' there: the
name of a control group holds the container's id, and what does not is never looked at.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from harness.engines.base import Running
from harness.engines.memory_events import MemoryEvents, events_of, group_folders
from harness.engines.probe import Seen, seen_of

SAMPLE_SECONDS = 1.0  # between two looks at the gauges
CONFINED_SECONDS = 1.0
FULL_BYTES = 64 * 1024  # less than this is no room: a file system keeps a last page for itself
# The bounded file systems that an entry may write to (`options.py`).
WATCHED = ("/dev/shm", "/tmp")  # noqa: S108 - the container's own


def seen_when_confined(running: Running) -> Seen:
    """What the kernel says of a container's main process, once all that holds it is in place.

    The filter of system calls comes last, a moment after the engine calls the container started.

    Returns:
        Nothing where the process cannot be seen from here, or has ended.
    """
    seen, deadline = Seen(), time.monotonic() + CONFINED_SECONDS
    while (process := running.main_process) is not None and seen.seccomp != 2:
        now = seen_of(process)
        if not now.namespaces or time.monotonic() > deadline:
            break
        seen = now
        time.sleep(0.01)
    return seen


class MemoryGauge:
    """The container's peak memory, and its kills for memory, from its control group.

    Page cache counts too: that is what the kernel calls the group's memory.

    Args:
        process: a process of the container, as the engine counts.
        container: the container's id. The group's name holds it; where it does not, the number
            is another process's.
        system: the root of /proc and /sys.
    """

    # Version 2; version 1; version 2 before Linux 5.19, where only the moment's value is told.
    _FILES = ("memory.peak", "memory.max_usage_in_bytes", "memory.current")

    def __init__(self, process: int, container: str, system: Path = Path("/")) -> None:
        self.peak_bytes: int | None = None
        self.events: MemoryEvents | None = None
        groups = [folder for folder in group_folders(process, system) if container in str(folder)]
        self.is_its_own = bool(groups)
        self._file = next(self._files(groups), None)
        self._group = next((folder for folder in groups if events_of(folder)), None)
        self._due = 0.0

    def _files(self, groups: list[Path]) -> Iterator[Path]:
        for folder in groups:
            yield from filter(Path.exists, (folder / name for name in self._FILES))

    def sample(self, *, is_due: bool = False) -> bool:
        """Read the gauge, at most once a second unless it is due; whether it was read."""
        now = time.monotonic()
        if now < self._due and not is_due:
            return False
        self._due = now + SAMPLE_SECONDS
        if self._group is not None and (events := events_of(self._group)):
            self.events = events
        if self._file is not None:
            try:
                self.peak_bytes = max(
                    self.peak_bytes or 0, int(self._file.read_text(encoding="utf-8"))
                )
            except (OSError, ValueError):  # the group went with the container
                self._file = None
        return True


class FolderGauge:
    """Which of the container's bounded folders were ever seen full.

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
