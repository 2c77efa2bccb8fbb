"""What stands between an entry and this machine: seen from inside and from outside, then judged.

A program of the harness's own (`probe.py`) is started where and how the entry would be, and looked
at while it waits. What this machine's kernel says of its main process comes first; what the program
says of itself stands in where that cannot be seen (the harness is in a container, or the process
is another user's), and only where its interpreter is no stranger's (`Engine.is_word_taken`).

Trap: what cannot be seen from either side does not hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from harness.common.statuses import RunEnded, Status
from harness.contract.lines import MAX_LINE_BYTES
from harness.engines import probe
from harness.engines.base import (
    DeadlinePassed,
    Engine,
    Launch,
    Limits,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Running,
)
from harness.engines.probe import MIB, Seen
from harness.records.isolation import MeasuredIsolation

MEASURE_SECONDS = (
    60.0  # a container starts in half a second; where a sandbox is unpacked first, later
)
TMP_TOLERANCE_MIB = 1  # a file system is as large as its blocks make it
# The kernel gives these to every new network namespace where their modules are loaded
# (net.core.fb_tunnels_only_for_init_net); they are down, and no route leads over them.
FALLBACK_TUNNELS = frozenset({
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "sit0", "ip6_vti0", "ip6tnl0", "ip6gre0",
})  # fmt: skip
# Inode numbers of the machine's first namespaces: fixed by the kernel (include/linux/proc_ns.h).
FIRST = {"pid": 0xEFFFFFFC, "ipc": 0xEFFFFFFF}


def measure(engine: Engine, launch: Launch) -> MeasuredIsolation:
    """Start the probe in the place of an entry, look, and judge.

    Args:
        engine: what would start the entry.
        launch: how.
    Raises:
        DeviceUnavailable, RunEnded: as `Engine.start`; `host_error` where the probe does not answer.
    """
    deadline = time.monotonic() + MEASURE_SECONDS
    with engine.start_source(launch, probe_source()) as running:
        inside = _answer(running, deadline)
        process = running.main_process
        outside = Seen() if process is None else probe.look(process)
        running.close_input()
        with contextlib.suppress(DeadlinePassed, LogFlood):  # it is stopped all the same
            running.wait(deadline)
    if not engine.is_word_taken(launch.program):
        inside = Seen()
    return judge(outside, inside, probe.look(), launch.limits)


def probe_source() -> str:
    """The probe as a program, for `python -c`."""
    return Path(probe.__file__).read_text("utf-8")


def _answer(running: Running, deadline: float) -> Seen:
    """What the probe says of itself.

    Raises:
        RunEnded: `host_error` where it says nothing, or something else.
    """
    try:
        told = json.loads(running.receive_line(MAX_LINE_BYTES, deadline))
        return Seen(**{each.name: told[each.name] for each in fields(Seen)})
    except (DeadlinePassed, PipeClosed, OutputFlood, LogFlood, ValueError, LookupError, TypeError):
        said = running.log.decode(errors="replace").strip()[-300:]
        raise RunEnded(
            Status.HOST_ERROR,
            "the isolation cannot be measured: the harness's probe did not answer where an entry"
            f" would run{f' ({said})' if said else ''}",
        ) from None


def judge(outside: Seen, inside: Seen, ours: Seen, limits: Limits) -> MeasuredIsolation:
    """What holds, by what was seen from outside, and where that is nothing, from inside.

    Args:
        outside: what this machine's kernel says of the main process.
        inside: what the probe says of itself; nothing where its word is not taken.
        ours: of the harness itself.
        limits: what was asked for.
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
        memory_bounded=held(lambda seen: _is_within(seen.memory_bytes, limits.memory_mib * MIB)),
        pids_bounded=held(lambda seen: _is_within(seen.pids, limits.pids)),
        tmp_bounded=held(lambda seen: _is_tmp_bounded(seen, limits)),
        tmp_mib=tmp_mib,
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


def _is_tmp_bounded(seen: Seen, limits: Limits) -> bool | None:
    if seen.has_own_tmp is None or seen.tmp_mib is None:
        return None
    return seen.has_own_tmp and seen.tmp_mib <= limits.tmp_mib + TMP_TOLERANCE_MIB
