"""What a run will take, judged by records of earlier runs, else by the table that ships.

In this order: the same entry in the same place (benchmark and regime), the same entry in another
of the same regime, the same entry anywhere (its training scaled by the training images, its prediction by the test images), the shipped
table (`throughput`: measured on this kind of device, else estimated from counted
operations), else unknown. Records count on the same kind of device alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean

from harness.campaigns import throughput
from harness.campaigns.throughput import RunSize
from harness.records.record import Parameter, Record
from harness.records.regime import regime_label
from harness.records.releases import claimed_name


@dataclass(frozen=True)
class Images:
    """How many images a run looks at."""

    train: int
    """Training images."""
    test: int
    """Validation and test images."""
    valid: int = 0
    """The validation images among them, which each checkpoint asks again."""


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take."""

    seconds: float | None
    """Whole run; None = nothing is known."""
    basis: str
    """Why, in a few words."""


@dataclass(frozen=True)
class CostedMethod:
    """What the shipped table needs to know of a run."""

    entry: str
    """Name of the entry without its settings."""
    params: Mapping[str, Parameter]
    """Its hyper-parameters."""
    benchmark: str
    """What it runs on, whatever the regime."""


UNKNOWN = Estimate(None, "no earlier record")


class Costs:
    """Estimates from records, and from the shipped table.

    Args:
        records: finished runs, of whatever entries and benchmarks.
        device: kind of device (`cpu` or the GPU's model); records of others do not count.
    """

    def __init__(self, records: Iterable[Record], device: str) -> None:
        self._records = [r for r in records if r.is_ok and r.machine.device == device]
        self._device = device

    def estimate(
        self,
        entry: str,
        preset: str,
        place: str,
        images: Images,
        method: CostedMethod | None = None,
    ) -> Estimate:
        """What a run of this entry and preset in this place takes.

        Args:
            entry: its name on the board.
            preset: name of its preset.
            place: benchmark and regime (`Regime.place`).
            images: how many the run looks at.
            method: what runs; without it the shipped table is not asked.
        """
        own = [r for r in self._records if (r.entry.name, r.entry.preset) == (entry, preset)]
        if here := [r for r in own if r.place == place]:
            return Estimate(mean(r.times.total for r in here), f"{len(here)} earlier")
        label = regime_label(place)
        # A few-shot run has steps of its own: one of the same regime tells more, however small.
        if alike := [r for r in own if regime_label(r.place) == label] or own:
            nearest = min(alike, key=lambda r: abs(r.pack.train - images.train))
            return Estimate(_scaled(nearest, images), f"scaled from {nearest.place}")
        return self._by_table(method, images) if method else UNKNOWN

    def _by_table(self, method: CostedMethod, images: Images) -> Estimate:
        asked = RunSize(
            method.entry,
            method.params,
            claimed_name(method.benchmark),
            images.train,
            images.valid,
            images.test - images.valid,
        )
        found = throughput.estimate(throughput.shipped(), asked, self._device)
        return Estimate(found[0].total, found[1]) if found else UNKNOWN


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
