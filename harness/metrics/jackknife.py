"""How far a value can be trusted: every unit is left out in turn, and the value moves.

Units are patients, or images where the pack knows no patients: the slices of one patient
are no independent evidence. What a value moves by gives its standard error and its bias
(the jackknife: Tukey 1958, Efron 1982), and how many units it truly rests on,
m = (sum u^2)^2 / sum u^4: one dominant patient, or two that hold every mistake, make few of
many. The 95 % interval lies on the logit scale, at quantiles of Student's t whose degrees
of freedom are a multiple of m: fewer below than above, for patients that hurt are rare, and
a sample that missed them looks too good. Chosen by simulation for every metric
(`make bench-intervals`; table in the README beside this file). Nothing is drawn, so an
interval is the same on every machine. Traps: beyond `MOST_BLOCKS` units whole blocks of them
are left out; a value that two classes bear rests on the units of the scarcer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.metrics.table import Freedom, Rows

LEAST_UNITS = 6
"""Fewer units of the scarcer class than this bear no interval and no difference: with five, even
a sign test in which all agree is not significant."""
FEW_UNITS = 20
"""Below this number of units an interval is marked."""
FEW_OF_A_CLASS = 10
"""Below this number of units of the scarcer class it is marked as well."""
MOST_BLOCKS = 400
"""More units than this are left out in so many blocks of nearly equal size."""

FREEDOM_ABOVE = 3.0
"""Degrees of freedom per unit that bears a value, for the upper end of its interval; for the
lower one, and for differences, see `harness.metrics.table.Freedom`."""

_MISS = 0.05
_NOTHING = 1e-12  # a smaller move, error or difference is one of rounding
_DIGITS = 12  # cuts off what logarithms differ by from machine to machine


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    """2.5 % end."""
    high: float
    """97.5 % end."""


@dataclass(frozen=True)
class Spread:
    """A value, and what moves it."""

    value: float
    """A metric, a mean of it over seeds, or a difference of two."""
    moves: Rows
    """[J] the value less the value with unit or block j left out."""
    bearers: int
    """Units of the class that fewest units hold."""
    freedom: Freedom
    """Degrees of freedom per unit that it rests on."""
    seeds: tuple[tuple[float, int], ...] = ()
    """Variance of each mean over seeds in the value, and its degrees of freedom."""

    @property
    def bias(self) -> float:
        """By how much the value lies too high on average."""
        return float(-(self.moves.size - 1) * self.moves.mean())

    @property
    def rests_on(self) -> float:
        """How many units the value rests on, from 1 to J: as many equal moves would show so much."""
        squares = self.moves**2
        largest = float(squares.max(initial=0.0))
        if largest == 0:
            return float(self.moves.size)
        squares = squares / largest  # fourth powers of tiny moves would vanish
        return float(squares.sum() ** 2 / (squares**2).sum())

    def error(self, freedom_per_unit: float) -> tuple[float, float]:
        """Standard error and its degrees of freedom (with seeds: Satterthwaite 1946)."""
        count = self.moves.size
        variance = (count - 1) / count * float((self.moves**2).sum())
        parts = [(variance, max(1.0, freedom_per_unit * self.rests_on)), *self.seeds]
        total = sum(part for part, _ in parts)
        if total == 0:
            return 0.0, parts[0][1]
        return math.sqrt(total), 1 / sum((part / total) ** 2 / degrees for part, degrees in parts)

    @property
    def is_known(self) -> bool:
        """Whether enough units bear the value, and it is defined whichever is left out."""
        return self.bearers >= LEAST_UNITS and bool(np.isfinite(self.moves).all())


def left_out_counts(units: int) -> NDArray[np.uint16]:
    """Which units stand in each row, uint16 [J, units]: all but one, or all but one block."""
    blocks = np.arange(units) % MOST_BLOCKS
    stays = blocks[None] != np.arange(min(units, MOST_BLOCKS))[:, None]
    return np.asarray(stays, np.uint16)


def mean_of_seeds(seeds: Sequence[Spread]) -> Spread:
    """The mean over the seeds of one entry; with one seed, no spread over seeds is seen."""
    count = len(seeds)
    values = np.array([seed.value for seed in seeds])
    over_seeds = () if count == 1 else ((float(values.var(ddof=1)) / count, count - 1),)
    return Spread(
        value=float(values.mean()),
        moves=np.mean([seed.moves for seed in seeds], axis=0),
        bearers=min(seed.bearers for seed in seeds),
        freedom=seeds[0].freedom,
        seeds=over_seeds,
    )


def difference_of(one: Spread, other: Spread) -> Spread:
    """One mean less another, of the same units: what moves both alike cancels."""
    return Spread(
        value=one.value - other.value,
        moves=one.moves - other.moves,
        bearers=min(one.bearers, other.bearers),
        freedom=one.freedom,
        seeds=(*one.seeds, *other.seeds),
    )


def interval_of(spread: Spread) -> Interval | None:
    """95 % interval of a metric or a mean of it, from 0 to 1; None where too few units bear it.

    A value of exactly 1 never moves, so its interval is one-sided: were the share q of the
    units of the scarcer class wrong, all m of them would be right with probability (1 - q)^m,
    and the lower end 0.05^(1/m) (about 1 - 3/m) is where that is 5 %. For 0 the mirror image.
    """
    value = spread.value
    if not spread.is_known:
        return None
    if is_extreme(value):
        reach = round(_MISS ** (1 / spread.bearers), _DIGITS)
        return Interval(reach, 1.0) if value > 0.5 else Interval(0.0, 1.0 - reach)
    error, below = spread.error(spread.freedom.below)
    _, above = spread.error(FREEDOM_ABOVE)
    slope = value * (1 - value)
    bias = min(max(spread.bias, -error), error)
    centre = math.log(value / (1 - value)) - bias / slope
    step = error / slope
    low, high = _expit(centre - _quantile(below) * step), _expit(centre + _quantile(above) * step)
    return Interval(min(low, value), max(high, value))  # rounding may cut a tiny value off


def interval_of_difference(difference: Spread) -> Interval | None:
    """95 % interval of a difference, from -1 to 1; it holds 0 exactly where p > 0.05."""
    if not difference.is_known:
        return None
    error, freedom = difference.error(difference.freedom.difference)
    reach = _quantile(freedom) * error
    return Interval(max(-1.0, difference.value - reach), min(1.0, difference.value + reach))


def p_of_difference(difference: Spread) -> float:
    """Two-sided p-value of no difference, by Student's t; 1 where too few units bear it.

    Where no unit moves the difference, all of them agree: 2 * 0.5^m, as of a sign test.
    """
    if not difference.is_known or abs(difference.value) < _NOTHING:
        return 1.0
    error, freedom = difference.error(difference.freedom.difference)
    if error < _NOTHING:
        return float(min(1.0, 2.0 * 0.5**difference.bearers))
    return float(2.0 * special.stdtr(freedom, -abs(difference.value) / error))


def is_extreme(value: float) -> bool:
    """Whether a value is exactly 0 or 1, so that its interval is one-sided."""
    return min(value, 1 - value) < _NOTHING


def _quantile(freedom: float) -> float:
    """97.5 % point of Student's t."""
    return float(special.stdtrit(freedom, 1 - _MISS / 2))


def _expit(logit: float) -> float:
    return round(1 / (1 + math.exp(min(-logit, 700.0))), _DIGITS)
