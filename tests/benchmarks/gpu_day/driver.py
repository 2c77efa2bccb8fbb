"""Steps about the machine: its driver and canary, a full memory, its energy counter.

Each is asked as a run asks it: by the engine's canary, by `health`, by a session's end.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.common.errors import DeviceUnavailable
from harness.common.statuses import RunEnded, Status
from harness.engines.base import Engine, Launch, Limits, Program
from harness.engines.canary import examine
from harness.engines.gpu import health, nvidia
from harness.entries.identity import folder_identity
from harness.session.conversation import Hello, PredictSession, Question

FILLS_MEMORY = Path(__file__).with_name("fills_gpu_memory")
SMALL_IMAGE = np.zeros((64, 64), np.uint8)
BUSY_SECONDS = 12.0  # NVML's power is a mean over the last second on newer GPUs
BUSY_SIDE = 8192


def launch_device(device: str) -> str:
    """`cpu`, or `cuda:<UUID>` of `cuda:<index>`.

    Raises:
        DeviceUnavailable: there is no such GPU.
    """
    return device if device == "cpu" else f"cuda:{nvidia.find(device).uuid}"


def driver(device: str, engine: Engine) -> dict[str, Any]:
    """What NVML tells of every GPU, and what the canary says here and where an entry would run."""
    gpus = [
        {
            "index": gpu.index,
            "name": gpu.name,
            "driver": gpu.driver,
            "cuda": gpu.cuda,
            "total_mib": gpu.total_bytes // nvidia.MIB,
            "used_mib": gpu.used_bytes // nvidia.MIB,
            "processes": None if gpu.processes is None else len(gpu.processes),
        }
        for gpu in nvidia.gpus()
    ]
    began = time.monotonic()
    found = examine()
    said = {"code": found.code, "said": found.said, "gpu": found.gpu}
    result = {"gpus": gpus, "canary": said, "canary_seconds": time.monotonic() - began}
    if device == "cpu":
        return {**result, "in_engine": None}
    return {**result, "engine": engine.describe(), "in_engine": _health(engine, device)}


def _health(engine: Engine, device: str) -> str:
    """`well`, or what is wrong with the GPU by a run's own question."""
    program = Program("canary", "folder:canary")
    try:
        launch = Launch(program, "predict", device=launch_device(device))
        health.require_well(engine, launch)
    except DeviceUnavailable as problem:
        return problem.what
    except RunEnded as problem:
        return str(problem)
    return "well"


def memory(device: str, engine: Engine) -> dict[str, Any]:
    """How a session ends whose entry fills the GPU's memory, before and after the GPU was asked."""
    program = engine.prepare_folder(FILLS_MEMORY, "fills-gpu-memory", folder_identity(FILLS_MEMORY))
    launch = Launch(program, "predict", device=launch_device(device), limits=Limits(threads=1))
    began = time.monotonic()
    end = _end_of(engine, launch, device)
    seconds = time.monotonic() - began
    blamed = health.explained(end, engine, launch)
    return {
        "session": str(end.status),
        "after_asking_the_gpu": str(blamed.status),
        "detail": blamed.detail,
        "is_told_apart": blamed.status is Status.OUT_OF_GPU_MEMORY,
        "gpu_afterwards": None if device == "cpu" else _health(engine, device),
        "session_seconds": seconds,
    }


def _end_of(engine: Engine, launch: Launch, device: str) -> RunEnded:
    hello = Hello("demo", 0, "cpu" if device == "cpu" else "cuda:0", maps_wanted=True, params={})
    try:
        with engine.start(launch) as running:
            session = PredictSession(running, launch, hello)
            session.start()
            list(session.ask([Question(SMALL_IMAGE, 0)]))
            session.finish()
    except RunEnded as end:
        return end
    raise RuntimeError("the entry answered: its memory was never full")


def energy(device: str) -> dict[str, Any]:
    """Joules by NVML's counter, and by its power summed up, while matrices are multiplied."""
    import torch

    from tests.benchmarks.energy_check import measure

    values = torch.ones(BUSY_SIDE, BUSY_SIDE, device="cuda:0")  # the only one that is seen here

    def work() -> None:
        end = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < end:
            for _ in range(10):
                values @ values
            torch.cuda.synchronize()

    check = measure(nvidia.find(device).uuid, work)
    return {
        "seconds": check.seconds,
        "samples": check.samples,
        "counter_joules": check.counter_joules,
        "integrated_joules": check.integrated_joules,
        "longest_gap_seconds": check.longest_gap_seconds,
        "ratio": check.ratio,
        "is_alike": check.is_alike(),
    }
