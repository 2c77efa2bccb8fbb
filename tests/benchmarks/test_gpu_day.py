"""The day with a GPU, without one: its order, what it keeps, each step's arithmetic, its page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.common.statuses import Status
from harness.engines.gpu import health
from harness.session.conversation import Answer
from tests.baselines.conftest import BASELINES, open_baseline
from tests.benchmarks.baseline_costs.clocks import Effort
from tests.benchmarks.baseline_costs.generated import Form
from tests.benchmarks.baseline_costs.ours import Task
from tests.benchmarks.baseline_costs.theirs import MODELS
from tests.benchmarks.gpu_day import answers, day, page, plan, starts
from tests.benchmarks.gpu_day import driver as machine_steps
from tests.benchmarks.gpu_day.day import Day, OtherMachine
from tests.benchmarks.gpu_day.plan import Step
from tests.fake_nvml import Driver, FakeGpu
from tests.function_engine import FunctionEngine
from tests.stand_in_gpu import StandInGpu

MACHINE = {
    "name": "Some GPU", "cpu": "Some CPU", "cores": 2, "threads": 1, "date": "2026-01-01",
    "harness": "0", "python": "3", "torch": "2", "cuda": "13",
}  # fmt: skip
FORM = Form("brain", (48, 40), 3, 8, 2, 2)


# --- the order -----------------------------------------------------------------------------


def test_the_day_holds_every_method_and_the_papers_come_first() -> None:
    kinds = [step.kind for step in plan.steps(MODELS)]
    names = [step.entry for step in plan.steps(MODELS) if step.kind == "answers"]
    assert len(plan.paper()) == 15
    assert names[:15] == plan.paper()
    assert {"winclip", "dinomaly", "efficientad", "ae"} < set(names[15:])
    assert not {name for name in names if name.startswith(("trivial-", "canary-"))}
    assert kinds[:2] == ["driver", "memory"]
    assert kinds.index("starts") == 17
    assert [step.entry for step in plan.steps(MODELS) if step.kind == "anomalib"] == [
        name for name in plan.paper() if name in MODELS
    ]


def test_a_choice_leaves_the_rest_out() -> None:
    chosen = plan.steps(MODELS, ["stfpm"], ["answers", "anomalib", "driver"])
    assert [step.name for step in chosen] == ["driver", "answers stfpm", "anomalib stfpm"]


# --- what a call keeps ---------------------------------------------------------------------

DAY = [Step("driver"), Step("answers", "stfpm"), Step("answers", "padim"), Step("energy")]


@pytest.fixture
def options(tmp_path: Path) -> Namespace:
    return Namespace(
        device="cpu", threads=1, engine="process", changes={}, again=False, stop_after=1000.0,
        report=tmp_path / "report.json", data=tmp_path,
    )  # fmt: skip


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were begun, in place of their processes; STFPM's fails."""
    begun: list[str] = []

    def run_apart(command: list[str], environment: Any, seconds: float) -> dict[str, Any]:
        name = f"{command[command.index('--step') + 1]} {command[command.index('--entry') + 1]}"
        begun.append(name.strip())
        return {"failed": "CUDA error | an illegal access"} if "stfpm" in name else {"found": 1}

    monkeypatch.setattr(day, "run_apart", run_apart)
    return begun


def kept(options: Namespace) -> dict[str, Any]:
    return json.loads(options.report.read_text())["steps"]


def test_a_step_that_fails_is_a_result_and_the_day_goes_on(options, done) -> None:
    assert Day(options, MACHINE).run(DAY)
    assert done == ["driver", "answers stfpm", "answers padim", "energy"]
    assert kept(options)["answers stfpm"]["failed"].startswith("CUDA error")
    assert kept(options)["energy"]["found"] == 1


def test_what_is_there_is_not_done_again_unless_asked_for(options, done) -> None:
    Day(options, MACHINE).run(DAY[:2])
    Day(options, MACHINE).run(DAY)
    assert done == ["driver", "answers stfpm", "answers padim", "energy"]
    options.again = True
    Day(options, MACHINE).run(DAY[:1])
    assert done[-1] == "driver"


def test_a_changed_baseline_is_done_again_and_so_is_what_was_waited_for(
    options, done, monkeypatch
) -> None:
    Day(options, MACHINE).run(DAY)
    monkeypatch.setattr(day, "folder_identity", lambda folder: f"another {folder.name}")
    Day(options, MACHINE).run(DAY)
    assert done[4:] == ["answers stfpm", "answers padim"]
    report = json.loads(options.report.read_text())
    report["steps"]["energy"] = {"identity": "", "skipped": "waits"}
    options.report.write_text(json.dumps(report))
    Day(options, MACHINE).run(DAY)
    assert done[6:] == ["energy"]


def test_no_step_begins_that_might_outlast_the_call(options, done, capsys) -> None:
    seconds = iter([0.0, 0.0, 880.0])
    options.stop_after = plan.BUDGETS["driver"] + 800
    assert not Day(options, MACHINE, clock=lambda: next(seconds)).run(DAY)
    assert done == ["driver"], "each result is in the report before the next step begins"
    assert set(kept(options)) == {"driver"}
    assert "run the same command again" in capsys.readouterr().err


def test_a_report_of_another_machine_is_refused(options, done) -> None:
    Day(options, MACHINE).run(DAY[:1])
    with pytest.raises(OtherMachine, match="is of Some GPU, this is Another"):
        Day(options, {**MACHINE, "name": "Another"})


def test_a_step_sees_its_gpu_alone_and_none_begins_on_a_lost_one(
    options, monkeypatch, driver: Driver, capsys
) -> None:
    first, second = FakeGpu("GPU-a"), FakeGpu("GPU-b")
    driver.has(first, second)
    options.device = "cuda:1"
    seen: list[tuple[str, str]] = []

    def run_apart(command: list[str], environment: Any, seconds: float) -> dict[str, Any]:
        seen.append((command[command.index("--device") + 1], environment["CUDA_VISIBLE_DEVICES"]))
        second.is_lost = True
        return {"failed": "the GPU fell off"}

    monkeypatch.setattr(day, "run_apart", run_apart)
    assert not Day(options, MACHINE).run(DAY)
    assert seen == [("cuda:GPU-b", "GPU-b")]
    assert set(kept(options)) == {"driver"}
    assert "the GPU is lost" in capsys.readouterr().err


def test_a_steps_memory_is_watched_from_outside(options, monkeypatch, driver: Driver) -> None:
    held = {os.getpid(): 300, 1: 700}
    driver.has(FakeGpu("GPU-a", used_mib=1000, processes=lambda: held))
    options.device = "cuda:0"

    def run_apart(*_: Any) -> dict[str, Any]:
        held[os.getpid()] = 500
        time.sleep(0.3)
        return {}

    monkeypatch.setattr(day, "run_apart", run_apart)
    Day(options, MACHINE).run(DAY[:1])
    assert kept(options)["driver"]["host_peak_mib"] == 500


def test_the_processes_that_a_step_starts_are_its_own() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as child:
        assert day.is_of_this_process(child.pid)
        assert day.is_of_this_process(os.getpid())
        assert not day.is_of_this_process(os.getppid())
        assert not day.is_of_this_process(1)
        child.stdin.write(b"\n")
        child.stdin.close()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_nothing_is_begun_and_the_fix_is_said(tmp_path: Path, repository) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gpu_day", f"--report={tmp_path / 'report.json'}",
         f"--data={tmp_path}"],
        capture_output=True, text=True, cwd=repository, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert "fix: use --device cpu" in done.stderr
    assert not (tmp_path / "report.json").exists()


def trial(place: Path, repository: Path, *kinds: str) -> dict[str, Any]:
    """The report of a day with one autoencoder on the CPU."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gpu_day", "--device=cpu", "--only", "ae", "--steps", *kinds,
         "--set=hidden=32", "--threads=1", f"--report={place / 'report.json'}", f"--data={place}"],
        capture_output=True, text=True, cwd=repository, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((place / "report.json").read_text())


def test_a_trial_on_the_cpu_answers_as_the_cpu_does(tmp_path: Path, repository: Path) -> None:
    report = trial(tmp_path, repository, "memory", "answers")
    memory, found = report["steps"]["memory"], report["steps"]["answers ae"]
    assert memory["session"] == memory["after_asking_the_gpu"] == "out_of_gpu_memory"
    assert found["difference"] == {"images": 4, "equal": 4, "map": 0, "score": 0}
    assert found["training"]["phases"][0]["rounds"] == 2
    assert page.write(tmp_path, report) == 2, "a trial never becomes the page"


@pytest.mark.slow
def test_two_starts_on_the_cpu_are_equal_and_their_model_is_removed(
    tmp_path: Path, repository: Path
) -> None:
    assert "skipped" in trial(tmp_path, repository, "starts")["steps"]["starts ae"]
    twice = trial(tmp_path, repository, "answers", "starts")["steps"]["starts ae"]
    assert (twice["is_equal"], twice["images"]) == (True, 32)
    assert list((tmp_path / "gpu-day-models").iterdir()) == []


# --- answers -------------------------------------------------------------------------------


def test_a_difference_is_told_in_shares_of_the_cpus_range() -> None:
    those = [(np.array([[0.0, 4.0]]), 4.0), (np.array([[1.0, 2.0]]), 2.0)]
    these = [(np.array([[0.0, 4.0]]), 4.0), (np.array([[1.0, 3.0]]), 3.0)]
    assert answers.difference(these, those) == {"images": 2, "equal": 1, "map": 0.25, "score": 0.25}
    without_maps = [(None, 4.0)]
    assert answers.difference(without_maps, without_maps) == {
        "images": 1, "equal": 1, "map": None, "score": 0.0,
    }  # fmt: skip


def test_on_a_gpu_a_coarse_number_is_told_from_a_wrong_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    params = open_baseline(BASELINES / "simplenet").params(precision="mixed")
    task = Task(
        "simplenet", torch.device("cuda:0"), params, FORM, 8, tmp_path, Effort(0, 1, 0.0, 1), 2, 0.0
    )
    (tmp_path / "model").mkdir()
    with StandInGpu() as gpu:
        found = answers.measure(task, tmp_path / "model")
    assert gpu.mixes == []
    assert found["difference_in_float32"]["map"] < 1e-4 < found["difference"]["map"] < 0.5
    assert set(found["memory"]) == {"peak_ram_mib", "torch_allocated_mib", "torch_reserved_mib"}


# --- two starts ----------------------------------------------------------------------------


def given(scores: np.ndarray, maps: np.ndarray) -> list[Answer]:
    return [Answer(n, float(s), m, 0.01, False) for n, (s, m) in enumerate(zip(scores, maps))]  # noqa: B905


def test_two_starts_are_measured_as_the_audit_measures_them() -> None:
    chance = np.random.default_rng(0)
    scores, maps = chance.normal(10, 1, 32), chance.normal(5, 1, (32, 20, 20)).astype(np.float32)
    first = given(scores, maps)
    same = starts.compare(first, first)
    assert same["is_equal"]
    assert same["is_alike"]
    rounded = starts.compare(first, given(scores * (1 + 1e-7), maps))
    assert not rounded["is_equal"]
    assert rounded["is_alike"]
    assert (rounded["scores"]["other"], rounded["scores"]["far"]) == (32, 0)
    moved = maps.copy()
    moved[3, 0, 0] += 2
    changed = starts.compare(first, given(scores, moved))
    assert not changed["is_alike"]
    assert (changed["maps"]["other"], changed["maps"]["far"]) == (1, 1)
    middle = np.subtract(*np.quantile(maps, (0.75, 0.25)))
    assert changed["maps"]["distance"] == pytest.approx(2 / middle, rel=0.1)
    assert 0.1 < changed["maps"]["shift"] <= 1


# --- the machine ---------------------------------------------------------------------------


@pytest.fixture
def gpu(driver: Driver) -> FakeGpu:
    made = FakeGpu("GPU-a", used_mib=600)
    driver.has(made)
    return made


def test_the_driver_and_the_canary_in_the_engine_are_told(gpu: FakeGpu) -> None:
    engine = FunctionEngine(lambda *_: None)
    found = machine_steps.driver("cuda:0", engine)
    assert [(one["name"], one["used_mib"]) for one in found["gpus"]] == [("NVIDIA H200", 600)]
    assert found["in_engine"] == "well"
    gpu.is_lost = True
    assert "GPU is lost" in machine_steps._health(engine, "cuda:GPU-a")


def out_of_memory(stdin: Any, stdout: Any, stderr: Any) -> None:
    """An entry whose first image ends as `serve` ends on CUDA's error."""
    stdin.readline()
    stdout.write(b'{"type":"ready","contract":1,"maps":true}\n')
    stdout.flush()
    stdin.readline()
    raise SystemExit(77)


def test_a_full_memory_is_told_from_a_lost_gpu(gpu: FakeGpu, monkeypatch) -> None:
    engine = FunctionEngine(out_of_memory)
    found = machine_steps.memory("cuda:0", engine)
    assert (found["session"], found["is_told_apart"]) == ("out_of_gpu_memory", True)
    assert found["gpu_afterwards"] == "well"

    def is_lost(end: Any, *_: Any) -> Any:
        gpu.is_lost = True
        return replace_status(end)

    monkeypatch.setattr(health, "explained", is_lost)
    lost = machine_steps.memory("cuda:0", engine)
    assert (lost["after_asking_the_gpu"], lost["is_told_apart"]) == ("gpu_lost", False)


def replace_status(end: Any) -> Any:
    return type(end)(Status.GPU_LOST, "the canary kernel failed")


def test_the_energy_step_works_the_gpu_and_tells_both_counts(gpu: FakeGpu, monkeypatch) -> None:
    asked: list[str] = []

    class Check:
        seconds, samples, longest_gap_seconds = 1.0, 9, 0.1
        counter_joules, integrated_joules, ratio = 100.0, 98.0, 0.98

        def is_alike(self) -> bool:
            return True

    def measure(uuid: str, work: Callable[[], None]) -> Check:
        asked.append(uuid)
        work()
        return Check()

    monkeypatch.setitem(
        sys.modules, "tests.benchmarks.energy_check", types.SimpleNamespace(measure=measure)
    )
    monkeypatch.setattr(machine_steps, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(machine_steps, "BUSY_SIDE", 64)
    with StandInGpu() as stand_in:
        found = machine_steps.energy("cuda:0")
    assert stand_in.products_on_cpu == []
    assert asked == ["GPU-a"]
    assert (found["ratio"], found["is_alike"]) == (0.98, True)


# --- the page ------------------------------------------------------------------------------


def test_the_shipped_page_is_what_was_measured(repository: Path) -> None:
    written = (repository / page.PAGE).read_text(encoding="utf-8")
    assert written == page.text(page.shipped(repository))


def test_without_a_gpu_the_page_says_so_and_lists_what_would_be_done() -> None:
    written = page.text(None)
    assert page.NO_GPU in written
    assert f"| `answers` | {len(plan.methods())} | 75 |" in written


@pytest.fixture
def measured() -> dict[str, Any]:
    part = {"numbers": 32, "other": 2, "far": 1, "distance": None, "shift": 0.004, "is_alike": True}
    near = {"map": 2e-6, "score": 0.0}
    phase = {"loop_images": 50, "loop_seconds": 2.0, "ratios": [0.9, 0.95, 1.0]}
    steps = {
        "driver": {
            "gpus": [{"index": 0, "name": "Some GPU", "driver": "580", "cuda": "13.0", "total_mib": 1000}],
            "canary": {"said": "the GPU computes"}, "canary_seconds": 0.5, "engine": "process",
            "in_engine": "well",
        },
        "memory": {
            "session": "out_of_gpu_memory", "after_asking_the_gpu": "gpu_lost",
            "is_told_apart": False, "gpu_afterwards": "well",
        },
        "energy": {"seconds": 12.0, "counter_joules": 5000.0, "integrated_joules": 4900.0, "ratio": 0.98},
        "answers stfpm": {
            "precision": "mixed", "difference": {"map": 3e-3, "score": 1e-3},
            "difference_in_float32": near, "training": {"phases": [phase]}, "host_peak_mib": 900.0,
            "memory": {"torch_allocated_mib": 400.0, "torch_reserved_mib": 500.0},
        },
        "answers padim": {"failed": "CUDA error: a | b", "seconds": 3.0},
        "starts stfpm": {
            "is_equal": False, "is_alike": True, "scores": part, "maps": None,
            "rank_shift_allowed": 0.01, "distance_allowed": 0.05,
        },
        "anomalib stfpm": {"seconds_per_image": 0.1},
    }  # fmt: skip
    return {"machine": {**MACHINE, "device": "cuda:0", "changes": {}}, "steps": steps}


def test_the_page_tells_what_was_measured_what_failed_and_what_is_left(measured) -> None:
    written = page.text(measured)
    assert page.NO_GPU not in written
    assert "| `stfpm` | mixed | 3.0e-03 | 1.0e-03 | 2.0e-06 | 0 |" in written
    assert "| `stfpm` | no | 2 of 32 | ∞, 0.004 | – | – | yes |" in written
    assert "| `stfpm` | 25 | 95% | 10 | 400 | 500 | 900 |" in written
    assert "`gpu_lost`, **which is wrong**" in written
    assert "| `answers padim` | CUDA error: a \\| b |" in written
    left = written.partition("Not done yet: ")[2]
    assert "`answers rd4ad`" in left
    assert "`answers stfpm`" not in left


def test_what_was_measured_is_written_beside_the_page(measured, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    nothing = {"machine": None, "steps": {}}
    assert page.write(tmp_path, nothing) == 0
    assert page.NO_GPU in (tmp_path / page.PAGE).read_text()
    assert page.write(tmp_path, measured) == 0
    assert page.shipped(tmp_path) == measured
    with_gpu = (tmp_path / page.PAGE).read_text()
    assert page.write(tmp_path, nothing) == 0
    assert (tmp_path / page.PAGE).read_text() == with_gpu, "without a report it stays as it was"
