"""Energy of one run, stretch by stretch, and what its record says of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from harness.engines.energy import EnergyMeter, EnergyReading
from harness.records.energy import Counted, EnergyGap, EnergyPart, Spent

_Each = TypeVar("_Each")


@dataclass
class RunEnergy:
    """The stretches of a run that have been counted so far."""

    meter: EnergyMeter
    """Made at the start of the run."""
    train: Spent = field(default_factory=dict)
    """Training, all its parts."""
    predict: Spent = field(default_factory=dict)
    """Predict session."""
    images: Spent = field(default_factory=dict)
    """Over the timed test images."""
    is_gpu_shared: bool | None = False
    """Whether another program was seen on the GPU in any session; None where that cannot be told."""
    begun: EnergyReading = field(init=False)
    """What the meter told at the start."""

    def __post_init__(self) -> None:
        self.begun = self.meter.look()

    def over_images(self, answers: Iterable[_Each], *, is_warm: bool) -> Iterator[_Each]:
        """The test answers, while the energy of those that are timed is counted.

        Args:
            is_warm: whether the session has answered an image before; else the first one is
                warm-up, and left out where there are more.
        """
        begun = self.meter.look() if is_warm else None
        for answer in answers:
            yield answer
            if begun is None:  # the warm-up is scored
                begun = self.meter.look()
        if begun is not None:
            self.images = self.meter.look().since(begun)

    def note_gpu_use(self, *, has_seen_others: bool | None) -> None:
        """Whether somebody else computed on the GPU in a session that has ended."""
        if self.is_gpu_shared is False or has_seen_others:
            self.is_gpu_shared = has_seen_others

    def parts(self, *, has_trained: bool, images: int) -> list[EnergyPart]:
        """What the record says, one part for each counter; the run ends now.

        Args:
            has_trained: a training of this run, or a stored one, stands in the record.
            images: number of timed test images.
        """
        total = self.meter.look().since(self.begun)
        shared = {"gpu": self.is_gpu_shared, "processor": self.meter.has_seen_other_runs}
        not_counted = Counted(reason=EnergyGap.NOT_COUNTED)
        return [
            EnergyPart(
                of=counter.of,
                source=counter.source,
                covers=counter.covers,
                is_shared=shared[counter.of],
                total=total[counter.of],
                train=self.train.get(counter.of, not_counted) if has_trained else None,
                predict=self.predict.get(counter.of),
                per_image=self.images[counter.of].over(images) if self.images and images else None,
            )
            for counter in self.meter.counters
        ]
