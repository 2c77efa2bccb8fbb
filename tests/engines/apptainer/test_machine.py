"""What is read of this machine: the installation, who bounds memory, which process is the container's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.common.errors import DeviceUnavailable, EngineUnavailable
from harness.engines.apptainer import gpus, preflight
from harness.engines.apptainer.bounds import bounds_of
from harness.engines.apptainer.running import main_of_container
from harness.engines.base import Launch, Program


@pytest.mark.parametrize(
    ("said", "kind", "version"),
    [
        ("apptainer version 1.4.5\n", "apptainer", (1, 4, 5)),
        ("apptainer version 1.3.0-rc.2+12-gabc\n", "apptainer", (1, 3, 0)),
        ("singularity-ce version 4.1.3-jammy\n", "singularity-ce", (4, 1, 3)),
    ],
)
def test_a_version_is_read(said: str, kind: str, version: tuple[int, ...]) -> None:
    assert preflight.read_version(said) == (kind, version)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("apptainer version 1.1.9\n", "too old"),
        ("singularity-ce version 3.11.4\n", "too old"),
        ("singularity version 3.8.7\n", "neither"),
        ("usage: something else", "neither"),
    ],
)
def test_another_or_an_old_program_is_refused_with_the_way_on(said: str, problem: str) -> None:
    with pytest.raises(EngineUnavailable, match=problem) as caught:
        preflight.read_version(said)
    assert caught.value.fix


def test_a_machine_without_it_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineUnavailable, match="not installed") as caught:
        preflight.find_installation()
    assert "module load apptainer" in caught.value.fix


def test_root_is_refused(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "apptainer").write_text("#!/bin/sh\n")
    (tmp_path / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(EngineUnavailable, match="root"):
        preflight.find_installation()


@pytest.mark.parametrize(
    ("name", "value"),
    [("user/max_user_namespaces", "0"), ("kernel/unprivileged_userns_clone", "0")],
)
def test_a_kernel_that_allows_no_user_namespaces_is_named(
    tmp_path: Path, name: str, value: str
) -> None:
    file = tmp_path / "proc/sys" / name
    file.parent.mkdir(parents=True)
    file.write_text("15000\n")
    preflight._check_namespaces(tmp_path)
    file.write_text(f"{value}\n")
    with pytest.raises(EngineUnavailable, match=r"no user namespaces") as caught:
        preflight._check_namespaces(tmp_path)
    assert name.replace("/", ".") in caught.value.fix


def users_systemd(system: Path, controllers: str) -> None:
    """A machine whose systemd gives user 7 these controllers."""
    runtime = system / "run/user/7"
    (runtime / "systemd").mkdir(parents=True)
    (runtime / "bus").touch()
    group = system / "sys/fs/cgroup/user.slice/user-7.slice/user@7.service"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text(controllers)


def test_delegated_controllers_are_asked_of_apptainer(tmp_path: Path) -> None:
    users_systemd(tmp_path, "cpu memory pids\n")
    found = bounds_of({}, tmp_path, 7)
    assert found.controllers == {"memory", "pids"}
    assert found.variables == {
        "XDG_RUNTIME_DIR": "/run/user/7",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/7/bus",
    }
    assert found.words.startswith("Apptainer bounds")


def test_where_nothing_is_delegated_the_job_or_nobody_bounds(tmp_path: Path) -> None:
    assert bounds_of({}, tmp_path, 7).words.startswith("nobody bounds")
    in_job = bounds_of({"SLURM_JOB_ID": "42"}, tmp_path, 7)
    assert (in_job.controllers, in_job.variables) == (frozenset(), {})
    assert "job 42" in in_job.words
    users_systemd(tmp_path, "cpu\n")
    assert bounds_of({}, tmp_path, 7).variables == {}
    assert "nobody bounds processes" in in_job.words
    enclosed = replace(in_job, is_enclosed=True).words
    assert "job 42" in enclosed
    assert "user namespace of the start's own" in enclosed


def process(proc: Path, number: int, parent: int, inside: str) -> None:
    (proc / str(number)).mkdir()
    (proc / str(number) / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nNSpid:\t{inside}\n")


def test_the_containers_program_is_told_from_apptainers_own_processes(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, "10")  # the starter
    assert main_of_container(10, tmp_path) is None
    process(tmp_path, 11, 10, "11")  # its helper
    process(tmp_path, 12, 11, "12\t1")  # first of the pid namespace
    assert main_of_container(10, tmp_path) is None
    process(tmp_path, 13, 12, "13\t4")
    process(tmp_path, 14, 13, "14\t5")  # a child of the entry's
    process(tmp_path, 20, 1, "20\t1")  # another container
    process(tmp_path, 21, 20, "21\t2")
    assert main_of_container(10, tmp_path) == 13


def test_a_strangers_image_is_refused_where_it_could_reach_another_gpu(caplog) -> None:
    stranger = Launch(Program("x", "image:sha256:x"), "predict", device="cuda:0")
    own = Launch(Program("x", "folder:sha256:x"), "predict", device="cuda:0")
    gpus.check(gpus.Count(1, 1), stranger)
    gpus.check(gpus.Count(1, 8), own)
    assert "shows 8 GPUs" in caplog.text
    with pytest.raises(DeviceUnavailable, match="one alone") as caught:
        gpus.check(gpus.Count(1, 8), stranger)
    assert "--gres=gpu:1" in caught.value.fix
    for launch in (own, stranger):
        with pytest.raises(DeviceUnavailable, match="0 GPUs"):
            gpus.check(gpus.Count(0, 0), launch)
