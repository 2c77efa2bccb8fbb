"""What is made of what is seen, from outside and from inside; and the engines' own part in it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, BinaryIO

import pytest

from harness.common.statuses import RunEnded, Status
from harness.engines.base import Engine, Launch, Limits, Program
from harness.engines.measuring import FIRST, AskedBounds, isolation_seen, seen_from_inside
from harness.engines.probe import UNLIMITED, Seen
from harness.engines.process import ProcessEngine
from harness.records.isolation import MeasuredIsolation, isolation_level
from tests.function_engine import FunctionEngine, FunctionRunning, run_function

MIB = 1024**2
ASKED = AskedBounds(memory_mib=512, pids=64, tmp_mib=16, shm_mib=8)
OURS = Seen(interfaces=["lo", "eth0"], namespaces={"net": 1, "pid": 2, "ipc": 3})
HELD = Seen(
    interfaces=["lo"],
    routes=0,
    namespaces={"net": 11, "pid": 12, "ipc": 13},
    is_root_read_only=True,
    capabilities=0,
    has_no_new_privileges=True,
    seccomp=2,
    user=os.getuid() + 1,
    memory_bytes=512 * MIB,
    pids=64,
    has_own_tmp=True,
    tmp_mib=16,
    has_own_shm=True,
    shm_mib=8,
)


def judged(outside: Seen, inside: Seen | None = None, ours: Seen = OURS) -> MeasuredIsolation:
    return isolation_seen(outside, inside or Seen(), ours, ASKED)


def test_where_everything_holds_it_is_a_container_whichever_side_saw_it() -> None:
    for found in (judged(HELD), judged(Seen(), HELD)):
        assert isolation_level(found) == "container"
        assert (found.other_user, found.tmp_mib, found.unbounded) == (True, 16, ())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"interfaces": ["lo", "eth0"]}, "network_off"),
        ({"interfaces": ["lo", "tunl0"], "routes": 1}, "network_off"),
        ({"namespaces": {**HELD.namespaces, "net": 1}}, "network_off"),
        ({"namespaces": {**HELD.namespaces, "pid": 2}}, "own_pids"),
        ({"namespaces": {**HELD.namespaces, "pid": FIRST["pid"]}}, "own_pids"),
        ({"namespaces": {**HELD.namespaces, "ipc": 3}}, "own_ipc"),
        ({"is_root_read_only": False}, "root_read_only"),
        ({"capabilities": 1 << 21}, "no_capabilities"),
        ({"has_no_new_privileges": False}, "no_capabilities"),
        ({"seccomp": 0}, "seccomp"),
        ({"user": os.getuid()}, "other_user"),
        ({"memory_bytes": 512 * MIB + 1}, "memory_bounded"),
        ({"memory_bytes": UNLIMITED}, "memory_bounded"),
        ({"pids": 65}, "pids_bounded"),
        ({"has_own_tmp": False}, "tmp_bounded"),
        ({"tmp_mib": 18}, "tmp_bounded"),
        ({"has_own_shm": False}, "shm_bounded"),
        ({"shm_mib": 10}, "shm_bounded"),
        ({"shm_mib": None}, "shm_bounded"),
    ],
)
def test_what_is_open_is_told_and_nothing_else_is(changes: dict[str, Any], name: str) -> None:
    found = judged(replace(HELD, **changes))
    wanted = judged(HELD).model_dump(exclude={"unbounded", "tmp_mib"}) | {name: False}
    assert found.model_dump(exclude={"unbounded", "tmp_mib"}) == wanted


def test_the_kernels_own_idle_tunnels_are_no_network() -> None:
    assert judged(replace(HELD, interfaces=["lo", "tunl0", "sit0"])).network_off is True


def test_a_machine_without_a_network_proves_none_is_off() -> None:
    unknown = replace(HELD, namespaces={})
    assert judged(unknown, ours=replace(OURS, interfaces=["lo"])).network_off is None
    assert judged(unknown).network_off is True  # the harness sees others than the entry does


def test_a_lie_from_inside_counts_for_nothing_that_was_seen_from_outside() -> None:
    outside = replace(HELD, capabilities=1, seccomp=0, memory_bytes=UNLIMITED, interfaces=["eth0"])
    found = judged(outside, HELD)
    assert found == judged(outside)
    assert isolation_level(found) == "none"


def test_what_nobody_saw_is_not_known_and_does_not_hold() -> None:
    found = judged(replace(HELD, memory_bytes=None, seccomp=None))
    assert (found.memory_bounded, found.seccomp) == (None, None)
    assert found.unbounded == ("memory",)
    assert isolation_level(found) == "same user"
    assert judged(Seen()) == MeasuredIsolation(shm_bounded=False)


def answering(line: bytes) -> Callable[[BinaryIO, BinaryIO, BinaryIO], None]:
    def program(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        stdout.write(line)
        stdout.flush()
        stdin.read()

    return program


class ProbedEngine(FunctionEngine):
    """An engine whose probe is a function, and which measures as the base says."""

    measure = Engine.measure

    def __init__(self, line: bytes) -> None:
        super().__init__(answering(line), answering(line))
        self.sources: list[str] = []

    def start_source(self, launch: Launch, source: str) -> FunctionRunning:
        self.sources.append(source)
        return super().start_source(launch, source)


LIMITS = Limits(memory_mib=512, pids=64, tmp_mib=16, shm_mib=8)
OWN = Program("own", "folder:sha256:" + "0" * 64)
STRANGERS = Program("strangers", "image:sha256:" + "0" * 64)
LINE = json.dumps(asdict(HELD)).encode() + b"\n"


def test_a_measurement_is_made_once_for_a_program_a_device_and_limits() -> None:
    engine = ProbedEngine(LINE)
    launch = Launch(OWN, "predict", limits=LIMITS)
    assert isolation_level(engine.measure(launch)) == "container"
    assert engine.measure(replace(launch, verb="train")) == engine.measure(launch)
    assert len(engine.sources) == 1
    engine.measure(replace(launch, limits=replace(LIMITS, pids=63)))
    assert len(engine.sources) == 2


def test_a_strangers_interpreter_cannot_raise_the_level_by_what_it_says() -> None:
    assert ProbedEngine(LINE).measure(Launch(STRANGERS, "predict")) == MeasuredIsolation(
        shm_bounded=False
    )


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"hello\n", b"1\n", b"{\n", b""])
def test_a_probe_that_does_not_answer_is_a_fault_of_the_place_and_nobodys_level(line) -> None:
    def program(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        stdout.write(line)
        stderr.write(b"no such interpreter\n")

    engine = ProbedEngine(line)
    engine._canary = program
    with pytest.raises(RunEnded, match="no such interpreter") as ended:
        engine.measure(Launch(OWN, "predict"))
    assert ended.value.status is Status.HOST_ERROR


def test_a_process_is_held_by_nothing_wherever_the_harness_runs() -> None:
    program = Program("p", "", command=(sys.executable, "-c", "pass"))
    assert ProcessEngine().describe().partition(" ")[0] == ProcessEngine.name
    found = ProcessEngine().measure(Launch(program, "predict"))
    assert found == MeasuredIsolation()
    assert isolation_level(found) == "none"


def test_a_program_of_ours_runs_as_a_process_in_the_entrys_place() -> None:
    program = Program("p", "", command=(sys.executable, "-c", "raise SystemExit(1)"))
    launch = Launch(program, "predict", limits=Limits(threads=1))
    with ProcessEngine().start_source(launch, "print('here')") as running:
        assert running.receive_line(64, time.monotonic() + 20) == b"here\n"


def test_the_line_of_the_probe_is_read_as_it_was_written() -> None:
    assert seen_from_inside(LINE) == HELD
    with run_function(answering(LINE)) as running:
        assert running.main_process is None
