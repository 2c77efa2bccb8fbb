"""What the hostile entries are run with: the verb itself, real containers, a look at the host after.

    run = attack("network")                 # python -m harness.evaluate tests/hostile/network
    run.record, run.log, run.terminal, run.results

Every test ends with the same questions: is a container, a process, a work folder or a
thread left, and does an honest entry still run?
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path

import pytest

import harness.engines
from harness import evaluate
from harness.benchmarks import Pack, demo_pack, open_pack
from harness.common.owner import owner_mark
from harness.engines.base import Engine
from harness.engines.docker import DockerEngine
from harness.records.record import Record
from harness.records.store import Store
from tests import hpc_root
from tests.engine_images import LIGHT_ENGINES, LightDockerEngine, on_engines

HOSTILE = Path(__file__).parent
ENTRIES = HOSTILE.parent / "sample_entries"
# Short, because tests wait for them; long enough for an interpreter on a busy machine.
LIMITS = {
    "start_seconds": 60, "image_seconds": 20, "predict_seconds": 120, "train_seconds": 120,
    "stop_seconds": 1, "memory_mib": 512, "threads": 1, "pids": 64, "tmp_mib": 16, "shm_mib": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What one call of `evaluate` left behind."""

    record: Record
    """Its record."""
    code: int
    """Its exit code."""
    terminal: str
    """Everything it printed, on both outputs."""
    results: Path
    """Its results folder."""

    @property
    def log(self) -> str:
        """The entry's log, where it was kept."""
        path = Store(self.results).log_path(Store(self.results).name_of(self.record))
        return path.read_text("utf-8", "replace") if path.is_file() else ""


# What concerns an engine is tried on each: `@on_all` before a test that attacks; `@on_others` where
# a test of Docker alone asserts more.
OTHERS = ("podman", "apptainer")
on_all = on_engines("attacked", "docker", *OTHERS)
on_others = on_engines("attacked", *OTHERS)


@pytest.fixture(scope="session")
def docker_engine() -> LightDockerEngine:
    return LightDockerEngine()


@pytest.fixture(scope="session")
def attacked(request: pytest.FixtureRequest) -> Engine:
    """The engine that an entry attacks: Docker, or what the test is parametrised with."""
    return LIGHT_ENGINES[getattr(request, "param", "docker")]()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile-cache")


def small_pack(cache: Path, target: Path, *, visibility: str = "open", seed: int | str = 0) -> Pack:
    """The demo pack's first patients: 8 training, 8 validation and 24 test images."""
    whole = demo_pack(cache, seed=seed)
    patients = {"train": 4, "valid": 2, "test": 6}
    for split, count in patients.items():
        chosen = sorted({sample.group for sample in whole.split(split)})[:count]
        for sample in whole.split(split):
            if sample.group in chosen:
                for path in filter(None, (sample.image_path, sample.mask_path)):
                    copy = target / path.relative_to(whole.root)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
    name = "sealed" if visibility == "hidden" else "small"
    text = (whole.root / "pack.toml").read_text().replace('"open"', f'"{visibility}"')
    text = re.sub(r'(?m)^name = ".*"$', f'name = "{name}"', text)
    if visibility == "hidden":
        text = re.sub(r"(?m)^images_may_be_shown = .*$", "images_may_be_shown = false", text)
    (target / "pack.toml").write_text(text)
    return open_pack(target, cache)


@pytest.fixture(scope="session")
def open_small(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return small_pack(cache, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def sealed_small(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return small_pack(
        cache, tmp_path_factory.mktemp("sealed"), visibility="hidden", seed="of these tests"
    )


Attack = Callable[..., Run]


@pytest.fixture
def attack(
    attacked: Engine, cache: Path, open_small: Pack, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> Iterator[Attack]:  # fmt: skip
    """Evaluate a hostile entry in a container: `attack(name, pack=…, options=[…], **limits)`."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setattr(harness.engines, "choose_engine", lambda wanted: attacked)

    def call(
        entry: str | Path, *options: str, pack: Pack | None = None, results: str = "results",
        keep_log: bool = True, site: bool = False, **limits: float,
    ) -> Run:  # fmt: skip
        folder = next(
            (place / entry for place in (HOSTILE, ENTRIES) if (place / entry).is_dir()), entry
        )
        changed = [f"{name}={value}" for name, value in (LIMITS | limits).items()]
        arguments = [str(folder), "--pack", str((pack or open_small).root)]
        arguments += [text for limit in changed for text in ("--limit", limit)]
        arguments += ["--results", str(tmp_path / results), *options]
        if not site:
            arguments.append("--no-site")
        if keep_log:
            keep_every_log(monkeypatch)
        capfd.readouterr()
        code = evaluate.main(arguments)
        out, err = capfd.readouterr()
        (record,) = (
            record
            for record in Store(tmp_path / results).records()
            if record.entry.name == option_of(options, "--as", Path(folder).name)
        )
        return Run(record, code, out + err, tmp_path / results)

    yield call
    the_host_is_healthy(attacked, cache)


def option_of(options: tuple[str, ...], name: str, default: str) -> str:
    return options[options.index(name) + 1] if name in options else default


def keep_every_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a run that ended well: there the hostile entries tell what they saw."""
    from harness.running.request import RunPlace

    made = RunPlace.__init__
    monkeypatch.setattr(RunPlace, "__init__", partialmethod(made, keep_log=True))


def the_host_is_healthy(engine: Engine, cache: Path) -> None:
    """Nothing of ours is left: no container, no process of one, no work folder, no thread."""
    if isinstance(engine, DockerEngine):
        ours = {"label": f"bmad.owner={owner_mark()}"}
        assert engine.client.containers(all=True, filters=ours) == []
    work = cache / "work"
    assert not work.exists() or list(work.iterdir()) == []
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("decode", "watch-model"))]
    deadline = time.monotonic() + 10
    while left := orphans(engine):
        assert time.monotonic() < deadline, f"processes of containers that are gone: {left}"
        time.sleep(0.2)


def orphans(engine: Engine) -> list[str]:
    """Processes in the control group of a container that the engine does not know any more."""
    if (
        hpc_root.IS_INSIDE
    ):  # without control groups; but there, whatever is in another namespace is one
        return in_another_namespace()
    found = {}
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            match = re.search(r"docker[/-]([0-9a-f]{64})", path.read_text())
        except OSError:
            continue
        if match:
            found[path.parent.name] = match.group(1)
    known = {container["Id"] for container in engine.client.containers(all=True)}
    return [process for process, container in found.items() if container not in known]


def in_another_namespace() -> list[str]:
    """Processes with other numbers of their own than ours."""
    ours = Path("/proc/self/ns/pid").readlink()
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        with contextlib.suppress(OSError):
            if path.readlink() != ours:
                found.append(path.parent.parent.name)
    return found
