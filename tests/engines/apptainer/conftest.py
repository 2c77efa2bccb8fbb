"""What the tests with a real Apptainer share: the engine on the small base, and any script in it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engines.apptainer.running import ApptainerRunning
from harness.engines.base import Launch, Limits, Program
from tests.engine_images import LightApptainerEngine
from tests.paths import REPOSITORY

HONEST = REPOSITORY / "tests/sample_entries/honest"
IDENTITY = "folder:sha256:" + "0" * 64


@pytest.fixture(scope="session")
def engine() -> LightApptainerEngine:
    found = LightApptainerEngine()
    found.check()
    return found


@pytest.fixture(scope="session")
def program(engine: LightApptainerEngine) -> Program:
    """The sample entry that answers as it should."""
    return engine.prepare_folder(HONEST, "honest", IDENTITY)


StartScript = Callable[..., ApptainerRunning]


@pytest.fixture
def start_script(
    engine: LightApptainerEngine, program: Program, tmp_path: Path, monkeypatch
) -> Iterator[StartScript]:
    """Start a script in the base's container: `start_script(code, verb="train", model=...)`."""
    started: list[ApptainerRunning] = []
    image_of = engine._image

    def image_with_script(wanted: Program):
        return replace(image_of(wanted), command=("python", "/weights/main.py"))

    monkeypatch.setattr(engine, "_image", image_with_script)

    def start(code: str, verb: str = "predict", **more: object) -> ApptainerRunning:
        weights = tmp_path / f"weights-{len(started)}"
        weights.mkdir()
        (weights / "main.py").write_text(textwrap.dedent(code))
        more.setdefault("limits", Limits(threads=1, memory_mib=256, tmp_mib=64, stop_seconds=0.5))
        started.append(engine.start(Launch(program, verb, weights=weights, **more)))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for running in started:
        running.stop()
