"""What a row costs to run, as the pages write it."""

from __future__ import annotations

from harness.board.rows import Row
from leaderboard import formats

COST_HEADS = (
    "Seconds per image", "Seconds, less the pipe’s share", "Peak GPU memory", "Peak RAM", "Training",
)  # fmt: skip


def costs(row: Row) -> list[str]:
    """In the order of `COST_HEADS`; empty where it was not measured."""
    told = (
        (row.seconds_per_image, formats.seconds), (row.seconds_less_echo, formats.seconds),
        (row.peak_gpu_mib, formats.memory), (row.peak_ram_mib, formats.memory),
        (row.train_seconds, formats.duration),
    )  # fmt: skip
    return ["" if value is None else shown(value) for value, shown in told]
