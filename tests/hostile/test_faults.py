"""Attack 24 and the machine's own faults: kills, a full disk, a moved clock, two at once, a lost engine."""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import evaluate
from harness.benchmarks import Pack
from harness.common.errors import EnvironmentFault, StoreUnusable
from harness.common.owner import is_owner_gone
from harness.common.statuses import Status
from harness.console import cli
from harness.engines.apptainer.engine import PREFIX
from harness.engines.process import HOME_PREFIX
from harness.records.store import Store
from tests.engine_images import LIGHT_ENGINES, LightDockerEngine
from tests.hostile.conftest import ENTRIES, in_another_namespace
from tests.hostile.harnesses import Nursery
from tests.own_engine import OwnEngine, one_of_its_own

QUICK = ["--limit", "stop_seconds=1", "--limit", "threads=1", "--limit", "memory_mib=512"]


@pytest.fixture
def nursery(cache: Path, tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(cache, tmp_path / "harness.log") as made:
        yield made


def command(pack: Pack, results: Path, engine: str, seeds: int, entry: str) -> list[str]:
    return [
        str(ENTRIES / entry), "--engine", engine, "--pack", str(pack.root), "--results", str(results),
        "--no-site", "--seed", *map(str, range(seeds)), *QUICK,
    ]  # fmt: skip


def kill_at_random(
    nursery: Nursery, call: list[str], store: Store, wanted: int, longest: float
) -> int:
    """Kill -9 as often as wanted, each time somewhere in the run; returns how often it finished."""
    kills = finished = 0
    while kills < wanted:
        harness = nursery.start(*call)
        began = time.monotonic()
        if nursery.has_ended(random.uniform(0, longest)):
            longest = time.monotonic() - began  # the machine has become faster
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(harness, signal.SIGKILL)
        code = nursery.wait()
        store.records()  # each that is there is whole, intact and of its schema
        if code == -signal.SIGKILL:
            kills += 1
        else:
            assert code == 0
            finished += 1
            shutil.rmtree(store.root)
    return finished


def seconds_of(nursery: Nursery, call: list[str], results: Path) -> float:
    """What one undisturbed call takes; its results are removed."""
    began = time.monotonic()
    assert nursery.run(*call) == 0
    shutil.rmtree(results)
    return time.monotonic() - began


def is_clean(store: Store, cache: Path, runs: int) -> None:
    """All runs are there once, and nothing half-done beside them."""
    records = store.records()
    assert len(records) == runs
    assert len({record.run_key for record in records}) == runs
    assert all(record.is_ok for record in records)
    assert not (store.root / "history").exists()
    assert not list(store.root.rglob(".writing-*"))
    assert not [
        path for path in (cache / "work").glob("*") if is_owner_gone(path.name.partition("-")[0])
    ]
    homes = Path(tempfile.gettempdir()).glob(HOME_PREFIX + "*")
    left = [
        home
        for home in homes
        if is_owner_gone(home.name.removeprefix(HOME_PREFIX).rpartition("-")[0])
    ]
    assert left == []


def entries_running(entry: Path) -> list[str]:
    """Processes of a dead harness that run its copy of this entry's folder."""
    copy = re.compile(rf"{HOME_PREFIX}([^/]*)-[^/-]*/{re.escape(entry.name)}\0")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            if (named := copy.search(text)) and is_owner_gone(named[1]):
                found.append(text)
    return found


KILLS = [
    pytest.param("process", "honest", 12, id="12 in a process entry"),
    pytest.param("process", "trainer", 8, id="8 while it trains"),
    pytest.param("process", "trainer", 90, marks=pytest.mark.slow, id="90 in a process entry"),
    pytest.param("docker", "honest", 2, marks=pytest.mark.engine, id="2 in a container"),
    pytest.param("podman", "honest", 1, marks=pytest.mark.hpc, id="1 in a container of Podman"),
    pytest.param("apptainer", "honest", 1, marks=pytest.mark.hpc, id="1 under Apptainer"),
    pytest.param(
        "docker", "trainer", 10, marks=[pytest.mark.engine, pytest.mark.slow], id="10 in a container"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "entry", "kills"), KILLS)
def test_24_a_harness_that_is_killed_at_random_moments_loses_and_doubles_nothing(
    nursery, open_small, cache, tmp_path, engine, entry, kills
) -> None:
    results, runs = tmp_path / "r", 2
    call = command(open_small, results, engine, runs, entry)
    longest = seconds_of(nursery, call, results)
    kill_at_random(nursery, call, Store(results), kills, longest)
    assert nursery.run(*call) == 0
    is_clean(Store(results), cache, runs)
    deadline = time.monotonic() + 20
    while entries_running(ENTRIES / entry) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert entries_running(ENTRIES / entry) == []
    if engine in ("docker", "podman"):
        owners = [
            container["Labels"].get("bmad.owner", "")
            for container in LIGHT_ENGINES[engine]().client.containers(
                all=True, filters={"label": f"bmad.entry={entry}"}
            )
        ]
        assert not [owner for owner in owners if is_owner_gone(owner)]
    if engine == "apptainer":  # it has no daemon: what is left would be a process, or a folder
        assert in_another_namespace() == []
        left = Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
        owners = [folder.name.removeprefix(PREFIX).rpartition("-")[0] for folder in left]
        assert not [owner for owner in owners if is_owner_gone(owner)]


def test_two_harnesses_on_one_results_folder_do_each_run_once(open_small, cache, tmp_path) -> None:
    results = tmp_path / "r"
    call = command(open_small, results, "process", 3, "honest")
    codes = []

    def run(number: int) -> None:
        with Nursery(cache, tmp_path / f"{number}.log") as nursery:
            barrier.wait()
            codes.append(nursery.run(*call))

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {0, EnvironmentFault.exit_code}
    assert 0 in codes, "one of them goes through"
    if EnvironmentFault.exit_code in codes:
        said = (tmp_path / "0.log").read_text() + (tmp_path / "1.log").read_text()
        assert "another process" in said
        assert "fix:" in said
    with Nursery(cache, tmp_path / "after.log") as nursery:
        assert nursery.run(*call) == 0
    is_clean(Store(results), cache, 3)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def filled(disk: Path, *, left: int) -> Path:
    """A file that leaves so many bytes free."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - left)))
    return filler


@pytest.mark.parametrize("is_found_before", [True, False])
@pytest.mark.parametrize("left", [0, 8_192, 65_536])
def test_a_full_results_disk_is_one_clear_error_and_leaves_no_half_record(
    open_small, cache, small_disk, monkeypatch, left, is_found_before
) -> None:
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    if not is_found_before:  # it fills up while the run works
        monkeypatch.setattr(Store, "check_writable", lambda *_: None)
    results = small_disk / "r"
    filler = filled(small_disk, left=left)
    call = command(open_small, results, "process", 1, "honest")
    with pytest.raises(StoreUnusable, match="disk is full") as caught:
        evaluate.main(call)
    assert caught.value.exit_code == 5
    assert Store(results).records() == []
    assert not list(results.rglob(".writing-*"))
    filler.unlink()
    assert evaluate.main(call) == 0
    assert len(Store(results).records()) == 1


def test_a_disk_that_fills_up_while_a_run_works_is_the_hosts_fault_not_the_entrys(
    open_small, small_disk, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # `run_verb` takes SIGTERM for good
    monkeypatch.setenv("BMAD_CACHE", str(small_disk / "cache"))
    call = command(open_small, tmp_path / "r", "process", 1, "trainer")
    assert evaluate.main(call) == 0  # what a cache holds once is there
    shutil.rmtree(tmp_path / "r")
    filler = filled(small_disk, left=0)
    capfd.readouterr()
    assert cli.run_verb(lambda _: evaluate.main([*call, "--retrain"])) == 5
    said = capfd.readouterr().err
    assert "the disk is full" in said or "cannot be written" in said
    assert "Traceback" not in said
    assert not (tmp_path / "r").exists() or Store(tmp_path / "r").records() == []
    filler.unlink()
    assert evaluate.main([*call, "--retrain"]) == 0


def test_a_clock_that_is_moved_changes_no_limit_no_latency_and_no_status(
    open_small, cache, tmp_path, monkeypatch
) -> None:
    """The host's wall clock jumps back and forth by a year with every look at it."""
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    real, jumps = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(jumps) * 365 * 86_400)

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(time.time(), tz)

    monkeypatch.setattr("harness.running.run.datetime.datetime", Jumping)
    assert evaluate.main(command(open_small, tmp_path / "r", "process", 1, "honest")) == 0
    (record,) = Store(tmp_path / "r").records()
    latency = record.times.latency
    assert 0 < latency.median <= latency.p99 < 60
    assert 0 < record.times.start_up < record.times.predict < record.times.total < 300
    call = command(open_small, tmp_path / "s", "process", 1, "hanging_image")
    began = time.monotonic()
    assert evaluate.main([*call, "--limit", "image_seconds=1"]) == 4
    assert time.monotonic() - began < 60
    (record,) = Store(tmp_path / "s").records()
    assert record.outcome.status is Status.IMAGE_TIMEOUT


def test_the_wall_clock_is_read_for_dates_alone() -> None:
    """Where limits and latencies are measured, only the monotonic clock is asked."""
    root = Path(evaluate.__file__).parent
    measured = [
        path for room in ("session", "running", "engines") for path in (root / room).rglob("*.py")
    ]
    assert len(measured) > 30
    for path in measured:
        assert "time.time(" not in path.read_text(), path


@pytest.fixture
def own_engine() -> Iterator[OwnEngine]:
    """A container engine of the test's own, which it may stop; never the shared one."""
    with one_of_its_own() as engine:
        yield engine


@pytest.mark.engine
def test_an_engine_that_is_restarted_in_mid_run_is_nobodys_record_and_the_next_run_is_clean(
    own_engine, open_small, cache, tmp_path, monkeypatch, capfd
) -> None:
    from harness.entries.identity import folder_identity

    shared = LightDockerEngine()
    images = {}
    for name in ("hanging_image", "honest"):
        folder = ENTRIES / name
        images[name] = shared.prepare_folder(folder, name, folder_identity(folder)).image
        own_engine.load(images[name])
    monkeypatch.setenv("BMAD_CACHE", str(cache))
    monkeypatch.setenv("DOCKER_HOST", own_engine.address)
    options = ["--engine", "docker", "--pack", str(open_small.root), "--no-site", *QUICK]
    options += ["--results", str(tmp_path / "r"), "--no-audit"]
    harness = subprocess.Popen(
        [sys.executable, "-m", "harness.evaluate", images["hanging_image"], "--as", "slow", *options],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while "slow-predict" not in own_engine.names():
        assert time.monotonic() < deadline
        assert harness.poll() is None, harness.stderr.read()
        time.sleep(0.2)
    own_engine.stop()
    _, said = harness.communicate(timeout=120)
    assert harness.returncode == 5, said
    assert (
        "engine_unavailable" in said
        or "engine does not answer" in said
        or "no container engine" in said
    )
    assert "Traceback" not in said
    assert Store(tmp_path / "r").records() == []
    own_engine.start()
    assert evaluate.main([images["honest"], "--as", "honest", *options]) == 0
    (record,) = Store(tmp_path / "r").records()
    assert record.is_ok
    assert own_engine.containers() == []
