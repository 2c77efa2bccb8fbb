"""Which harness made a record: version, commit, contract, metric definitions, lock file."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache

import harness
from harness.common.paths import LOCK_FILE, REPOSITORY
from harness.contract import CONTRACT_VERSION
from harness.records.record import SourcePart


@cache
def source(metrics_version: str) -> SourcePart:
    """Which harness this is."""
    return SourcePart(
        version=harness.__version__,
        commit=_commit(),
        contract=CONTRACT_VERSION,
        metrics=metrics_version,
        lock="sha256:" + hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest(),
    )


def _commit() -> str | None:
    if not (REPOSITORY / ".git").exists():
        return None
    commit = _output("git", "-C", str(REPOSITORY), "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _output("git", "-C", str(REPOSITORY), "status", "--porcelain", "--untracked-files=no")
    return commit + ("+dirty" if changed else "")


def _output(*command: str) -> str | None:
    """Standard output of a short command, or None when it cannot be had."""
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
