"""Energy of a run as its record tells it: joules of the machine's own counters, or why there are none.

A counter counts a whole GPU, or whole processor packages, with everything that ran on them:
nothing is shared out among programs, and no idle power is taken off.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.records.parts import Part

EnergyOf = Literal["gpu", "processor"]
"""What a counter is of."""


class EnergyGap(StrEnum):
    """Why a stretch of time has no joules."""

    NO_COUNTER = "this machine offers no such counter"
    NOT_PERMITTED = "the counter may be read by root alone"
    NOT_ANSWERED = "the counter did not answer"
    WENT_BACK = "the counter was set back meanwhile"
    TOO_RARE = "the counter was looked at too seldom to know how often it began anew"
    NOT_COUNTED = "a part of it was not counted"


class Counted(Part):
    """What one counter counted over one stretch of time."""

    joules: float | None = Field(default=None, ge=0)
    """Energy in joules; None where it is not known."""
    reason: EnergyGap | None = None
    """Why it is not known."""

    @model_validator(mode="after")
    def _absent_has_a_reason(self) -> Self:
        if (self.joules is None) == (self.reason is None):
            raise ValueError("either joules are told, or why there are none")
        return self

    def plus(self, other: Counted) -> Counted:
        """Both stretches together; absent where either is."""
        if self.joules is None:
            return self
        return other if other.joules is None else Counted(joules=self.joules + other.joules)

    def over(self, count: int) -> Counted:
        """The mean over so many things that were done in the stretch.

        Args:
            count: at least 1.
        """
        return self if self.joules is None else Counted(joules=self.joules / count)


Spent = dict[EnergyOf, Counted]
"""By what it is of, what each counter counted over one stretch of time."""


def added(earlier: Spent, now: Spent) -> Spent:
    """A stretch of several parts: absent where one of them was not counted.

    Args:
        earlier: the parts before.
        now: the newest part.
    """
    not_counted = Counted(reason=EnergyGap.NOT_COUNTED)
    return {of: earlier.get(of, not_counted).plus(counted) for of, counted in now.items()}


class EnergyPart(Part):
    """What one counter of the machine counted during a run."""

    of: EnergyOf
    source: str
    """The counter: NVML's total energy counter, or the kernel's RAPL zones by name."""
    covers: str
    """What all is in its count."""
    is_shared: bool | None
    """Whether another run, or another program on the GPU, was seen on it at the same time; None
    where that cannot be told."""
    total: Counted
    """Whole run, as `times.total`."""
    train: Counted | None = None
    """Train session; all its parts, where it was interrupted and went on; the original one where
    the model was taken from the store (it is no part of `total` then). None where nothing was
    trained."""
    predict: Counted | None = None
    """Whole predict session; None where it did not end."""
    per_image: Counted | None = None
    """Mean per timed test image: from the first one's send to the end of the last one's scoring, so
    with what the harness does between two images; start-up, warm-up and validation are not in it.
    None where no test image was timed."""

    def spans(self) -> dict[str, Counted]:
        """Those of `total`, `train`, `predict` and `per_image` that the run had."""
        told = {
            "total": self.total,
            "train": self.train,
            "predict": self.predict,
            "per_image": self.per_image,
        }
        return {name: counted for name, counted in told.items() if counted is not None}
