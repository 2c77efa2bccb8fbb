"""A real Apptainer, as an ordinary user: what an entry can do there, and how it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import time
from pathlib import Path

import pytest

from harness.common.statuses import RunEnded, Status
from harness.engines.base import Launch, Limits, Program
from harness.engines.environment import entry_environment
from harness.records.isolation import isolation_level
from tests.engine_images import HANDED_BASE, LightApptainerEngine
from tests.paths import REPOSITORY

pytestmark = pytest.mark.hpc


def soon() -> float:
    return time.monotonic() + 60.0


def told(running) -> dict:
    """What a script has printed as one line of JSON."""
    return json.loads(running.receive_line(1 << 20, soon()))


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_everything_holds_but_what_no_ordinary_user_can_bound_here(engine, program) -> None:
    measured = engine.measure(Launch(program, "predict", limits=Limits(threads=1, tmp_mib=100)))
    held = (
        "network_off",
        "own_pids",
        "own_ipc",
        "root_read_only",
        "no_capabilities",
        "seccomp",
        "tmp_bounded",
    )
    assert [name for name in held if getattr(measured, name) is not True] == []
    assert measured.tmp_mib == 100
    is_bounded = measured.memory_bounded and measured.pids_bounded
    assert isolation_level(measured) == ("container" if is_bounded else "same user")


def test_a_folder_is_described_and_its_start_has_one_call(engine, program) -> None:
    launch = Launch(program, "describe", limits=Limits(threads=1))
    with engine.start(launch) as running:
        running.close_input()
        assert told(running)["name"] == "honest"
        assert running.wait(soon()).code == 0
        assert running.log == b""
    plan = engine.plan(launch)
    assert "--network none" in plan
    assert "describe" in plan
    assert "why each option" in plan


LOOKS = """
import json, os, threading, ctypes, errno
def writes(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "written"
libc = ctypes.CDLL(None, use_errno=True)
thread = threading.Thread(target=lambda: None)
thread.start(); thread.join()
places = ("/x", "/model/x", "/weights/x", "/etc/x", "/opt/venv/x", "/tmp/x", "/dev/shm/x")
print(json.dumps({
    "environment": dict(os.environ), "folder": os.getcwd(), "host": os.uname().nodename,
    "writes": {path: writes(path) for path in places},
    "unshare": libc.unshare(0x10000000), "processes": [p for p in os.listdir("/proc") if p.isdigit()],
    "devices": sorted(os.listdir("/dev")),
    "seen": [p for p in ("/home", "/work", "/mnt") if os.path.isdir(p) and os.listdir(p)],
}), flush=True)
"""


def test_an_entry_sees_and_writes_what_it_is_given_and_nothing_of_the_callers(
    start_script, tmp_path: Path, monkeypatch
) -> None:
    for name in ("APPTAINERENV_SECRET", "SINGULARITYENV_SECRET", "SECRET"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("APPTAINER_BIND", "/etc/passwd:/etc/x")
    (tmp_path / "model").mkdir()
    found = told(start_script(LOOKS, model=tmp_path / "model"))
    environment = found["environment"]
    assert environment.items() >= entry_environment(1, "/tmp").items()
    assert environment["PATH"].startswith("/opt/venv/bin:")
    assert "secret" not in environment.values()
    # Apptainer tells where the image lies on the machine, in a variable that nobody may change.
    home = str(Path.home())
    assert {name for name, value in environment.items() if home in value} <= {"APPTAINER_CONTAINER"}
    assert {place for place, how in found["writes"].items() if how == "written"} == {
        "/tmp/x",
        "/dev/shm/x",
    }
    assert found["host"] == "entry"
    assert found["unshare"] == -1
    assert len(found["processes"]) <= 3
    assert "sda" not in found["devices"]
    assert "fuse" not in found["devices"]
    assert found["seen"] == []


def test_a_training_writes_its_model_for_us(start_script, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    running = start_script(
        "open('/model/x', 'w').write('1')", verb="train", model=tmp_path / "model"
    )
    assert running.wait(soon()).code == 0
    assert (tmp_path / "model/x").read_text() == "1"


def test_exit_codes_and_signals_are_told_apart(start_script) -> None:
    assert start_script("raise SystemExit(7)").wait(soon()).code == 7
    assert start_script("import os; os.kill(os.getpid(), 11)").wait(soon()).code == -11


def test_an_entry_cannot_blame_apptainer_for_its_own_end(start_script) -> None:
    running = start_script(
        "import sys; sys.stderr.write('FATAL: container creation failed'); sys.exit(255)"
    )
    assert running.wait(soon()).code == 255
    assert running.facts().exit_code == 255  # and nothing is raised


def test_an_apptainer_that_starts_nothing_any_more_is_the_engines_fault(
    start_script, engine, monkeypatch
) -> None:
    broken = engine._installation.__class__(
        Path("/bin/false"), "apptainer", (1, 4, 5), has_own_configuration=True, can_mount=False
    )
    running = start_script("import sys; sys.exit(255)")
    running.wait(soon())
    monkeypatch.setattr(engine, "_installation", broken)
    with pytest.raises(RunEnded) as caught:
        running.facts()
    assert caught.value.status is Status.ENGINE_UNAVAILABLE
    monkeypatch.undo()
    engine.__dict__.pop("_trial", None)


IMMORTAL = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        while True:
            time.sleep(60)
print("[]", flush=True)
time.sleep(600)
"""


def test_what_ignores_every_signal_ends_with_its_container(start_script) -> None:
    running = start_script(IMMORTAL)
    told(running)
    own = [
        int(p.name)
        for p in Path("/proc").iterdir()
        if p.name.isdigit() and running.owns(int(p.name))
    ]
    assert len(own) >= 5
    assert running.stop().code is None
    assert not [process for process in own if is_alive(process)]
    assert running.stop().code is None


def test_a_full_tmp_is_noticed(start_script) -> None:
    running = start_script("""
        import sys
        try:
            with open("/tmp/big", "wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        except OSError:
            pass
        print("[]", flush=True)
        sys.stdin.read()
        sys.exit(3)
    """)
    told(running)
    running.close_input()
    assert running.wait(soon()).code == 3
    assert running.facts().full_folders == ("/tmp",)


HARNESS = """
import sys, time
from harness.engines.base import Launch, Limits
from tests.engine_images import LightApptainerEngine
from pathlib import Path
engine = LightApptainerEngine()
program = engine.prepare_folder(Path(sys.argv[1]), "honest", sys.argv[2])
running = engine.start(Launch(program, "predict", limits=Limits(threads=1)))
while running.main_process is None:
    time.sleep(0.05)
print(running.main_process, flush=True)
time.sleep(600)
"""


def test_a_killed_harness_leaves_no_container_and_its_files_are_swept(
    engine, program, tmp_path
) -> None:
    folder, identity = str(REPOSITORY / "tests/sample_entries/honest"), "folder:sha256:" + "0" * 64
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, folder, identity], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as harness:
        assert harness.stdout is not None
        process = int(harness.stdout.readline())
        assert is_alive(process)
        harness.kill()
    deadline = soon()
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(process)
    assert engine.remove_leftovers() >= 2  # the copied folder, and the start's files
    assert engine.remove_leftovers() == 0


SAYS = """
import json, os, sys
print(json.dumps([sys.argv, os.getcwd(), os.environ["OWN"], os.environ["HOME"]]), flush=True)
"""


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> Path:
    """A stranger's image: the small base, with a program of its own in its configuration."""
    handed = Path(os.environ[HANDED_BASE].split(" ", 2)[2])
    made = tmp_path_factory.mktemp("given") / "image.tar"
    with tarfile.open(handed) as tar, tarfile.open(made, "w") as out:
        (image,) = json.load(tar.extractfile("manifest.json"))
        config = json.load(tar.extractfile(image["Config"]))
        config["config"] |= {
            "Entrypoint": ["python", "-c", SAYS],
            "Env": ["PATH=/opt/venv/bin:/usr/bin:/bin", "OWN=a 'b' $c", "HOME=/root"],
            "WorkingDir": "/opt", "Labels": None,
        }  # fmt: skip
        content = json.dumps(config).encode()
        parts = {"config.json": content, "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": ["bmad/evil:tag"], "Layers": image["Layers"]}]).encode()}  # fmt: skip
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
        for name in image["Layers"]:
            member = tar.getmember(name)
            out.addfile(member, tar.extractfile(member))
    return made


@pytest.mark.slow
def test_a_strangers_archive_is_started_by_its_configuration_alone(
    engine: LightApptainerEngine, given: Path
) -> None:
    program = engine.prepare_archive(given, "given")
    assert program.is_foreign
    assert program.identity == f"image:{program.image}"
    with engine.start(Launch(program, "describe", limits=Limits(threads=1))) as running:
        arguments, folder, own, home = json.loads(running.receive_line(1 << 16, soon()))
    assert (arguments, folder, own, home) == (["-c", "describe"], "/opt", "a 'b' $c", "/tmp")
    again = engine.prepare_archive(given, "given")
    assert (again.image, again.content) == (program.image, program.content)
    sif = engine._store.root / "images" / program.image.removeprefix("sha256:") / "image.sif"
    sif.chmod(0o755)
    with sif.open("r+b") as file:
        file.seek(4096)
        file.write(b"damaged")
    with pytest.raises(RunEnded, match="was changed"):
        LightApptainerEngine().prepare_archive(given, "given")


def test_a_refused_image_starts_nothing(engine) -> None:
    refused = Program("x", "image:sha256:x", image="sha256:x", refusal="it has no ENTRYPOINT")
    with pytest.raises(RunEnded) as caught:
        engine.start(Launch(refused, "describe"))
    assert caught.value.status is Status.INVALID_IMAGE
    assert engine.plan(Launch(refused, "describe")).startswith("# refused")
    assert textwrap.dedent(engine.describe()).startswith("apptainer ")
