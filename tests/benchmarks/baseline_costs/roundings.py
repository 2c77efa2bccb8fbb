"""What a GPU's bfloat16 changes in a method's answers: what `bench_precision.py` measured.

The file `roundings.json` holds it run by run: `METHOD/PRECISION/SEED` to metrics from 0 to 1, and
`METHOD/agreement/…` to rank correlations of maps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

FILE = Path(__file__).with_name("roundings.json")
PRECISIONS = ("float32", "mixed")
METRICS = ("image_auroc", "pixel_auroc")
HEAD = (
    "method", "seeds", "image AUROC, float32", "bfloat16 adds", "pixel AUROC, float32", "bfloat16 adds",
    "maps of both precisions", "maps of two seeds",
)  # fmt: skip

Found = Mapping[str, Mapping[str, Any]]
"""Measurements by name."""


def write(found: Found) -> None:
    """Put measurements into the file, in place of those that are there."""
    told = json.dumps(dict(sorted(found.items())), indent=1, allow_nan=False)
    FILE.write_text(told + "\n", encoding="utf-8")


def read() -> Found:
    """What the file holds."""
    found: Found = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def rows(found: Found) -> list[Sequence[str]]:
    """One row of `HEAD` for each method: percent, points, means ± standard deviation over the seeds.

    What bfloat16 adds is taken seed by seed. A method counts once its runs are whole: both precisions
    of all seeds, and their agreement.
    """
    return [_row(entry, found) for entry in whole(found)]


def whole(found: Found) -> list[str]:
    """The methods whose runs are all there."""
    return sorted(name.split("/")[0] for name in found if name.endswith("/agreement/seeds"))


def _row(entry: str, found: Found) -> Sequence[str]:
    cells = []
    for metric in METRICS:
        single, mixed = (
            [
                100 * found[name][metric]
                for name in sorted(found)
                if name.startswith(f"{entry}/{precision}/")
            ]
            for precision in PRECISIONS
        )
        added = [b - a for a, b in zip(single, mixed, strict=True)]
        cells += [
            f"{mean(single):.1f} ± {stdev(single):.1f}",
            f"{mean(added):+.1f} ± {stdev(added):.1f}",
        ]
    for what in ("precisions", "seeds"):
        cells.append(f"{mean(found[f'{entry}/agreement/{what}']['correlations']):.3f}")
    return [f"`{entry}`", str(len(single)), *cells]
