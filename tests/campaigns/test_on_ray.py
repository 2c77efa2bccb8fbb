"""Campaigns on a real Ray cluster of several nodes: placed, checked, lost, retried, stored once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import campaign
from harness.benchmarks.demo import demo_pack
from harness.common.errors import ClusterUnavailable
from harness.common.source_files import SHARED_SOURCES
from harness.records.store import Store
from tests.campaigns.test_campaign import left_running
from tests.paths import ENTRIES, REPOSITORY
from tests.ray_cluster import QUIET, RayNodes, of_cluster, ray_cluster

TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cluster(cache: Path) -> Iterator[RayNodes]:
    """A head without CPUs and one node; tests add others."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets: short paths
    try:
        with ray_cluster(folder) as nodes:
            nodes.add(BMAD_CACHE=str(cache), BMAD_MODELS=str(cache / "models"))
            yield nodes
        assert of_cluster(folder) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def add_node(cluster: RayNodes, cache: Path) -> Iterator[Callable[..., str]]:
    """Add a node for one test; its id. `kill` it with `cluster.kill`, once."""
    added: list[str] = []

    def add(gpus: int = 0, **environment: object) -> str:
        told = {"BMAD_CACHE": cache, "BMAD_MODELS": cache / "models"} | environment
        added.append(cluster.add(gpus, **{name: str(value) for name, value in told.items()}))
        return added[-1]

    add.gone = lambda node: (added.remove(node), cluster.kill(node))
    yield add
    for node in added:
        cluster.remove(node)


@pytest.fixture
def start(
    cluster: RayNodes, cache: Path, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a campaign on the cluster; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen] = []

    def begin(action: str, *arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.campaign", action, *map(str, arguments),
             "--engine", "process", "--results", str(tmp_path / "results"), "--no-site", "--on", "ray"],
            cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | QUIET | {"BMAD_CACHE": str(cache), "RAY_ADDRESS": cluster.address},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, out, err


@pytest.fixture
def gated(tmp_path: Path) -> Path:
    """An entry that waits, as long as it takes, for the file `gate` beside its folder."""
    folder = tmp_path / "gated"
    shutil.copytree(ENTRIES / "honest", folder)
    document = (folder / "entry.toml").read_text().replace('"honest"', '"gated"')
    gate = f'[params]\ngate = "{tmp_path / "gate"}"\n'
    (folder / "entry.toml").write_text(document.replace("[params]\n", gate))
    (folder / "model.py").write_text(
        (folder / "model.py").read_text().replace(
            "        self.radius = params",
            "        import os, time\n"
            '        while not os.path.exists(params["gate"]):\n'
            "            time.sleep(0.05)\n"
            "        self.radius = params",
        )
    )  # fmt: skip
    return folder


def log_of(results: Path, run: str) -> str:
    path = results / ".campaigns" / "grid" / f"{run}.log"
    return path.read_text() if path.exists() else ""


def nodes_of(results: Path, run: str) -> list[str]:
    """The nodes that a run was started on, in order."""
    lines = log_of(results, run).splitlines()
    return [line.split()[1].rstrip(":") for line in lines if line.startswith("node ")]


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def pids_of(results: Path, words: str) -> list[int]:
    """Processes of runs whose command line holds these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if words in line:
            found.append(int(path.parent.name))
    return found


def metrics_of(results: Path) -> dict[str, object]:
    return {
        str(store_name): [m.model_dump() for m in record.metrics]
        for record in Store(results).records()
        for store_name in [Store(results).name_of(record)]
    }


def test_a_grid_on_two_nodes_leaves_the_records_that_one_machine_leaves(
    start, add_node, cache: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    grid = ("--entries", ENTRIES / "honest", ENTRIES / "nan")
    add_node()
    code, out, err = ended(start("run", *grid, "--keep-maps", "--json"))
    assert code == 4, err
    runs = [run["run"] for run in json.loads(out)]
    assert runs == ["demo/honest/seed-0", "demo/nan/seed-0"]
    results = tmp_path / "results"
    assert "2 of 2 runs to do · 2 at a time on" in err
    assert "[2/2]" in err
    # An entry's fault is a record, and is not tried again.
    assert "demo/nan/seed-0: failed in" in err
    assert "tries" not in err
    nodes = [node for run in runs for node in nodes_of(results, run)]
    assert (len(nodes), len(set(nodes))) == (2, 2)
    assert "demo/honest/seed-0: ok in" in log_of(results, "demo/honest/seed-0")
    # Records, evidence, maps, pictures and logs are here, as if they had been made here.
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    local = tmp_path / "local"
    assert campaign.main(
        ["run", *map(str, grid), "--keep-maps", "--engine", "process", "--results", str(local), "--no-site"]
    ) == 4  # fmt: skip
    capsys.readouterr()
    assert metrics_of(results) == metrics_of(local)
    listed = [
        sorted(str(path.relative_to(root)) for path in root.glob("demo/**/*")) for root in (results, local)
    ]  # fmt: skip
    assert listed[0] == listed[1]
    keys = [{r.run_key: r.evidence for r in Store(root).records()} for root in (results, local)]
    assert keys[0] == keys[1]
    assert list((results / ".campaigns").glob(".writing-*")) == []
    code, out, err = ended(start("status", *grid))
    assert code == 0, err
    assert "2 runs: 1 finished, 1 failed" in out
    assert "2 at a time on" in out


def test_a_run_whose_node_or_worker_dies_is_done_elsewhere_and_stored_once(
    start, cluster, add_node, gated, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    lost = add_node()
    first = start("run", "--entries", gated, "--seed", 0, 1)
    runs = ["demo/gated/seed-0", "demo/gated/seed-1"]
    wait_for(lambda: all("running" in log_of(results, run) for run in runs))
    (on_lost,) = [run for run in runs if nodes_of(results, run)[0].endswith(lost[:8])]
    (on_other,) = {*runs} - {on_lost}
    add_node.gone(lost)
    for worker in pids_of(results, f"ray::{on_other}"):
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not left_running(results))
    assert Store(results).records() == []
    (tmp_path / "gate").touch()
    code, out, err = ended(first)
    assert code == 0, err
    assert f"{on_lost}: " in err
    assert "the node was lost; it will be tried again" in err
    assert "its worker process died; it will be tried again" in err
    assert err.count("finished in") == 2
    assert err.count(", 2 tries") == 2
    assert "2  finished: a record with its metrics" in out
    assert len(Store(results).records()) == 2
    assert len(nodes_of(results, on_lost)) == 2
    assert not nodes_of(results, on_lost)[1].endswith(lost[:8])


@pytest.mark.slow
def test_a_training_goes_on_where_its_lost_node_left_it(
    start, add_node, cache: Path, tmp_path: Path
) -> None:
    results, folder = tmp_path / "results", tmp_path / "resuming"
    shutil.copytree(ENTRIES / "resuming", folder)
    document = (folder / "entry.toml").read_text()
    (folder / "entry.toml").write_text(document.replace("pause = 0.0", "pause = 0.5"))
    lost = add_node()  # with the same cache as the other, as on a shared disk
    first = start("run", "--entries", folder, "--seed", 0, 1)
    wait_for(lambda: len(list(cache.glob("unfinished/*/part-1/.training/state.json"))) == 2)
    add_node.gone(lost)
    code, _, err = ended(first)
    assert code == 0, err
    assert "the node was lost; it will be tried again" in err
    resumed = sorted(record.training.resumed for record in Store(results).records())
    assert resumed == [0, 1]


def test_a_killed_campaign_leaves_no_task_behind_and_its_resume_repeats_no_record(
    start, gated, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    grid = ("--entries", ENTRIES / "honest", gated, "--seed", 0)
    first = start("run", *grid)
    wait_for(lambda: "running" in log_of(results, "demo/gated/seed-0"))
    assert left_running(results) or pids_of(results, "gated")
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path: path.read_bytes() for path in Store(results).record_paths()}
    assert [path.parent.name for path in before] == ["honest"]
    wait_for(lambda: not pids_of(results, str(gated)))
    (tmp_path / "gate").touch()
    code, out, err = ended(start("resume", *grid))
    assert code == 0, err
    assert "1 of 2 runs to do" in err
    assert "1  finished before" in out
    assert len(Store(results).records()) == 2
    assert {path: path.read_bytes() for path in before} == before
    assert list((results / ".campaigns").glob(".writing-*")) == []


def test_an_interrupted_campaign_ends_its_tasks_and_says_so(start, gated, tmp_path: Path) -> None:
    results = tmp_path / "results"
    first = start("run", "--entries", gated)
    wait_for(lambda: "running" in log_of(results, "demo/gated/seed-0"))
    first.send_signal(signal.SIGTERM)
    code, _, err = ended(first)
    assert code == 128 + signal.SIGTERM
    assert "interrupted" in err
    assert pids_of(results, str(gated)) == []
    assert Store(results).records() == []


def test_a_node_that_is_not_fit_is_told_once_and_never_used(
    start, add_node, cache: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    checkout = tmp_path / "checkout"
    outside = [name for name in SHARED_SOURCES if not name.startswith("harness/")]
    for name in ("harness", *outside, "tests/sample_entries", "pyproject.toml"):
        source, target = REPOSITORY / name, checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    shutil.copytree(checkout, tmp_path / "other-harness")
    with (checkout / "tests/sample_entries/honest/model.py").open("a") as file:
        file.write("#")
    with (tmp_path / "other-harness/harness/session/conversation.py").open("a") as file:
        file.write("#")
    packs = {}
    for seed in ("1", "2"):
        packs[seed] = tmp_path / f"data-{seed}"
        shutil.copytree(demo_pack(cache, seed=seed, name="own").root, packs[seed] / "own")
    edited = add_node(BMAD_CHECKOUT=checkout)
    other_pack = add_node(BMAD_DATA=packs["2"])
    other_harness = add_node(BMAD_CHECKOUT=tmp_path / "other-harness")
    grid = ("--entries", ENTRIES / "honest", "--data-root", packs["1"], "--seed", 0, 1, 2)
    code, out, err = ended(start("run", *grid))
    assert code == 0, err
    assert f"{other_harness[:8]}: the harness there is another one: sources is sha256:" in err
    assert "3 at a time on" in err
    assert err.count(f"{edited[:8]}: not fit for honest on own: identity is folder:sha256:") == 1
    assert err.count(f"{other_pack[:8]}: not fit for honest on own: pack is own-") == 1
    assert "3  finished: a record with its metrics" in out
    for seed in range(3):
        (node,) = nodes_of(results, f"own/honest/seed-{seed}")
        assert node.rpartition("/")[2] not in {edited[:8], other_pack[:8], other_harness[:8]}


FAKE_PYNVML = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pynvml", {real!r})
real = sys.modules["pynvml"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
sys.path.append({repository!r})
from tests.fake_nvml import Driver, FakeGpu
driver = Driver()
driver.has(*(FakeGpu(uuid, name={model!r}) for uuid in {uuids!r}))
for name in dir(driver):
    if name.startswith("nvml"):
        setattr(real, name, getattr(driver, name))
"""


def fake_pynvml(folder: Path, model: str, *uuids: str) -> Path:
    """A folder for PYTHONPATH with which the driver tells of these GPUs."""
    import pynvml

    folder.mkdir()
    text = FAKE_PYNVML.format(
        real=pynvml.__file__, repository=str(REPOSITORY), model=model, uuids=uuids
    )
    (folder / "pynvml.py").write_text(text)
    return folder


def test_each_gpu_run_is_given_the_gpu_that_ray_granted_by_its_uuid(
    start, add_node, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    two = fake_pynvml(tmp_path / "two", "NVIDIA H200", "GPU-aaaaaaaa", "GPU-bbbbbbbb")
    add_node(gpus=2, PYTHONPATH=two)
    other = add_node(gpus=1, PYTHONPATH=fake_pynvml(tmp_path / "one", "NVIDIA L4", "GPU-cccccccc"))
    grid = ("--entries", ENTRIES / "honest", "--seed", 0, 1, "--device", "cuda")
    first = start("run", *grid, "--gpu-model", "NVIDIA H200")

    def given(seed: int) -> str:
        found = re.search(r"--device cuda:(\S+)", log_of(results, f"demo/honest/seed-{seed}"))
        return found.group(1) if found else ""

    # No run gets further than its start: there is no GPU here, and the canary kernel says so.
    wait_for(lambda: given(0) and given(1))
    first.send_signal(signal.SIGTERM)
    code, _, err = ended(first)
    assert code == 128 + signal.SIGTERM
    assert {given(0), given(1)} == {"GPU-aaaaaaaa", "GPU-bbbbbbbb"}
    assert "2 runs to do · 2 at a time on" in err
    assert f"{other[:8]}: its GPUs are of another model: NVIDIA L4" in err


def test_a_run_that_no_node_is_fit_for_is_not_done_and_says_why(start, tmp_path: Path) -> None:
    needy = tmp_path / "needy"
    shutil.copytree(ENTRIES / "honest", needy)
    document = (needy / "entry.toml").read_text().replace('"honest"', '"needy"')
    (needy / "entry.toml").write_text(
        document.replace("[params]", 'backbones = ["resnet18"]\n[params]')
    )
    code, out, err = ended(start("run", "--entries", needy))
    assert code == 5, err
    assert "1  not done" in out
    assert "demo/needy/seed-0: error: no node of the cluster can do this run: " in out
    assert "pretrained weights: resnet18" in out
    assert "tries" not in err


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ("ray:127.0.0.1:1", "no Ray cluster answers: .*refused"),
        ("ray:nonsense", "no Ray cluster answers"),
        ("ray:ray://127.0.0.1:10001", "the campaign is no Ray client"),
    ],
)
def test_where_no_cluster_answers_one_error_says_how_to_start_one(tmp_path, on, words) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.campaign", "plan", "--entries", str(ENTRIES / "honest"),
         "--on", on, "--results", str(tmp_path)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert re.search(words, done.stderr)
    assert "fix: start one with `ray start --head`" in done.stderr


def test_without_ray_one_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterUnavailable, match="Ray is not installed") as error:
        campaign.main(["plan", "--entries", str(ENTRIES / "honest"), "--on", "ray"])
    assert "[ray]" in error.value.fix
