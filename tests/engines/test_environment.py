"""Which CPUs the runs of one machine are given, by however many harnesses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.common.errors import EnvironmentFault
from harness.engines import environment
from harness.engines.environment import REGISTER, give_cpus, take_cpus

REPOSITORY = Path(__file__).resolve().parents[2]
TAKES_ONE = """
import sys
from harness.engines import environment
environment.usable_cpus = lambda: [0, 1, 2, 3]
print(environment.take_cpus(1), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def four_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four CPUs that nobody uses, with a register of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(environment, "usable_cpus", lambda: [0, 1, 2, 3])


def test_runs_of_one_harness_share_out_the_cpus() -> None:
    assert [take_cpus(2), take_cpus(2), take_cpus(1)] == [(0, 1), (2, 3), (0,)]
    give_cpus((2, 3))
    assert take_cpus(2) == (2, 3)
    assert take_cpus(16) == (0, 1, 2, 3)


def test_runs_of_several_harnesses_do_not_sit_on_the_same_cpus() -> None:
    def start() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", TAKES_ONE], cwd=REPOSITORY, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    with start() as first, start() as second:
        taken = {process.stdout.readline().strip() for process in (first, second)}
        assert taken == {"(0,)", "(1,)"}
        assert take_cpus(2) == (2, 3)
        first.kill()
        second.stdin.close()
    # Their end, by whatever death, gives them back.
    assert take_cpus(2) == (0, 1)


def test_a_folder_of_somebody_else_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{REGISTER}-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EnvironmentFault, match="somebody else's"):
        take_cpus(1)
    assert list((tmp_path / "elsewhere").iterdir()) == []
