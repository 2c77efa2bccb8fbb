"""Whose kills for memory a process that no engine bounds is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engines.memory_events import OwnMemory


@pytest.fixture
def count(tmp_path: Path):
    """A function that sets the counts of a fake machine: its own and its group's."""

    def write(machine: int, group: int | None = None, line: str = "0::/job-1") -> Path:
        (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/vmstat").write_text(f"nr_free_pages 5\noom_kill {machine}\n")
        (tmp_path / "proc/self/cgroup").write_text(line + "\n")
        _, controllers, name = line.split(":")
        folder = tmp_path / "sys/fs/cgroup" / controllers / name.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if group is not None:
            told = f"under_oom 0\noom_kill {group}\n" if controllers else f"oom_kill {group}\n"
            (folder / ("memory.oom_control" if controllers else "memory.events")).write_text(told)
            (folder / "memory.failcnt").write_text("0\n")
        return tmp_path

    return write


def test_a_kill_in_its_own_job_counts_whoever_was_killed(count) -> None:
    memory = OwnMemory(count(5, 2))
    assert memory.kills(is_killed=False) == 0
    count(6, 3)
    assert memory.kills(is_killed=False) == 1


def test_a_kill_elsewhere_on_the_machine_counts_only_where_one_of_ours_was_killed(count) -> None:
    memory = OwnMemory(count(5))
    count(7)
    assert memory.kills(is_killed=False) == 0
    assert memory.kills(is_killed=True) == 1


def test_a_kill_that_is_none_of_the_kernels_is_not_for_memory(count) -> None:
    memory = OwnMemory(count(5, 0))
    assert memory.kills(is_killed=True) == 0


def test_the_topmost_group_of_version_1_counts_for_everybody_and_is_not_asked(count) -> None:
    memory = OwnMemory(count(5, 2, line="4:memory:/"))
    count(6, 3, line="4:memory:/")
    assert memory.kills(is_killed=False) == 0


def test_a_system_that_tells_nothing_is_no_kill(tmp_path: Path) -> None:
    assert OwnMemory(tmp_path).kills(is_killed=True) == 0
