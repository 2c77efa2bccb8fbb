"""Times a training from inside: rounds of the loop as it is, and rounds of its bare step.

The bare step is the same function on one batch that already lies on the device. Both kinds of
round alternate inside one training, so that a noisy machine hits both alike. Trap: a GPU works
behind the program's back; every clock here waits for it first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.baseline_costs.bounded import Phase, Step


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    warm_up: int
    """Steps before the first clock."""
    steps_per_round: int
    """Steps of one round of each kind."""
    seconds: float
    """Rounds go on for so long."""
    least_rounds: int = 2
    """Even where they take longer."""
    most_rounds: int = 40
    """And no more than so many."""


@dataclass
class PhaseTimes:
    """What the clock saw of one phase."""

    phase: Phase
    first_step_seconds: float = 0.0
    """With whatever is made at first use."""
    loop_images: int = 0
    loop_seconds: float = 0.0
    bare_images: int = 0
    bare_seconds: float = 0.0
    rounds: int = 0
    ratios: list[float] = field(default_factory=list)
    """Rate of the loop over the rate of the bare step, round by round."""


class Clock:
    """A probe (`bounded.Probe`) that times.

    Args:
        device: whose work is waited for.
        effort: how long.
    """

    def __init__(self, device: torch.device, effort: Effort) -> None:
        self.device, self.effort = device, effort
        self.spans: dict[str, list[float]] = {}
        self.phases: list[PhaseTimes] = []
        self._is_done = False

    @property
    def is_done(self) -> bool:
        """Whether enough of the present phase was seen."""
        return self._is_done

    def now(self) -> float:
        """Seconds, once the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        began = self.now()
        try:
            yield
        finally:
            self.spans.setdefault(name, []).append(self.now() - began)

    def around(self, phase: Phase, step: Step) -> Step:
        """Time a phase."""
        self._is_done = False
        self.phases.append(PhaseTimes(phase))
        return _Rounds(self, self.phases[-1], step)

    def finish(self) -> None:
        """Enough was seen of the present phase."""
        self._is_done = True

    def result(self) -> dict[str, Any]:
        """Everything as JSON has it."""
        return {"spans": self.spans, "phases": [asdict(times) for times in self.phases]}


class _Rounds:
    """Counts the steps of one phase, and puts a round of bare ones between two of the loop's."""

    def __init__(self, clock: Clock, times: PhaseTimes, step: Step) -> None:
        self._clock, self._times, self._step = clock, times, step
        self._taken = self._images = 0
        self._mark = self._end = 0.0
        self._resident: Tensor | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        effort, taken = self._clock.effort, self._taken
        self._taken += 1
        if taken == 0:
            return self._first(pixels)
        since = taken - effort.warm_up
        if since == 0:
            self._end = self._clock.now() + effort.seconds
            self._begin()
        elif since > 0 and since % effort.steps_per_round == 0:
            self._close()
        if self._clock.is_done:  # the loop ends after this batch, which nobody needs
            return torch.zeros(())
        self._images += len(pixels)
        return self._step(pixels)

    def _first(self, pixels: Tensor) -> Tensor:
        self._resident = pixels.clone()
        began = self._clock.now()
        loss = self._step(pixels)
        self._times.first_step_seconds = self._clock.now() - began
        return loss

    def _begin(self) -> None:
        self._images = 0
        self._mark = self._clock.now()

    def _close(self) -> None:
        """End a round of the loop, do one of bare steps, and begin the next."""
        times, effort = self._times, self._clock.effort
        loop = self._clock.now() - self._mark
        assert self._resident is not None
        began = self._clock.now()
        for _ in range(effort.steps_per_round):
            self._step(self._resident)
        bare = self._clock.now() - began
        images = effort.steps_per_round * len(self._resident)
        times.loop_images += self._images
        times.loop_seconds += loop
        times.bare_images += images
        times.bare_seconds += bare
        times.ratios.append(self._images / loop / (images / bare))
        times.rounds += 1
        is_long = self._clock.now() >= self._end and times.rounds >= effort.least_rounds
        if is_long or times.rounds >= effort.most_rounds:
            self._clock.finish()
        self._begin()
