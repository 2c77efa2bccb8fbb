"""Which leads are real: ranks from a joint bootstrap over patients and seeds.

Every resample draws the same patients for all entries (so what one hard patient does
to all cancels in their differences) and, for each entry on its own, as many seeds as
it has, with replacement. Two entries differ when their difference of means over seeds,
divided by its bootstrap standard error, does (two-sided, normal approximation, which
unlike counting resamples can tell p-values far below 1/2000), after Holm's correction
over all pairs of the column. rank = 1 + number of entries that are significantly
better: no chains of ties. Traps: an entry with one seed shows no spread over seeds,
which the caller should say; resamples where one of a pair is undefined do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.table import Rows

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class RankedEntry:
    """Where one entry stands in one column."""

    entry: str
    """Name of the entry."""
    mean: float
    """Mean over seeds of the exact metric."""
    rank: int
    """1 + number of entries that are significantly better."""
    better: tuple[str, ...]
    """Entries that are significantly better."""
    ties: tuple[str, ...]
    """Entries that cannot be told from this one."""
    stability: tuple[float, ...]
    """Share of the resamples in which the mean takes place 1, 2, …; equal means share the best."""


def standings(
    values: Mapping[str, Sequence[float]], resampled: Mapping[str, Sequence[Rows]], *, seed: int = 0
) -> tuple[RankedEntry, ...]:
    """Rank the entries of one column.

    Args:
        values: by entry, the exact metric of each seed (0 to 1, higher is better).
        resampled: by entry, the metric of each seed on every joint resample, float64 [B];
            row b is of the same patients for all entries and seeds; NaN where undefined.
        seed: seed of the draws of seeds.
    Returns:
        By rank, then by mean, then by name.
    """
    names = sorted(values)
    means = np.array([float(np.mean(values[name])) for name in names])
    draws = np.stack(
        [over_seeds(resampled[name], seed, place) for place, name in enumerate(names)]
    )  # (entries, B)
    is_different = _significant(means, draws)
    stability = _place_shares(draws)
    found = []
    for i, name in enumerate(names):
        better = [j for j in range(len(names)) if is_different[i, j] and means[j] > means[i]]
        ties = [j for j in range(len(names)) if j != i and not is_different[i, j]]
        found.append(
            RankedEntry(
                entry=name,
                mean=float(means[i]),
                rank=1 + len(better),
                better=tuple(names[j] for j in better),
                ties=tuple(names[j] for j in ties),
                stability=tuple(float(share) for share in stability[i]),
            )
        )
    return tuple(sorted(found, key=lambda row: (row.rank, -row.mean, row.entry)))


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


def _significant(means: Rows, draws: Rows) -> NDArray[np.bool_]:
    """[E, E] whether two entries differ, after Holm's correction over all pairs."""
    from scipy.special import ndtr

    count = len(means)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    p_values = []
    for i, j in pairs:
        difference = draws[i] - draws[j]
        difference = difference[np.isfinite(difference)]
        gap = abs(means[i] - means[j])
        error = float(difference.std(ddof=1)) if difference.size > 1 else np.inf
        # Two entries that differ by the same amount in every resample differ for certain.
        z = gap / error if error > 0 else (np.inf if gap > 0 else 0.0)
        p_values.append(2.0 * float(ndtr(-z)))
    is_different = np.zeros((count, count), np.bool_)
    for place, k in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[k] > SIGNIFICANCE / (len(pairs) - place):
            break
        i, j = pairs[k]
        is_different[i, j] = is_different[j, i] = True
    return is_different


def _place_shares(draws: Rows) -> Rows:
    """[E, E] share of the resamples in which entry e takes place p + 1."""
    defined = draws[:, np.isfinite(draws).all(axis=0)]
    places = (defined[None, :, :] > defined[:, None, :]).sum(axis=1)  # (E, B): better ones
    count = len(draws)
    shares = np.stack([(places == place).sum(axis=1) for place in range(count)], axis=1)
    return np.asarray(shares / max(defined.shape[1], 1), np.float64)
