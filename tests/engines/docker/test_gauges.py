"""What is seen of a container from outside, by files of both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engines.docker.gauges import MemoryGauge
from harness.engines.full_folders import FolderGauge
from harness.engines.memory_events import MemoryEvents


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/system.slice/docker-abc.scope", "system.slice/docker-abc.scope/memory.peak"),
        ("0::/system.slice/docker-abc.scope", "system.slice/docker-abc.scope/memory.current"),
        ("4:memory:/docker/abc", "memory/docker/abc/memory.max_usage_in_bytes"),
    ],
)
def test_the_memory_gauge_reads_the_containers_own_group_under_both_versions(
    tmp_path: Path, line: str, file: str
) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text(f"9:name=systemd:/docker/abc\n{line}\n")
    told = tmp_path / "sys/fs/cgroup" / file
    told.parent.mkdir(parents=True)
    told.write_text("500\n")
    gauge = MemoryGauge(7, "abc", tmp_path)
    gauge.sample()
    told.write_text("300\n")
    gauge.sample(is_due=True)
    assert gauge.peak_bytes == 500
    other = MemoryGauge(7, "another", tmp_path)
    other.sample()
    assert other.peak_bytes is None


V2 = "low 0\nhigh 0\nmax {}\noom {}\noom_kill {}\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


def group_of(system: Path, line: str, files: dict[str, str]) -> Path:
    """A fake tree with one process, 7, in one control group."""
    (system / "proc/7").mkdir(parents=True, exist_ok=True)
    (system / "proc/7/cgroup").write_text(f"9:name=systemd:/docker/abc\n{line}\n")
    _, controllers, group = line.split(":")
    folder = system / "sys/fs/cgroup" / controllers / group.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("line", "files", "later", "wanted"),
    [
        (
            "0::/system.slice/docker-abc.scope",
            {"memory.events": V2.format(0, 0, 0), "memory.peak": "1\n"},
            {"memory.events": V2.format(9, 2, 3)},
            MemoryEvents(kills=3, limit_hits=11),
        ),
        (
            "4:memory:/docker/abc",
            {"memory.oom_control": V1.format(0), "memory.failcnt": "0\n"},
            {"memory.oom_control": V1.format(1), "memory.memsw.failcnt": "17\n"},
            MemoryEvents(kills=1, limit_hits=17),
        ),
        (  # a kernel that leaves the failures uncounted
            "4:memory:/docker/abc",
            {
                "memory.oom_control": V1.format(0),
                "memory.failcnt": "0\n",
                "memory.limit_in_bytes": "67108864\n",
                "memory.max_usage_in_bytes": "1000\n",
            },
            {"memory.oom_control": V1.format(1), "memory.max_usage_in_bytes": "67100672\n"},
            MemoryEvents(kills=1, limit_hits=1),
        ),
        (  # somebody above it had no memory left
            "0::/system.slice/docker-abc.scope",
            {"memory.events": V2.format(0, 0, 0)},
            {"memory.events": V2.format(0, 0, 1)},
            MemoryEvents(kills=1, limit_hits=0),
        ),
    ],
)
def test_kills_for_memory_are_counted_under_both_versions(
    tmp_path, line, files, later, wanted
) -> None:
    group_of(tmp_path, line, files)
    gauge = MemoryGauge(7, "abc", tmp_path)
    assert gauge.is_its_own
    gauge.sample()
    assert gauge.events == MemoryEvents(0, 0)
    group_of(tmp_path, line, later)
    assert not gauge.sample()
    assert gauge.events == MemoryEvents(0, 0)
    assert gauge.sample(is_due=True)
    assert gauge.events == wanted


def test_what_the_group_counted_last_stays_when_it_is_gone(tmp_path: Path) -> None:
    files = {"memory.events": V2.format(1, 1, 1)}
    folder = group_of(tmp_path, "0::/docker-abc.scope", files)
    gauge = MemoryGauge(7, "abc", tmp_path)
    gauge.sample()
    (folder / "memory.events").unlink()
    folder.rmdir()
    gauge.sample(is_due=True)
    assert gauge.events == MemoryEvents(1, 2)


def test_a_kernel_that_counts_no_kills_tells_nothing(tmp_path: Path) -> None:
    files = {"memory.oom_control": "under_oom 0\n", "memory.failcnt": "3\n"}
    group_of(tmp_path, "4:memory:/docker/abc", files)
    gauge = MemoryGauge(7, "abc", tmp_path)
    gauge.sample()
    assert gauge.events is None


def test_another_process_of_that_number_is_not_looked_at(tmp_path: Path) -> None:
    group_of(tmp_path, "0::/user.slice", {"memory.events": V2.format(1, 1, 1)})
    gauge = MemoryGauge(7, "abc", tmp_path)
    gauge.sample()
    assert (gauge.is_its_own, gauge.events) == (False, None)


def test_a_folder_that_is_a_link_is_not_followed_out_of_the_container(
    tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "proc/7/root").mkdir(parents=True)
    outside = tmp_path / "outside"
    (outside / "shm").mkdir(parents=True)
    (tmp_path / "proc/7/root/dev").symlink_to(outside)
    (tmp_path / "proc/7/root/tmp").symlink_to(outside)
    monkeypatch.setattr("harness.engines.full_folders.FULL_BYTES", 1 << 62)  # all is full
    gauge = FolderGauge(7, tmp_path)
    gauge.sample()
    assert gauge.full == ()
    (tmp_path / "proc/7/root/tmp").unlink()
    (tmp_path / "proc/7/root/tmp").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    gauge = FolderGauge(7, tmp_path)
    gauge.close()
    assert gauge.full == ("/tmp",)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
