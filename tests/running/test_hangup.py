"""A terminal that is closed in the middle of a run, with and without `nohup`."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import time
from pathlib import Path

import pytest

from harness.records.store import Store
from tests.paths import ENTRIES, REPOSITORY


def evaluate_at_a_terminal(entry: str, home: Path, *before: str) -> tuple[int, int]:
    """Start a run at a pseudo-terminal; its process and the terminal's other end."""
    verb = [sys.executable, "-m", "harness.evaluate", str(ENTRIES / entry)]
    command = [*before, *verb, "--engine", "process", "--results", str(home / "results")]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(home)
        os.environ |= {
            "PYTHONPATH": str(REPOSITORY),
            "BMAD_CACHE": str(home / "cache"),
            "BMAD_MODELS": str(home / "models"),
        }
        os.execvp(command[0], command)
    return process, terminal


def below(process: int) -> list[int]:
    """Every process below another."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [each for child in map(int, children) for each in (child, *below(child))]


def is_entry(process: int) -> bool:
    return b"harness.contract" in Path(f"/proc/{process}/cmdline").read_bytes()


def wait_for_entry(process: int) -> list[int]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):  # one that has just ended
            if found := [each for each in below(process) if is_entry(each)]:
                return found
        time.sleep(0.05)
    pytest.fail("no entry was started")


def test_a_closed_terminal_ends_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    process, terminal = evaluate_at_a_terminal("hanging_image", tmp_path)
    entry = wait_for_entry(process)
    time.sleep(1.0)  # into the run
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert [each for each in entry if Path(f"/proc/{each}").exists()] == []
    assert list((tmp_path / "results").rglob("seed-*")) == []
    assert list((tmp_path / "cache" / "work").iterdir()) == []


def test_under_nohup_the_run_ends_well_without_its_terminal(tmp_path: Path) -> None:
    process, terminal = evaluate_at_a_terminal("honest", tmp_path, "nohup")
    wait_for_entry(process)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    (record,) = Store(tmp_path / "results").records()
    assert record.is_ok
    assert "demo/honest/seed-0: ok" in (tmp_path / "nohup.out").read_text()
