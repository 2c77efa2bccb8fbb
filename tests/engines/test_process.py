"""The process engine, on real programs: nothing of them survives, whatever they do."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from harness.common.errors import DeviceUnavailable, EntryInvalid
from harness.common.owner import owner_mark
from harness.engines.base import DeadlinePassed, Launch, Limits, PipeClosed, Program
from harness.engines.process import ProcessEngine
from tests.fake_nvml import FakeGpu
from tests.paths import REPOSITORY

MIB = 1024**2
QUICK = Limits(stop_seconds=0.3, threads=1)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def launch(code: str, limits: Limits = QUICK, **more: object) -> Launch:
    command = (sys.executable, "-c", textwrap.dedent(code))
    program = Program(name="tiny", identity="folder:sha256:0", command=command)
    return Launch(program, "predict", limits=limits, **more)


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def state_of(process: int) -> str:
    """The kernel's letter for a process; X when there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def is_alive(process: int) -> bool:
    return state_of(process) not in "XZ"


def test_a_program_answers_and_its_end_of_input_ends_it() -> None:
    code = """
        import sys
        print(len(sys.stdin.buffer.read()), sys.argv[1])
        sys.exit(5)
    """
    with ProcessEngine().start(launch(code)) as running:
        running.send(b"x" * 2 * MIB, soon())
        running.close_input()
        assert running.receive_line(64, soon()) == b"%d predict\n" % (2 * MIB)
        assert running.wait(soon()).code == 5
        assert running.peak_memory_bytes > 4 * MIB


def test_a_program_owns_its_children_the_orphaned_ones_too_and_no_other_process() -> None:
    code = r"""
        import os, sys
        child = os.fork()
        if child == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(1, b"%d\n" % os.getpid())
                sys.stdin.buffer.read()
            os._exit(0)
        os.waitpid(child, 0)
        os.write(1, b"%d\n" % os.getpid())
        sys.stdin.buffer.read()
    """
    with ProcessEngine().start(launch(code)) as running:
        inside = [int(running.receive_line(64, soon())) for _ in range(2)]
        assert all(running.owns(process) for process in inside)
        assert not running.owns(os.getpid())
        assert not running.owns(1)
    assert not any(running.owns(process) for process in inside)


def test_the_environment_is_the_fixed_list_whatever_the_host_has(monkeypatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "of the host")
    code = "import os, json; print(json.dumps(dict(os.environ)), flush=True)"
    with ProcessEngine().start(launch(code)) as running:
        seen = json.loads(running.receive_line(1 << 16, soon()))
    home = seen["HOME"]
    assert set(seen) == {
        *("HOME", "USER", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR"),
        *("NUMBA_CACHE_DIR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OMP_NUM_THREADS"),
        "OMP_WAIT_POLICY",
        *("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "PYTHONUNBUFFERED"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "LC_ALL"),
        *("PATH", "PYTHONPATH", "CUDA_VISIBLE_DEVICES"),
    }
    assert seen["OMP_NUM_THREADS"] == "1"
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    assert not Path(home).exists(), "the entry's home is removed with it"


def test_the_program_gets_as_many_cpus_as_threads() -> None:
    code = "import os; print(len(os.sched_getaffinity(0)), flush=True)"
    with ProcessEngine().start(launch(code)) as running:
        assert running.receive_line(64, soon()) == b"1\n"


def test_paths_are_those_of_the_host_and_weights_that_were_never_fetched_are_none(
    tmp_path: Path,
) -> None:
    absent = tmp_path / "never-fetched"
    started = launch("", train=tmp_path, model=tmp_path / "m", weights=absent)
    with ProcessEngine().start(started) as running:
        assert running.paths == {"train": str(tmp_path), "model": str(tmp_path / "m")}


def test_a_program_that_ignores_term_is_killed_and_says_so() -> None:
    code = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        time.sleep(60)
    """
    with ProcessEngine().start(launch(code)) as running:
        running.receive_line(64, soon())
        begin = time.monotonic()
        assert running.stop().code is None
    assert 0.3 <= time.monotonic() - begin < 3


def test_term_ends_a_program_in_its_own_way() -> None:
    code = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        print("ready", flush=True)
        time.sleep(60)
    """
    with ProcessEngine().start(launch(code, Limits(stop_seconds=10))) as running:
        running.receive_line(64, soon())
        assert running.stop().code == 9


def test_a_signal_is_a_negative_exit_code() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with ProcessEngine().start(launch(code)) as running:
        assert running.wait(soon()).code == -signal.SIGSEGV


DAEMON = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            print(os.getpid(), flush=True)
            time.sleep(60)
        os._exit(0)
    os.wait()
    {after}
"""


@pytest.mark.parametrize("after", ["sys.stdin.read()", "time.sleep(60)"])
def test_a_daemon_twice_removed_does_not_outlive_the_run(after: str) -> None:
    with ProcessEngine().start(launch(DAEMON.format(after=after))) as running:
        daemon = int(running.receive_line(64, soon()))
        assert is_alive(daemon)
        if "stdin" in after:
            running.close_input()
            assert running.wait(soon()).code == 0
            assert not is_alive(daemon)
    assert not is_alive(daemon)


def test_a_stopped_program_is_ended_too() -> None:
    code = """
        import os, signal
        print(os.getpid(), flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    """
    with ProcessEngine().start(launch(code)) as running:
        process = int(running.receive_line(64, soon()))
        while state_of(process) != "T":
            time.sleep(0.001)
        assert running.stop().code is None
    assert not is_alive(process)


def test_a_program_that_never_reads_fails_the_send_at_its_deadline() -> None:
    with ProcessEngine().start(launch("import time; time.sleep(60)")) as running:
        with pytest.raises(DeadlinePassed):
            running.send(b"x" * 4 * MIB, soon(0.3))
        with pytest.raises(DeadlinePassed):
            running.wait(soon(0.1))


def test_a_program_that_leaves_early_closes_the_pipe() -> None:
    with ProcessEngine().start(launch("")) as running:
        with pytest.raises(PipeClosed):
            running.send(b"x" * 4 * MIB, soon())
        assert running.wait(soon()).code == 0


def test_a_command_that_does_not_exist_is_an_exit_code_and_a_log() -> None:
    program = Program(name="none", identity="", command=("/no/such/program",))
    with ProcessEngine().start(Launch(program, "predict", limits=QUICK)) as running:
        assert running.wait(soon()).code == 127
        assert b"/no/such/program" in running.log


def test_a_killed_harness_takes_its_entry_with_it(tmp_path: Path) -> None:
    harness = f"""
        import os, signal, sys, time
        from harness.engines.base import Launch, Limits, Program
        from harness.engines.process import ProcessEngine
        code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        program = Program(name="x", identity="", command=({sys.executable!r}, "-c", code))
        running = ProcessEngine().start(Launch(program, "predict", limits=Limits(threads=1)))
        print(running.receive_line(64, time.monotonic() + 10).decode(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(harness)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    entry = int(ended.stdout)
    until = soon()
    while is_alive(entry) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_alive(entry)


def test_cleaning_sweeps_the_homes_of_dead_harnesses_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    alive = tmp_path / f"bmad-entry-{owner_mark()}-abc"
    boot, namespace, _, start = owner_mark().split(".")
    dead = tmp_path / f"bmad-entry-{boot}.{namespace}.{2**22 + 1}.{start}-abc"
    rebooted = tmp_path / f"bmad-entry-00000000.{namespace}.1.1-abc"
    other_namespace = tmp_path / f"bmad-entry-{boot}.1.{2**22 + 1}.{start}-abc"
    for folder in (alive, dead, rebooted, other_namespace):
        folder.mkdir()
    assert ProcessEngine().remove_leftovers() == 2
    assert set(tmp_path.iterdir()) == {alive, other_namespace}


SAYS = (
    "import sys\nsys.stderr.write({!r} + '\\n')\nclass Model:\n    def __init__(self, **_): pass\n"
)
HELLO = {"type": "hello", "contract": 1, "verb": "predict", "benchmark": "demo", "seed": 0,
         "device": "cpu", "maps_wanted": True, "paths": {}, "params": {}, "limits": {}}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An entry that imports a helper beside it; each says that it was run."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "entry.toml").write_text('[entry]\nname = "mine"\nmodel = "model.py:Model"\n')
    (folder / "model.py").write_text("import helper\n" + SAYS.format("the reviewed model"))
    (folder / "helper.py").write_text(SAYS.format("the reviewed helper"))
    return folder


def said_by(engine: ProcessEngine, program: Program) -> str:
    """The log of an entry from its start to its first frame."""
    started = Launch(program, "predict", limits=Limits(threads=1))
    with engine.start(started) as running:
        running.send(json.dumps(HELLO).encode() + b"\n", soon())
        running.close_input()
        running.wait(soon())
        return running.log.decode()


def plant(folder: Path, module: str, mode: py_compile.PycInvalidationMode) -> None:
    """Byte code of other code, where Python looks for that of `module`."""
    other = folder / "other.txt"
    other.write_text(SAYS.format("swapped"))
    target = importlib.util.cache_from_source(str(folder / f"{module}.py"))
    py_compile.compile(str(other), target, invalidation_mode=mode, doraise=True)
    other.unlink()


@pytest.mark.parametrize("module", ["model", "helper"])
def test_byte_code_that_is_not_the_sources_is_never_run(folder, module) -> None:
    plant(folder, module, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    engine = ProcessEngine()
    log = said_by(engine, engine.prepare_folder(folder, "mine", "folder:sha256:1"))
    assert "the reviewed model" in log
    assert "the reviewed helper" in log
    assert "swapped" not in log
    # The trap is real: Python itself, asked to import from the folder, takes the planted code.
    direct = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "swapped" in direct.stderr


def test_a_folder_runs_as_it_was_prepared_whatever_becomes_of_it_afterwards(folder) -> None:
    engine = ProcessEngine()
    program = engine.prepare_folder(folder, "mine", "folder:sha256:1")
    (folder / "helper.py").write_text(SAYS.format("changed since"))
    assert "the reviewed helper" in said_by(engine, program)
    assert Path(program.command[-1]).is_dir()


def test_the_copy_of_a_folder_goes_with_the_harness(folder) -> None:
    code = (
        "import pathlib, sys\n"
        "from harness.engines.process import ProcessEngine\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "print(ProcessEngine().prepare_folder(folder, 'mine', 'folder:sha256:1').command[-1])\n"
        "assert pathlib.Path(ProcessEngine().prepare_folder(folder, 'a', 'b').command[-1]).is_dir()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).parent.exists()


def test_a_folder_with_a_link_is_not_started(folder, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EntryInvalid, match="part is a link"):
        ProcessEngine().prepare_folder(folder, "mine", "folder:sha256:1")
    copies = Path(tempfile.gettempdir()).glob(f"bmad-entry-{owner_mark()}-*/mine")
    assert [copy for copy in copies if (copy / "part").exists()] == []


def test_images_and_archives_are_refused_with_the_way_on(tmp_path: Path) -> None:
    for refused in (
        lambda: ProcessEngine().prepare_image("some/image", "x"),
        lambda: ProcessEngine().prepare_archive(tmp_path / "x.tar", "x"),
    ):
        with pytest.raises(EntryInvalid, match="--engine docker"):
            refused()


@pytest.mark.parametrize("device", ["cuda:1", "cuda:GPU-gone"])
def test_a_gpu_that_is_not_there_is_a_clear_error(driver, device) -> None:
    driver.has(FakeGpu("GPU-a"))
    with pytest.raises(DeviceUnavailable, match="--device cpu"):
        ProcessEngine().start(launch("", device=device))


def test_a_gpu_is_made_the_only_one_by_its_uuid_for_cuda_counts_otherwise(driver) -> None:
    driver.has(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    assert "CUDA_VISIBLE_DEVICES=GPU-b" in ProcessEngine().plan(launch("pass", device="cuda:1"))


def test_the_plan_is_the_call_that_would_be_made() -> None:
    plan = ProcessEngine().plan(launch("pass"))
    assert "env -i HOME=" in plan
    assert plan.endswith("-c pass predict")
