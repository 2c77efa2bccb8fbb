"""The scripts of docs/cluster.md with a real Apptainer, as an ordinary user: killed, requeued, complete."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest

from harness import evaluate
from harness.benchmarks import default_cache
from harness.engines.base import Program
from harness.engines.oci.baselines_base import baselines_base
from harness.records.store import Store
from tests.engine_images import LightApptainerEngine
from tests.hostile.conftest import in_another_namespace, small_pack
from tests.slurm import SlurmArray, run_on_two_nodes

pytestmark = pytest.mark.hpc
SECONDS = 120


@pytest.fixture(scope="session")
def base(engine: LightApptainerEngine, program: Program) -> None:
    """The small base stands where that of Dockerfile.gpu would: the scripts start the harness itself."""
    images = engine._root / "images"
    key = program.image.removeprefix("sha256:")
    wanted = images / baselines_base().identity.rpartition(":")[2]
    if not wanted.exists():
        shutil.copytree(images / key, wanted, symlinks=True, copy_function=os.link)


def wait_for_a_container() -> None:
    """Until some entry of a job runs; what is in a pid namespace of its own is one here."""
    deadline = time.monotonic() + SECONDS
    while not in_another_namespace():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_until_nothing_runs() -> None:
    deadline = time.monotonic() + SECONDS
    while in_another_namespace():
        assert time.monotonic() < deadline, in_another_namespace()
        time.sleep(0.05)


def test_an_array_whose_jobs_are_killed_and_requeued_is_complete_and_equal_to_one_that_is_not(
    base, tmp_path: Path
) -> None:
    """One job's time is over in mid-run, the other's node is lost; both are started once more."""
    (tmp_path / "data").mkdir()
    pack = ["--pack", str(small_pack(default_cache(), tmp_path / "small").root)]
    entries = ["tests/sample_entries/honest", "tests/sample_entries/score_only"]
    array = SlurmArray(tmp_path, " ".join(entries), "apptainer", shlex.join(pack))
    first = array.start(0)
    wait_for_a_container()
    assert array.time_is_over(first) == 128 + signal.SIGTERM
    assert "interrupted: no half record was left" in array.log(0).read_text()
    assert in_another_namespace() == []
    second = array.start(1)
    wait_for_a_container()
    array.node_is_lost(second)
    wait_until_nothing_runs()
    assert array.records() == []
    for number in (0, 1):
        assert array.end(array.start(number)) == 0, array.log(number).read_text()
    whole = [*entries, "--engine", "process", "--no-site", *pack, "--limit", "threads=1"]
    assert evaluate.main([*whole, "--results", str(tmp_path / "whole")]) == 0
    undisturbed = {record.entry.name: record for record in Store(tmp_path / "whole").records()}
    records = array.records()
    assert [record.entry.name for record in records] == sorted(undisturbed)
    for record in records:
        assert (record.machine.engine_name, record.is_ok) == ("apptainer", True)
        assert record.machine.isolation != "none"
        assert record.answers == undisturbed[record.entry.name].answers
        assert record.metrics == undisturbed[record.entry.name].metrics


@pytest.mark.slow
def test_one_driver_in_an_allocation_runs_a_campaign_on_ray_under_apptainer(
    base, tmp_path: Path
) -> None:
    records = run_on_two_nodes(tmp_path, "apptainer")
    assert [record.machine.engine_name for record in records] == ["apptainer"] * 2
