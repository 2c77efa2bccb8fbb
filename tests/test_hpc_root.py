"""Tests in the root of `.ci/hpc-root.sh`: who runs them, and that none passes unheard."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import hpc_root


@pytest.mark.hpc
def test_an_ordinary_user_runs_them_beside_a_checkout_that_he_cannot_change() -> None:
    assert os.getuid() == 5000
    assert hpc_root.IS_INSIDE
    with pytest.raises(OSError, match="Read-only"):
        (hpc_root.REPOSITORY / "planted").touch()
    assert Path("/etc/debian_version").read_text().startswith("13")
    assert "SECRET_OF_THE_HOST" not in os.environ


def test_a_test_that_nothing_was_reported_of_has_failed() -> None:
    stash = {hpc_root._key: {}, hpc_root._said: "pytest: cannot start"}
    session = SimpleNamespace(stash=stash)
    item = SimpleNamespace(
        session=session, nodeid="tests/x.py::test@hpc", location=("x", 1, "test")
    )
    (report,) = hpc_root.reports_of(item)
    assert report.failed
    assert "cannot start" in report.longrepr


def test_where_the_root_is_not_the_script_says_why(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BMAD_HPC_ROOT", str(tmp_path))
    for verb in (["check"], ["user", "true"]):
        done = subprocess.run([hpc_root.SCRIPT, *verb], capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert done.stderr.startswith("no Debian 13 root for Apptainer and Podman: ")
