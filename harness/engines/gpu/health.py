"""Where a lost GPU is recognised: before a run, and when its end may be the GPU's fault.

The host finds out by itself, by NVML and by the canary kernel (`../canary.py`) in the entry's own
place; nothing that an entry says or does counts. Trap: it is asked after the entry has gone, or
the entry's own memory could make the canary fail.
"""

from __future__ import annotations

import json
import time

from harness.common.errors import DeviceUnavailable
from harness.common.statuses import RunEnded, Status
from harness.contract.lines import MAX_LINE_BYTES
from harness.engines.base import (
    DeadlinePassed,
    Engine,
    Exit,
    Launch,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Running,
)
from harness.engines.gpu import nvidia

CANARY_SECONDS = 180.0  # a machine of eight GPUs that nobody used takes a minute to wake up
# Ends of an entry that a lost GPU can bring about.
EXPLAINED = frozenset(
    {
        Status.CRASHED,
        Status.MISSING_ANSWER,
        Status.START_TIMEOUT,
        Status.IMAGE_TIMEOUT,
        Status.TOTAL_TIMEOUT,
        Status.OUT_OF_GPU_MEMORY,
    }
)


def require_well(engine: Engine, launch: Launch) -> None:
    """Make sure that a run can compute on its GPU; a run on the CPU asks nothing.

    Args:
        engine: what will start the run.
        launch: its first start; the device is `cpu` or `cuda:<UUID>`.
    Raises:
        RunEnded: `gpu_lost`, with what is wrong; or the engine's own fault.
        DeviceUnavailable: the engine has no GPU to give.
    """
    if launch.device != "cpu" and (problem := _problem_of(engine, launch)):
        raise RunEnded(Status.GPU_LOST, problem)


def explained(end: RunEnded, engine: Engine, launch: Launch) -> RunEnded:
    """The end of a session, once the GPU was asked whether it is to blame.

    Args:
        end: how the session ended; the entry is gone.
        engine: what started it.
        launch: how.
    Returns:
        `gpu_lost` where the entry's fault may be the GPU's and the GPU is not well; else `end`.
    Raises:
        RunEnded: by the engine's own fault.
    """
    if launch.device == "cpu" or end.status not in EXPLAINED:
        return end
    try:
        problem = _problem_of(engine, launch)
    except DeviceUnavailable as error:  # it had one to give when the entry was started
        problem = error.what
    if not problem:
        return end
    return RunEnded(Status.GPU_LOST, f"{problem} (the entry: {end.status}, {end.detail})")


def _problem_of(engine: Engine, launch: Launch) -> str:
    """What is wrong with the GPU of a launch; empty where it is well."""
    return nvidia.fault_of(launch.device.partition(":")[2]) or _canary_problem(engine, launch)


def _canary_problem(engine: Engine, launch: Launch) -> str:
    deadline = time.monotonic() + CANARY_SECONDS
    with engine.start_canary(launch) as running:
        running.close_input()
        try:
            said = _said(running, deadline)
            ending = running.wait(deadline)
        except DeadlinePassed:
            return f"the canary kernel did not end within {CANARY_SECONDS:g} s"
        except LogFlood as flood:
            return f"the canary kernel floods its log: {flood}"
    return "" if ending.code == 0 else _words(ending, said or running.log.decode(errors="replace"))


def _said(running: Running, deadline: float) -> str:
    """The canary's own words; empty where it has none."""
    try:
        return str(json.loads(running.receive_line(MAX_LINE_BYTES, deadline))["said"])
    except (PipeClosed, OutputFlood, ValueError, KeyError, TypeError):
        return ""


def _words(ending: Exit, said: str) -> str:
    how = f"the canary kernel ended with exit code {ending.code}"
    if ending.is_out_of_memory:
        how = "the memory limit ended the canary kernel"
    return f"{how}: {said.strip()[-300:]}" if said.strip() else how
