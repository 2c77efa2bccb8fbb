"""Tests that run in the Debian 13 root of `.ci/hpc-root.sh`: Apptainer and Podman, an ordinary user.

    @pytest.mark.hpc
    def test_something(podman): ...

Whoever runs pytest outside of it hands all such tests over to one pytest inside, and takes over what
that one reports: outcomes, tracebacks, outputs and durations stand in this run's own summary.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / ".ci/hpc-root.sh"
IS_INSIDE = "BMAD_IN_HPC_ROOT" in os.environ
REPORTS = "BMAD_HPC_REPORTS"  # the file that the pytest inside writes its reports to
SECONDS = 480  # for all of them together


@cache
def problem() -> str | None:
    """Why such tests cannot run here; None where they can."""
    if IS_INSIDE:
        return None
    said = subprocess.run([str(SCRIPT), "check"], capture_output=True, text=True, check=False)
    return said.stderr.strip().rpartition("\n")[2] if said.returncode else None


def is_handed_over(item: pytest.Item) -> bool:
    """Whether a test runs there and not here."""
    skipped = item.get_closest_marker("skip")
    return not IS_INSIDE and item.get_closest_marker("hpc") is not None and skipped is None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Take over what was reported of a test; all of them run when the first one's turn comes."""
    if not is_handed_over(item):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports_of(item):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    item.session._setupstate.teardown_exact(nextitem)  # what the test before has left for this one
    return True


_key: pytest.StashKey[dict[str, list[dict]]] = pytest.StashKey()
_said: pytest.StashKey[str] = pytest.StashKey()


def reports_of(item: pytest.Item) -> list[pytest.TestReport]:
    """A test's reports, or one that says what became of the pytest inside."""
    stash, name = item.session.stash, plain(item.nodeid)
    if _key not in stash:
        wanted = [plain(each.nodeid) for each in item.session.items if is_handed_over(each)]
        stash[_key], stash[_said] = run_inside(wanted)
    told = stash[_key].get(name)
    if not told:
        return [pytest.TestReport(
            item.nodeid, item.location, {}, "failed", f"not reported on:\n{stash[_said]}", "call",
        )]  # fmt: skip
    made = item.config.hook.pytest_report_from_serializable
    reports = [made(config=item.config, data={**data, "nodeid": item.nodeid}) for data in told]
    for report in reports:
        if isinstance(report.longrepr, list):  # a skip's place and reason: JSON knows no tuples
            report.longrepr = tuple(report.longrepr)
    return reports


def plain(nodeid: str) -> str:
    """A test's name without the lane that pytest-xdist writes after it."""
    return nodeid.rpartition("@")[0] or nodeid if "@" in nodeid else nodeid


def run_inside(tests: Sequence[str]) -> tuple[dict[str, list[dict]], str]:
    """Run tests in the root; their reports by name, and the last of what pytest said there."""
    from tests.engine_images import HANDED_BASE, LightDockerEngine, save_light_base

    share = Path(tempfile.mkdtemp(prefix="hpc-"))
    share.chmod(0o777)  # an ordinary user writes his reports here
    try:
        handed = save_light_base(LightDockerEngine().client, share / "base.tar")
        variables = {
            "BMAD_IN_HPC_ROOT": "1", REPORTS: str(share / "reports"), HANDED_BASE: handed,
            "TMPDIR": "/var/tmp", "BMAD_CACHE": "/home/hpc/cache",
        }  # fmt: skip
        call = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *tests]
        # With what numba has compiled already: a minute's work.
        places = {"BMAD_HPC_SHARE": str(share), "BMAD_HPC_COPIED": "harness/metrics/kernels"}
        # Ended by force where it takes too long; what was reported till then counts.
        bounded = ["timeout", "--kill-after=20", str(SECONDS), str(SCRIPT), "user", "env"]
        with (share / "said").open("w") as said:
            subprocess.run(
                [*bounded, *(f"{name}={value}" for name, value in variables.items()), *call],
                env={**os.environ, **places}, cwd=REPOSITORY, stdout=said, stderr=said, check=False,
            )  # fmt: skip
        found = defaultdict(list)
        with contextlib.suppress(FileNotFoundError):  # it never came to a report
            for line in (share / "reports").read_text().splitlines():
                data = json.loads(line)
                found[data["nodeid"]].append(data)
        return found, (share / "said").read_text()[-5000:]
    finally:
        shutil.rmtree(share)


class Reporter:
    """Writes each report down, in the pytest inside."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line of JSON."""
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._path.open("a") as file:
            file.write(json.dumps(data) + "\n")


def register(config: pytest.Config) -> None:
    """Make this run hand over, or report."""
    if not IS_INSIDE:
        config.pluginmanager.register(sys.modules[__name__], "hpc-root")
    elif REPORTS in os.environ:
        config.pluginmanager.register(Reporter(config, Path(os.environ[REPORTS])), "hpc-reports")
