"""Which leads are real: every pair of a column compared over the same patients, and over seeds.

The same patients are left out for all entries (`harness.metrics.jackknife`), so what one
hard patient does to all cancels in their differences; the spread over an entry's seeds
comes on top. Two entries differ when Student's t of their difference of means over seeds
says so after Holm's correction over all pairs of the column: `pairs_of` gives difference,
interval and p-value, and nothing else decides. Being better chains: where A is above B and B
above C, A is above C, also where the one comparison of A and C does not show it (no error comes
with that which was not in the two; so entries that share a rank are never told apart). rank =
1 + number of entries that are better. Ties do not chain. How stable the places are is counted on joint
bootstrap resamples of patients and seeds. Traps: an entry with one seed shows no spread
over seeds, which the caller should say; where fewer than `LEAST_UNITS` patients bear a
metric, all entries tie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from harness.metrics.jackknife import (
    Interval,
    Spread,
    difference_of,
    interval_of,
    interval_of_difference,
    mean_of_seeds,
    p_of_difference,
)
from harness.metrics.table import Rows

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class RankedEntry:
    """Where one entry stands in one column."""

    entry: str
    """Name of the entry."""
    mean: float
    """Mean over seeds of the exact metric."""
    interval: Interval | None
    """95 % interval of that mean over patients and seeds; None where too few patients bear it."""
    rank: int
    """1 + number of entries that are better."""
    better: tuple[str, ...]
    """Entries that are significantly better, by themselves or through others."""
    ties: tuple[str, ...]
    """Entries that are neither better nor worse."""
    stability: tuple[float, ...]
    """Share of the resamples in which the mean takes place 1, 2, …; equal means share the best."""


@dataclass(frozen=True)
class ComparedPair:
    """Two entries of one column."""

    one: str
    """Name of an entry."""
    other: str
    """Name of another."""
    difference: float
    """Mean over seeds of the one less that of the other."""
    interval: Interval | None
    """95 % interval of the difference, of this pair alone: it holds 0 exactly where `p` > 0.05.
    None where too few patients bear the metric."""
    p: float
    """Two-sided p-value of this pair alone."""
    corrected_p: float
    """The same after Holm's correction over all pairs of the column."""

    @property
    def is_real(self) -> bool:
        """Whether the two differ significantly, after the correction."""
        return self.corrected_p <= SIGNIFICANCE


def pairs_of(seeds: Mapping[str, Sequence[Spread]]) -> tuple[ComparedPair, ...]:
    """Every pair of entries of one column, in order of their names.

    Args:
        seeds: by entry, the metric of each seed (0 to 1, higher is better) and what moves it;
            move j is of the same patients for all.
    """
    means = {name: mean_of_seeds(seeds[name]) for name in sorted(seeds)}
    names = list(combinations(means, 2))
    differences = [difference_of(means[one], means[other]) for one, other in names]
    p_values = [p_of_difference(difference) for difference in differences]
    corrected = holm(p_values)
    return tuple(
        ComparedPair(
            one, other, difference.value, interval_of_difference(difference), p, corrected_p
        )
        for (one, other), difference, p, corrected_p in zip(
            names, differences, p_values, corrected, strict=True
        )
    )


def standings(
    seeds: Mapping[str, Sequence[Spread]], resampled: Mapping[str, Sequence[Rows]], *, seed: int = 0
) -> tuple[RankedEntry, ...]:
    """Rank the entries of one column.

    Args:
        seeds: by entry, the metric of each seed and what moves it, as in `pairs_of`.
        resampled: by entry, the metric of each seed on every joint resample, float64 [B];
            row b is of the same patients for all entries and seeds; NaN where undefined.
        seed: seed of the draws of seeds.
    Returns:
        By rank, then by mean, then by name.
    """
    names = sorted(seeds)
    means = {name: mean_of_seeds(seeds[name]) for name in names}
    better = who_is_better(pairs_of(seeds), {name: mean.value for name, mean in means.items()})
    draws = [over_seeds(resampled[name], seed, place) for place, name in enumerate(names)]
    stability = _place_shares(np.stack(draws))
    found = [
        RankedEntry(
            entry=name,
            mean=means[name].value,
            interval=interval_of(means[name]),
            rank=1 + len(better[name]),
            better=tuple(sorted(better[name])),
            ties=tuple(
                other
                for other in names
                if other != name and other not in better[name] and name not in better[other]
            ),
            stability=tuple(float(share) for share in shares),
        )
        for name, shares in zip(names, stability, strict=True)
    ]
    return tuple(sorted(found, key=lambda row: (row.rank, -row.mean, row.entry)))


def who_is_better(
    pairs: Iterable[ComparedPair], means: Mapping[str, float]
) -> Mapping[str, frozenset[str]]:
    """By entry, those that are better, by themselves or through others.

    (Where all have as many seeds nobody is better through others alone; degrees of freedom that differ
    make it possible.)

    Args:
        pairs: every pair of a column.
        means: by entry, its mean.
    """
    direct: dict[str, set[str]] = {name: set() for name in means}
    for pair in pairs:
        if pair.is_real:
            is_first = pair.difference > 0
            direct[pair.other if is_first else pair.one].add(pair.one if is_first else pair.other)
    found: dict[str, frozenset[str]] = {}
    for name in sorted(means, key=lambda name: -means[name]):  # whoever is better came before
        found[name] = frozenset(direct[name]).union(*(found[each] for each in direct[name]))
    return found


def over_seeds(rows: Sequence[Rows], seed: int, place: int) -> Rows:
    """Mean over seeds drawn with replacement, anew in each resample, float64 [B].

    Args:
        rows: the metric of each seed on every resample, float64 [B].
        seed: seed of the draws.
        place: of the entry among all names in order; another place, other draws.
    """
    stacked = np.stack(rows)  # (S, B)
    count, resamples = stacked.shape
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, place], np.uint64)))
    drawn = generator.integers(0, count, size=(count, resamples))
    return np.asarray(np.take_along_axis(stacked, drawn, axis=0).mean(axis=0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): the smallest times their number, the next times
    one less, and none less than the one before."""
    count = len(p_values)
    found = [0.0] * count
    highest = 0.0
    for place, k in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (count - place) * p_values[k]))
        found[k] = highest
    return found


def _place_shares(draws: Rows) -> Rows:
    """[E, E] share of the resamples in which entry e takes place p + 1."""
    defined = draws[:, np.isfinite(draws).all(axis=0)]
    places = (defined[None, :, :] > defined[:, None, :]).sum(axis=1)  # (E, B): better ones
    count = len(draws)
    shares = np.stack([(places == place).sum(axis=1) for place in range(count)], axis=1)
    return np.asarray(shares / max(defined.shape[1], 1), np.float64)
