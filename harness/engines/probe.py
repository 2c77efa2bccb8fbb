"""What the kernel says of a process and of where it runs; a module, and a program of its own.

From inside, where an entry would run, the program prints what it sees of itself as one line of
JSON and waits for the end of its input; from outside, the harness calls `seen_of` with the process's
number. The standard library alone. Nothing is judged here: `measuring.py` does.

Traps:
- What bounds a control group may stand in any of the groups above it.
- Without a control-group namespace, a container reads its group's path on the machine in /proc,
  and in /sys finds that very group as the topmost.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

UNLIMITED = 2**63 - 1
NAMESPACES = ("net", "pid", "ipc")
MIB = 1024**2
_OWN_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapAmb")  # CapBnd gives none by itself


@dataclass(frozen=True)
class Seen:
    """What is told of one process; None: it cannot be seen from here."""

    interfaces: list[str] | None = None
    """Its network's interfaces."""
    routes: int | None = None
    """Its network's routes, but for those over `lo`."""
    namespaces: dict[str, int] = field(default_factory=dict)
    """Inode numbers of its namespaces, by kind (`net`, `pid`, `ipc`): equal ones are shared."""
    is_root_read_only: bool | None = None
    """Of its root file system."""
    capabilities: int | None = None
    """Those that it has, or keeps through an exec, as bits."""
    has_no_new_privileges: bool | None = None
    """No file that it executes gives it any."""
    seccomp: int | None = None
    """2: a filter stands before its system calls."""
    user: int | None = None
    """Number of its user as the reader's namespace has it; from inside, as the one above has it."""
    memory_bytes: int | None = None
    """What it may use together with its like, swap included; `UNLIMITED` where nothing bounds it."""
    pids: int | None = None
    """How many it and its like may be, by a control group or by its user's limit; likewise."""
    has_own_tmp: bool | None = None
    """Whether a file system of its own is mounted on /tmp."""
    tmp_mib: int | None = None
    """Size of the file system that /tmp is on."""
    has_own_shm: bool | None = None
    """Whether a file system of its own is mounted on /dev/shm."""
    shm_mib: int | None = None
    """Size of the file system that /dev/shm is on."""


def seen_of(process: int | str = "self", system: Path = Path("/")) -> Seen:
    """Everything that the kernel tells of a process.

    Args:
        process: its number as this machine counts, or `self`.
        system: the root of /proc and /sys.
    """
    proc = system / "proc" / str(process)
    status = _status(proc)
    held = [status[name] for name in _OWN_CAPABILITIES if name in status]
    mounts = _mounts(proc)
    root = Path("/") if process == "self" else proc / "root"
    return Seen(
        interfaces=_interfaces(proc),
        routes=_routes(proc),
        namespaces=dict(_namespaces(proc)),
        is_root_read_only="ro" in mounts["/"] if "/" in mounts else None,
        capabilities=_any_of(held) if len(held) == len(_OWN_CAPABILITIES) else None,
        has_no_new_privileges=_flag(status, "NoNewPrivs"),
        seccomp=int(status["Seccomp"]) if "Seccomp" in status else None,
        user=_user(proc, status, is_inside=process == "self"),
        memory_bytes=_memory_bytes(proc, system),
        pids=_most_processes(proc, system, status),
        has_own_tmp="/tmp" in mounts if mounts else None,  # noqa: S108 - the entry's own
        tmp_mib=_size_mib(root / "tmp"),
        has_own_shm="/dev/shm" in mounts if mounts else None,  # noqa: S108 - likewise
        shm_mib=_size_mib(root / "dev/shm"),
    )


def _lines(file: Path) -> list[str] | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None


def _status(proc: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in _lines(proc / "status") or ())
    return {name: value.strip() for name, _, value in pairs}


def _any_of(masks: list[str]) -> int:
    found = 0
    for mask in masks:
        found |= int(mask, 16)
    return found


def _flag(status: dict[str, str], name: str) -> bool | None:
    return status[name] == "1" if name in status else None


def _user(proc: Path, status: dict[str, str], *, is_inside: bool) -> int | None:
    """The real user's number; from inside, translated to the namespace above."""
    if "Uid" not in status:
        return None
    user = int(status["Uid"].split()[0])
    if not is_inside:
        return user
    for line in _lines(proc / "uid_map") or ():
        first, above, count = map(int, line.split())
        if first <= user < first + count:
            return above + user - first
    return None


def _interfaces(proc: Path) -> list[str] | None:
    lines = _lines(proc / "net/dev")  # two lines of headings
    return None if lines is None else [line.partition(":")[0].strip() for line in lines[2:]]


def _routes(proc: Path) -> int | None:
    """IPv4 routes name their interface first, those of IPv6 last."""
    lines = _lines(proc / "net/route")
    if lines is None:
        return None
    over = [line.split()[0] for line in lines[1:]]
    over += [line.split()[-1] for line in _lines(proc / "net/ipv6_route") or ()]
    return sum(name != "lo" for name in over)


def _namespaces(proc: Path) -> Iterator[tuple[str, int]]:
    for kind in NAMESPACES:
        try:
            told = (proc / "ns" / kind).readlink().name  # pid:[4026531836]
        except OSError:  # another user's
            continue
        yield kind, int(told.partition("[")[2].rstrip("]"))


def _mounts(proc: Path) -> dict[str, set[str]]:
    """Options by mount point, of the mount and of its file system; the last mount hides others."""
    found = {}
    for line in _lines(proc / "mountinfo") or ():
        fields, _, source = line.partition(" - ")
        point, options = fields.split()[4:6]
        found[point] = {*options.split(","), *source.split()[-1].split(",")}
    return found


def _size_mib(folder: Path) -> int | None:
    try:
        seen = os.statvfs(folder)
    except OSError:  # another user's, or there is none
        return None
    return seen.f_blocks * seen.f_frsize // MIB


def _memory_bytes(proc: Path, system: Path) -> int | None:
    """Memory and swap together: one number under version 1, a sum under version 2."""
    groups = _groups(proc, system, "memory")
    memory = _least(groups, "memory.max", "memory.limit_in_bytes")
    if memory is None or not _has_swap(system):
        return memory
    swap = _least(groups, "memory.swap.max") or 0
    return min(memory + swap, _least(groups, "memory.memsw.limit_in_bytes") or 0, UNLIMITED)


def _most_processes(proc: Path, system: Path, status: dict[str, str]) -> int | None:
    """The least that bounds its processes: a control group's number, or its user's (RLIMIT_NPROC)."""
    told = [
        _least(_groups(proc, system, "pids"), "pids.max"),
        _users_processes(proc, status, is_inside=proc.name == "self"),
    ]
    return min((number for number in told if number is not None), default=None)


def _users_processes(proc: Path, status: dict[str, str], *, is_inside: bool) -> int | None:
    """The hard limit of its user's processes, which holds it if it is no root and cannot raise it.

    Where the kernel counts them on the whole machine, its own are among those (getrlimit(2)).
    """
    for line in _lines(proc / "limits") or ():
        if line.startswith("Max processes"):
            hard = line.split()[3]
            may_raise = int(status.get("CapPrm", "1"), 16) or not _user(
                proc, status, is_inside=is_inside
            )
            return UNLIMITED if may_raise or not hard.isdecimal() else int(hard)
    return None


def _groups(proc: Path, system: Path, controller: str) -> list[Path]:
    """The control group that counts for a process, and those above it that can be seen from here."""
    told = [line.split(":", 2)[1:] for line in _lines(proc / "cgroup") or ()]
    named = {name: path for names, path in told for name in names.split(",")}
    version = controller if controller in named else ""
    parts = [part for part in named.get(version, "..").split("/") if part]
    if ".." in parts:  # outside what this process may see
        return []
    top = system / "sys/fs/cgroup" / version
    chain = [top.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]
    return [group for group in chain if (group / "cgroup.procs").exists()]


def _least(groups: list[Path], *names: str) -> int | None:
    """The least that any of the groups is bounded to; None where no group can be seen."""
    told = [_lines(group / name) for group in groups for name in names]
    numbers = [int(lines[0]) for lines in told if lines and lines[0].isdecimal()]  # or `max`
    return min([*numbers, UNLIMITED]) if groups else None


def _has_swap(system: Path) -> bool:
    told = [line.split() for line in _lines(system / "proc/meminfo") or ()]
    return any(words[0] == "SwapTotal:" and words[1] != "0" for words in told)


if __name__ == "__main__":
    print(json.dumps(asdict(seen_of())), flush=True)
    sys.stdin.buffer.read()  # alive for as long as it is looked at from outside
