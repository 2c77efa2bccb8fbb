"""What the kernel counts of memory that ran out: in one control group, and on the whole machine.

Under version 1 the counts stand in `memory.oom_control` and `memory*.failcnt`, under version 2 in
`memory.events`. Trap: newer kernels (seen with 6.18) leave version 1's failcnt at 0; the group's peak,
beside its limit, tells the same. A kill says nothing of whose fault it was: a group that never met its own limit
was killed because somebody above it, or the machine, had no memory left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHARGE_BYTES = 1024**2  # the kernel counts in steps; a group this near its limit has met it


@dataclass(frozen=True)
class MemoryEvents:
    """Counts since the group was made."""

    kills: int
    """Processes of the group that were killed for memory."""
    limit_hits: int
    """How often it met its own limit, those included that went well; at least that it did."""


def group_folders(process: int | str, system: Path = Path("/")) -> Iterator[Path]:
    """Where the kernel tells of a process's memory group; version 1 and 2, those that are there.

    Not version 1's topmost group: it counts for the whole machine.

    Args:
        process: its number as this machine counts, or `self`.
        system: the root of /proc and /sys.
    """
    with contextlib.suppress(OSError):
        for line in (system / f"proc/{process}/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers in ("", "memory"):
                folder = system / "sys/fs/cgroup" / controllers / group.lstrip("/")
                if folder.is_dir() and (group.strip("/") or not controllers):
                    yield folder


def events_of(folder: Path) -> MemoryEvents | None:
    """The counts of a group; None where it has none, or is gone."""
    new = _counts(folder / "memory.events")
    if "oom_kill" in new:
        return MemoryEvents(new["oom_kill"], new.get("oom", 0) + new.get("max", 0))
    old = _counts(folder / "memory.oom_control")  # before Linux 4.13, kills are not counted there
    if "oom_kill" not in old:
        return None
    # Memory, memory with swap (met first, where both limits are one), and the kernel's own.
    hits = sum(_number(file) or 0 for file in folder.glob("memory*.failcnt"))
    peak = _number(folder / "memory.max_usage_in_bytes")
    limit = _number(folder / "memory.limit_in_bytes")
    if not hits and peak is not None and limit is not None:
        hits = int(peak >= limit - CHARGE_BYTES)
    return MemoryEvents(old["oom_kill"], hits)


class OwnMemory:
    """Kills for memory among this harness's own processes, since this was made.

    No engine holds them to a limit of their own; the job or the container that the harness runs in
    may, and in the end the machine does.

    Args:
        system: the root of /proc and /sys.
    """

    def __init__(self, system: Path = Path("/")) -> None:
        self._system = system
        self._group = next(
            (each for each in group_folders("self", system) if events_of(each)), None
        )
        self._before = self._counted()

    def kills(self, *, is_killed: bool) -> int:
        """How many are known of.

        Args:
            is_killed: one of ours ended by KILL, which we did not send: then the machine's count
                speaks of it. Else only our own group's does, because others run here too.
        """
        group, machine = (now - was for now, was in zip(self._counted(), self._before, strict=True))
        return group or int(is_killed and machine > 0)

    def _counted(self) -> tuple[int, int]:
        events = events_of(self._group) if self._group is not None else None
        return (events.kills if events else 0, kills_on_this_machine(self._system) or 0)


def kills_on_this_machine(system: Path = Path("/")) -> int | None:
    """Processes that the kernel has killed for memory since it started; None where it does not tell."""
    return _counts(system / "proc/vmstat").get("oom_kill")


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _counts(file: Path) -> dict[str, int]:
    """A file of `name count` lines."""
    try:
        pairs = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    except (OSError, ValueError):
        return {}
