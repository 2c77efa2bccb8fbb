"""What changes to the methods' code saved: counts of before (`before.json`) beside those of now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from harness.campaigns.throughput import OperationCounts, StepWork, Table

BEFORE = Path(__file__).with_name("before.json")
HEAD = (
    "method", "kernels launched", "and replayed", "GFLOP bfloat16", "GFLOP float32", "GB",
    "H200-hours of the table",
)  # fmt: skip


@cache
def before() -> tuple[str, Mapping[str, OperationCounts]]:
    """The commit that was counted, and its counts by baseline."""
    told = json.loads(BEFORE.read_text(encoding="utf-8"))
    return told["commit"], {
        name: OperationCounts.model_validate(found) for name, found in told["counts"].items()
    }


def rows(
    table: Table, hours: Callable[[Table], Mapping[str, float]], sizes: Mapping[str, int]
) -> list[Sequence[str]]:
    """One row of `HEAD` for each baseline that was counted before: `before → now`.

    Args:
        table: of now.
        hours: hours on one GPU by baseline, that a table gives.
        sizes: images in a training step by baseline.
    """
    old = before()[1]
    earlier = table.model_copy(update={"counts": {**table.counts, **old}})
    long, short = hours(earlier), hours(table)
    found: list[Sequence[str]] = []
    for name in sorted(old, key=lambda name: -long[name]):
        steps = [_step(counts, sizes[name]) for counts in (old[name], table.counts[name])]
        cells = [
            [f"{step.launches:,.0f}" for step in steps],
            [f"{step.replayed:,.0f}" for step in steps],
            [f"{step.bfloat16_flops / 1e9:,.0f}" for step in steps],
            [f"{step.float32_flops / 1e9:,.0f}" for step in steps],
            [f"{step.bytes / 1e9:,.1f}" for step in steps],
            [f"{long[name]:,.1f}", f"{short[name]:,.1f}"],
        ]
        found.append([f"`{name}`", *(" → ".join(cell) for cell in cells)])
    return found


def _step(counts: OperationCounts, size: int) -> StepWork:
    """One step of the last phase."""
    return counts.phases[-1].step.of(size)
