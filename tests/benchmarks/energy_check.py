"""A GPU's energy counter beside the power that it draws: do they tell the same of one piece of work?

    check = measure("GPU-…", work)
    check.ratio, check.is_alike()

Trap: newer GPUs tell their power as the mean over the last second, so what is drawn in the last
second of the work is told after it: work evenly for ten seconds or more, and wait for the GPU at
the end of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.engines.gpu import nvidia
from harness.engines.gpu.nvidia import DriverFault

TOLERANCE = 0.1


@dataclass(frozen=True)
class EnergyCheck:
    """One piece of work, measured both ways."""

    seconds: float
    """How long it took, from the counter's first reading to its last."""
    samples: int
    """How often the power was asked for."""
    longest_gap_seconds: float
    """The longest time between two of them."""
    counter_joules: float
    """By the total energy counter."""
    integrated_joules: float
    """By the power, a trapezoid between each two samples."""

    @property
    def ratio(self) -> float | None:
        """What was integrated over what was counted; None where the counter did not move."""
        return self.integrated_joules / self.counter_joules if self.counter_joules > 0 else None

    def is_alike(self, tolerance: float = TOLERANCE) -> bool:
        """Whether they differ by no more than this share of the counter's."""
        return self.ratio is not None and abs(self.ratio - 1) <= tolerance


def measure(uuid: str, work: Callable[[], object], period_seconds: float = 0.02) -> EnergyCheck:
    """Do some work on a GPU, and measure it both ways.

    Args:
        uuid: the GPU's.
        work: does it, and waits until the GPU has.
        period_seconds: pause between two samples of the power.
    Raises:
        DriverFault: the driver does not answer, or tells no energy or no power.
    """
    samples: list[tuple[float, float]] = []
    faults: list[DriverFault] = []
    stop = threading.Event()

    def sample() -> None:
        try:
            samples.append((time.monotonic(), _known(nvidia.power_watts(uuid), "power")))
        except DriverFault as fault:
            faults.append(fault)
            stop.set()

    def watch() -> None:
        while not stop.wait(period_seconds):
            sample()

    thread = threading.Thread(target=watch, name="power", daemon=True)
    before = _known(nvidia.energy_joules(uuid), "energy")
    sample()
    thread.start()
    try:
        work()
    finally:
        stop.set()
        thread.join()
    sample()
    after = _known(nvidia.energy_joules(uuid), "energy")
    if faults:
        raise faults[0]
    return _check(samples, after - before)


def _check(samples: Sequence[tuple[float, float]], counted: float) -> EnergyCheck:
    times, watts = np.array(samples, dtype=np.float64).T
    return EnergyCheck(
        seconds=float(times[-1] - times[0]),
        samples=len(samples),
        longest_gap_seconds=float(np.diff(times).max()),
        counter_joules=counted,
        integrated_joules=float(np.trapezoid(watts, times)),
    )


def _known(value: float | None, what: str) -> float:
    if value is None:
        raise DriverFault(f"the GPU tells no {what}")
    return value
