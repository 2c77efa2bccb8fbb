"""The machine of a run, as the host sees it, for the record."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from harness.engines.base import Engine
from harness.engines.gpu import nvidia
from harness.records.isolation import MeasuredIsolation, isolation_level
from harness.records.machine import MachinePart


def machine(engine: Engine, device: str, threads: int, measured: MeasuredIsolation) -> MachinePart:
    """On what a run happens, as the host sees it."""
    gpu = nvidia.find(device) if device != "cpu" else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    return MachinePart(
        engine=engine.describe(),
        isolation=isolation_level(measured),
        measured=measured,
        device=gpu.name if gpu else "cpu",
        driver=gpu.driver if gpu else None,
        cuda=gpu.cuda if gpu else None,
        cpu=_cpu_model(),
        threads=threads,
        memory_mib=memory,
        python=platform.python_version(),
    )


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
