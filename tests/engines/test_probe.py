"""What the probe reads of /proc and /sys, of both versions of control groups; and the program itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.engines import measuring
from harness.engines.probe import UNLIMITED, Seen, seen_of

MIB = 1024**2
DEV = (
    "Inter-|   Receive  |  Transmit\n face |bytes    packets|bytes\n"
    "    lo:       0       0\n  eth0: 1 1\n"
)
ROUTE = "Iface\tDestination\tGateway\neth0\t00000000\t0101A8C0\n"
ROUTE_6 = (
    "00000000000000000000000000000001 80 0 00 0 80200001       lo\n"
    "fe800000000000000000000000000000 40 0 00 0 00000001     eth0\n"
)
STATUS = (
    "Name:\tpython3\nUid:\t1000\t1000\t1000\t1000\nCapInh:\t0000000000000000\n"
    "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"
    "CapAmb:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t2\n"
)
MOUNTS = (
    "1 0 0:50 / / rw,relatime - overlay overlay rw,lowerdir=a\n"
    "2 1 0:51 / / ro,relatime - overlay overlay rw,lowerdir=b\n"
    "3 2 0:52 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw,size=1048576k\n"
    "4 2 0:53 / /dev/shm rw,nosuid,nodev - tmpfs tmpfs rw,size=1048576k\n"
)


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A machine with one process, 7."""
    proc = tmp_path / "proc/7"
    (proc / "net").mkdir(parents=True)
    (proc / "ns").mkdir()
    for name, number in {"net": 4, "pid": 5, "ipc": 6}.items():
        (proc / "ns" / name).symlink_to(f"{name}:[{number}]")
    files = {"net/dev": DEV, "net/route": ROUTE, "net/ipv6_route": ROUTE_6, "status": STATUS,
             "mountinfo": MOUNTS}  # fmt: skip
    for name, text in files.items():
        (proc / name).write_text(text)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nSwapTotal:       0 kB\n")
    return tmp_path


def group(system: Path, path: str, **files: str) -> None:
    """A control group, with its files by their names, `__` for a dot."""
    folder = system / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.procs").write_text("")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_what_the_kernel_tells_of_a_process_is_read_as_it_is(system: Path) -> None:
    seen = seen_of(7, system)
    assert seen.interfaces == ["lo", "eth0"]
    assert seen.routes == 2
    assert seen.namespaces == {"net": 4, "pid": 5, "ipc": 6}
    assert seen.is_root_read_only is True  # the last mount on / hides the one below
    assert seen.capabilities == 0x400  # an ambient one counts, a bounding set gives none
    assert (seen.has_no_new_privileges, seen.seccomp, seen.user) == (True, 2, 1000)
    assert (seen.has_own_tmp, seen.has_own_shm) == (True, True)


def test_what_cannot_be_seen_is_nothing(tmp_path: Path) -> None:
    assert asdict(seen_of(7, tmp_path)) == asdict(Seen())


def test_the_least_bound_of_the_group_and_those_above_it_counts_under_version_2(system) -> None:
    (system / "proc/7/cgroup").write_text("0::/slice/box\n")
    group(system, "")
    group(system, "slice", memory__max=str(8 * MIB), pids__max="max")
    group(system, "slice/box", memory__max="max", pids__max="64")
    seen = seen_of(7, system)
    assert (seen.memory_bytes, seen.pids) == (8 * MIB, 64)


def test_groups_of_version_1_are_found_by_controller_and_no_bound_is_told_as_such(system) -> None:
    (system / "proc/7/cgroup").write_text("8:pids:/\n4:cpu,memory:/box\n0::/\n")
    group(system, "pids")
    group(system, "memory", memory__limit_in_bytes="9223372036854771712")
    group(system, "memory/box", memory__limit_in_bytes=str(4 * MIB))
    seen = seen_of(7, system)
    assert (seen.memory_bytes, seen.pids) == (4 * MIB, UNLIMITED)


def test_inside_a_container_of_version_1_the_topmost_group_is_its_own(system: Path) -> None:
    (system / "proc/7/cgroup").write_text("4:memory:/docker/abc\n")
    group(system, "memory", memory__limit_in_bytes=str(2 * MIB))
    assert seen_of(7, system).memory_bytes == 2 * MIB


@pytest.mark.parametrize("path", ["0::/../elsewhere\n", "0::/not/mounted/here\n", ""])
def test_a_group_out_of_sight_tells_no_bound(system: Path, path: str) -> None:
    (system / "proc/7/cgroup").write_text(path)
    seen = seen_of(7, system)
    assert (seen.memory_bytes, seen.pids) == (None, None)


@pytest.mark.parametrize(
    ("line", "path", "files", "bound"),
    [
        ("0::/box", "box", {"memory__max": "100", "memory__swap__max": "20"}, 120),
        ("0::/box", "box", {"memory__max": "100", "memory__swap__max": "max"}, UNLIMITED),
        ("0::/box", "box", {"memory__max": "100"}, UNLIMITED),
        ("4:memory:/box", "memory/box", {"memory__limit_in_bytes": "100",
                                         "memory__memsw__limit_in_bytes": "100"}, 100),
        ("4:memory:/box", "memory/box", {"memory__limit_in_bytes": "100"}, UNLIMITED),
    ],
)  # fmt: skip
def test_where_there_is_swap_it_counts_as_memory(system, line, path, files, bound) -> None:
    (system / "proc/meminfo").write_text("SwapTotal:  2048 kB\n")
    (system / "proc/7/cgroup").write_text(line + "\n")
    group(system, path, **files)
    assert seen_of(7, system).memory_bytes == bound


def test_the_program_tells_of_itself_what_is_seen_from_outside_and_ends_with_its_input() -> None:
    call = [sys.executable, "-I", "-S", "-c", measuring.probe_source(), "predict"]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout
        assert program.stdin
        line = program.stdout.readline()
        outside = seen_of(program.pid)
        program.stdin.close()
        assert program.wait(10) == 0
    inside = measuring.seen_from_inside(line)
    assert inside == outside
    assert inside.user == os.getuid()
    assert inside.tmp_mib == os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize // MIB
    assert set(json.loads(line)) == set(asdict(Seen()))


LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max cpu time              unlimited            unlimited            seconds   \n"
    "Max processes             {soft}               {hard}               processes \n"
)
BARE = STATUS.replace("CapAmb:\t0000000000000400", "CapAmb:\t0000000000000000")


@pytest.mark.parametrize(
    ("status", "soft", "hard", "most"),
    [
        (BARE, "40", "40", 40),
        (BARE, "30", "40", 40),  # the soft one is his to raise
        (BARE, "30", "unlimited", UNLIMITED),
        (BARE.replace("1000", "0"), "40", "40", UNLIMITED),  # the kernel holds no root to it
        (
            BARE.replace("CapPrm:\t0000000000000000", "CapPrm:\t0000000001000000"),
            "40",
            "40",
            UNLIMITED,
        ),
    ],
)
def test_the_hard_limit_of_a_users_processes_bounds_them_where_he_cannot_raise_it(
    system: Path, status: str, soft: str, hard: str, most: int
) -> None:
    (system / "proc/7/status").write_text(status)
    (system / "proc/7/limits").write_text(LIMITS.format(soft=soft, hard=hard))
    assert seen_of(7, system).pids == most
    (system / "proc/7/cgroup").write_text("0::/box\n")
    group(system, "box", pids__max="64")
    assert seen_of(7, system).pids == min(most, 64)


def test_a_user_is_translated_to_the_namespace_above(system: Path, monkeypatch) -> None:
    (system / "proc/7").rename(system / "proc/self")
    (system / "proc/self/uid_map").write_text("         0       1000          1\n")
    (system / "proc/self/status").write_text(STATUS.replace("1000", "0"))
    assert seen_of(system=system).user == 1000
    (system / "proc/self/status").write_text(STATUS)
    assert seen_of(system=system).user is None  # nobody's there
