"""Memory stays under the limit given, and the limit changes no bit of the model."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import slice_image


@dataclass(frozen=True)
class Case:
    entry: str
    images: int
    changes: dict[str, Any]
    limit: int
    """MiB, below what the fit would like to hold."""
    steps: tuple[int, int]
    """With the limit, and without."""


SCRIPT = Path(__file__).with_name("peak_memory.py")
CASES = [
    # All descriptors take 45 MiB, the selection 31, the network's own work some 10 more.
    Case(
        "patchcore",
        images=60,
        changes={
            "image_size": 128,
            "batch_size": 1,
            "cpu_max_patches": 0,
            "coreset_ratio": 0.001,
        },
        limit=60,
        steps=(2 * 60 + 100, 60 + 100),
    ),
    # The model takes 39 MiB, the sums of all positions 78, an inversion up to 29.
    Case("padim", images=10, changes={"channels_resnet18": 200}, limit=80, steps=(8 * 3, 3)),
]


def fitted(repository: Path, case: Case, folder: Path, limit: int) -> dict[str, Any]:
    changes = json.dumps({**case.changes, "memory_mib": limit})
    done = subprocess.run(
        [sys.executable, str(SCRIPT), case.entry, str(folder), changes],
        # glibc's thresholds move with what was freed before; fixed, what is freed goes back.
        env={
            "PYTHONPATH": str(repository),
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": "131072",
            "MALLOC_TRIM_THRESHOLD_": "131072",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.entry)
def test_memory_stays_under_the_limit_and_changes_no_bit(
    repository: Path, case: Case, tmp_path: Path
) -> None:
    for number in range(case.images):
        Image.fromarray(slice_image(number)).save(tmp_path / f"{number:03}.png")
    limited = fitted(repository, case, tmp_path, case.limit)
    free = fitted(repository, case, tmp_path, 10_000)
    assert limited["mib"] < case.limit < free["mib"]
    assert (limited["steps"], free["steps"]) == case.steps
    assert limited["model"] == free["model"]
