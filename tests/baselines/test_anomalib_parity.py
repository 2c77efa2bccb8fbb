"""Our methods give anomalib's own numbers for the same random weights.

PaDiM, PatchCore, RD4AD and GANomaly against its modules; FastFlow, SuperSimpleNet and EfficientAD,
which are its modules, against the training steps of its Lightning classes. Processes of their own:
importing anomalib whole takes 10 s and warns.
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


# Network, loss and draws are the library's, the loop is ours: nothing but the last digits of sums
# that are made otherwise (statistics in float64, logits brought to sigmoids by numpy).
STEP_TOLERANCES = {
    **{
        f"{name} {what}": 0.0
        for name in ("fastflow", "supersimplenet", "efficientad")
        for what in ("loss", "gradients", "weights")
    },
    "fastflow map": 1e-6,
    "fastflow score": 1e-6,
    "supersimplenet map": 1e-6,
    "supersimplenet score": 1e-6,
    "efficientad teacher's mean": 2e-6,
    "efficientad teacher's std": 4e-6,
    "efficientad quantiles": 2e-6,
    "efficientad map": 1e-6,
    "efficientad score": 1e-6,
}


def printed_by(script: str, repository: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name(script))],
        cwd=repository,
        env={"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "tolerances"),
    [("anomalib_parity.py", TOLERANCES), ("anomalib_steps.py", STEP_TOLERANCES)],
)
def test_every_quantity_agrees(script: str, tolerances: dict[str, float], repository: Path) -> None:
    differences = printed_by(script, repository)
    assert set(differences) == set(tolerances)
    worse = {name: value for name, value in differences.items() if value > tolerances[name]}
    assert not worse
