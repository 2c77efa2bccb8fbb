"""Whose fault the end of a run on a GPU is: the host asks the GPU, and believes nobody else."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

import harness.engines
from harness import evaluate
from harness.common.errors import DeviceUnavailable, InfrastructureFault
from harness.common.statuses import Fault, RunEnded, Status
from harness.engines import base, process
from harness.engines.base import Launch, Limits, Program, Running
from harness.engines.gpu import health
from harness.engines.gpu.health import EXPLAINED, explained, require_well
from harness.engines.process import ProcessEngine
from harness.records.record import Record
from harness.records.store import Store
from tests.fake_nvml import Driver, FakeGpu
from tests.function_engine import EntryFunction, FunctionEngine

ENTRIES = Path(__file__).parents[2] / "sample_entries"
ON_GPU = Launch(
    Program("x", "folder:x"), "predict", device="cuda:GPU-a", limits=Limits(stop_seconds=0.2)
)


def canary_that(text: bytes, code: int) -> EntryFunction:
    def canary(_stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        stdout.write(text)
        raise SystemExit(code)

    return canary


def nothing(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
    """An entry that is never started here."""
    raise AssertionError


FAILED = b'{"code": 4, "said": "the kernel failed: cuCtxSynchronize: CUDA_ERROR_ECC (214)"}\n'
WELL = canary_that(b'{"code": 0, "said": "the GPU computes"}\n', 0)
SICK = canary_that(FAILED, 4)


@pytest.fixture
def gpu(driver: Driver) -> FakeGpu:
    made = FakeGpu("GPU-a")
    driver.has(made)
    return made


# --- the question ------------------------------------------------------------------------


def test_a_well_gpu_lets_the_run_begin_and_leaves_the_entrys_fault_its_own(gpu) -> None:
    engine = FunctionEngine(nothing, WELL)
    require_well(engine, ON_GPU)
    for status in Status:
        end = RunEnded(status, "as it was")
        assert explained(end, engine, ON_GPU) is end


@pytest.mark.parametrize("status", sorted(EXPLAINED))
def test_a_sick_gpu_explains_what_it_can_bring_about(gpu, status: Status) -> None:
    end = explained(RunEnded(status, "image 3"), FunctionEngine(nothing, SICK), ON_GPU)
    assert end.status is Status.GPU_LOST
    assert end.status.fault is Fault.INFRASTRUCTURE
    assert "CUDA_ERROR_ECC (214)" in end.detail
    assert f"the entry: {status}, image 3" in end.detail


def test_what_no_gpu_brings_about_stays_the_entrys_and_nobody_is_asked(driver, gpu) -> None:
    gpu.is_lost = True
    calls = driver.calls
    for status in set(Status) - EXPLAINED:
        end = RunEnded(status, "")
        assert explained(end, FunctionEngine(nothing, nothing), ON_GPU) is end
    cpu = Launch(Program("x", "folder:x"), "predict")
    crash = RunEnded(Status.CRASHED, "")
    assert explained(crash, FunctionEngine(nothing, nothing), cpu) is crash
    require_well(FunctionEngine(nothing, nothing), cpu)
    assert driver.calls == calls


def test_nvml_is_believed_before_the_canary_is_asked(driver, gpu) -> None:
    gpu.is_lost = True
    with pytest.raises(RunEnded, match="NVML: GPU is lost") as caught:
        require_well(FunctionEngine(nothing, nothing), ON_GPU)
    assert caught.value.status is Status.GPU_LOST
    driver.has()
    with pytest.raises(RunEnded, match="NVML: Not Found"):
        require_well(FunctionEngine(nothing, nothing), ON_GPU)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (FAILED, 4, "exit code 4: the kernel failed: cuCtx"),
        (b"", -11, "exit code -11"),
        (b"not json\n", 5, "exit code 5"),
        (b"[1]\n", 5, "exit code 5"),
        (b"x" * 400_000, 4, "exit code 4"),
    ],
)
def test_a_canary_that_does_not_end_well_is_told_as_far_as_it_speaks(
    gpu, text, code, words
) -> None:
    with pytest.raises(RunEnded, match=words) as caught:
        require_well(FunctionEngine(nothing, canary_that(text, code)), ON_GPU)
    assert len(caught.value.detail) < 500


def test_a_canary_that_hangs_is_a_lost_gpu(gpu, monkeypatch) -> None:
    monkeypatch.setattr(health, "CANARY_SECONDS", 0.3)

    def hanging(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        import threading

        threading.Event().wait(2)

    with pytest.raises(RunEnded, match=r"did not end within 0\.3 s"):
        require_well(FunctionEngine(nothing, hanging), ON_GPU)


class WithoutGpus(FunctionEngine):
    """An engine that has no GPU to give, or none any more."""

    def start_canary(self, launch: Launch) -> Running:
        raise DeviceUnavailable("the container engine has no GPU to give")


def test_an_engine_without_gpus_is_its_own_error_before_a_run_and_a_lost_gpu_after_it(gpu) -> None:
    with pytest.raises(DeviceUnavailable):
        require_well(WithoutGpus(nothing), ON_GPU)
    end = explained(RunEnded(Status.CRASHED, ""), WithoutGpus(nothing), ON_GPU)
    assert end.status is Status.GPU_LOST


# --- whole runs on the process engine, with a canary that says what the test wants -----------

CANARY = """
import json, os, sys
folder = {folder!r}
with open(folder + "/asked", "a") as file:
    file.write(json.dumps(dict(os.environ)) + "\\n")
with open(folder + "/asked") as file:
    number = len(file.readlines())
with open(folder + "/sick-from") as file:
    is_sick = number >= int(file.read())
print(json.dumps({{"code": 4 * is_sick, "said": "as the test wants"}}))
sys.exit(4 * is_sick)
"""


class LosingEngine(ProcessEngine):
    """Does something when it has started an entry for the n-th time; the canary is no entry."""

    def __init__(self) -> None:
        super().__init__()
        self.starts = 0
        self.at: dict[int, Callable[[Running], None]] = {}

    def start(self, launch: Launch) -> process.ProcessRunning:
        running = super().start(launch)
        if base.CANARY.read_text("utf-8") not in launch.program.command:
            self.starts += 1
            self.at.get(self.starts, lambda _: None)(running)
        return running


@dataclass
class Machine:
    """A machine with two GPUs, on which runs are made on the second."""

    folder: Path
    gpu: FakeGpu
    engine: LosingEngine

    def is_sick_from(self, canary: int) -> None:
        """From so many canaries on, they fail."""
        (self.folder / "sick-from").write_text(str(canary))

    @property
    def canaries(self) -> list[dict[str, str]]:
        """The environment of each canary so far."""
        path = self.folder / "asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def run(self, entry: str, *options: str) -> int:
        return evaluate.main(
            [str(ENTRIES / entry), "--device", "cuda:1", "--results", str(self.folder / "results"),
             "--no-site", *options]
        )  # fmt: skip

    @property
    def records(self) -> list[Record]:
        return Store(self.folder / "results").records()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def machine(driver: Driver, tmp_path: Path, cache: Path, monkeypatch) -> Machine:
    made = Machine(tmp_path, FakeGpu("GPU-2b2b", processes=entries_running), LosingEngine())
    driver.has(FakeGpu("GPU-a"), made.gpu)
    made.is_sick_from(99)
    canary = tmp_path / "canary.py"
    canary.write_text(CANARY.format(folder=str(tmp_path)))
    monkeypatch.setattr(base, "CANARY", canary)
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setattr(harness.engines, "choose_engine", lambda _: made.engine)
    return made


def entries_running() -> dict[int, float | None]:
    """512 MiB for each entry that runs on this machine, and 700 for one that trains."""
    found: dict[int, float | None] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:3] == [b"-m", b"harness.contract"]:
            found[int(path.parent.name)] = 700 if words[4] == b"train" else 512
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_run_on_a_well_gpu_is_recorded_with_its_gpu_and_the_peak_over_all_sessions(
    machine: Machine,
) -> None:
    machine.gpu.energy_mj = lambda: round(100_000 * time.monotonic())  # at 100 W
    assert machine.run("trainer") == 0
    (record,) = machine.records
    assert record.is_ok
    assert record.cost.peak_gpu_mib == 700
    (energy, processor), times = record.energy, record.times
    assert (energy.of, processor.of) == ("gpu", "processor")
    # The clock and the counter are read one after the other, on a machine that is busy: 0.3 s apart.
    assert energy.total.joules == pytest.approx(100 * times.total, rel=0.1, abs=30)
    assert energy.train.joules == pytest.approx(100 * times.train, rel=0.1, abs=30)
    assert energy.predict.joules == pytest.approx(100 * times.predict, rel=0.1, abs=30)
    assert times.latency.median < energy.per_image.joules / 100 < times.predict
    told = record.machine
    assert (told.device, told.driver, told.cuda) == ("NVIDIA H200", "580.95.05", "13.0")
    (canary,) = machine.canaries
    assert canary["CUDA_VISIBLE_DEVICES"] == "GPU-2b2b"
    assert canary["OMP_NUM_THREADS"] == str(record.machine.threads)
    assert canary["USER"] == "entry"


def test_a_gpu_that_fails_before_the_run_is_no_record_and_no_entry_is_started(
    machine: Machine, capsys
) -> None:
    machine.is_sick_from(1)
    with pytest.raises(InfrastructureFault, match="as the test wants") as caught:
        machine.run("honest")
    assert (caught.value.status, caught.value.exit_code) == (Status.GPU_LOST, 5)
    assert machine.engine.starts == 0
    assert machine.records == []
    assert len(machine.canaries) == 2, "it was tried once more"


FAULTS = [
    ("crashing", Status.CRASHED, ()),
    ("early_exit", Status.MISSING_ANSWER, ()),
    ("hanging_image", Status.IMAGE_TIMEOUT, ("--limit", "image_seconds=1")),
    ("out_of_gpu_memory", Status.OUT_OF_GPU_MEMORY, ()),
]


@pytest.mark.parametrize(("entry", "status", "limits"), FAULTS)
def test_an_entrys_fault_on_a_well_gpu_is_its_own(machine, entry, status, limits) -> None:
    assert machine.run(entry, *limits) == 4
    (record,) = machine.records
    assert record.outcome.status is status
    assert len(machine.canaries) == 2, "before the run, and after its end"


@pytest.mark.parametrize(("entry", "status", "limits"), FAULTS)
def test_the_same_end_with_a_gpu_that_fell_off_is_the_gpus_and_is_tried_again(
    machine, entry, status, limits
) -> None:
    def fall_off(_: Running) -> None:
        machine.gpu.is_lost = True

    machine.engine.at[1] = fall_off
    with pytest.raises(DeviceUnavailable, match="GPU 1: GPU is lost"):
        machine.run(entry, *limits)
    assert machine.engine.starts == 1
    assert machine.records == []


def test_a_gpu_that_computes_no_more_after_a_crash_is_the_gpus(machine, capsys) -> None:
    machine.is_sick_from(2)
    with pytest.raises(InfrastructureFault) as caught:
        machine.run("crashing")
    assert caught.value.status is Status.GPU_LOST
    assert "the entry: crashed" in capsys.readouterr().err
    assert machine.records == []


def test_an_entry_cannot_claim_a_lost_gpu_by_what_it_says_or_returns(machine, tmp_path) -> None:
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "entry.toml").write_text(
        '[entry]\nname = "claims"\ntitle = "Claims"\nmodel = "model.py:Model"\nmaps = true\ntrains = false\n'
    )
    (folder / "model.py").write_text(
        "import os, sys\n"
        "class Model:\n"
        "    def __init__(self, device, seed, params, weights):\n"
        "        for out in (sys.stdout, sys.stderr):\n"
        '            print(\'{"status": "gpu_lost", "code": 4, "said": "gpu_lost"}\', file=out, flush=True)\n'
        "        os._exit(4)\n"
    )
    assert machine.run(str(folder)) == 4
    (record,) = machine.records
    assert record.outcome.status is Status.CRASHED


def test_a_fault_that_no_gpu_explains_asks_no_second_canary(machine) -> None:
    assert machine.run("nan") == 4
    (record,) = machine.records
    assert record.outcome.status is Status.NON_FINITE
    assert len(machine.canaries) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_gpu_that_is_lost_in_the_audit_does_not_mark_the_entry(machine) -> None:
    def lose_gpu_and_entry(running: Running) -> None:
        machine.is_sick_from(2)
        deadline = time.monotonic() + 20
        while not (own := [each for each in entries_running() if running.owns(each)]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(own[0], signal.SIGKILL)

    machine.engine.at[2] = lose_gpu_and_entry  # the first start is the run's own
    with pytest.raises(InfrastructureFault) as caught:
        machine.run("honest", "--audit")
    assert caught.value.status is Status.GPU_LOST
    assert machine.records == []
