"""Where runs go: one slot for each GPU, or as many as the cores allow on a machine without.

A GPU is named by its UUID, which stays when another one fails, and is used only while no
other process computes on it. What the driver says is believed, never what an entry says.
"""

from __future__ import annotations

import os

from harness.common.errors import DeviceUnavailable, UsageError
from harness.engines.gpu import nvidia


def slots(device: str, jobs: int | None, threads: int) -> list[str]:
    """The devices that runs are given, one run at a time on each.

    Args:
        device: `cpu`, `cuda` for every idle GPU, or `cuda:<index or UUID>` for one.
        jobs: how many runs at a time on the CPU; None = cores divided by threads.
        threads: CPU threads of a run.
    Raises:
        UsageError: jobs without a meaning.
        DeviceUnavailable: no idle GPU.
    """
    if device != "cuda":
        if device != "cpu" and jobs not in (None, 1):
            raise UsageError("one GPU does one run at a time", where="--jobs")
        count = jobs if jobs is not None else max(1, (os.cpu_count() or 1) // threads)
        if device == "cpu":
            return [device] * count
        return [f"cuda:{nvidia.find(device).uuid}"]  # an index may change, and tells no owner
    if jobs is not None:
        raise UsageError("--jobs is for the CPU: each idle GPU does one run", where="--jobs")
    every = nvidia.gpus()
    idle = [gpu for gpu in every if gpu.is_idle]
    if not idle:
        found = "; ".join(gpu.use for gpu in every) or "no GPU"
        raise DeviceUnavailable(
            f"no GPU is idle (found: {found})",
            where="--device cuda",
            fix="end what computes on it, name one with --device cuda:<index>, or use --device cpu",
        )
    return [f"cuda:{gpu.uuid}" for gpu in idle]


def is_free(device: str) -> bool:
    """Whether a run may start on this device now."""
    if device == "cpu":
        return True
    wanted = device.removeprefix("cuda:")
    return all(gpu.is_idle for gpu in nvidia.gpus() if gpu.uuid == wanted)
