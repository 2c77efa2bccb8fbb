"""The tests' own Ray cluster: it needs nothing that an earlier one left, and says why it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import IS_CI
from tests.paths import REPOSITORY
from tests.ray_cluster import ClusterEnded, ray_cluster

# Run with an empty /tmp: starts a cluster with one node, and tells what lies in /tmp afterwards.
FIRST_CLUSTER = """
import pathlib, tempfile
from tests.ray_cluster import ray_cluster
folder = pathlib.Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
with ray_cluster(folder) as nodes:
    assert nodes.add()
print("left:", sorted(path.name for path in pathlib.Path("/tmp").iterdir() if path != folder))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets: short paths
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_first_cluster_of_a_machine_starts_and_writes_into_its_own_folder_alone() -> None:
    in_empty_tmp = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    may = subprocess.run(
        [*in_empty_tmp, "mount", "-t", "tmpfs", "none", "/tmp"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if may.returncode != 0:
        assert not IS_CI, may.stderr
        pytest.skip(f"/tmp cannot be hidden here: {may.stderr.strip()}")
    script = 'mount -t tmpfs none /tmp && exec "$@"'
    done = subprocess.run(
        [*in_empty_tmp, "sh", "-c", script, "sh", sys.executable, "-c", FIRST_CLUSTER],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "left: []"


def test_a_cluster_that_cannot_start_says_why(folder: Path) -> None:
    (folder / "ray").mkdir()
    (folder / "ray" / "ray_current_cluster").mkdir()  # Ray cannot write its address
    with pytest.raises(ClusterEnded, match=r"ended with 1:[\s\S]*ray_current_cluster"):  # noqa: SIM117
        with ray_cluster(folder):
            pass
