"""Node with what the tests borrow from npm, and Firefox: found, or the reason why not.

`make node-tools` installs the packages of `node/package-lock.json` below `build/`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent / "node"
MODULES = HERE.parents[2] / "build" / "node-tools" / "node_modules"
OLDEST_NODE = (20, 19)


def node_problem() -> str | None:
    """Why no checker of `node/` can run here, or None."""
    node = shutil.which("node")
    if node is None:
        return "needs node 20.19 or newer (apt install nodejs npm, or .ci/node.sh)"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in re.findall(r"\d+", told)[:2])
    if version < OLDEST_NODE:
        return f"needs node 20.19 or newer; {node} is {told.strip()}"
    if not (MODULES / ".package-lock.json").is_file():
        return "needs the packages of tests/leaderboard/node (make node-tools)"
    return None


def firefox_problem() -> str | None:
    """Why no Firefox can be driven here, or None."""
    if shutil.which("firefox-esr") is None:
        return "needs firefox-esr (apt install firefox-esr, or .ci/node.sh)"
    return node_problem()


def run_node(script: str, argument: str, timeout_seconds: float) -> tuple[list[str], str]:
    """Run a script of `node/`.

    Args:
        script: its name.
        argument: its one argument.
        timeout_seconds: after which it is ended.

    Returns:
        The lines of its output, one a fault, and what it said on its standard error.

    Raises:
        AssertionError: it ended with another code than 0 (no fault) or 1 (faults).
        subprocess.TimeoutExpired: it did not end in time.
    """
    done = subprocess.run(
        ["node", str(HERE / script), argument],
        env={**os.environ, "NODE_PATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    faults = done.stdout.splitlines()
    assert done.returncode == bool(faults), (done.returncode, done.stderr)
    return faults, done.stderr
