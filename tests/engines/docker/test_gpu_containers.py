"""A container on a GPU, asked of a real engine that believes to have one.

Docker takes its NVIDIA driver from a program on its PATH, `nvidia-container-runtime-hook`, which
is called with each container that was given a GPU and makes it visible inside. Here a stub of
that name keeps the container's whole configuration in its place. Where `nvidia` is the engine's
default runtime, NVIDIA's wrapper of runc reads that configuration of every container; a stub of
the wrapper keeps that, too. NVML is a fake: the harness believes in the same GPU.
"""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harness.engines
from harness import evaluate
from harness.common.errors import DeviceUnavailable, InfrastructureFault
from harness.common.statuses import Status
from harness.engines import measuring
from harness.engines.base import Launch, Limits, Program
from harness.engines.oci import vetting
from harness.records.store import Store
from tests.engine_images import LightDockerEngine, light_base
from tests.fake_nvml import Driver, FakeGpu
from tests.own_engine import OwnEngine, one_of_its_own

pytestmark = pytest.mark.engine

UUID = "GPU-5f2a7c31-0b7e-4a5d-9c46-2f1d3b8e9a70"
OTHER = "GPU-00000000-0000-0000-0000-000000000000"
HONEST = Path(__file__).parents[2] / "sample_entries" / "honest"
LIMITS = Limits(threads=1, memory_mib=256, stop_seconds=0.5)
# The state of the container comes on standard input and names the folder of its configuration.
HOOK = """#!/bin/sh
state=$(cat)
bundle=$(printf '%s' "$state" | sed 's/.*"bundle" *: *"\\([^"]*\\)".*/\\1/')
cp "$bundle/config.json" "{seen}/hook-$(basename "$bundle").json"
echo "$@" >> "{seen}/hook-arguments"
"""
RUNTIME = """#!/bin/sh
bundle= verb=
for word in "$@"; do
    [ "$last" = --bundle ] && bundle=$word
    [ "$word" = create ] && verb=create
    last=$word
done
[ "$verb" = create ] && cp "$bundle/config.json" "{seen}/runtime-$(basename "$bundle").json"
exec {runc} "$@"
"""
# An image that asks for everything, as strangers' images may.
GREEDY = """ARG BASE
FROM ${BASE}
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=all
COPY . /entry/
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


@dataclass(frozen=True)
class Seen:
    """What the stubs kept: configurations in the runtime's own format."""

    folder: Path

    def forget(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()

    def of(self, who: str) -> list[dict[str, Any]]:
        """The containers that `hook` or `runtime` was told of, in their order."""
        paths = sorted(self.folder.glob(f"{who}-*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text()) for path in paths]


def variables(config: dict[str, Any], name: str) -> set[str]:
    """Every value that a variable is given; the last one wins, but there must be one alone."""
    pairs = [text.partition("=") for text in config["process"]["env"]]
    return {value for key, _, value in pairs if key == name}


@pytest.fixture(scope="module")
def gpu_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnEngine, Seen]]:
    """An engine with NVIDIA's programs, and what they see; the small base image is there."""
    programs = tmp_path_factory.mktemp("bin")
    seen = Seen(tmp_path_factory.mktemp("seen"))
    script(programs / "nvidia-container-runtime-hook", HOOK.format(seen=seen.folder))
    runc = shutil.which("runc")
    script(programs / "nvidia-runtime", RUNTIME.format(seen=seen.folder, runc=runc))
    base = light_base(LightDockerEngine().client)
    options = ["--add-runtime", f"nvidia={programs}/nvidia-runtime", "--default-runtime", "nvidia"]
    with one_of_its_own(programs, options) as engine:
        engine.load(base.tag)
        yield engine, seen


@pytest.fixture
def seen(gpu_machine: tuple[OwnEngine, Seen]) -> Seen:
    gpu_machine[1].forget()
    return gpu_machine[1]


@pytest.fixture
def engine(
    gpu_machine: tuple[OwnEngine, Seen], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> LightDockerEngine:
    monkeypatch.setenv("DOCKER_HOST", gpu_machine[0].address)
    monkeypatch.setattr(vetting, "toolkit_version", lambda: (1, 18, 0))
    driver.has(FakeGpu(OTHER), FakeGpu(UUID))
    return LightDockerEngine()


@pytest.fixture
def greedy(engine: LightDockerEngine, tmp_path: Path) -> Program:
    folder = tmp_path / "greedy"
    shutil.copytree(HONEST, folder)
    (folder / "Dockerfile").write_text(GREEDY)
    return engine.prepare_folder(folder, "greedy", "folder:sha256:greedy")


@pytest.mark.parametrize("device", ["cuda:1", f"cuda:{UUID}"])
def test_exactly_the_gpu_that_was_asked_for_arrives_with_two_capabilities(
    engine, seen, greedy, device: str
) -> None:
    with engine.start(Launch(greedy, "predict", device=device, limits=LIMITS)):
        pass
    (config,) = seen.of("hook")
    assert (seen.folder / "hook-arguments").read_text() == "prestart\n", "called once"
    for told in (config, *seen.of("runtime")):
        assert variables(told, "NVIDIA_VISIBLE_DEVICES") == {UUID}
        assert variables(told, "NVIDIA_DRIVER_CAPABILITIES") == {"compute,utility"}
        assert told["process"]["user"]["uid"] != 0
        assert told["process"]["noNewPrivileges"]
        assert not any(told["process"]["capabilities"].get("bounding") or [])


def test_a_run_on_the_cpu_hides_every_gpu_from_an_image_that_asks_for_all(
    engine, seen, greedy
) -> None:
    with engine.start(Launch(greedy, "predict", limits=LIMITS)):
        pass
    assert seen.of("hook") == []
    (config,) = seen.of("runtime")
    assert variables(config, "NVIDIA_VISIBLE_DEVICES") == {"void"}


@pytest.fixture
def run(engine: LightDockerEngine, tmp_path: Path, tmp_path_factory, monkeypatch):
    """`evaluate` on the second GPU of this machine; returns its records."""
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path_factory.getbasetemp() / "gpu-cache"))
    monkeypatch.setattr(harness.engines, "choose_engine", lambda _: engine)

    def call(entry: str | Path, *options: str):
        results = tmp_path / "results"
        limits = ["--limit", "threads=1", "--limit", "memory_mib=256"]
        evaluate.main(
            [str(entry), "--device", "cuda:1", "--results", str(results), "--no-site", *limits, *options]
        )  # fmt: skip
        return Store(results).records()

    return call


def test_before_a_run_the_canary_gets_the_very_settings_of_the_entry(
    run, seen, tmp_path: Path, monkeypatch
) -> None:
    canary = tmp_path / "canary.py"
    canary.write_text("import json; print(json.dumps({'code': 0, 'said': 'well'}))")
    monkeypatch.setattr("harness.engines.base.CANARY", canary)
    (record,) = run(HONEST)
    assert record.is_ok
    assert (record.machine.device, record.machine.cuda) == ("NVIDIA H200", "13.0")
    first, probe, entry = seen.of("hook")
    assert probe["process"]["args"][-2:] == [measuring.probe_source(), "predict"]
    assert first["process"]["args"][-2:] == [canary.read_text(), "predict"]
    assert {mount["destination"] for mount in entry["mounts"]} - {
        mount["destination"] for mount in first["mounts"]
    } == {"/model"}
    for config in (first, probe, entry):
        for each in ("args", "cwd"):
            config["process"].pop(each)
        config["linux"].pop("cgroupsPath")
    assert first["process"] == probe["process"] == entry["process"]
    assert first["linux"] == probe["linux"] == entry["linux"]
    assert len(first["hooks"]["prestart"]) == len(entry["hooks"]["prestart"])


def test_a_container_that_cannot_compute_is_a_lost_gpu_and_no_record(
    run, seen, gpu_machine
) -> None:
    """The true canary: the stub of the hook brings no driver into the container."""
    with pytest.raises(InfrastructureFault, match=r"libcuda\.so\.1") as caught:
        run(HONEST)
    assert caught.value.status is Status.GPU_LOST
    canaries = seen.of("hook")
    assert len(canaries) == 2, "it was tried once more"
    assert gpu_machine[0].containers() == []


def test_a_strangers_image_is_tried_with_our_own_python_behind_the_toolkits_gate(
    run, engine, seen, greedy, monkeypatch
) -> None:
    with pytest.raises(InfrastructureFault, match=r"libcuda\.so\.1"):
        run(greedy.image, "--as", "stranger")
    base = engine.client.inspect_image(light_base(engine.client).tag)
    for config in seen.of("hook"):
        assert variables(config, "PATH") == {
            value.removeprefix("PATH=")
            for value in base["Config"]["Env"]
            if value.startswith("PATH=")
        }
    seen.forget()
    monkeypatch.setattr(vetting, "toolkit_version", lambda: (1, 17, 7))
    with pytest.raises(DeviceUnavailable, match=r"1\.17\.8"):
        run(greedy.image, "--as", "stranger")
    assert seen.of("hook") == seen.of("runtime") == []
