"""Runs one measurement in a process of its own, and gives what it says or why it failed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any


def run_apart(
    command: Sequence[str], environment: Mapping[str, str], timeout_seconds: float
) -> dict[str, Any]:
    """The JSON object on the last line that a command prints, else `{"failed": why}`."""
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {timeout_seconds:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
