"""Our PaDiM, PatchCore, RD4AD and GANomaly give anomalib's own numbers for the same random weights.

One process of its own: importing anomalib whole takes 10 s and warns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Largest difference over largest value; about ten times what was seen. Sums run in another
# order, PaDiM's in float64.
TOLERANCES = {
    "padim mean": 1e-6,
    "padim inverse covariance": 1e-5,
    "padim map": 1e-5,
    "padim score": 1e-5,
    "patchcore descriptors": 0.0,
    "patchcore map": 1e-5,
    "patchcore score": 1e-5,
    "rd4ad loss": 1e-6,
    "rd4ad map, add": 1e-5,
    "rd4ad map, multiply": 1e-5,
    "rd4ad score": 1e-5,
    **{
        f"ganomaly {what}, {size} pixels": tolerance
        for size in (64, 49)
        for what, tolerance in {
            "input": 0.0,
            "image made": 1e-6,
            "generator's loss": 1e-6,
            "discriminator's loss": 1e-6,
            "score": 1e-5,
        }.items()
    },
}


@pytest.fixture(scope="module")
def differences(repository: Path) -> dict[str, float]:
    script = Path(__file__).with_name("anomalib_parity.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        cwd=repository,
        env={"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_every_quantity_agrees(differences: dict[str, float]) -> None:
    assert set(differences) == set(TOLERANCES)
    worse = {name: value for name, value in differences.items() if value > TOLERANCES[name]}
    assert not worse
