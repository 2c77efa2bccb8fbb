"""The difference of two rows in one metric, with its paired interval and what it decides.

As `harness.metrics.ranks.pairs_of` finds it: the same patients (images, where the pack knows no
patients) are left out for both, the spread over seeds comes on top, and Holm's correction goes over
all pairs of the column. Traps: the interval is of its pair alone and the verdict goes by the
corrected p, so an interval may leave 0 out where nothing can be told; aggregates only, and of a
hidden pack not even these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict

from harness.records.record import Grid

if TYPE_CHECKING:
    from harness.metrics.jackknife import Spread

PAIRED_METRICS = (
    "image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_auroc_foreground", "pixel_ap",
    "pixel_pro", "pixel_pro_foreground", "pro_05", "aupimo", "dice_at_0.5", "dice_at_valid",
    "dice_at_fpr", "dice_max", "iou_max",
)  # fmt: skip
"""The metrics whose differences are kept: the columns of a benchmark's own table. Those of forty
entries in every metric of a record would fill many megabytes."""
DIGITS = 6
"""Decimals that are kept: a ten-thousandth of a point."""
LEVEL = 0.05
PairVerdict = Literal["one", "other", "undecided"]


@dataclass(frozen=True)
class PairedDifference:
    """Two rows in one metric; differences from -1 to 1, the one less the other."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    one: str
    """Name of a row; it comes before the other's in order."""
    other: str
    """Name of another."""
    difference: float
    """Mean over seeds of the one less that of the other."""
    low: float | None
    """Lower end of its 95 % interval, of this pair alone; None where too few patients bear it."""
    high: float | None
    """Upper end."""
    p_holm: float
    """Two-sided p-value of no difference, after Holm's correction over the column's pairs."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: the names are out of order, a number is not finite or out of its range, one
                end alone is there, or the difference does not lie between them.
        """
        ends = [end for end in (self.low, self.high) if end is not None]
        if not self.one < self.other:
            raise ValueError(f"{self.one} and {self.other} are no pair in the order of their names")
        if len(ends) == 1:
            raise ValueError(f"{self.one} and {self.other}: an interval has two ends")
        if not all(math.isfinite(n) and abs(n) <= 1 for n in (self.difference, self.p_holm, *ends)):
            raise ValueError(f"{self.one} and {self.other}: a value is not finite or beyond 1")
        if self.p_holm < 0 or (ends and not ends[0] <= self.difference <= ends[1]):
            raise ValueError(f"{self.one} and {self.other}: the difference is not in its interval")

    @property
    def verdict(self) -> PairVerdict:
        """Which of the two is better, at 5 % after Holm's correction."""
        if self.p_holm > LEVEL:
            return "undecided"
        return "one" if self.difference > 0 else "other"

    @property
    def leaves_zero_out(self) -> bool:
        """Whether the interval alone, before the correction, speaks for a difference."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


def is_paired(metric: str, grid: Grid | None, member: str | None) -> bool:
    """Whether the differences of a column are kept: on the headline grid, and of no suite's part."""
    return metric in PAIRED_METRICS and grid != "paper" and member is None


def paired_differences(seeds: Mapping[str, Sequence[Spread]]) -> tuple[PairedDifference, ...]:
    """Every pair of rows of one column, in order of their names.

    Args:
        seeds: by row, the metric of each seed and what moves it (`harness.metrics.ranks.pairs_of`).
    """
    from harness.metrics.ranks import pairs_of

    return tuple(
        PairedDifference(
            pair.one,
            pair.other,
            round(pair.difference, DIGITS),
            round(pair.interval.low, DIGITS) if pair.interval else None,
            round(pair.interval.high, DIGITS) if pair.interval else None,
            _kept(pair.corrected_p),
        )
        for pair in pairs_of(seeds)
    )


def _kept(p: float) -> float:
    """A p-value in six decimals, on the side of the level where it was."""
    kept = round(p, DIGITS)
    if (kept <= LEVEL) == (p <= LEVEL):
        return kept
    return p
