"""Which Podman is taken, what is said where none can be, and that its service ends with the harness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from harness.common.errors import EngineUnavailable
from harness.engines import choose_engine
from harness.engines.podman import PodmanEngine, engine, service
from harness.engines.podman.service import PodmanService, remove_left_folders
from tests.engine_images import on_engines

REPOSITORY = Path(__file__).parents[3]
LISTENS = """#!{python}
import socket, sys
from pathlib import Path
Path({pid!r}).write_text(str(__import__("os").getpid()))
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[-1].removeprefix("unix://"))
server.listen()
while True:
    server.accept()
"""


@pytest.fixture
def runtime(monkeypatch):
    """A user's folder for sockets, with a short path."""
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.delenv("CONTAINER_HOST", raising=False)
        yield Path(folder)


def stands_in_for_podman(folder: Path, text: str, monkeypatch) -> None:
    """A program of this name comes first on PATH."""
    program = folder / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(process: int) -> None:
    deadline = time.monotonic() + 10
    while is_running(process):
        assert time.monotonic() < deadline, "the service goes on"
        time.sleep(0.05)


def test_a_service_ends_with_whoever_started_it_and_leaves_nothing(runtime, tmp_path, monkeypatch):
    pid = tmp_path / "pid"
    text = LISTENS.format(python=sys.executable, pid=str(pid))
    stands_in_for_podman(tmp_path, text, monkeypatch)
    serving = PodmanService()
    assert Path(serving.address.removeprefix("unix://")).parent.parent == runtime
    process = int(pid.read_text())
    assert is_running(process)
    serving.stop()
    wait_for_end(process)
    assert list(runtime.iterdir()) == []


def test_a_killed_harness_leaves_no_service_and_a_folder_that_the_next_one_removes(
    runtime, tmp_path, monkeypatch
) -> None:
    pid = tmp_path / "pid"
    text = LISTENS.format(python=sys.executable, pid=str(pid))
    stands_in_for_podman(tmp_path, text, monkeypatch)
    code = (
        "import os, signal; from harness.engines.podman.service import PodmanService;"
        " service = PodmanService(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    wait_for_end(int(pid.read_text()))
    mine = PodmanService()
    assert len(list(runtime.iterdir())) == 2
    assert remove_left_folders() == 1
    assert [str(folder / "api.sock") for folder in runtime.iterdir()] == [mine.address[7:]]
    mine.stop()


def test_what_podman_says_is_told_where_it_cannot_serve(runtime, tmp_path, monkeypatch) -> None:
    stands_in_for_podman(
        tmp_path, "#!/bin/sh\necho 'Error: cannot set up namespace using newuidmap' >&2\nexit 125\n",
        monkeypatch,
    )  # fmt: skip
    with pytest.raises(EngineUnavailable, match="newuidmap") as caught:
        choose_engine("podman")
    assert "/etc/subuid" in caught.value.fix
    assert list(runtime.iterdir()) == []


def test_a_machine_without_podman_is_told_what_to_install(runtime, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="not installed") as caught:
        choose_engine("podman")
    assert "Podman 5" in caught.value.fix


def test_a_service_that_is_named_must_answer(runtime, monkeypatch) -> None:
    monkeypatch.setenv("CONTAINER_HOST", "unix:///nowhere/podman.sock")
    with pytest.raises(EngineUnavailable, match="nowhere"):
        choose_engine("podman")


@pytest.mark.parametrize(
    ("component", "version", "reason"),
    [
        ("Podman Engine", "4.9.3", "Podman is 4.9.3: before 5"),
        ("Engine", "29.1.0", "not Podman"),
        ("Podman Engine", "5.0.0-dev", None),
        ("Podman Engine", "6.1.0", None),
    ],
)
def test_podman_is_refused_below_5(component, version, reason, monkeypatch) -> None:
    asked = PodmanEngine()
    vars(asked)["_version"] = {"Version": version, "Components": [{"Name": component}]}
    vars(asked)["_host"] = {"security": {"rootless": True}, "cgroupControllers": ["memory"]}
    monkeypatch.setattr(engine, "_has_init", lambda: True)
    if reason is None:
        asked.check()
    else:
        with pytest.raises(EngineUnavailable, match=reason):
            asked.check()


def test_podman_without_an_init_is_half_an_engine(monkeypatch, tmp_path) -> None:
    asked = PodmanEngine()
    vars(asked)["_version"] = {"Version": "5.4.2", "Components": [{"Name": "Podman Engine"}]}
    vars(asked)["_host"] = {"security": {"rootless": True}}
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "_HELPERS", (str(tmp_path),))
    with pytest.raises(EngineUnavailable, match="no init") as caught:
        asked.check()
    assert caught.value.fix == "install catatonit"
    (tmp_path / "catatonit").write_text("")
    asked.check()


@pytest.mark.parametrize(
    ("controllers", "unbounded"),
    [
        (["cpuset", "cpu", "io", "memory", "pids"], set()),
        (["cpu", "memory", "pids"], {"cpus"}),
        ([], {"memory", "pids", "cpus"}),
    ],
)
def test_what_is_not_delegated_is_not_asked_for(controllers, unbounded) -> None:
    asked = PodmanEngine()
    vars(asked)["_host"] = {"security": {"rootless": True}, "cgroupControllers": controllers}
    assert asked._place((0,), None).unbounded == unbounded


@pytest.mark.hpc
@on_engines("engine", "podman")
def test_auto_takes_podman_and_the_docker_engine_leaves_it_alone(engine, monkeypatch) -> None:
    monkeypatch.setenv(
        "DOCKER_HOST", f"unix://{engine.client.get_adapter(engine.client.base_url).socket_path}"
    )
    with pytest.raises(EngineUnavailable, match="is Podman") as caught:
        choose_engine("docker")
    assert caught.value.fix == "use --engine podman"
    chosen = choose_engine("auto")
    assert chosen.name == "podman"
    assert chosen.describe().startswith("podman 5.")
    assert Path(service._runtime_folder()).name == str(os.getuid())
