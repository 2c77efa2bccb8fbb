"""A short real run through the harness: the memory that the host sees, which no entry tells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.baseline_costs.settings import LAID_OVER

# One epoch on the demo pack's 64 images, everything else at full size.
SHORT = dict.fromkeys(("epochs", "gan_epochs", "pretraining_epochs", "passes_per_epoch"), 1)


def measure(entry: str, device: str, params: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Peak memory by the record of one run."""
    changes = {**LAID_OVER, **SHORT}
    sets = [f"--set={name}={value}" for name, value in changes.items() if name in params]
    with TemporaryDirectory() as place:
        done = subprocess.run(
            [
                sys.executable, "-m", "harness.evaluate", f"baselines/{entry}", "--json",
                "--benchmark=demo", "--preset=bmad", "--engine=process", f"--device={device}",
                f"--results={place}", "--no-site", "--no-keep-model", *sets,
            ],
            cwd=root, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the run ended with {done.returncode}: {done.stderr[-2000:]}")
    (record,) = json.loads(done.stdout)
    return {**record["cost"], "status": record["outcome"]["status"]}
