"""What a GPU's bfloat16 changes in a method's answers: what `bench_precision.py` measured.

The file `roundings.json` holds it run by run: `METHOD/PRECISION/SEED` to metrics from 0 to 1, and
`METHOD/agreement/…` to rank correlations of maps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

FILE = Path(__file__).with_name("roundings.json")
PRECISIONS = ("float32", "mixed")
METRICS = ("image_auroc", "pixel_auroc")
HEAD = (
    "method", "image AUROC, float32", "bfloat16 adds", "another seed adds",
    "pixel AUROC, float32", "bfloat16 adds", "another seed adds",
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
    """One row of `HEAD` for each method: means over the seeds in percent, differences in points.

    A method counts once its runs are whole: both precisions of all seeds, and their agreement.
    """
    return [_row(entry, found) for entry in whole(found)]


def whole(found: Found) -> list[str]:
    """The methods whose runs are all there."""
    return sorted(name.split("/")[0] for name in found if name.endswith("/agreement/seeds"))


def _row(entry: str, found: Found) -> Sequence[str]:
    cells = [f"`{entry}`"]
    for metric in METRICS:
        single, mixed = (
            [
                100 * found[name][metric]
                for name in sorted(found)
                if name.startswith(f"{entry}/{precision}/")
            ]
            for precision in PRECISIONS
        )
        rounding = ", ".join(f"{b - a:+.1f}" for a, b in zip(single, mixed, strict=True))
        other = ", ".join(f"{each - single[0]:+.1f}" for each in single[1:])
        cells += [f"{mean(single):.1f}", rounding, other]
    for what in ("precisions", "seeds"):
        correlations = found[f"{entry}/agreement/{what}"]["correlations"]
        cells.append(", ".join(f"{each:.3f}" for each in correlations))
    return cells
