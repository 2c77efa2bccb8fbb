"""The lists of the split data (`splits/`, see the README there)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Patch:
    """One patch of a slide."""

    slide: str
    """Name of the slide."""
    row: int
    """Row of the list, from 0: BMAD's file name."""
    x: int
    """Centre, pixels of level 0."""
    y: int
    """Centre, pixels of level 0."""


@cache
def names(file: str) -> tuple[str, ...]:
    """The lines of a `.txt` list, in its order."""
    return tuple(_text(f"{file}.txt").split())


@cache
def patches(file: str) -> tuple[Patch, ...]:
    """The rows of a Camelyon16 list, in its order."""
    rows = csv.DictReader(_text(f"{file}.csv").splitlines())
    return tuple(
        Patch(row["slide"], number, int(row["x_center"]), int(row["y_center"]))
        for number, row in enumerate(rows)
    )


def _text(name: str) -> str:
    folder = resources.files("harness.benchmarks.prepare") / "splits"
    return (folder / name).read_text("ascii")
