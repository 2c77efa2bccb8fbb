"""Nodes of a cluster without a cluster: who is left out, what a node checks, what comes back."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import campaign
from harness.benchmarks import demo_pack
from harness.campaigns.command import Command, command_of
from harness.campaigns.faults import End
from harness.campaigns.host import find_host
from harness.campaigns.offer import Offer
from harness.campaigns.plan import CampaignPlan, plan_campaign
from harness.campaigns.ray import node, node_check
from harness.campaigns.ray.arrivals import arriving
from harness.campaigns.ray.cluster import RayCluster, _for_nodes
from harness.campaigns.ray.nodes import Node, NodeNeed, Nodes
from harness.campaigns.ray.runner import InTurn, RayRunner
from harness.campaigns.report import plan_text
from harness.common.errors import (
    ClusterUnavailable,
    DeviceUnavailable,
    InfrastructureFault,
    StoreConflict,
    StoreUnusable,
    UsageError,
)
from harness.console.cli import Reporter
from harness.engines import make_engine
from harness.engines.process import ProcessEngine
from harness.entries.campaign_grid import Campaign, Cell, EntryVariant
from harness.entries.identity import folder_identity
from harness.records.run_key import RunKey
from harness.records.store import Store, file_hash
from tests.engine_images import LightDockerEngine
from tests.fake_nvml import Driver, FakeGpu
from tests.hostile.conftest import small_pack
from tests.paths import REPOSITORY
from tests.record_factory import CONTAINER, NO_CGROUPS
from tests.run_factory import random_scores, save_run

HONEST = REPOSITORY / "tests/sample_entries/honest"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    demo_pack(folder)
    return folder


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(cache))


# --- who is left out ---------------------------------------------------------------------


def cell(name: str = "honest", benchmark: str = "demo", seed: int = 0) -> Cell:
    return Cell(EntryVariant(name, name), benchmark, seed)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def living() -> list[Node]:
    return [Node("a", "host-a", 4, 0), Node("b", "host-b", 4, 0), Node("small", "host-s", 1, 0)]


@pytest.fixture
def nodes(living: list[Node], told: list[str], monkeypatch: pytest.MonkeyPatch) -> Nodes:
    monkeypatch.setattr("harness.campaigns.ray.nodes.LOOK_SECONDS", -1.0)
    return Nodes(lambda: living, NodeNeed(2, 0), told.append)


def test_a_node_that_is_not_fit_is_left_out_of_runs_of_that_kind_and_told_once(nodes, told) -> None:
    assert nodes.left_out(cell()) == []
    for seed in (0, 1):
        nodes.see_unfit(cell(seed=seed), "a", ["pack is x here and y in the campaign"])
    assert nodes.left_out(cell(seed=7)) == ["a"]
    assert nodes.left_out(cell("other")) == []
    assert nodes.left_out(cell(benchmark="liver")) == []
    assert told == ["node host-a: not fit for honest on demo: pack is x here and y in the campaign"]


def test_a_run_that_no_node_is_fit_for_says_what_each_node_said(nodes) -> None:
    nodes.see_unfit(cell(), "a", ["no weights"])
    nodes.close("b", "another harness")
    with pytest.raises(ClusterUnavailable, match="host-a: no weights; host-b: another harness"):
        nodes.left_out(cell())


def test_a_try_goes_elsewhere_after_a_fault_but_the_last_node_is_tried_again(nodes, living) -> None:
    nodes.see(cell(), "a", End.NOT_DONE)
    assert nodes.left_out(cell()) == ["a"]
    assert nodes.left_out(cell(seed=1)) == []
    living.pop(1)
    assert nodes.left_out(cell()) == []
    living.pop(0)
    assert nodes.left_out(cell()) is None


def test_a_node_that_fails_every_run_is_given_up_and_one_that_fails_now_and_then_is_not(
    nodes, told
) -> None:
    for seed, end in enumerate([End.NOT_DONE, End.FAILED, End.NOT_DONE, End.NOT_DONE]):
        nodes.see(cell(seed=seed), "a", end)
    assert told == []
    nodes.see(cell(seed=9), "a", End.NOT_DONE)
    assert told == ["node host-a: given up after 3 faults in a row"]
    assert nodes.left_out(cell("other")) == ["a"]


def test_what_a_node_does_at_a_time_follows_from_what_a_run_asks_for() -> None:
    assert NodeNeed(2, 0).places(Node("a", "a", 5, 8)) == 2
    assert NodeNeed(1, 1).places(Node("a", "a", 16, 8)) == 8
    assert NodeNeed(1, 1).places(Node("a", "a", 4, 8)) == 4
    assert NodeNeed(1, 1).places(Node("a", "a", 16, 0)) == 0


# --- what a node checks ------------------------------------------------------------------


def plan_of(*arguments: object):
    """The campaign's plan of the tiny entry on the process engine."""
    options = campaign.build_parser().parse_args(
        ["plan", "--entries", str(HONEST), "--engine", "process", *map(str, arguments)]
    )
    with find_host(options, Reporter()) as here:
        return plan_campaign(options, here, Reporter()), options


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> node_check.NodeJob:
    """A run of the tiny entry as a node is asked for it."""
    monkeypatch.chdir(REPOSITORY)
    plan, _ = plan_of()
    run = plan.runs[0].cell
    command = Command(
        "tests/sample_entries/honest", "honest", ("--benchmark", "demo"), (), 0, "cpu", "process", "", None,
        (), (), None, None, replace=False, keep_maps=False,
    )  # fmt: skip
    told = {
        "command": dataclasses.asdict(command), "harness": node_check.harness_facts(),
        "expected": plan.expected(run), "owner": os.getpid(),
    }  # fmt: skip
    return node_check.NodeJob.read(json.dumps(told))


def changed(job: node_check.NodeJob, **changes: object) -> node_check.NodeJob:
    return dataclasses.replace(job, command=dataclasses.replace(job.command, **changes))


def test_a_node_that_is_fit_says_by_which_call_and_in_which_folder(job, cache: Path) -> None:
    verdict = node_check.check_job(job)
    assert (verdict.problems, verdict.busy) == ((), "")
    work = Path(verdict.work)
    assert work.is_dir()
    assert work.parent == cache / "work"
    assert list(verdict.arguments[:3]) == ["tests/sample_entries/honest", "--as", "honest"]
    assert str(work / "results") in verdict.arguments
    shutil.rmtree(work)


def test_another_harness_is_told_by_each_fact_and_nothing_else_is_looked_at(job) -> None:
    other = dict(job.harness) | {"sources": "sha256:0", "contract": 2}
    verdict = node_check.check_job(
        dataclasses.replace(changed(job, source="nowhere"), harness=other)
    )
    assert len(verdict.problems) == 2
    assert (
        "the harness is another one: contract is 1 here and 2 in the campaign" in verdict.problems
    )


def test_every_difference_of_the_run_is_told_at_once(job, tmp_path: Path) -> None:
    shutil.copytree(HONEST, tmp_path / "honest")
    with (tmp_path / "honest/model.py").open("a") as file:
        file.write("#")
    other = dict(job.expected) | {"pack": "demo-000000000000", "params": {"radius": 4}, "seed": 3}
    verdict = node_check.check_job(
        dataclasses.replace(changed(job, source=str(tmp_path / "honest")), expected=other)
    )
    names = [problem.partition(" is ")[0] for problem in verdict.problems]
    assert names == ["identity", "pack", "params: radius", "seed"]
    assert verdict.work == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "baselines/nothing"}, "there is no entry 'baselines/nothing'"),
        ({"place": ("--benchmark", "brain", "--data-root", "/nowhere")}, "no such data folder"),
        ({"place": ("--pack", "/nowhere")}, "there is no such folder"),
        ({"overrides": (("nothing", "1"),)}, "unknown parameter 'nothing'"),
    ],
)
def test_what_a_node_lacks_is_a_problem_of_the_node(job, change, words) -> None:
    verdict = node_check.check_job(changed(job, **change))
    assert any(words in problem for problem in verdict.problems)


@pytest.mark.parametrize("holds", ["same user", "container"])
def test_a_node_that_holds_too_little_for_a_hidden_pack_says_what_before_the_run(
    job, cache: Path, tmp_path: Path, monkeypatch, holds: str
) -> None:
    small_pack(cache, tmp_path / "sealed", visibility="hidden")
    measured = {"same user": NO_CGROUPS, "container": CONTAINER}[holds]
    monkeypatch.setattr(ProcessEngine, "at_most", "container")
    monkeypatch.setattr(ProcessEngine, "measure", lambda *_: measured)
    monkeypatch.setattr(ProcessEngine, "start", lambda *_: pytest.fail("a program was started"))
    plan, options = plan_of("--pack", tmp_path / "sealed")
    cell = plan.runs[0].cell
    sealed = dataclasses.replace(
        job, command=command_of(cell, "cpu", plan, options), expected=plan.expected(cell)
    )
    verdict = node_check.check_job(sealed)
    problems = verdict.problems
    if verdict.work:
        shutil.rmtree(verdict.work)
    assert len(problems) == (holds == "same user")
    assert all("memory and pids not bounded" in problem for problem in problems)


def test_what_does_not_hold_on_a_machine_is_among_its_facts_and_in_the_plan(monkeypatch) -> None:
    monkeypatch.setattr(ProcessEngine, "at_most", "container")
    monkeypatch.setattr(ProcessEngine, "measure", lambda *_: NO_CGROUPS)
    monkeypatch.setattr("harness.engines.engine_names", lambda: ("process",))
    told = node_check.machine_facts()["isolation"]
    assert told == {"process": "same user (memory and pids not bounded)"}
    plan, _ = plan_of()
    assert "isolation: same user (memory and pids not bounded)" in plan_text(plan)
    monkeypatch.setattr(ProcessEngine, "measure", lambda *_: CONTAINER)
    assert "isolation" not in plan_text(plan_of()[0])


def test_a_node_uses_its_own_data_folder_where_it_has_been_told_of_one(
    job, cache, tmp_path, monkeypatch
) -> None:
    shutil.copytree(demo_pack(cache, seed="x", name="own").root, tmp_path / "data" / "own")
    own = changed(job, place=("--benchmark", "own", "--data-root", "/somewhere/else"))
    assert any("/somewhere/else" in problem for problem in node_check.check_job(own).problems)
    monkeypatch.setenv("BMAD_DATA", str(tmp_path / "data"))
    told = [problem.partition(" is ")[0] for problem in node_check.check_job(own).problems]
    assert told == ["pack", "patients"]  # their names differ, so whose they are does as well


def test_a_node_works_out_the_regime_and_opens_every_member_of_a_suite(
    job, cache: Path, tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(demo_pack(cache, seed="x", name="own").root, tmp_path / "own")
    suite = tmp_path / "pair.toml"
    suite.write_text('name = "pair"\nmembers = ["demo", "own"]\n')
    monkeypatch.chdir(REPOSITORY)
    plan, options = plan_of(
        "--entries", "tests/sample_entries/trainer", "--pack", str(tmp_path / "own"),
        "--benchmark", "demo", "--regime", "few-shot", "unified", "--shots", "2",
        "--suite", str(suite),
    )  # fmt: skip
    cells = {planned.cell.place: planned.cell for planned in plan.runs}
    assert sorted(cells) == ["demo@shots-2", "own@shots-2", "pair@unified"]
    for cell in cells.values():
        command = command_of(cell, "cpu", plan, options)
        asked = node_check.NodeJob(
            command, node_check.harness_facts(), plan.expected(cell), os.getpid()
        )
        sent = node_check.NodeJob.read(json.dumps(dataclasses.asdict(asked)))
        verdict = node_check.check_job(sent)
        assert verdict.problems == ()
        shutil.rmtree(verdict.work)
        told = json.loads(json.dumps(plan.expected(cell)))
        told["regime"]["members"] = ["demo-000000000000"]
        (problem,) = node_check.check_job(dataclasses.replace(sent, expected=told)).problems
        assert problem.startswith("regime: members is ")


def test_a_gpu_is_handed_on_by_its_uuid_and_its_model_counts(
    job, driver: Driver, monkeypatch
) -> None:
    driver.has(FakeGpu("GPU-a"), FakeGpu("GPU-b", name="NVIDIA L4"))
    on_gpu = dict(job.expected) | {"device": "NVIDIA H200"}
    verdict = node_check.check_job(
        dataclasses.replace(changed(job, device="cuda:0"), expected=on_gpu)
    )
    assert verdict.problems == ()
    assert verdict.arguments[verdict.arguments.index("--device") + 1] == "cuda:GPU-a"
    shutil.rmtree(verdict.work)
    verdict = node_check.check_job(
        dataclasses.replace(changed(job, device="cuda:GPU-b"), expected=on_gpu)
    )
    assert verdict.problems == ("device is NVIDIA L4 here and NVIDIA H200 in the campaign",)
    verdict = node_check.check_job(
        dataclasses.replace(changed(job, device="cuda:7"), expected=on_gpu)
    )
    assert "there is no GPU '7' on this machine" in verdict.problems[0]
    monkeypatch.setattr(node_check, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(node_check, "GPU_POLL_SECONDS", 0.0)
    driver.has(FakeGpu("GPU-a", used_mib=20000, processes={7: 19000}))
    verdict = node_check.check_job(
        dataclasses.replace(changed(job, device="cuda:0"), expected=on_gpu)
    )
    assert (verdict.problems, verdict.busy) == ((), "cuda:GPU-a is in use by others")


@pytest.mark.engine
def test_an_image_is_there_by_its_digest_or_the_node_says_so(monkeypatch) -> None:
    engine = LightDockerEngine()
    program = engine.prepare_folder(HONEST, "honest", folder_identity(HONEST))
    monkeypatch.setattr(node_check, "PULL_PAUSES", (0.0,))
    missing = "localhost:1/none@sha256:" + "0" * 64
    for source, words in ((program.image, ""), (missing, "could not be found or pulled")):
        plan, _ = plan_of("--entries", source, "--engine", "docker")
        run = plan.runs[0].cell
        command = Command(
            source, "image", ("--benchmark", "demo"), (), 0, "cpu", "docker", "", None,
            (), (), None, None, replace=False, keep_maps=False,
        )  # fmt: skip
        verdict = node_check.check_job(
            node_check.NodeJob(command, node_check.harness_facts(), plan.expected(run), os.getpid())
        )
        if words:
            assert len(verdict.problems) == 1
            assert words in verdict.problems[0]
        else:
            assert verdict.problems == ()
            shutil.rmtree(verdict.work)


# --- what a node does --------------------------------------------------------------------


def sent(job: node_check.NodeJob) -> dict[str, object]:
    return json.loads(json.dumps(dataclasses.asdict(job)))


def test_a_node_runs_and_hands_back_every_file_in_pieces(job, cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(node, "CHUNK_BYTES", 1000)
    files: dict[str, bytes] = {}
    log = b""
    kinds = []
    for kind, told in node.run(sent(job), str(REPOSITORY), "cpu"):
        kinds.append(kind)
        if kind == "file":
            assert len(told[1]) <= 1000
            files[told[0]] = files.get(told[0], b"") + told[1]
        elif kind == "log":
            log += told
    assert (kinds[0], kinds[-1], told[0]) == ("started", "ended", 0)
    assert b"demo/honest/seed-0: ok in" in log
    record = json.loads(files["demo/honest/seed-0.json"])
    (tmp_path / "evidence").write_bytes(files["demo/honest/seed-0.evidence.npz"])
    assert record["evidence"] == file_hash(tmp_path / "evidence")
    assert not any(name.startswith(".") for name in files)
    assert list((cache / "work").iterdir()) == []


def test_a_run_that_is_broken_off_leaves_no_process_and_no_folder(job, cache) -> None:
    slow = changed(job, source="tests/sample_entries/hanging_start", name="hanging_start")
    plan, _ = plan_of("--entries", REPOSITORY / "tests/sample_entries/hanging_start")
    slow = dataclasses.replace(slow, expected=plan.expected(plan.runs[0].cell))
    messages = node.run(sent(slow), str(REPOSITORY), "cpu")
    assert next(messages)[0] == "started"
    assert next(messages)[0] == "log"
    messages.close()
    assert list((cache / "work").iterdir()) == []
    assert not [
        line
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if "hanging_start" in (line := path.read_text(errors="replace"))
    ]


def test_the_run_outlives_the_child_that_ray_kills_and_ends_by_its_standard_input(tmp_path) -> None:
    run = (
        "import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
        " sys.stdin.read(); pathlib.Path(sys.argv[1] + '.end').touch()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", node.SHIELD, sys.executable, "-c", run, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
    ) as child:
        deadline = time.monotonic() + 30
        while not (tmp_path / "run").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not (tmp_path / "run.end").exists()
        child.stdin.close()
        while not (tmp_path / "run.end").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert (tmp_path / "run.end").exists()


def test_a_node_without_the_harness_says_where_it_looked(job, tmp_path, monkeypatch) -> None:
    (message,) = node.run(sent(job), "/nowhere", "cpu")
    kind, problems = message
    assert kind == "unfit"
    assert "BMAD_CHECKOUT is not set, and the campaign's is /nowhere" in problems[0]
    monkeypatch.setenv("BMAD_CHECKOUT", str(tmp_path))
    assert f"$BMAD_CHECKOUT names {tmp_path}" in node.node_facts(str(REPOSITORY))["problem"]
    broken = tmp_path / "harness/campaigns/ray/node_check.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("raise SystemExit('no numpy here')\n")
    assert "does not start: no numpy here" in node.node_facts(str(REPOSITORY))["problem"]


# --- what comes back ---------------------------------------------------------------------


@pytest.fixture
def came(tmp_path: Path):
    """A run as a node leaves it: its store, name and record."""
    path = save_run(tmp_path / "node", random_scores())
    store = Store(tmp_path / "node")
    record = store.find(store.name_of(store.records()[0]))
    assert path.is_file()
    return store, store.name_of(record), record


def deliver(came, store: Store, *, leave_out: str = "", replace: bool = False, **expected: object):
    source, name, record = came
    parts = RunKey.of_record(record).parts | expected
    with arriving(store.root / ".campaigns") as arrival:
        for path in sorted(source.root.rglob("*")):
            if path.is_file() and not (leave_out and path.name.endswith(leave_out)):
                arrival.write(path.relative_to(source.root).as_posix(), path.read_bytes())
        stored = arrival.store(
            store, name, expected=parts, before=store.find(name), replace=replace
        )
    assert list((store.root / ".campaigns").iterdir()) == []
    return stored


def test_a_run_that_came_is_stored_as_it_was_made(came, tmp_path: Path) -> None:
    source, name, record = came
    store = Store(tmp_path / "results")
    assert deliver(came, store) == record
    assert store.record_path(name).read_bytes() == source.record_path(name).read_bytes()
    assert store.evidence_path(name).read_bytes() == source.evidence_path(name).read_bytes()


def test_what_came_is_not_believed_beyond_its_hashes_and_the_plan(came, tmp_path: Path) -> None:
    source, name, _ = came
    store = Store(tmp_path / "results")
    with pytest.raises(InfrastructureFault, match="seed is 0 here and 5 in the campaign"):
        deliver(came, store, seed=5)
    with pytest.raises(InfrastructureFault, match="sent no record"):
        deliver(came, store, leave_out=".json")
    source.evidence_path(name).write_bytes(b"other")
    with pytest.raises(StoreUnusable, match="evidence"):
        deliver(came, store)
    text = source.record_path(name).read_text()
    source.record_path(name).write_text(text.replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(StoreUnusable, match="changed after it was written"):
        deliver(came, store)
    assert store.records() == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_a_file_that_would_lie_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with (
        arriving(tmp_path / "a" / "b") as arrival,
        pytest.raises(InfrastructureFault, match="sent a file called"),
    ):
        arrival.write(name, b"")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_record_of_another_run_is_never_overwritten_in_silence(came, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    save_run(store.root, random_scores(seed=1), entry__identity="folder:sha256:" + "9" * 64)
    (before,) = store.records()
    with pytest.raises(StoreConflict, match="identity was"):
        deliver(came, store)
    assert store.records() == [before]
    deliver(came, store, replace=True)
    assert store.records() == [came[2]]
    assert len(list((store.root / "history").rglob("seed-0.json"))) == 1


# --- the campaign's side -----------------------------------------------------------------


class NoRay:
    """The module, as far as no cluster is needed."""


def cluster_of(*arguments: str) -> RayCluster:
    options = campaign.build_parser().parse_args(["plan", "--on", "ray", *arguments])
    return RayCluster(NoRay(), options, Reporter())


def test_a_campaign_is_of_one_gpu_model() -> None:
    same = {"a": {"gpus": ["NVIDIA H200"] * 2}, "b": {"gpus": ["NVIDIA H200"]}}
    assert cluster_of()._gpu_model(same) == "NVIDIA H200"
    mixed = same | {"c": {"gpus": ["NVIDIA L4"]}}
    with pytest.raises(UsageError, match=r"NVIDIA H200 \(3\), NVIDIA L4 \(1\)") as error:
        cluster_of()._gpu_model(mixed)
    assert error.value.fix == "name one: --gpu-model 'NVIDIA H200'"
    assert cluster_of("--gpu-model", "NVIDIA L4")._gpu_model(mixed) == "NVIDIA L4"
    with pytest.raises(DeviceUnavailable, match="no node has NVIDIA A100"):
        cluster_of("--gpu-model", "NVIDIA A100")._gpu_model(mixed)
    with pytest.raises(DeviceUnavailable, match="no node has a GPU"):
        cluster_of()._gpu_model({"a": {"gpus": []}})


class RayError(Exception):
    """As Ray's."""


class RayTaskError(RayError):
    """As Ray's: something in the task raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"Traceback: {cause}")
        self.cause = cause


class PlayedTasks:
    """Tasks whose messages, try by try, are given; an exception among them is raised."""

    def __init__(self, nodes: Nodes, *tries: list[object]) -> None:
        self.nodes, self.ray, self.tries = nodes, self, list(tries)
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.left_out: list[list[str]] = []

    def start(self, job: object, cell: Cell, left_out: list[str]):
        self.left_out.append(left_out)
        return iter(self.tries.pop(0))

    def wait(self, waiting: list, timeout: float):
        return waiting, []

    def get(self, message: object) -> object:
        if isinstance(message, Exception):
            raise message
        return message


@pytest.fixture
def fly(came, nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Do the run that came on a played cluster: how it ended, the tasks and the store."""
    source, name, record = came
    files = [
        ("file", (path.relative_to(source.root).as_posix(), path.read_bytes()))
        for path in sorted(source.root.rglob("*"))
        if path.is_file()
    ]

    def do(*tries: list[object]):
        store = Store(tmp_path / "results")
        plan = CampaignPlan(
            Campaign(name="x", entries=("x",)), (), (), store, {}, ("a",), "docker",
            lambda _: RunKey.of_record(record).parts,
        )  # fmt: skip
        whole = [[each for m in one for each in (files if m == "files" else [m])] for one in tries]
        tasks = PlayedTasks(nodes, *whole)
        runner = RayRunner(tasks, plan, ["one"], lambda _: {}, wait_seconds=0, replace=False)
        runner._pauses = (0.0, 0.0)
        variant = EntryVariant(name.entry, name.entry)
        (done,) = runner.run([Cell(variant, name.benchmark, name.seed)])
        assert list((store.root / ".campaigns").glob(".writing-*")) == []
        return done, tasks, store

    return do


def test_what_arrived_whole_counts_even_where_its_node_is_lost_after(fly, came) -> None:
    done, tasks, store = fly([("here", "a"), "files", ("ended", (0, 7.0)), RayError("lost")])
    assert (done.end, done.tries, done.seconds) == (End.FINISHED, 1, 7.0)
    assert store.records() == [came[2]]
    assert tasks.tries == []


def test_half_a_run_is_never_stored_and_is_done_elsewhere(fly, came, told) -> None:
    done, tasks, store = fly(
        [("here", "a"), "files", RayError("lost")], [("here", "b"), "files", ("ended", (0, 7.0))]
    )
    assert (done.end, done.tries) == (End.FINISHED, 2)
    assert tasks.left_out == [[], ["a"]]
    assert len(told) == 1
    assert "host-a: lost; it will be tried again" in told[0]
    assert store.records() == [came[2]]


def test_an_end_without_its_record_is_a_fault_of_the_node(fly) -> None:
    silent, empty = [("here", "a")], [("here", "b"), ("ended", (0, 1.0))]
    done, _, store = fly(silent, empty, silent)
    assert (done.end, done.tries) == (End.NOT_DONE, 3)
    assert "it fell silent" in done.detail or "no record" in done.detail
    assert store.records() == []


def test_a_full_disk_on_a_node_is_its_fault_and_an_error_of_the_harness_there_a_bug(fly) -> None:
    full = RayTaskError(OSError(28, "No space left on device"))
    done, _, _ = fly([("here", "a"), full], [("here", "b"), RayTaskError(KeyError("x"))])
    assert (done.end, done.tries) == (End.BUG, 2)
    assert "No space left on device" in done.log.read_text()
    assert done.detail.startswith("error: ")


def test_a_run_that_another_campaign_has_finished_is_not_done_again(fly, came) -> None:
    ended = [("here", "a"), "files", ("ended", (0, 1.0))]
    assert fly(ended)[0].end is End.FINISHED
    done, tasks, _ = fly(ended)
    assert done.end is End.FINISHED
    assert len(tasks.tries) == 1


def test_no_node_at_all_is_waited_for_and_then_said(fly, living) -> None:
    living.clear()
    done, _, _ = fly([])
    assert (done.end, done.tries) == (End.NOT_DONE, 1)
    assert "no node of the cluster offers 2 CPUs, after 0 s" in done.detail


def test_runs_are_asked_for_in_the_campaigns_order_whichever_thread_is_first() -> None:
    cells = [cell(seed=seed) for seed in range(20)]
    turns, asked = InTurn(cells), []

    def ask(each: Cell) -> None:
        time.sleep(0.001 * (20 - each.seed))
        turns.wait(each)
        asked.append(each)
        turns.leave(each)
        turns.leave(each)  # as `once` does at its end

    threads = [threading.Thread(target=ask, args=(each,)) for each in cells]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert asked == cells
    turns.wait(cells[0])  # a second try waits for nobody


def test_the_engine_of_a_cluster_is_the_isolated_one_where_a_node_has_it() -> None:
    both, plain = {"engines": ["docker", "process"]}, {"engines": ["process"]}
    assert cluster_of()._engine({"a": plain, "b": both}).name == "docker"
    assert cluster_of()._engine({"a": plain}).name == "process"
    assert cluster_of("--engine", "process")._engine({"b": both}).name == "process"


def test_images_have_one_meaning_on_every_node() -> None:
    digest = "registry.example/me/method@sha256:" + "0" * 64
    for source, is_refused in ((digest, False), ("registry.example/me/method:1", True)):
        options = campaign.build_parser().parse_args(["plan", "--entries", source])

        class Here:
            def offer(self, limits):
                return Offer(make_engine("docker"), "cpu", ("cpu",))

            def check(self, requests):
                self.requests = requests

        here = Here()
        options.action = "run"
        plan = plan_campaign(options, here, Reporter())
        assert plan.expected(plan.runs[0].cell)["pinned"] == source
        if is_refused:
            with pytest.raises(UsageError, match="different images under one tag"):
                cluster_of().check(here.requests)
        else:
            cluster_of().check(here.requests)


def test_paths_are_sent_as_they_mean_the_same_elsewhere(job, tmp_path: Path, monkeypatch) -> None:
    inside = changed(job, source=str(HONEST), weights=str(tmp_path)).command
    assert _for_nodes(inside).source == "tests/sample_entries/honest"
    assert _for_nodes(inside).weights == str(tmp_path)
    outside = changed(job, source=str(tmp_path), place=("--pack", "tests")).command
    assert _for_nodes(outside).source == str(tmp_path)
    assert _for_nodes(outside).place == ("--pack", "tests")
    monkeypatch.setenv("BMAD_DATA", str(tmp_path))
    assert _for_nodes(inside).place == ("--benchmark", "demo", "--data-root", str(tmp_path))
    accepting = changed(job, place=("--benchmark", "brain", "--accept", "equal-names")).command
    assert _for_nodes(accepting).place[-2:] == ("--data-root", str(tmp_path))
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    suite = ("--suite", "own.toml", "--pack", "a", "b", "--accept", "equal-names")
    assert _for_nodes(changed(job, place=suite).command).place == (
        "--suite", str(tmp_path / "own.toml"), "--pack", str(tmp_path / "a"), str(tmp_path / "b"),
        "--accept", "equal-names", "--data-root", str(tmp_path),
    )  # fmt: skip
    named = changed(job, place=("--suite", "unified-3", "--data-root", "a")).command
    assert _for_nodes(named).place == ("--suite", "unified-3", "--data-root", str(tmp_path / "a"))
    image = changed(job, source="name@sha256:1").command
    assert _for_nodes(image).source == "name@sha256:1"


def test_a_place_that_is_none_is_a_usage_error() -> None:
    options = campaign.build_parser().parse_args(["plan", "--on", "slurm"])
    with pytest.raises(UsageError, match="there is no place 'slurm'"):
        find_host(options, Reporter())
