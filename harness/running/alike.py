"""When two answers of a GPU are alike: by their places among the run's answers, so no outlier counts.

A sum that a GPU makes in another order differs in its last digits. How much that may be must not
hang on what an entry chooses to answer elsewhere: measured against the run's range, one answer of
1e6 would make every difference small. So two numbers are alike where

- they differ by rounding: by a small share of the number itself and of the spread of the bulk of
  the run's numbers, whichever is less (a number far from zero has no right to more); or
- they stand in nearly the same place among the run's numbers, and near each other by the measure
  of the middle half of these, or of their own distance from the median (which one far-off number
  widens for itself alone).

Traps:
- Half of a map may be one flat background, whose pixels change places with every last digit:
  there the first rule holds.
- Numbers that differ from one another by no more than their rounding have no reproducible order;
  an entry that answers so is not reproducible, and is told so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

RANK_SHIFT = 0.01
"""How far two answers may lie apart, as a share of all answers of the run that lie between."""
NEAR = 0.05
"""How far, as a share of the middle half's width or of the distance from the median."""
SAMPLED_PIXELS = 8192
"""Of each kept map, so many values stand for all: picked at random, so that none can be aimed at."""
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rounding:
    """What of a difference is put down to rounding."""

    own: float
    """As a share of the number itself."""
    bulk: float
    """As a share of the bulk's spread, whatever the number: sums that cancel keep its error."""
    quantiles: tuple[tuple[float, float], ...]
    """What is the bulk: the first of these pairs between which the run's numbers differ."""


# A score's sum is kept in float32 at least: 4e-6 is 32 of its last digits.
SCORES = Rounding(own=4e-6, bulk=0.0, quantiles=((0.05, 0.95), (0.01, 0.99), (0.0, 1.0)))
# Maps may come from bfloat16 or TF32, 8 to 11 digits of two. The bulk is the upper side of the
# median: low numbers are free to choose, but a tenth of all pixels far above it costs its metrics.
MAPS = Rounding(own=2.0**-8, bulk=1e-5, quantiles=((0.5, 0.9), (0.5, 0.99), (0.5, 1.0)))


@dataclass(frozen=True)
class Apart:
    """How far two lists of numbers lie apart; both measures are of what is more than rounding."""

    other: int
    """How many numbers differ at all."""
    far: int
    """How many differ by more than rounding."""
    distance: float
    """The largest difference, in the measure of `NEAR`; 0 where none is far."""
    shift: float
    """The largest shift among the run's numbers, in the measure of `RANK_SHIFT`."""


@dataclass(frozen=True)
class Distribution:
    """The numbers of a run that differences are measured by."""

    numbers: Numbers
    """Sorted; at least one."""
    rounding: Rounding
    """What counts as rounding among them."""

    @classmethod
    def of(cls, numbers: Sequence[float] | Numbers, rounding: Rounding) -> Distribution:
        """From numbers in any order."""
        return cls(np.sort(np.asarray(numbers, dtype=np.float64)), rounding)

    @classmethod
    def of_maps(cls, maps: Sequence[npt.NDArray[np.floating]]) -> Distribution:
        """From maps: at most so many values of each that no map outweighs the others."""
        chance = np.random.default_rng()  # seeded by the system
        values = [
            one.ravel()
            if one.size <= SAMPLED_PIXELS
            else chance.choice(one.ravel(), SAMPLED_PIXELS, replace=False)
            for one in maps
        ]
        return cls.of(np.concatenate(values).astype(np.float64), MAPS)

    def is_alike(self, one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
        """Whether all numbers of `one` are alike those of `other`, which has the same shape."""
        apart = self.apart(one, other)
        return apart.distance <= NEAR and apart.shift <= self._largest_shift / len(self.numbers)

    def apart(self, one: npt.ArrayLike, other: npt.ArrayLike) -> Apart:
        """How far `one` lies from `other`, which has the same shape."""
        first, second = np.ravel(np.asarray(one, float)), np.ravel(np.asarray(other, float))
        is_other = first != second
        first, second = first[is_other], second[is_other]
        difference = np.abs(first - second)
        is_far = difference > self._rounding_of(np.maximum(np.abs(first), np.abs(second)))
        first, second, difference = first[is_far], second[is_far], difference[is_far]
        if not difference.size:
            return Apart(int(is_other.sum()), 0, 0.0, 0.0)
        off = np.minimum(np.abs(first - self._median), np.abs(second - self._median))
        measure = np.maximum(self._middle, off)
        with np.errstate(divide="ignore"):  # all of the run's numbers may be one: far without end
            distance = float(np.max(difference / measure))
        shift = np.abs(self._places(first) - self._places(second)).max() / len(self.numbers)
        return Apart(int(is_other.sum()), len(difference), distance, float(shift))

    @property
    def _largest_shift(self) -> float:
        """RANK_SHIFT, and four times by how much chance crowds the numbers there; in places."""
        places = RANK_SHIFT * len(self.numbers)
        return 1.0 + places + 4.0 * math.sqrt(places)

    def _rounding_of(self, size: Numbers) -> Numbers:
        """Largest difference between numbers of this size that is put down to rounding."""
        bulk = self._bulk
        allowed = self.rounding.own * (size if bulk is None else np.minimum(size, bulk))
        return np.maximum(allowed, self.rounding.bulk * (bulk or 0.0))

    def _places(self, numbers: Numbers) -> Numbers:
        """How many of the run's numbers are below each, half of those equal to it counted."""
        below = np.searchsorted(self.numbers, numbers, "left")
        up_to = np.searchsorted(self.numbers, numbers, "right")
        return (below + up_to) / 2

    @cached_property
    def _median(self) -> float:
        return float(np.median(self.numbers))

    @cached_property
    def _middle(self) -> float:
        """Width of the middle half."""
        low, high = np.quantile(self.numbers, (0.25, 0.75))
        return float(high - low)

    @cached_property
    def _bulk(self) -> float | None:
        """Width of the bulk; None where all numbers are one."""
        for pair in self.rounding.quantiles:
            low, high = np.quantile(self.numbers, pair)
            if high > low:
                return float(high - low)
        return None
