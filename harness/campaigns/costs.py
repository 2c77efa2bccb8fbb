"""What a run will take, judged by records of earlier runs; no guess where there are none.

In this order: the same entry on the same benchmark, the same entry on another benchmark
(its training scaled by the training images, its prediction by the test images), else
unknown. Always on the same kind of device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean

from harness.records import Record


@dataclass(frozen=True)
class Images:
    """How many images a run looks at."""

    train: int
    """Training images."""
    test: int
    """Validation and test images."""


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take."""

    seconds: float | None
    """Whole run; None = nothing is known."""
    basis: str
    """Why, in a few words."""


UNKNOWN = Estimate(None, "no earlier record")


class Costs:
    """Estimates from records.

    Args:
        records: finished runs, of whatever entries and benchmarks.
        device: kind of device (`cpu` or the GPU's model); records of others do not count.
    """

    def __init__(self, records: Iterable[Record], device: str) -> None:
        self._records = [r for r in records if r.is_ok and r.machine.device == device]

    def estimate(self, entry: str, preset: str, benchmark: str, images: Images) -> Estimate:
        """What a run of this entry and preset on this benchmark takes."""
        own = [r for r in self._records if (r.entry.name, r.entry.preset) == (entry, preset)]
        here = [r for r in own if r.pack.benchmark == benchmark]
        if here:
            return Estimate(mean(r.times.total for r in here), f"{len(here)} earlier")
        if own:
            nearest = min(own, key=lambda r: abs(r.pack.train - images.train))
            return Estimate(_scaled(nearest, images), f"scaled from {nearest.pack.benchmark}")
        return UNKNOWN


def _scaled(record: Record, images: Images) -> float:
    """The record's times, each part in proportion to the images that it looks at."""
    pack, times = record.pack, record.times
    test = pack.valid + pack.test_normal + pack.test_anomalous
    train = times.train or 0.0
    predict = times.predict or 0.0
    rest = max(0.0, times.total - train - predict)
    return rest + train * images.train / max(1, pack.train) + predict * images.test / max(1, test)


def total(estimates: Mapping[str, Estimate]) -> tuple[float, int]:
    """Seconds of all runs whose cost is known, and how many are not."""
    known = [e.seconds for e in estimates.values() if e.seconds is not None]
    return sum(known), len(estimates) - len(known)
