"""Energy of stretches of a run, in joules, by the counters of its GPU and of the processor.

    meter = EnergyMeter.of("cuda:GPU-…")
    with meter.counting():
        before = meter.look()
        ...
        spent = meter.look().since(before)      # {"gpu": Counted(…), "processor": Counted(…)}

NVML's counter is one number that only grows; a RAPL counter begins anew within minutes. So a
thread looks every few seconds and adds up what each look finds. Once a counter has failed,
every stretch that reaches beyond that moment is absent, with the reason.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from harness.common.errors import EnvironmentFault
from harness.engines import environment, powercap
from harness.engines.gpu import nvidia
from harness.engines.powercap import NoReading
from harness.records.energy import Counted, EnergyGap, EnergyOf, Spent

PERIOD_SECONDS = 10.0
JOIN_SECONDS = 5.0  # a driver that hangs takes the looking thread with it, and nobody else
# No processor package draws as much. What would need more between two looks is no beginning anew
# but a counter that was set back; and where the time between them would have allowed two
# beginnings at this draw, nobody knows how many there were.
MOST_WATTS = 1000.0
SLACK_SECONDS = 1.0  # two looks may be so near that the counter's own steps are longer
MICROJOULES = 1e6


class Counter(ABC):
    """Something that counts energy."""

    of: EnergyOf
    """What it is of."""
    covers: str
    """What all is in its count."""

    @property
    @abstractmethod
    def source(self) -> str:
        """The counter, by name."""

    @abstractmethod
    def step(self) -> float:
        """Joules since the last call; of the first call 0.

        Raises:
            NoReading: they are not known, nor will they be.
        """


class GpuCounter(Counter):
    """NVML's total energy counter of one GPU.

    Args:
        uuid: the GPU's.
    """

    of: EnergyOf = "gpu"
    covers = "the whole GPU and its memory, with all that ran on it"
    source = "NVML total energy counter"

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._last: float | None = None

    def step(self) -> float:
        try:
            now = nvidia.energy_joules(self._uuid)
        except nvidia.DriverFault:
            raise NoReading(EnergyGap.NOT_ANSWERED) from None
        if now is None:
            raise NoReading(EnergyGap.NO_COUNTER)
        last, self._last = self._last, now
        if last is not None and now < last:  # its driver was loaded again
            raise NoReading(EnergyGap.WENT_BACK)
        return 0.0 if last is None else now - last


class ProcessorCounter(Counter):
    """RAPL's counters of all processor packages.

    Args:
        clock: seconds, for the time between two calls.
    """

    of: EnergyOf = "processor"
    covers = (
        "all processor packages, with all that ran on them, the harness among it; not the memory"
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._zones = powercap.packages(powercap.POWERCAP)
        self._clock = clock
        self._last: list[int] = []
        self._looked = 0.0

    @property
    def source(self) -> str:
        names = " and ".join(zone.name for zone in self._zones)
        return f"RAPL ({names})" if names else "RAPL"

    def step(self) -> float:
        if not self._zones:
            raise NoReading(EnergyGap.NO_COUNTER)
        now = [zone.read() for zone in self._zones]
        looked = self._clock()
        seconds, self._looked = looked - self._looked, looked
        last, self._last = self._last, now
        if not last:
            return 0.0
        ranges = [zone.range() for zone in self._zones]
        return sum(_grown(*readings, seconds) for readings in zip(last, now, ranges, strict=True))


def _grown(last: int, now: int, limit: int, seconds: float) -> float:
    """Joules between two readings of a counter that begins anew at `limit` microjoules."""
    if seconds * MOST_WATTS * MICROJOULES >= limit:
        raise NoReading(EnergyGap.TOO_RARE)
    if now >= last:
        return (now - last) / MICROJOULES
    joules = (now + limit - last) / MICROJOULES
    if joules > (seconds + SLACK_SECONDS) * MOST_WATTS:
        raise NoReading(EnergyGap.WENT_BACK)
    return joules


@dataclass(frozen=True)
class EnergyReading:
    """What every counter had counted by one moment."""

    totals: Mapping[EnergyOf, float | EnergyGap]
    """Joules since the meter was made, or why they are not known."""

    def since(self, before: EnergyReading) -> Spent:
        """What each counter counted between two moments."""
        spent: Spent = {}
        for of, total in self.totals.items():
            begun = before.totals[of]
            if isinstance(total, EnergyGap):
                spent[of] = Counted(reason=total)
            elif isinstance(begun, EnergyGap):  # it does not come back
                spent[of] = Counted(reason=begun)
            else:
                spent[of] = Counted(joules=total - begun)
        return spent


@dataclass
class _Sum:
    """One counter and what it has counted so far."""

    counter: Counter
    total: float | EnergyGap = field(default=0.0)

    def look(self) -> None:
        if isinstance(self.total, EnergyGap):
            return
        try:
            self.total += self.counter.step()
        except NoReading as none:
            self.total = none.gap


class EnergyMeter:
    """Adds up what counters count; the first look is where it begins.

    Args:
        counters: at most one of each kind.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self.counters = tuple(counters)
        self._sums = tuple(map(_Sum, self.counters))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._has_seen_other_runs: bool | None = False
        self.look()

    @classmethod
    def of(cls, device: str) -> Self:
        """For a run on `cpu` or `cuda:<UUID>`: the GPU's counter, where there is one, and the
        processor's."""
        uuid = device.partition(":")[2]
        return cls([*([GpuCounter(uuid)] if uuid else []), ProcessorCounter()])

    @contextmanager
    def counting(self, period_seconds: float = PERIOD_SECONDS) -> Iterator[None]:
        """Look every few seconds until the block's end."""

        def watch() -> None:
            while not self._stop.wait(period_seconds):
                self.look()

        thread = threading.Thread(target=watch, name="energy", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(JOIN_SECONDS)

    def look(self) -> EnergyReading:
        """What every counter has counted by now; waits for a driver that hangs, but not for ever."""
        with self._lock:
            for each in self._sums:
                each.look()
            self._see_other_runs()
            return EnergyReading({each.counter.of: each.total for each in self._sums})

    @property
    def has_seen_other_runs(self) -> bool | None:
        """Whether a run of another harness of this user was on this machine at any look; None
        where that cannot be told."""
        return self._has_seen_other_runs

    def _see_other_runs(self) -> None:
        if self._has_seen_other_runs is False:
            try:
                self._has_seen_other_runs = environment.has_other_runs()
            except (EnvironmentFault, OSError):
                self._has_seen_other_runs = None
