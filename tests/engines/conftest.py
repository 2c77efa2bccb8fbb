"""What the tests with containers share: one engine, one image that runs any script."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.engines.base import Launch, Limits, Program
from harness.engines.docker import DockerEngine
from harness.engines.docker.container import ContainerRunning
from tests import engine_images
from tests.engine_images import LIGHT_ENGINES

SCRIPT_DOCKERFILE = """ARG BASE
FROM ${BASE}
ENTRYPOINT ["python", "/weights/main.py"]
"""


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> DockerEngine:
    """Docker's, or the one that a test asks for (`on_engines`)."""
    return LIGHT_ENGINES[getattr(request, "param", "docker")]()


@pytest.fixture(scope="session")
def script_program(engine: DockerEngine, tmp_path_factory) -> Program:
    """An image that runs the script which a test mounts as /weights/main.py."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "Dockerfile").write_text(SCRIPT_DOCKERFILE)
    return engine.prepare_folder(folder, "test-script", "folder:sha256:script")


@pytest.fixture(scope="session")
def python_base(engine: DockerEngine) -> str:
    return engine_images.python_base(engine.client)


StartScript = Callable[..., ContainerRunning]


@pytest.fixture
def start_script(
    engine: DockerEngine, script_program: Program, tmp_path: Path
) -> Iterator[StartScript]:
    """Start a script in a container: `start_script(code, verb="train", limits=..., model=...)`."""
    started: list[ContainerRunning] = []

    def start(code: str, verb: str = "predict", **more: object) -> ContainerRunning:
        weights = tmp_path / f"weights-{len(started)}"
        weights.mkdir()
        (weights / "main.py").write_text(textwrap.dedent(code))
        more.setdefault("limits", Limits(threads=1, memory_mib=256, stop_seconds=0.5))
        started.append(
            engine.start(Launch(script_program, verb, weights=weights, **more))  # type: ignore[arg-type]
        )
        return started[-1]

    yield start
    for running in started:
        running.stop()
