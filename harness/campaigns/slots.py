"""Where runs go: one slot for each GPU, or as many as the cores allow on a machine without.

A GPU is named by its UUID, which stays when another one fails, and is used only while no
other process computes on it. What the driver's own `nvidia-smi` says is believed, never
what an entry says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.errors import DeviceUnavailable, UsageError
from harness.provenance import ask_driver, gpu_details

# A driver keeps a few hundred MiB for itself on a GPU that nobody uses.
IDLE_MIB = 1024


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver sees it."""

    uuid: str
    """`GPU-…`."""
    name: str
    """Its model."""
    used_mib: int
    """Memory in use."""
    processes: int
    """Processes that compute on it."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody else uses it."""
        return self.processes == 0 and self.used_mib < IDLE_MIB


def gpus() -> list[Gpu]:
    """Every GPU of this machine; none where there is no driver."""
    table = ask_driver("--query-gpu=uuid,name,memory.used")
    if not table:
        return []
    busy = [row[0] for row in ask_driver("--query-compute-apps=gpu_uuid,pid")]
    return [
        Gpu(uuid, name, int(used) if used.isdigit() else 0, busy.count(uuid))
        for uuid, name, used in table
    ]


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
        return [f"cuda:{gpu_details(device)['uuid']}"]  # an index may change, and tells no owner
    if jobs is not None:
        raise UsageError("--jobs is for the CPU: each idle GPU does one run", where="--jobs")
    every = gpus()
    idle = [gpu for gpu in every if gpu.is_idle]
    if not idle:
        found = ", ".join(f"{gpu.name} in use by {gpu.processes}" for gpu in every) or "no GPU"
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
    return all(gpu.is_idle for gpu in gpus() if gpu.uuid == wanted)
