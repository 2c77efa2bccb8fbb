"""The steps of the day in their order, what matters most first, and how long each may take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.common.paths import BASELINES
from harness.entries.campaign_grid import read_campaign

LEFT_OUT = ("trivial-", "canary-", "echo", "template")  # nothing of theirs runs on a GPU
# Seconds that a step may take. A step is begun only where so much is left, so that a call never
# outlasts its time.
BUDGETS = {"driver": 150.0, "memory": 90.0, "energy": 60.0, "answers": 75.0, "starts": 75.0, "anomalib": 60.0}  # fmt: skip
KINDS = tuple(BUDGETS)


@dataclass(frozen=True)
class Step:
    """One thing to show, in a process of its own."""

    kind: str
    """A key of `BUDGETS`."""
    entry: str = ""
    """The baseline; empty where it concerns none."""

    @property
    def name(self) -> str:
        """Its name in the report."""
        return f"{self.kind} {self.entry}".strip()

    @property
    def seconds(self) -> float:
        """How long it may take."""
        return BUDGETS[self.kind]


def paper() -> list[str]:
    """The methods of the paper's table."""
    return [Path(entry).name for entry in read_campaign("table2").entries]


def methods() -> list[str]:
    """All methods: the paper's, then the others."""
    every = sorted(path.parent.name for path in BASELINES.glob("*/entry.toml"))
    others = [name for name in every if name not in paper() and not name.startswith(LEFT_OUT)]
    return [*paper(), *others]


def steps(
    also_in_anomalib: Iterable[str], only: Sequence[str] = (), kinds: Sequence[str] = KINDS
) -> list[Step]:
    """The whole day, in order.

    Args:
        also_in_anomalib: methods that anomalib has too.
        only: these baselines alone; empty: all.
        kinds: these kinds of steps alone.
    """
    first = paper()
    others = [name for name in methods() if name not in first]
    day = [Step("driver"), Step("memory")]
    day += [Step("answers", name) for name in first]
    day += [Step("starts", name) for name in first]
    day += [Step("energy")]
    day += [Step("answers", name) for name in others]
    day += [Step("starts", name) for name in others]
    day += [Step("anomalib", name) for name in first if name in set(also_in_anomalib)]
    return [
        step
        for step in day
        if step.kind in kinds and (not only or not step.entry or step.entry in only)
    ]
