"""What stands between an entry and this machine: judged by what is seen from inside and from outside.

A program of the harness's own (`probe.py`) is started where and how the entry would be, and looked
at while it waits (`Engine.measure`). What this machine's kernel says of its main process comes
first; what the program says of itself stands in where that cannot be seen (the harness is in a
container itself, or the process is another user's), and only where its interpreter is no stranger's
(`Engine.is_word_taken`).

Trap: what cannot be seen from either side does not hold.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from harness.engines import probe
from harness.engines.probe import MIB, Seen
from harness.records.isolation import MeasuredIsolation

LINE_BYTES = 64 * 1024  # what the probe says at most
SIZE_TOLERANCE_MIB = 1  # a file system is as large as its blocks make it
# The kernel gives these to every new network namespace where their modules are loaded
# (net.core.fb_tunnels_only_for_init_net); they are down, and no route leads over them.
FALLBACK_TUNNELS = frozenset({
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "sit0", "ip6_vti0", "ip6tnl0", "ip6gre0",
})  # fmt: skip
# Inode numbers of the machine's first namespaces: fixed by the kernel (include/linux/proc_ns.h).
FIRST = {"pid": 0xEFFFFFFC, "ipc": 0xEFFFFFFF}


@dataclass(frozen=True)
class AskedBounds:
    """What is to hold an entry, by its limits."""

    memory_mib: int
    """RAM, swap included."""
    pids: int
    """Processes and threads."""
    tmp_mib: int
    """Size of /tmp."""
    shm_mib: int
    """Size of /dev/shm."""


def probe_source() -> str:
    """The probe as a program, for `python -c`."""
    return Path(probe.__file__).read_text("utf-8")


def seen_from_inside(line: bytes) -> Seen:
    """What the probe's line says.

    Raises:
        ValueError: it is not the probe's.
    """
    told = json.loads(line)
    try:
        return Seen(**{each.name: told[each.name] for each in fields(Seen)})
    except (LookupError, TypeError) as error:
        raise ValueError(f"not the probe's line: {error}") from error


def isolation_seen(
    outside: Seen, inside: Seen, ours: Seen, asked: AskedBounds
) -> MeasuredIsolation:
    """What holds, by what was seen from outside, and where that is nothing, from inside.

    Args:
        outside: what this machine's kernel says of the main process.
        inside: what the probe says of itself; nothing where its word is not taken.
        ours: of the harness itself.
        asked: the bounds.
    """

    def held(rule: Callable[[Seen], bool | None]) -> bool | None:
        found = rule(outside)
        return rule(inside) if found is None else found

    tmp_mib = inside.tmp_mib if outside.tmp_mib is None else outside.tmp_mib
    return MeasuredIsolation(
        network_off=held(lambda seen: _is_network_off(seen, ours)),
        own_pids=held(lambda seen: _is_own("pid", seen, ours)),
        own_ipc=held(lambda seen: _is_own("ipc", seen, ours)),
        root_read_only=held(lambda seen: seen.is_root_read_only),
        no_capabilities=held(_has_no_capabilities),
        seccomp=held(lambda seen: None if seen.seccomp is None else seen.seccomp == 2),
        other_user=held(lambda seen: None if seen.user is None else seen.user != os.getuid()),
        memory_bounded=held(lambda seen: _is_within(seen.memory_bytes, asked.memory_mib * MIB)),
        pids_bounded=held(lambda seen: _is_within(seen.pids, asked.pids)),
        tmp_bounded=held(lambda seen: _is_sized(seen.has_own_tmp, seen.tmp_mib, asked.tmp_mib)),
        tmp_mib=tmp_mib,
        shm_bounded=held(lambda seen: _is_sized(seen.has_own_shm, seen.shm_mib, asked.shm_mib))
        is True,
    )


def _is_own(kind: str, seen: Seen, ours: Seen) -> bool | None:
    """Whether a namespace is neither the harness's nor the machine's first."""
    number = seen.namespaces.get(kind)
    return None if number is None else number not in (ours.namespaces.get(kind), FIRST.get(kind))


def _is_network_off(seen: Seen, ours: Seen) -> bool | None:
    if seen.interfaces is None:
        return None
    others = set(seen.interfaces) - {"lo"}
    is_own = _is_own("net", seen, ours)
    if is_own is None and seen.interfaces == ours.interfaces:
        return None if not others else False  # a machine without a network looks the same
    return is_own is not False and others <= FALLBACK_TUNNELS and (not others or seen.routes == 0)


def _has_no_capabilities(seen: Seen) -> bool | None:
    if seen.capabilities is None or seen.has_no_new_privileges is None:
        return None
    return seen.capabilities == 0 and seen.has_no_new_privileges


def _is_within(number: int | None, most: int) -> bool | None:
    return None if number is None else number <= most


def _is_sized(has_own: bool | None, mib: int | None, most_mib: int) -> bool | None:
    """Whether a folder is a file system of its own, of that size at most."""
    if has_own is None or mib is None:
        return None
    return has_own and mib <= most_mib + SIZE_TOLERANCE_MIB
