"""What this machine sees of a running container from outside: its memory, and kills for memory.

Where the harness itself runs in a container, the engine's numbers are other processes' there: the
name of a control group holds the container's id, and what does not is never looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.engines.base import Running
from harness.engines.memory_events import MemoryEvents, events_of, group_folders
from harness.engines.probe import Seen, seen_of

SAMPLE_SECONDS = 1.0  # between two looks at the gauges
CONFINED_SECONDS = 1.0


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
