"""One call of the day: what is in the report, what is left, and each step in a process of its own.

A step's result is in the report before the next begins. A step that fails or takes too long is a
result too: its reason is kept, and the day goes on. While a step runs, its GPU's memory is watched
from here, as the harness watches an entry's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.common.paths import BASELINES, REPOSITORY
from harness.engines.environment import entry_environment
from harness.engines.gpu import nvidia
from harness.engines.gpu.memory import GpuMemoryGauge
from harness.entries.identity import folder_identity
from tests.benchmarks.apart import run_apart
from tests.benchmarks.gpu_day import plan
from tests.benchmarks.gpu_day.driver import launch_device
from tests.benchmarks.gpu_day.plan import Step

MIB = 1024**2
Report = dict[str, Any]


class OtherMachine(Exception):
    """The report is of another device; the message says which."""


def read(path: Path) -> Report:
    """The report; an empty one where there is none."""
    if not path.is_file():
        return {"machine": None, "steps": {}}
    found: Report = json.loads(path.read_text(encoding="utf-8"))
    return found


class Day:
    """The steps that are left, one after the other, until the time is over.

    Args:
        options: of the command.
        machine: what the device is (`baseline_costs.machine`).
        clock: seconds that have passed; a test's own.
    Raises:
        OtherMachine: the report was begun on another device.
        DeviceUnavailable: there is no such GPU.
    """

    def __init__(
        self,
        options: Namespace,
        machine: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._clock, self._began = options, clock, clock()
        # By its UUID: CUDA numbers GPUs by their speed, NVML by their place on the bus.
        self._device = launch_device(options.device)
        self.report = read(options.report)
        before = self.report["machine"]
        if before and before["name"] != machine["name"]:
            raise OtherMachine(
                f"{options.report} is of {before['name']}, this is {machine['name']}"
            )
        self.report["machine"] = {**machine, "device": options.device, "changes": options.changes}

    def run(self, steps: list[Step]) -> bool:
        """Do what is left; whether nothing is left now."""
        for step in steps:
            if self._is_there(step) and not self._options.again:
                continue
            left = self._options.stop_after - (self._clock() - self._began)
            if left < step.seconds:
                print(f"{left:.0f} s left, none begun: run the same command again", file=sys.stderr)
                return False
            if problem := self._fault():  # every step would fail, and none by its own fault
                print(f"the GPU is lost: {problem}", file=sys.stderr)
                return False
            print(f"{step.name} …", file=sys.stderr, flush=True)
            self._keep(step, self._done(step))
        print(f"nothing is left; the report: {self._options.report}", file=sys.stderr)
        return True

    def _fault(self) -> str:
        """What the driver says is wrong with the GPU."""
        return "" if self._device == "cpu" else nvidia.fault_of(self._device.partition(":")[2])

    def _is_there(self, step: Step) -> bool:
        kept = self.report["steps"].get(step.name)
        if kept is None or "skipped" in kept:  # what it waited for may be there now
            return False
        return bool(kept["identity"] == _identity(step))

    def _done(self, step: Step) -> dict[str, Any]:
        """The step in a process of its own, in the environment that an engine gives an entry."""
        options = self._options
        environment = {**os.environ, **entry_environment(options.threads, str(options.data))}
        environment["PYTHONPATH"] = str(REPOSITORY)
        environment["CUDA_VISIBLE_DEVICES"] = self._device.partition(":")[2]
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.gpu_day"]
        command += ["--step", step.kind, "--entry", step.entry, "--device", self._device]
        command += ["--data", str(options.data), "--threads", str(options.threads)]
        command += ["--engine", options.engine]
        command += [f"--set={name}={json.dumps(value)}" for name, value in options.changes.items()]
        gauge = GpuMemoryGauge.of(self._device)
        began = time.monotonic()
        with gauge.watching(is_of_this_process):
            found = run_apart(command, environment, step.seconds)
        peak = gauge.peak_bytes
        found["seconds"] = time.monotonic() - began
        found["host_peak_mib"] = None if peak is None else peak / MIB
        return found

    def _keep(self, step: Step, found: dict[str, Any]) -> None:
        self.report["steps"][step.name] = {"identity": _identity(step), **found}
        path: Path = self._options.report
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(
            json.dumps(self.report, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        fresh.replace(path)
        failed = f": failed: {found['failed']}" if "failed" in found else ""
        print(f"{step.name}: {found['seconds']:.0f} s{failed}", flush=True)


def _identity(step: Step) -> str:
    """What a result is of: the entry's files, where it concerns one."""
    return folder_identity(BASELINES / step.entry) if step.entry else ""


def is_of_this_process(process: int) -> bool:
    """Whether a process was started by this one, however many were between."""
    while process > 1:
        if process == os.getpid():
            return True
        try:
            stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        process = int(stat.rpartition(")")[2].split()[1])
    return False


def all_steps(options: Namespace) -> list[Step]:
    """The day's steps as the options choose them."""
    from tests.benchmarks.baseline_costs.theirs import MODELS

    return plan.steps(MODELS, options.only, options.steps)
