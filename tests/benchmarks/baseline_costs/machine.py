"""On what was measured: the kind of device, and what a reader needs to know of the machine."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import harness


def kind_of(device: str) -> str:
    """`cpu`, or the GPU's model as the driver names it."""
    return "cpu" if device == "cpu" else torch.cuda.get_device_name(torch.device(device))


def machine(device: str, threads: int) -> dict[str, Any]:
    """What the machine is, and the versions that count."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    processor = cpu[1] if cpu else platform.processor()
    return {
        "name": processor if device == "cpu" else kind_of(device),
        "cpu": processor,
        "cores": os.cpu_count(),
        "threads": threads,
        "date": datetime.now(UTC).date().isoformat(),
        "harness": harness.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device != "cpu" else None,
    }
