"""Shared fixtures and the rule for tests that need something the machine may lack."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.records.record import Record
from tests import hpc_root
from tests.fake_nvml import Driver, install
from tests.record_factory import record

REPOSITORY = Path(__file__).resolve().parent.parent
IS_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


# A job in the background of a shell starts with Ctrl-C ignored and hands that on to its
# children; the tests that interrupt a harness need it to be heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Under nohup a closed terminal is ignored, by these too; the programs that they start are to hear it.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def real_packs() -> Path | None:
    """Folder of real medical images kept beside the repository, or None."""
    folder = Path(os.environ.get("BMAD_TEST_PACKS", REPOSITORY.parent / "shared" / "packs"))
    return folder if folder.is_dir() else None


def engine_problem() -> str | None:
    """Why no container engine can be used here, or None when one answers."""
    from harness.common.errors import EngineUnavailable
    from harness.engines import choose_engine

    try:
        choose_engine("docker").check()
    except EngineUnavailable as error:
        return error.what
    return None


def find_browser() -> str | None:
    """Path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def pytest_configure(config: pytest.Config) -> None:
    """Each of several test processes has a temporary folder of its own, so that they share no lock."""
    hpc_root.register(config)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = Path(tempfile.mkdtemp(prefix=f"{worker}-"))
        folder.chmod(0o1777)  # some tests act as another user
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None  # asked for anew


def pytest_unconfigure() -> None:
    """Nothing stays of it."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)


def lane_of(item: pytest.Item) -> str:
    """Tests of one lane run in one process, in order: those of a file, and all that use the engine.

    They count containers, restart engines and remove images, so they may not meet one another. Those
    that another pytest runs in the root of clusters' engines are handed over together.
    """
    if item.get_closest_marker("hpc"):
        return "hpc"
    return "engine" if item.get_closest_marker("engine") else str(item.path)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the lanes
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the machine cannot run, with the reason; in CI engine and browser are compulsory."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(lane_of(item)))
    in_root = [item for item in items if item.get_closest_marker("hpc")]
    skip_where_no_root_is(in_root)
    needs_engine = [
        item for item in items if item.get_closest_marker("engine") and item not in in_root
    ]
    if needs_engine and (problem := engine_problem()):
        if IS_CI:
            raise pytest.UsageError(f"the container tests may not be skipped in CI: {problem}")
        for item in needs_engine:
            item.add_marker(pytest.mark.skip(reason=f"needs a container engine: {problem}"))
    needs_browser = [item for item in items if item.get_closest_marker("browser")]
    if needs_browser and find_browser() is None:
        if IS_CI:
            raise pytest.UsageError("the browser tests may not be skipped in CI: no chromium")
        for item in needs_browser:
            item.add_marker(pytest.mark.skip(reason="needs chromium (apt install chromium)"))
    if real_packs() is None:
        for item in items:
            if item.get_closest_marker("packs"):
                item.add_marker(
                    pytest.mark.skip(
                        reason="needs real images (set BMAD_TEST_PACKS to their folder)"
                    )
                )


def skip_where_no_root_is(items: list[pytest.Item]) -> None:
    """Also where no engine is that their base image can be handed over from."""
    if items and (problem := hpc_root.problem() or (not hpc_root.IS_INSIDE and engine_problem())):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def packs_folder() -> Path:
    """Folder of the real packs (use with the `packs` marker)."""
    folder = real_packs()
    assert folder is not None
    return folder


@pytest.fixture(autouse=True)
def no_leftover_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests see none of the user's own settings."""
    for name in ("BMAD_DATA", "BMAD_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    # Each test has a store of trained models of its own, made when something is kept.
    monkeypatch.setenv("BMAD_MODELS", f"{tmp_path_factory.getbasetemp()}/models-{uuid.uuid4().hex}")


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """Makes sealed records; see `tests.record_factory.record` for the arguments."""
    return record


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """The NVIDIA driver of this process: `driver.has(FakeGpu("GPU-a"))`."""
    return install(monkeypatch)
