"""Who owns what an engine leaves on the machine, and whether that owner still lives.

A mark names one process for ever: boot, process namespace, process id and start time. A
process id alone comes back after a reboot or a wrap-around. A mark of another namespace
(a harness in a container of its own) cannot be judged and counts as alive.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")


def _boot() -> str:
    """First eight digits of this boot's id; `none` where the system has no /proc."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "none"


def _namespace() -> str:
    """Number of this process's id namespace."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    except OSError:
        return "0"


def _start_time(process: int) -> str | None:
    """Clock ticks from boot to the process's start; None = there is no such process."""
    try:
        return (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        if _PROC.joinpath("self").exists():
            return None
    try:  # no /proc: the id alone must do
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "0"


def owner_mark(process: int | None = None) -> str:
    """The mark of this process, or of another that lives: letters, digits and dots only."""
    process = process or os.getpid()
    return f"{_boot()}.{_namespace()}.{process}.{_start_time(process)}"


def is_owner_gone(mark: str) -> bool:
    """True when the process that made this mark has certainly ended."""
    parts = mark.split(".")
    if len(parts) != 4 or not parts[2].isdecimal():
        return False
    boot, namespace, process, start = parts
    if boot != _boot():
        return True
    return namespace == _namespace() and _start_time(int(process)) != start
