"""Files of every format, cut, flipped and with junk for pointers, end in typed refusals or are read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.paths import REPOSITORY

MOST_MIB = 900  # of a process that reads them: an image of 89 million pixels takes 5 bytes a pixel


def read_damaged(reads: int, seed: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.benchmarks.damaged_files",
            str(reads),
            str(seed),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads(done.stdout)
    assert not found["escaped"], "\n".join(found["escaped"][:5])
    assert sum(found["reads"].values()) == reads
    assert set(found["reads"]) >= {
        ".png", ".jpg", ".bmp", ".gif", ".webp", ".ppm", ".tif", ".dcm", ".nii", ".gz", ".xml", ".csv",
    }  # fmt: skip
    assert found["peak_mib"] < MOST_MIB


def test_two_thousand_damaged_files_let_no_exception_through() -> None:
    read_damaged(2_000, 1)


@pytest.mark.slow
def test_twenty_thousand_damaged_files_let_no_exception_through() -> None:
    read_damaged(20_000, 2)
