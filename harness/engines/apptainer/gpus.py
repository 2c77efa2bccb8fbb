"""Which GPUs a container could use: counted from inside, because `--nv` shows every one.

CUDA_VISIBLE_DEVICES names the one of the run, and an entry may take the variable away. What keeps it
from another's GPU then is the scheduler's device control group alone, so it is tried.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass

from harness.common.errors import DeviceUnavailable
from harness.engines.base import (
    DeadlinePassed,
    Launch,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Running,
)

COUNT = """
import ctypes, json, os
def count():
    driver = ctypes.CDLL("libcuda.so.1")
    found = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(found)) != 0:
        return 0
    return found.value
if os.fork() == 0:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    os._exit(min(count(), 100))
reachable = os.waitstatus_to_exitcode(os.wait()[1])
print(json.dumps([count(), reachable]), flush=True)
"""
"""The program that counts: those that an entry is meant to see, and those that it could."""
logger = logging.getLogger("harness.engines")


@dataclass(frozen=True)
class Count:
    """How many GPUs there are inside."""

    given: int
    """With the harness's variables."""
    reachable: int
    """Without them."""


def counted(running: Running, seconds: float) -> Count:
    """What the started `COUNT` says; none where it says nothing (no driver inside).

    Args:
        running: the program.
        seconds: it is given.
    """
    try:
        given, reachable = json.loads(running.receive_line(1024, time.monotonic() + seconds))
    except (DeadlinePassed, PipeClosed, OutputFlood, LogFlood, ValueError):
        return Count(0, 0)
    return Count(int(given), int(reachable))


def check(found: Count, launch: Launch) -> None:
    """See that the one GPU is there, and no other that a stranger's image could take.

    Raises:
        DeviceUnavailable: with the fix.
    """
    if found.given != 1:
        raise DeviceUnavailable(
            f"{found.given} GPUs can be used inside a container, where one was asked for",
            where=f"--device {launch.device}",
            fix="see that apptainer exec --nv shows the GPU (nvidia-smi inside), or use --device cpu",
        )
    if found.reachable > 1 and launch.program.is_foreign:
        raise DeviceUnavailable(
            f"apptainer --nv shows {found.reachable} GPUs, and a stranger's image gets one alone",
            where=f"--device {launch.device}",
            fix="let the scheduler give the job one GPU (Slurm: --gres=gpu:1, with"
            " ConstrainDevices=yes in cgroup.conf)",
        )
    if found.reachable > 1:
        logger.warning(
            "apptainer --nv shows %d GPUs; CUDA_VISIBLE_DEVICES names the one", found.reachable
        )
