"""Which processes of this machine are a container's, where no control group of its own says so."""

from __future__ import annotations

from pathlib import Path


def names_container(process: int, container: str) -> bool:
    """Whether a process's mounts name a container: engines mount files of theirs from its folder.

    Where the harness itself runs in a container, the engine's numbers are other processes' there.

    Args:
        process: a process of the container, as the engine counts.
        container: the container's id.
    """
    try:
        return container.encode() in Path(f"/proc/{process}/mountinfo").read_bytes()
    except OSError:
        return False


def pid_namespace(process: int) -> int | None:
    """Inode number of a process's pid namespace; None where it may not be looked at."""
    try:
        return Path(f"/proc/{process}/ns/pid").stat().st_ino
    except OSError:
        return None
