"""How the measuring scripts call the harness: one run on one core of the CPU, without a container."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.common.paths import REPOSITORY
from tests.baselines.exchangeable import as_text


def evaluate(
    entry: str, images: Sequence[str], settings: Mapping[str, object], place: Path, *more: str
) -> bool:
    """Run a baseline, unless it has been run: whether that ended well.

    Args:
        entry: the baseline's folder, below `baselines/`.
        images: the options of `harness.evaluate` that name the images.
        settings: by hyper-parameter.
        place: holds `weights/` and `results/`.
        more: further options.
    """
    call = [
        *(sys.executable, "-m", "harness.evaluate", f"baselines/{entry}", *images),
        *("--weights", str(place / "weights"), "--results", str(place / "results")),
        *("--engine", "process", "--limit", "threads=1", "--no-site", "--no-keep-model"),
        *more,
        *(f"--set={name}={value}" for name, value in as_text(dict(settings)).items()),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(call, cwd=REPOSITORY, env=environment, check=False).returncode == 0
