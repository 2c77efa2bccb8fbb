"""The same entries in real containers and as processes: equal digits, equal statuses, nothing left."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import campaign, evaluate
from harness.benchmarks import demo_pack, open_pack
from harness.campaigns.offer import Offer
from harness.campaigns.plan import RunState, plan_campaign
from harness.campaigns.this_machine import ThisMachine
from harness.common.errors import DeviceUnavailable, InfrastructureFault
from harness.common.statuses import Status
from harness.console.cli import Reporter
from harness.engines.base import Engine, Limits
from harness.engines.process import ProcessEngine
from harness.entries.identity import folder_identity
from harness.entries.opening import open_folder
from harness.records.record import Record
from harness.records.regime import Regime
from harness.records.store import Store
from harness.running.request import RunPlace, request_of
from harness.running.run import execute
from tests.engine_images import LightDockerEngine
from tests.engines.registry import image_config, tiny_layer
from tests.fake_nvml import Driver, FakeGpu
from tests.paths import BASELINES, ENTRIES, REPOSITORY
from tests.suite_factory import PAIR, pair_pack

THREE = ("rd4ad", "patchcore", "padim")
# Short, because tests wait for them; long enough for an interpreter on a busy machine.
LIMITS = Limits(
    start_seconds=30, image_seconds=5, predict_seconds=120, train_seconds=120, stop_seconds=3
)
RunOn = Callable[..., Record]

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def docker_engine() -> Engine:
    return LightDockerEngine()


@pytest.fixture
def run_on(cache: Path, tmp_path: Path) -> RunOn:
    """Run a tiny entry on an engine; its record."""

    def call(engine: Engine, name: str, device: str = "cpu", **overrides: str) -> Record:
        entry = open_folder(ENTRIES / name)
        pack = demo_pack(cache)
        program = engine.prepare_folder(entry.folder, name, folder_identity(entry.folder))
        settings = entry.settings(pack.name, overrides=overrides)
        place = RunPlace(engine, Store(tmp_path / engine.name), cache, None, Reporter())
        return execute(
            request_of(
                entry, program, settings, pack, seed=0, device=device, limits=LIMITS, engine=engine
            ),
            place,
        )

    return call


def values(record: Record) -> dict[tuple[str, str | None], tuple[float | None, ...]]:
    return {(m.id, m.grid): (m.value, m.low, m.high) for m in record.metrics}


@pytest.mark.parametrize("name", ["honest", "trainer", "map_only"])
def test_both_engines_give_the_same_metrics_to_the_last_digit(
    run_on: RunOn, docker_engine: Engine, name: str
) -> None:
    isolated, plain = run_on(docker_engine, name), run_on(ProcessEngine(), name)
    assert isolated.is_ok
    assert plain.is_ok
    assert (isolated.machine.isolation, plain.machine.isolation) == ("container", "none")
    assert isolated.machine.engine.startswith("docker")
    assert isolated.entry.image is not None
    assert plain.entry.image is None
    assert len(values(isolated)) > 5
    assert values(isolated) == values(plain)
    assert isolated.run_key != plain.run_key


def test_both_engines_give_the_same_metrics_on_a_suite(
    docker_engine: Engine, cache: Path, tmp_path: Path
) -> None:
    entry = open_folder(ENTRIES / "counts_questions")
    pack = pair_pack(cache)
    regime = Regime(name="unified", suite=pack.name, delivery="256")
    settings = entry.settings(pack.name, regime=regime, members=PAIR)
    records = []
    for engine in (docker_engine, ProcessEngine()):
        program = engine.prepare_folder(entry.folder, entry.name, folder_identity(entry.folder))
        place = RunPlace(engine, Store(tmp_path / engine.name), cache, None, Reporter())
        request = request_of(
            entry, program, settings, pack,
            seed=0, device="cpu", limits=LIMITS, engine=engine, regime=regime,
        )  # fmt: skip
        records.append(execute(request, place))
    isolated, plain = records
    assert isolated.is_ok
    assert isolated.place == "demo-pair@unified"
    assert isolated.answers == plain.answers
    assert isolated.metrics == plain.metrics
    assert isolated.training.checkpoints == plain.training.checkpoints  # type: ignore[union-attr]


def test_a_campaign_knows_the_runs_that_were_done_in_containers(
    run_on: RunOn, docker_engine: Engine, cache: Path, tmp_path: Path, monkeypatch
) -> None:
    class Here(ThisMachine):
        def offer(self, limits: Limits) -> Offer:
            return Offer(docker_engine, "cpu", ("cpu",))

    monkeypatch.setenv("BMAD_CACHE", str(cache))
    run_on(docker_engine, "honest")
    options = campaign.build_parser().parse_args(
        ["status", "--entries", str(ENTRIES / "honest"), "--results", str(tmp_path / "docker")]
    )
    plan = plan_campaign(options, Here(options), Reporter())
    assert [planned.state for planned in plan.runs] == [RunState.FINISHED]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("crashing", Status.CRASHED),
        ("hanging_image", Status.IMAGE_TIMEOUT),
        ("stderr_flood", Status.LOG_FLOOD),
        ("nan", Status.NON_FINITE),
        ("wrong_shape", Status.WRONG_SHAPE),
        ("early_exit", Status.MISSING_ANSWER),
        ("bad_frame", Status.BAD_FRAME),
        ("bad_model", Status.BAD_MODEL),
        ("out_of_gpu_memory", Status.OUT_OF_GPU_MEMORY),
        ("not_applicable", Status.NOT_APPLICABLE),
    ],
)
def test_a_misbehaving_container_is_a_record_with_its_status_and_leaves_nothing(
    run_on: RunOn, docker_engine: LightDockerEngine, name: str, status: Status
) -> None:
    record = run_on(docker_engine, name)
    assert record.outcome.status is status
    assert record.metrics == []
    assert containers(docker_engine, name) == []


def containers(engine: LightDockerEngine, name: str) -> list[str]:
    label = f"bmad.run=demo/{name}/seed-0"
    found = engine.client.containers(all=True, filters={"label": label})
    return [container["Id"] for container in found]


@pytest.mark.parametrize("stop", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_container_and_no_half_record(
    tmp_path: Path, docker_engine: LightDockerEngine, stop: signal.Signals
) -> None:
    code = (
        "import sys\n"
        "from harness import evaluate\n"
        "from harness.console import cli\n"
        "import harness.engines as engines\n"
        "from tests.engine_images import LightDockerEngine\n"
        "engines.choose_engine = lambda wanted: LightDockerEngine()\n"
        "sys.exit(cli.run_verb(lambda _: evaluate.main(sys.argv[1:])))\n"
    )
    root = REPOSITORY
    before = set(containers(docker_engine, "hanging_image"))
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            code,
            str(ENTRIES / "hanging_image"),
            "--results",
            str(tmp_path / "r"),
        ],
        cwd=root,
        env={**os.environ, "BMAD_CACHE": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while set(containers(docker_engine, "hanging_image")) <= before and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.1)
    process.send_signal(stop)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + stop
    assert "interrupted" in err
    assert "Traceback" not in err
    assert containers(docker_engine, "hanging_image") == []
    assert list((tmp_path / "r").rglob("seed-*")) == []
    assert list((tmp_path / "cache" / "work").iterdir()) == []


@pytest.fixture
def evaluate_with(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[Record]]:
    """The verb itself, with the images of production."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))

    def call(engine: str, *arguments: object) -> list[Record]:
        capsys.readouterr()
        options = ["--engine", engine, "--results", str(tmp_path / engine), "--json", "--no-site"]
        assert evaluate.main([*map(str, arguments), *options]) == 0
        return [Record.model_validate(record) for record in json.loads(capsys.readouterr().out)]

    return call


@pytest.mark.parametrize("form", ["image", "archive", "submission"])
def test_an_image_is_an_entry_in_every_form_and_says_itself_whether_it_trains(
    evaluate_with: Callable[..., list[Record]],
    docker_engine: LightDockerEngine,
    tmp_path: Path,
    form: str,
) -> None:
    folder = ENTRIES / "trainer"
    program = docker_engine.prepare_folder(folder, "trainer", folder_identity(folder))
    entry = program.image
    if form == "archive":
        entry = str(tmp_path / "trainer.tar")
        with Path(entry).open("wb") as file:
            file.writelines(docker_engine.client.get_image(program.image))
    elif form == "submission":
        entry = str(tmp_path / "mine.toml")
        Path(entry).write_text(
            f'[entry]\nname = "mine"\ntitle = "Mine"\nimage = "{program.image}"\n'
        )
    (record,) = evaluate_with("docker", entry)
    assert record.entry.kind == form
    assert record.entry.image == program.image
    assert record.entry.identity == f"image:{program.image}"
    assert record.track == "open"
    assert record.training is not None


def test_an_image_that_is_nowhere_is_the_infrastructures_error(
    evaluate_with: Callable[..., list[Record]], tmp_path: Path
) -> None:
    with pytest.raises(InfrastructureFault) as caught:
        evaluate_with("docker", "localhost:9/nobody/nothing:none")
    assert caught.value.status is Status.IMAGE_UNAVAILABLE
    assert not (tmp_path / "docker").exists()


def test_a_gpu_that_is_not_there_is_one_clear_error(
    evaluate_with: Callable[..., list[Record]], driver: Driver
) -> None:
    driver.is_absent()
    with pytest.raises(DeviceUnavailable, match="Library Not Found"):
        evaluate_with("docker", ENTRIES / "honest", "--device", "cuda:0")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_an_engine_that_has_no_gpu_to_give_is_its_own_error_and_no_lost_gpu(
    run_on: RunOn, docker_engine: Engine, driver: Driver, tmp_path: Path
) -> None:
    driver.has(FakeGpu("GPU-2b2b2b2b"))
    with pytest.raises(DeviceUnavailable, match="nvidia-ctk") as caught:
        run_on(docker_engine, "honest", device="cuda:0")
    assert "no GPU to give" in caught.value.what
    assert not Store(tmp_path / "docker").records()


def assert_equal_on_both_engines(
    evaluate_with: Callable[..., list[Record]], *arguments: object, runs: int
) -> None:
    isolated = evaluate_with("docker", *arguments)
    plain = evaluate_with("process", *arguments)
    assert len(isolated) == len(plain) == runs
    for one, other in zip(isolated, plain, strict=True):
        assert one.machine.isolation == "container"
        assert other.machine.isolation == "none"
        assert one.outcome.answered == one.pack.test_normal + one.pack.test_anomalous > 0
        assert one.training is not None
        assert other.training is not None
        assert one.training.model == other.training.model
        assert values(one) == values(other)
        assert one.cost.peak_ram_mib is not None


def test_the_three_baselines_are_equal_in_containers_and_as_processes(
    evaluate_with: Callable[..., list[Record]],
) -> None:
    folders = [BASELINES / name for name in THREE]
    assert_equal_on_both_engines(evaluate_with, *folders, runs=3)


@pytest.mark.slow
@pytest.mark.packs
def test_the_three_baselines_on_real_brain_slices_with_two_seeds(
    evaluate_with: Callable[..., list[Record]], packs_folder: Path, cache: Path
) -> None:
    folders = [BASELINES / name for name in THREE]
    options = [
        "--data-root",
        packs_folder,
        "--benchmark",
        "brain",
        "--preset",
        "demo",
        "--seed",
        0,
        1,
    ]
    assert_equal_on_both_engines(evaluate_with, *folders, *options, runs=6)
    pack = open_pack(packs_folder / "Brain", cache, benchmark="brain")
    assert len(pack.split("test")) == 348


def refused_archive(path: Path) -> Path:
    """An image whose configuration asks for what cannot be held."""
    layer = tiny_layer(b"x")
    config = image_config(layer, Env=["LD_PRELOAD=/evil.so"], Volumes={"/cache": {}})
    manifest = [{"Config": "c.json", "RepoTags": None, "Layers": ["l/layer.tar"]}]
    parts = {"manifest.json": json.dumps(manifest).encode(), "c.json": config, "l/layer.tar": layer}
    with tarfile.open(path, "w") as tar:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_a_refused_image_is_a_record_and_no_container_was_created(
    cache: Path,
    docker_engine: LightDockerEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    began = int(time.time())
    archive = refused_archive(tmp_path / "evil.tar")
    options = ["--engine", "docker", "--results", str(tmp_path / "r"), "--no-site"]
    assert evaluate.main([str(archive), *options]) == 4
    record = Store(tmp_path / "r").records()[0]
    assert record.outcome.status is Status.INVALID_IMAGE
    assert "LD_PRELOAD" in record.outcome.detail
    assert "VOLUME /cache" in record.outcome.detail
    assert record.entry.image is not None
    assert "refused before a container was created" in capsys.readouterr().err
    events = docker_engine.client.events(
        since=began,
        until=int(time.time()) + 1,
        filters={"type": "container", "event": "create"},
        decode=True,
    )
    assert record.entry.image not in {event["Actor"]["Attributes"]["image"] for event in events}
    assert evaluate.main([str(archive), *options, "--dry-run"]) == 0
    assert "refused, no container is created" in capsys.readouterr().out
