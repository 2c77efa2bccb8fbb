"""Isolation measured of real containers: all holds, and what is taken away is found missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.engines.base import Launch, Limits, Program
from harness.engines.docker import build
from harness.engines.docker import engine as docker_engine
from harness.engines.docker.container import ContainerRunning
from harness.records.isolation import MeasuredIsolation, isolation_level, lacks
from tests.engine_images import LightDockerEngine
from tests.paths import ENTRIES

pytestmark = pytest.mark.engine

LIMITS = Limits(threads=1, memory_mib=256, pids=64, tmp_mib=16, stop_seconds=0.5)
STRANGERS = "image:sha256:" + "0" * 64


@pytest.fixture
def measure(script_program: Program, monkeypatch) -> Callable[..., MeasuredIsolation]:
    """Measure with other options for every start, by an engine that remembers nothing."""

    def measured(program: Program = script_program, **options: object) -> MeasuredIsolation:
        real = docker_engine.container_settings

        def changed(*arguments: Any) -> dict[str, Any]:
            settings = real(*arguments)
            for name, value in options.items():
                (settings if name in settings else settings["HostConfig"])[name] = value
            return settings

        with monkeypatch.context() as patch:
            patch.setattr(docker_engine, "container_settings", changed)
            return LightDockerEngine().measure(Launch(program, "predict", limits=LIMITS))

    return measured


def test_a_record_tells_the_engine_by_the_first_word_of_what_it_says(engine) -> None:
    assert engine.describe().partition(" ")[0] == engine.name == "docker"


def test_everything_holds_of_a_container_and_its_tmp_is_as_large_as_asked(measure) -> None:
    found = measure()
    assert isolation_level(found) == "container"
    assert (lacks(found), found.tmp_mib) == ((), 16)


@pytest.mark.parametrize(
    ("change", "names", "level"),
    [
        ({"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}, "seccomp", "same user"),
        ({"Memory": 0, "MemorySwap": 0}, "memory_bounded", "same user"),
        ({"PidsLimit": None}, "pids_bounded", "same user"),
        ({"Tmpfs": {"/tmp": "rw,size=64m"}}, "tmp_bounded", "same user"),
        ({"CapDrop": [], "User": "0:0"}, "no_capabilities", "none"),
        ({"SecurityOpt": []}, "no_capabilities", "none"),
        ({"ReadonlyRootfs": False}, "root_read_only", "none"),
        # The machine's /dev/shm, of the machine's size.
        ({"IpcMode": "host", "ShmSize": None}, "own_ipc shm_bounded", "none"),
        ({"ShmSize": 64 << 30}, "shm_bounded", "same user"),
        ({"PidMode": "host", "Init": False}, "own_pids", "none"),
    ],
)
def test_an_option_that_is_taken_away_is_found_missing(measure, change, names, level) -> None:
    found = measure(**change)
    assert {key for key, value in found if value is False} - {"other_user"} == set(names.split())
    assert isolation_level(found) == level


def test_a_strangers_container_is_measured_by_our_own_python_where_its_image_is_there(
    script_program, engine, monkeypatch
) -> None:
    """Its own python3 is never asked: the base image is started in its place."""
    images = []
    real = ContainerRunning.watch

    def watch(running: ContainerRunning) -> None:
        real(running)
        images.append(running._client.inspect_container(running._name)["Image"])

    monkeypatch.setattr(ContainerRunning, "watch", watch)
    strangers = replace(script_program, identity=STRANGERS)
    found = LightDockerEngine().measure(Launch(strangers, "predict", limits=LIMITS))
    assert isolation_level(found) == "container"
    base = engine._base()
    assert images == [build.find_built(engine.client, base.tag, base.identity)["Id"]]


def test_without_a_base_image_a_strangers_program_is_looked_at_from_outside_alone(
    engine, measure, monkeypatch
) -> None:
    honest = engine.prepare_folder(ENTRIES / "honest", "honest", "folder:sha256:measured")
    strangers = replace(honest, identity=STRANGERS)
    monkeypatch.setattr(build, "find_built", lambda *_: None)
    monkeypatch.setattr(build, "ensure_base", lambda *_: pytest.fail("it builds the base"))
    assert isolation_level(measure(strangers)) == "container"
    assert lacks(measure(strangers, PidsLimit=None)) == ("pids not bounded",)
