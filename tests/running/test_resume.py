"""A training that is killed goes on, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import clean, evaluate
from harness.common.errors import InfrastructureFault, StoreConflict
from harness.common.statuses import RunEnded, Status
from harness.console.cli import Reporter
from harness.engines.base import Launch, Running
from harness.engines.process import ProcessEngine
from harness.records.record import Record
from harness.records.store import Store
from harness.running.plan import RunPlan, plan_runs, run_all
from harness.trained import interrupted_training
from tests.paths import REPOSITORY
from tests.suite_factory import pair_file, second_pack

RESUMING = REPOSITORY / "tests" / "sample_entries" / "resuming"
# Checkpoints at 5, 10, 15 and 20; long enough between them for a kill to come before the next.
SETTINGS = ("--set", "every=5", "--set", "pause=0.1", "--set", "best=10")
# A harness that kills itself, at once and for certain, at a moment that it is told.
KILLED_HARNESS = """
import importlib, json, os, signal, sys
from harness import engines, evaluate
from harness.console import cli
if os.environ.get("FOREIGN_OWNERS"):
    import harness.engines.docker.engine
    harness.engines.docker.engine.is_owner_gone = lambda mark: False
if "docker" in sys.argv:
    from tests.engine_images import LightDockerEngine
    engines.choose_engine = lambda wanted: LightDockerEngine()
target, call, when = json.loads(os.environ["KILL_AT"])
if target:
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    whole, calls = getattr(owner, name), [0]
    def killing(*arguments, **options):
        calls[0] += 1
        if calls[0] == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = whole(*arguments, **options)
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    setattr(owner, name, killing)
sys.exit(cli.run_verb(lambda _: evaluate.main(sys.argv[1:])))
"""
Moment = tuple[str, int, str]
# Each goes on from where the one before was killed.
MOMENTS: list[Moment] = [
    # The state is written, nothing is judged.
    ("harness.session.checkpoint_choice:Judge._measure", 1, "before"),
    # Judged, and nobody knows.
    ("harness.trained.interrupted_training:UnfinishedTraining.save", 3, "after"),
    # The model is being saved.
    ("harness.session.conversation:_Training._judge_checkpoint", 2, "after"),
    # Saved; the state of the best checkpoint yet is about to be held.
    ("harness.trained.held_states:HeldStates.take", 1, "before"),
    # Half of it is.
    ("harness.trained.model_folder:_pack_file", 1, "after"),
    # It is held, and nobody knows.
    ("harness.trained.held_states:HeldStates.take", 1, "after"),
    # Between two checkpoints.
    ("harness.trained.training_curve:TrainingCurve.add", 1, "after"),
    # A worse state is half written over an older one.
    ("harness.trained.model_folder:_pack_file", 2, "after"),
    # Asked, the verdict not taken down.
    ("harness.session.checkpoint_choice:Judge._measure", 1, "after"),
    # Trained, the best state not put back.
    ("harness.trained.held_states:HeldStates.put_back", 1, "before"),
    # Copied, nothing asked.
    ("harness.session.conversation:PredictSession.start", 1, "before"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run_killed(cache: Path, tmp_path: Path) -> Callable[..., str]:
    """The verb in a process of its own, killed at a moment; what it said, when it was."""

    def call(
        entry: Path,
        results: str,
        moment: Moment | None,
        *arguments: object,
        engine: str = "process",
    ) -> str:
        command = [sys.executable, "-c", KILLED_HARNESS, str(entry), "--engine", engine]
        done = subprocess.run(
            [
                *command,
                # A kept model would stand in for the training of the same key.
                *("--results", str(tmp_path / results), "--no-site", "--no-keep-model"),
                *map(str, arguments),
            ],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "BMAD_CACHE": str(cache),
                "KILL_AT": json.dumps(moment or ["", 0, ""]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (-signal.SIGKILL if moment else 0), done.stderr
        return done.stderr

    return call


def record_in(folder: Path) -> Record:
    (record,) = Store(folder).records()
    return record


def curve(record: Record) -> dict[int, float | None]:
    assert record.training is not None
    return {point.step: point.loss for point in record.training.curve}


def outcome(record: Record) -> dict[str, Any]:
    """What must not depend on how often a run was killed."""
    assert record.training is not None
    return {
        "training": record.training.model_copy(update={"resumed": 0, "curve": []}),
        "metrics": record.metrics,
        "key": record.run_key,
        "status": record.outcome,
    }


def test_a_training_killed_at_every_kind_of_moment_ends_as_if_it_had_not_been(
    run_killed: Callable[..., str], tmp_path: Path, cache: Path
) -> None:
    run_killed(RESUMING, "whole", None, *SETTINGS)
    said = [run_killed(RESUMING, "killed", moment, *SETTINGS) for moment in MOMENTS]
    said.append(run_killed(RESUMING, "killed", None, *SETTINGS))
    whole, killed = record_in(tmp_path / "whole"), record_in(tmp_path / "killed")
    assert whole.training is not None
    assert killed.training is not None
    assert [c.step for c in whole.training.checkpoints] == [5, 10, 15, 20]
    assert list(curve(whole)) == list(range(1, 21))
    assert len(set(curve(whole).values())) == 20
    assert list(curve(killed).items()) == list(curve(whole).items())
    assert outcome(killed) == outcome(whole)
    assert (whole.training.resumed, killed.training.resumed) == (0, 9)
    assert ["going on from step" in text for text in said] == [False, *[True] * 9, False, False]
    # A training that was over is not done again.
    assert ["checkpoint at" in text for text in said[-2:]] == [False, False]
    assert killed.times.train is not None
    assert whole.times.train is not None
    assert killed.times.train > whole.times.train
    assert interrupted_training.leftovers(cache) == []


def test_a_training_on_a_suite_that_is_killed_ends_in_the_same_model(
    run_killed: Callable[..., str], tmp_path: Path, cache: Path
) -> None:
    suite = ("--suite", pair_file(tmp_path), "--pack", second_pack(cache).root, *SETTINGS)
    suite = (*suite, "--set", "steps=10")
    run_killed(RESUMING, "whole", None, *suite)
    run_killed(RESUMING, "killed", MOMENTS[5], *suite)
    run_killed(RESUMING, "killed", None, *suite)
    whole, killed = record_in(tmp_path / "whole"), record_in(tmp_path / "killed")
    assert whole.place == "demo-pair@unified"
    assert killed.training is not None
    assert killed.training.resumed == 1
    assert killed.training.model == whole.training.model  # type: ignore[union-attr]
    assert killed.answers == whole.answers
    assert outcome(killed) == outcome(whole)


@pytest.mark.engine
def test_a_training_in_a_container_goes_on_too(
    run_killed: Callable[..., str], tmp_path: Path, cache: Path
) -> None:
    run_killed(RESUMING, "whole", None, *SETTINGS, engine="docker")
    for moment in (MOMENTS[2], MOMENTS[4], MOMENTS[9]):
        run_killed(RESUMING, "killed", moment, *SETTINGS, engine="docker")
    run_killed(RESUMING, "killed", None, *SETTINGS, engine="docker")
    whole, killed = record_in(tmp_path / "whole"), record_in(tmp_path / "killed")
    assert killed.training is not None
    assert killed.training.resumed == 2
    # A container outlives its harness for a moment: its last steps were heard by nobody.
    assert curve(killed).items() <= curve(whole).items()
    assert outcome(killed) == outcome(whole)
    assert interrupted_training.leftovers(cache) == []


@pytest.mark.engine
def test_a_container_whose_owner_cannot_be_judged_never_writes_into_the_next_part(
    run_killed: Callable[..., str], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.engines.docker import DockerEngine

    run_killed(RESUMING, "whole", None, *SETTINGS, engine="docker")
    # As seen from a container of its own, the harness that died counts as alive.
    monkeypatch.setenv("FOREIGN_OWNERS", "1")
    for moment in (MOMENTS[2], None):
        run_killed(RESUMING, "killed", moment, *SETTINGS, engine="docker")
    whole, killed = record_in(tmp_path / "whole"), record_in(tmp_path / "killed")
    assert killed.training is not None
    assert killed.training.resumed == 1
    assert outcome(killed) == outcome(whole)
    left = DockerEngine().client.containers(all=True, filters={"label": "bmad.training"})
    homes = [Path(container["Labels"]["bmad.training"]) for container in left]
    assert not [home for home in homes if home.is_relative_to(cache)]


@pytest.mark.slow
def test_a_real_baseline_killed_twice_ends_with_the_same_bytes(
    run_killed: Callable[..., str], tmp_path: Path
) -> None:
    shrunken = ("image_size=64", "batch_size=4", "epochs=6", "checkpoint_every_epochs=2")
    settings = [word for setting in shrunken for word in ("--set", setting)]
    entry = REPOSITORY / "baselines" / "rd4ad"
    run_killed(entry, "whole", None, *settings)
    for moment in (MOMENTS[2], MOMENTS[0]):
        run_killed(entry, "killed", moment, *settings)
    run_killed(entry, "killed", None, *settings)
    whole, killed = record_in(tmp_path / "whole"), record_in(tmp_path / "killed")
    assert whole.training is not None
    assert killed.training is not None
    assert len(whole.training.checkpoints) == 3
    assert killed.training.resumed == 2
    assert list(curve(killed).items()) == list(curve(whole).items())
    assert outcome(killed) == outcome(whole)


# In this process: what keeps an interrupted training, and what removes it


class LosingEngine(ProcessEngine):
    """Can be told that it is gone, in the middle of a session."""

    def start(self, launch: Launch) -> Running:
        self.running = super().start(launch)
        return self.running


class Interrupting(Reporter):
    """Does something when it is first told of a checkpoint."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act, self.told = act, []

    def event(self, text: str) -> None:
        self.told.append(text)
        if "checkpoint at" in text and sum("checkpoint at" in line for line in self.told) == 2:
            self.act()


@pytest.fixture
def plan(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("BMAD_CACHE", str(cache))

    def call(*arguments: str, results: str = "results") -> RunPlan:
        options = evaluate.build_parser().parse_args(
            [str(RESUMING), "--engine", "process", "--results", str(tmp_path / results), *arguments]
        )
        return plan_runs(options, Reporter())

    return call


def interrupted(plan: RunPlan, act: Callable[[LosingEngine], None]) -> RunPlan:
    engine = LosingEngine()
    reporter = Interrupting(lambda: act(engine))
    return replace(plan, place=replace(plan.place, engine=engine, reporter=reporter))


def lose(engine: LosingEngine) -> None:
    engine.running.interrupt(RunEnded(Status.ENGINE_UNAVAILABLE, "the engine went away"))


def press_ctrl_c(engine: LosingEngine) -> None:
    raise KeyboardInterrupt


def test_the_second_try_after_an_infrastructure_fault_goes_on(plan: Callable[..., Any]) -> None:
    (record,) = run_all(interrupted(plan("--seed", "1"), lose))
    assert record.is_ok, record.outcome
    assert record.training is not None
    assert record.training.resumed == 1


def test_ctrl_c_keeps_the_training_for_the_next_call(
    plan: Callable[..., Any], cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run_all(interrupted(plan("--seed", "2"), press_ctrl_c)))
    assert [left.name for left in interrupted_training.leftovers(cache)] == ["demo/resuming/seed-2"]
    clean.main(["--results", str(tmp_path / "results")])
    assert "interrupted training kept   demo/resuming/seed-2" in capsys.readouterr().out
    # Another results folder: it is the same training.
    (record,) = run_all(plan("--seed", "2", results="others"))
    assert record.training is not None
    assert record.training.resumed == 1
    assert interrupted_training.leftovers(cache) == []


def test_clean_removes_interrupted_trainings_when_asked(
    plan: Callable[..., Any], cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run_all(interrupted(plan("--seed", "3"), press_ctrl_c)))
    clean.main(["--results", str(tmp_path / "results"), "--unfinished"])
    assert "interrupted trainings       1 removed" in capsys.readouterr().out
    assert interrupted_training.leftovers(cache) == []


def test_other_settings_never_go_on_from_a_training(plan: Callable[..., Any], cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run_all(interrupted(plan("--seed", "4"), press_ctrl_c)))
    (record,) = run_all(plan("--seed", "4", "--set", "best=9", results="others"))
    assert record.training is not None
    assert record.training.resumed == 0
    assert interrupted_training.remove_leftovers(cache) == 1


def test_the_entrys_own_fault_removes_its_training(plan: Callable[..., Any], cache: Path) -> None:
    slow = ("--set", "pause=0.2", "--set", "steps=100", "--limit", "train_seconds=4")
    (record,) = run_all(plan("--seed", "5", *slow))
    assert record.outcome.status is Status.TOTAL_TIMEOUT
    assert record.training is not None
    assert len(record.training.checkpoints) > 0
    assert record.training.stop_reason == "not finished"
    assert interrupted_training.leftovers(cache) == []


def test_the_time_limit_counts_all_parts(plan: Callable[..., Any], cache: Path) -> None:
    whole = plan("--seed", "6", "--limit", "train_seconds=60")
    with pytest.raises(KeyboardInterrupt):
        list(run_all(interrupted(whole, press_ctrl_c)))
    (left,) = interrupted_training.leftovers(cache)
    lines = (left.home / "state.jsonl").read_text().splitlines()
    lines[-1] = json.dumps({**json.loads(lines[-1]), "seconds": 60.5})
    (left.home / "state.jsonl").write_text("\n".join(lines) + "\n")
    (record,) = run_all(whole)
    assert record.outcome.status is Status.TOTAL_TIMEOUT
    assert record.times.train is not None
    assert record.times.train > 60


def test_two_harnesses_are_never_at_the_same_training(plan: Callable[..., Any]) -> None:
    one, other = plan("--seed", "7"), plan("--seed", "7", results="others")
    (request,) = one.requests
    key = request.key.training_hash
    with (
        interrupted_training.hold(one.place.cache, key, "one"),
        pytest.raises(StoreConflict, match="this very training"),
    ):
        list(run_all(other))


def test_a_crash_on_a_full_disk_is_not_the_entrys_fault(
    plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.running.model.FULL_DISK_BYTES", 2**63)
    crashing = plan("--seed", "8", "--set", "every=0")  # a division by zero in `fit`
    with pytest.raises(InfrastructureFault, match="disk is full"):
        list(run_all(crashing))
