"""The docker and podman engines, on real containers: what holds an entry, and that nothing is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from docker.errors import NotFound

from harness.common.errors import DeviceUnavailable
from harness.common.statuses import RunEnded, Status
from harness.engines.base import DeadlinePassed, Launch, Limits, LogFlood, PipeClosed, Program
from harness.engines.docker.container import Demultiplexer
from tests.engine_images import LightDockerEngine, on_engines

MIB = 1024**2
WAIT = "import sys; sys.stdin.buffer.read()"

pytestmark = pytest.mark.engine
on_both = on_engines("engine", "docker", "podman")


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def is_gone(engine: LightDockerEngine, name: str) -> bool:
    try:
        engine.client.inspect_container(name)
    except NotFound:
        return True
    return False


def has_process(command: str) -> bool:
    """Whether a process with this command line runs on the machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_text().startswith(command):
                return True
    return False


def seen_from_inside(running) -> dict:
    return json.loads(running.receive_line(1 << 16, soon()))


def body(plan: str) -> dict:
    """The create call in a plan."""
    return json.loads(plan.partition("\n")[2].partition("\n# why")[0])


@on_both
def test_a_container_answers_and_its_end_of_input_ends_it(engine, start_script) -> None:
    code = """
        import sys
        data = sys.stdin.buffer.read()
        sys.stdout.buffer.write(data[::-1] + b"end\\n")
        sys.exit(5)
    """
    data = bytes(range(256)) * 8192  # detach keys among them must not detach
    running = start_script(code)
    running.expect_output(4 * MIB)
    running.send(data, soon())
    running.close_input()
    assert running.receive(2 * MIB, soon()) == data[::-1]
    assert running.receive_line(64, soon()) == b"end\n"
    assert running.wait(soon()).code == 5
    assert running.stop().code == 5
    assert is_gone(engine, running._name)


@on_both
def test_the_first_output_is_not_lost_however_early_it_comes(engine, start_script) -> None:
    for _ in range(3):
        assert start_script("print('early', flush=True)").receive_line(64, soon()) == b"early\n"


INSIDE = """
    import json, os, socket

    def attempt(action):
        try:
            action()
        except OSError as error:
            return type(error).__name__
        return "done"

    def connect(address, port, kind=socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as client:
            client.settimeout(2)
            client.connect((address, port))
            client.send(b"x")

    def write(path):
        with open(path, "w") as file:
            file.write("x")

    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    print(json.dumps({
        "environment": dict(os.environ),
        "uid": os.getuid(),
        "capabilities": [status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")],
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "tcp": attempt(lambda: connect("1.1.1.1", 443)),
        "udp": attempt(lambda: connect("8.8.8.8", 53, socket.SOCK_DGRAM)),
        "metadata": attempt(lambda: connect("169.254.169.254", 80)),
        "dns": attempt(lambda: socket.getaddrinfo("example.org", 80)),
        "engine_socket": attempt(lambda: os.stat("/var/run/docker.sock")),
        "root": attempt(lambda: write("/x")),
        "entry": attempt(lambda: write("/opt/venv/x")),
        "weights": attempt(lambda: write("/weights/x")),
        "model": attempt(lambda: write("/model/x")),
        "train": attempt(lambda: write("/data/train/x")),
        "tmp": attempt(lambda: write("/tmp/x")),
        "shm": attempt(lambda: write("/dev/shm/x")),
        "cpus": len(os.sched_getaffinity(0)),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    }), flush=True)
"""


@on_both
def test_what_an_entry_can_see_and_do_is_the_allowed_list(engine, start_script, tmp_path) -> None:
    model = tmp_path / "model"
    model.mkdir(mode=0o777)
    seen = seen_from_inside(start_script(INSIDE, model=model, train=model))
    environment = seen.pop("environment")
    assert set(environment) == {
        *("HOME", "USER", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR"),
        *("NUMBA_CACHE_DIR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OMP_NUM_THREADS"),
        "OMP_WAIT_POLICY",
        *("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "PYTHONUNBUFFERED"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "LC_ALL"),
        *("PATH", "PYTHONPATH", "HOSTNAME"),  # the image's, and the engine's
        *(("container",) if engine.name == "podman" else ()),
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
    }
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert environment["HOME"] == "/tmp"
    assert seen.pop("uid") == users_number(engine)
    assert set(seen.pop("capabilities")) == {"0000000000000000"}
    assert seen.pop("no_new_privileges") == "1"
    assert seen.pop("interfaces") == ["lo"]
    assert seen.pop("cpus") == 1
    assert seen.pop("processes") == 2
    assert {name: seen.pop(name) for name in ("tmp", "shm")} == {"tmp": "done", "shm": "done"}
    assert "done" not in seen.values()
    assert set(seen) == {
        *("tcp", "udp", "metadata", "dns", "engine_socket"),
        *("root", "entry", "weights", "model", "train"),
    }
    assert list(model.iterdir()) == []


def users_number(engine) -> int:
    """Of the entry's user, as the entry sees it: a rootless engine's root is the caller."""
    if engine.name == "podman":
        return 0
    return 65534 if os.geteuid() == 0 else os.getuid()


@on_both
def test_the_model_folder_is_writable_in_training_alone(engine, start_script, tmp_path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    code = "open('/model/weights.bin', 'wb').write(b'learned')"
    assert start_script(code, "train", model=model).wait(soon()).code == 0
    assert (model / "weights.bin").read_bytes() == b"learned"
    assert start_script(code, "predict", model=model).wait(soon()).code == 1


def test_a_bounded_log_does_not_disturb_a_large_send(start_script) -> None:
    code = """
        import sys
        sys.stderr.buffer.write(b"x" * (4 << 20))
        print(len(sys.stdin.buffer.read()), flush=True)
    """
    running = start_script(code)
    running.send(b"x" * 2 * MIB, soon())
    running.close_input()
    assert running.receive_line(64, soon()) == b"%d\n" % (2 * MIB)
    assert running.wait(soon()).code == 0
    assert running.log == b"x" * 4 * MIB


@on_both
def test_a_flood_of_the_log_while_two_megabytes_are_sent_ends_the_send(
    engine, start_script
) -> None:
    code = """
        import sys
        while True:
            sys.stderr.buffer.write(b"x" * 65536)
    """
    running = start_script(code)
    begin = time.monotonic()
    with pytest.raises(LogFlood):
        running.send(b"x" * 2 * MIB, soon())
    running.stop()
    assert time.monotonic() - begin < 15
    assert len(running.log) == Limits().log_bytes


def test_a_program_that_never_reads_fails_the_send_at_its_deadline(engine, start_script) -> None:
    running = start_script("import time; time.sleep(60)")
    begin = time.monotonic()
    with pytest.raises(DeadlinePassed):
        running.send(b"x" * 16 * MIB, soon(1))
    with pytest.raises(DeadlinePassed):
        running.wait(soon(0.2))
    running.stop()
    assert time.monotonic() - begin < 10
    assert is_gone(engine, running._name)


@on_both
def test_a_program_that_leaves_early_closes_the_pipe(engine, start_script) -> None:
    running = start_script("")
    with pytest.raises(PipeClosed):
        running.send(b"x" * 16 * MIB, soon())
    assert running.wait(soon()).code == 0


@on_both
def test_one_that_ignores_term_and_hides_a_daemon_is_removed(engine, start_script) -> None:
    code = """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv("/bin/sleep", ["sleep", "120.5"])
            os._exit(0)
        os.close(0)
        time.sleep(0.2)
        print("deaf", flush=True)
        time.sleep(60)
    """
    running = start_script(code)
    running.receive_line(64, soon())
    assert has_process("sleep\x00120.5")
    begin = time.monotonic()
    assert running.stop().code is None
    assert time.monotonic() - begin < 5
    assert is_gone(engine, running._name)
    assert not has_process("sleep\x00120.5")


@on_both
def test_a_stopped_process_is_removed_too(engine, start_script) -> None:
    code = "import os, signal; print(flush=True); os.kill(0, signal.SIGSTOP)"
    running = start_script(code)
    running.receive_line(64, soon())
    time.sleep(0.2)
    assert running.stop().code is None
    assert is_gone(engine, running._name)


@on_both
def test_term_ends_a_program_in_its_own_way(engine, start_script) -> None:
    code = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        print("ready", flush=True)
        time.sleep(60)
    """
    running = start_script(code, limits=Limits(threads=1))
    running.receive_line(64, soon())
    assert running.stop().code == 9


def test_a_memory_hog_is_out_of_memory_by_the_engines_word(start_script) -> None:
    code = "x = [bytearray(1 << 20) for _ in range(1000)]"
    running = start_script(code, limits=Limits(memory_mib=64, threads=1))
    ending = running.wait(soon())
    assert ending.is_out_of_memory
    assert ending.code == -signal.SIGKILL


def test_a_childs_death_for_memory_is_known_while_its_parent_goes_on(start_script) -> None:
    code = """
        import os, sys
        child = os.fork()
        if child == 0:
            x = [bytearray(1 << 20) for _ in range(1000)]
        os.waitpid(child, 0)
        print("went on", flush=True)
        sys.stdin.buffer.read()
    """
    running = start_script(code, limits=Limits(memory_mib=64, threads=1))
    assert running.receive_line(64, soon()) == b"went on\n"
    facts = running.facts()
    assert (facts.memory_kills, facts.met_memory_limit, facts.exit_code) == (1, True, None)
    running.close_input()
    assert running.wait(soon()).code == 0
    running.stop()
    assert (running.facts().memory_kills, running.facts().exit_code) == (1, 0)


def test_full_folders_are_seen_after_the_program_has_ended_by_it(start_script) -> None:
    code = """
        import time
        for folder in {}:
            try:
                with open(folder + "/full", "wb") as file:
                    while True:
                        file.write(b"x" * 65536)
            except OSError:
                pass
        time.sleep(1)  # what ends before the engine has been asked once is not seen
        raise SystemExit(1)
    """
    limits = Limits(tmp_mib=2, shm_mib=2, threads=1)
    for folders in (["/dev/shm"], ["/tmp"], []):
        running = start_script(code.format(folders), limits=limits)
        assert running.wait(soon()).code == 1
        facts = running.facts()
        assert (list(facts.full_folders), facts.memory_kills) == (folders, 0)
        running.stop()
        assert running.facts() == facts


def test_a_crash_is_told_from_a_memory_limit(start_script) -> None:
    ending = start_script("import os; os.kill(os.getpid(), 9)").wait(soon())
    assert ending.code == -signal.SIGKILL
    assert not ending.is_out_of_memory
    assert start_script("1 / 0").wait(soon()).code == 1


def test_a_fork_bomb_and_a_tmp_filler_hit_their_bounds(start_script) -> None:
    code = """
        import os, time
        children = 0
        try:
            while True:
                if os.fork() == 0:
                    time.sleep(60)
                children += 1
        except BlockingIOError:
            print(children, flush=True)
        for folder in ("/tmp", "/dev/shm"):
            try:
                with open(folder + "/full", "wb") as file:
                    while True:
                        file.write(b"x" * 65536)
            except OSError as error:
                print(error.errno, flush=True)
    """
    limits = Limits(pids=20, tmp_mib=2, shm_mib=2, memory_mib=256, threads=1, stop_seconds=0.2)
    running = start_script(code, limits=limits)
    assert 10 <= int(running.receive_line(64, soon())) <= 20
    assert [running.receive_line(64, soon()) for _ in range(2)] == [b"28\n", b"28\n"]


def test_peak_memory_is_what_the_container_used(start_script) -> None:
    code = """
        x = b"x" * (100 << 20)
        print("held", flush=True)
        import sys; sys.stdin.buffer.read()
    """
    running = start_script(code)
    running.receive_line(64, soon())
    running.close_input()
    running.wait(soon())
    running.stop()
    if running.peak_memory_bytes is None:
        pytest.skip("the control groups of this engine cannot be read from here")
    assert 100 * MIB <= running.peak_memory_bytes <= 256 * MIB


@on_both
def test_a_container_owns_its_processes_and_no_other(engine, start_script) -> None:
    code = """
        import os, sys
        child = os.fork()
        if child:
            os.fork() or os.setsid()
        print("up", flush=True)
        sys.stdin.buffer.read()
    """
    running, other = start_script(code), start_script(code)
    for each in (running, other):
        each.receive_line(64, soon())
    asked, title = ("hpid", "HPID") if engine.name == "podman" else (None, "PID")
    listed = running._client.top(running._name, asked)
    column = listed["Titles"].index(title)
    inside = [int(row[column]) for row in listed["Processes"]]
    assert len(inside) >= 3
    assert all(running.owns(process) for process in inside)
    assert not any(other.owns(process) for process in inside)
    assert not running.owns(os.getpid())
    running.stop()
    assert not any(running.owns(process) for process in inside)


def test_a_gpu_is_asked_for_by_its_uuid_and_none_is_hidden_from_a_run_without(
    engine, script_program
) -> None:
    with_gpu = body(engine.plan(Launch(script_program, "predict", device="cuda:GPU-12ab")))
    assert with_gpu["HostConfig"]["DeviceRequests"] == [
        {"DeviceIDs": ["GPU-12ab"], "Capabilities": [["gpu", "compute", "utility"]]}
    ]
    assert "NVIDIA_VISIBLE_DEVICES=GPU-12ab" in with_gpu["Env"]
    without = body(engine.plan(Launch(script_program, "predict")))
    assert without["HostConfig"]["DeviceRequests"] == []
    assert "NVIDIA_VISIBLE_DEVICES=void" in without["Env"]


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_an_engine_without_gpus_is_one_clear_error_and_leaves_nothing(
    engine, script_program
) -> None:
    before = len(engine.client.containers(all=True))
    launch = Launch(script_program, "predict", device="cuda:GPU-12ab")
    with pytest.raises(DeviceUnavailable, match="nvidia-ctk") as caught:
        engine.start(launch)
    assert "could not select device driver" in caught.value.what
    assert len(engine.client.containers(all=True)) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts entries as another user")
def test_a_folder_that_the_entrys_user_cannot_read_is_named(
    engine, script_program, tmp_path
) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(RunEnded, match=f"chmod o\\+rx {tmp_path}") as caught:
        engine.start(Launch(script_program, "predict", weights=tmp_path))
    assert caught.value.status is Status.HOST_ERROR


def test_an_image_that_is_gone_is_the_infrastructures_fault(engine) -> None:
    program = Program(name="gone", identity="", image="sha256:" + "0" * 64)
    with pytest.raises(RunEnded) as caught:
        engine.start(Launch(program, "predict"))
    assert caught.value.status is Status.IMAGE_UNAVAILABLE


def test_the_plan_is_the_call_that_is_made(engine, script_program) -> None:
    plan = engine.plan(Launch(script_program, "predict"))
    assert plan.startswith("POST /containers/create?name=bmad-test-script-predict-")
    assert body(plan)["HostConfig"]["NetworkMode"] == "none"


HARNESS = """
    import os, signal, time
    from pathlib import Path
    from harness.engines.base import Launch, Limits, Program
    from harness.engines import make_engine
    program = Program(name="child", identity="", image={image!r})
    limits = Limits(threads=1, stop_seconds=1)
    launch = Launch(program, "predict", weights=Path({weights!r}), limits=limits)
    with make_engine({engine!r}).start(launch) as running:
        print(running._name, flush=True)
        {then}
"""


def harness_process(engine, script_program, folder: Path, then: str) -> subprocess.Popen[str]:
    """A harness of its own that starts a container, says its name, and goes on with `then`."""
    scripts = folder / "scripts"
    scripts.mkdir()
    (scripts / "main.py").write_text(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    )
    code = HARNESS.format(
        engine=engine.name, image=script_program.image, weights=str(scripts), then=then
    )
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@on_both
def test_ctrl_c_leaves_no_container_of_an_entry_that_resists(
    engine, script_program, tmp_path
) -> None:
    with harness_process(engine, script_program, tmp_path, "running.receive(1, 1e9)") as harness:
        name = harness.stdout.readline().strip()
        assert not is_gone(engine, name)
        time.sleep(0.1)
        harness.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in harness.communicate(timeout=20)[1]
    assert is_gone(engine, name)


@on_both
def test_a_killed_harness_leaves_a_container_that_the_next_one_sweeps(
    engine, script_program, start_script, tmp_path
) -> None:
    mine = start_script(WAIT)
    then = "os.kill(os.getpid(), signal.SIGKILL)"
    with harness_process(engine, script_program, tmp_path, then) as harness:
        name = harness.communicate(timeout=20)[0].strip()
    assert not is_gone(engine, name)
    assert engine.remove_leftovers() >= 1
    assert is_gone(engine, name)
    assert not is_gone(engine, mine._name), "a container of a living harness stays"


@on_both
def test_what_was_started_with_a_label_is_removed_whoever_owns_it(engine, start_script) -> None:
    labels = {"bmad.training": secrets.token_hex(8)}
    one, other = start_script(WAIT, labels=labels), start_script(WAIT)
    assert engine.remove_labelled("bmad.training", labels["bmad.training"]) == 1
    assert is_gone(engine, one._name)
    assert not is_gone(engine, other._name)
    assert engine.remove_labelled("bmad.training", labels["bmad.training"]) == 0


@on_both
def test_an_interrupt_in_the_middle_of_a_start_leaves_no_container(
    engine, script_program, monkeypatch
) -> None:
    name = f"bmad-interrupted-{secrets.token_hex(4)}"
    monkeypatch.setattr("harness.engines.docker.engine._container_name", lambda launch: name)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.client, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.start(Launch(script_program, "predict"))
    assert is_gone(engine, name)


def test_an_error_from_outside_interrupts_a_wait_for_output(start_script) -> None:
    running = start_script(WAIT)
    running.interrupt(RunEnded(Status.BAD_MODEL, "too much"))
    with pytest.raises(RunEnded, match="too much"):
        running.receive(1, soon())


def test_the_attach_stream_is_taken_apart_wherever_reads_cut_it() -> None:
    sent = [(1, b"out"), (2, b"error"), (1, b""), (1, bytes(range(256))), (0, b"in"), (2, b"x")]
    stream = b"".join(bytes([kind, 0, 0, 0]) + len(d).to_bytes(4, "big") + d for kind, d in sent)
    for size in (1, 2, 3, 7, 8, 9, 64, len(stream)):
        seen: dict[int, bytes] = {1: b"", 2: b""}

        def keep(kind: int, data: memoryview, seen: dict[int, bytes] = seen) -> None:
            seen[kind] += bytes(data)

        demultiplexer = Demultiplexer({1: lambda d: keep(1, d), 2: lambda d: keep(2, d)})
        for start in range(0, len(stream), size):
            demultiplexer.feed(stream[start : start + size])
        assert seen == {1: b"out" + bytes(range(256)), 2: b"errorx"}
