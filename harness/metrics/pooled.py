"""AUROC between two members of a suite: does a score mean the same in both of them?

The share of pairs, an abnormal score of one member and a normal one of another, in the right
order; ties count as half. Exact for image scores, for float16 maps by their histograms, and for
float32 maps by the pairs that were counted when all members were at hand
(`harness.metrics.scorer.evidence_of_suite`). Without that count float32 histograms know the upper
16 bits of a score alone: pixels of two members in one bucket are ties then, and the value can be
off by half of their share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.errors import TruthMismatch
from harness.metrics.evidence import Evidence, GridEvidence, ScoreEvidence
from harness.metrics.intervals import sweep_images
from harness.metrics.jackknife import left_out_counts
from harness.metrics.kernels.bootstrap import Resamples
from harness.metrics.kernels.keys import key_from
from harness.metrics.kernels.layout import ANOMALOUS_KINDS, NORMAL_KINDS
from harness.metrics.table import Rows
from harness.records.record import Grid


class PairValue(NamedTuple):
    """The AUROC of one ordered pair of members."""

    value: float
    """Share of pairs in the right order."""
    doubt: float
    """By how much the exact one may differ."""


@dataclass(frozen=True)
class Pairs:
    """Every ordered pair of different members on one level."""

    values: Mapping[tuple[str, str], PairValue]
    """AUROC of the abnormal scores of the first against the normal ones of the second."""
    moves: Mapping[str, Rows]
    """[J] by member, what the sum of all values moves by as one of its units is left out; empty
    where they are not wanted."""
    rows: Rows
    """[B] that sum under each of the draws."""


def all_pairs(
    members: Mapping[str, Evidence],
    grid: Grid | None,
    *,
    wants_moves: bool,
    draws: Mapping[str, Resamples] | None = None,
) -> Pairs:
    """Every ordered pair of different members.

    Args:
        members: evidence by member, with both classes, and maps where a grid is given.
        grid: of the pixels; None for image scores.
        wants_moves: whether units are left out; the evidence must have been made with groups.
        draws: by member, uint16 [B, units], resamples within it.
    """
    values: dict[tuple[str, str], PairValue] = {}
    units = {name: evidence.test.group_index[0] for name, evidence in members.items()}
    once = {name: np.ones((1, number), np.uint16) for name, number in units.items()}
    left_out = {name: left_out_counts(number) for name, number in units.items()}
    moves = {name: np.zeros(len(left_out[name])) for name in members if wants_moves}
    rows = np.zeros(len(next(iter(draws.values()))) if draws else 0)
    for one, other in permutations(members, 2):
        pair = members[one], members[other], grid
        coarse = (
            float(_pair_rows(*pair, once[one], once[other])[0]) if wants_moves or draws else 0.0
        )
        exact = _exact_pair(*pair, name=one)
        values[one, other] = exact
        if wants_moves:
            moves[one] += coarse - _pair_rows(*pair, left_out[one], once[other])
            moves[other] += coarse - _pair_rows(*pair, once[one], left_out[other])
        if draws:
            rows += _pair_rows(*pair, draws[one], draws[other]) + (exact.value - coarse)
    return Pairs(values, moves, rows)


def image_pair(
    abnormal: ScoreEvidence, normal: ScoreEvidence, counts: Resamples, normal_counts: Resamples
) -> Rows:
    """AUROC of the abnormal images of one member against the normal ones of another, float64 [B].

    Args:
        abnormal, normal: image scores of the two members.
        counts, normal_counts: uint16 [B, units of the member], how often each unit counts; [1, …]
            stands for B equal rows.
    """
    chosen = np.flatnonzero(abnormal.is_anomalous)
    others = np.flatnonzero(~normal.is_anomalous)
    units, places = np.unique(abnormal.group_index[1][chosen], return_inverse=True)
    other_units, other_places = np.unique(normal.group_index[1][others], return_inverse=True)
    of_unit = np.concatenate([places, units.size + other_places])
    keys = tuple(f"{place:08}" for place in range(of_unit.size))
    both = ScoreEvidence(
        keys=keys,
        groups=tuple(f"{unit:08}" for unit in of_unit),
        subclasses=(None,) * of_unit.size,
        is_anomalous=np.arange(of_unit.size) < chosen.size,
        scores=np.concatenate([abnormal.scores[chosen], normal.scores[others]]),
    )
    rows = max(len(counts), len(normal_counts))
    drawn = [
        np.broadcast_to(part[:, chosen], (rows, chosen.size))
        for part, chosen in ((counts, units), (normal_counts, other_units))
    ]
    return sweep_images(both, np.concatenate(drawn, axis=1)).auroc


def pixel_pair(
    abnormal: GridEvidence,
    normal: GridEvidence,
    dtype: str,
    counts: Resamples,
    normal_counts: Resamples,
) -> Rows:
    """The same of pixels, float64 [B], on the bins of the members' groups.

    Within a bin the pixels are taken to be spread evenly over its keys.
    """
    bad = counts.astype(np.float64) @ abnormal.group_pixels[:, ANOMALOUS_KINDS].sum(axis=1)
    good = normal_counts.astype(np.float64) @ normal.group_pixels[:, NORMAL_KINDS].sum(axis=1)
    ordered = ((bad @ _ordered(abnormal, normal, dtype)) * good).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ordered / (bad.sum(axis=1) * good.sum(axis=1)))


def exact_pixel_pair(
    abnormal: GridEvidence, normal: GridEvidence, dtype: str, misranked: int | None
) -> PairValue:
    """AUROC of a run's abnormal pixels of one member against the normal ones of another.

    Args:
        abnormal, normal: the members' evidence on one grid.
        dtype: `float16` or `float32`, of the run's maps.
        misranked: twice the pairs in the wrong order, where they were counted.

    Raises:
        TruthMismatch: the count is none that the histograms allow.
    """
    bad = abnormal.pixels[ANOMALOUS_KINDS].sum(axis=0)
    good = normal.pixels[NORMAL_KINDS].sum(axis=0)
    pairs = float(bad.sum()) * float(good.sum())
    # Twice the pairs in the right order, in whole numbers: a sum of floats would depend on BLAS.
    ordered = int(bad @ (2 * np.cumsum(good) - good))
    in_one_bin = 0 if dtype == "float16" else int(bad @ good)
    binned = PairValue(0.5 * ordered / pairs, 0.5 * in_one_bin / pairs)
    if misranked is None:
        return binned
    value = 1.0 - 0.5 * misranked / pairs
    if abs(value - binned.value) > binned.doubt + 1e-12:
        raise TruthMismatch(
            "the pairs of pixels over two members are none that the histograms allow",
            fix="restore the evidence from a copy, or run the entry again",
        )
    return PairValue(value, 0.0)


def _pair_rows(
    one: Evidence, other: Evidence, grid: Grid | None, counts: Resamples, other_counts: Resamples
) -> Rows:
    if grid is None:
        return image_pair(one.test, other.test, counts, other_counts)
    parts = _on_grid(one, grid), _on_grid(other, grid)
    return pixel_pair(*parts, str(one.dtype), counts, other_counts)


def _exact_pair(one: Evidence, other: Evidence, grid: Grid | None, *, name: str) -> PairValue:
    """`name`: of the one, in whose abnormal scores the pair begins."""
    if grid is None:
        once = (np.ones((1, each.test.group_index[0]), np.uint16) for each in (one, other))
        return PairValue(float(image_pair(one.test, other.test, *once)[0]), 0.0)
    counted = other.misranked
    pairs = None if counted is None else counted.get(grid, counted["native"]).get(name)
    return exact_pixel_pair(_on_grid(one, grid), _on_grid(other, grid), str(one.dtype), pairs)


def _on_grid(evidence: Evidence, grid: Grid) -> GridEvidence:
    """Evidence of one grid; a pack of the paper's size has one alone."""
    return evidence.grids.get(grid, evidence.grids["native"])


def _ordered(one: GridEvidence, other: GridEvidence, dtype: str) -> Rows:
    """Chance that a score of a bin of one is above a score of a bin of the other, [K, L]."""
    first, last = _bounds(one, dtype)
    begin, end = _bounds(other, dtype)

    def below(key: NDArray[np.float64]) -> Rows:
        """Integral up to a key of the share of each other bin below it, [K, L]."""
        key = key[:, None]
        within = np.clip(key, begin, end) - begin
        return np.asarray(within**2 / (2 * (end - begin)) + np.maximum(key - end, 0))

    return np.asarray((below(last) - below(first)) / (last - first)[:, None])


def _bounds(part: GridEvidence, dtype: str) -> tuple[Rows, Rows]:
    """First key of each bin, and that of the next one, float64 [K]; no bin is empty of keys."""
    low, high = (float(key_from(float(score), np.dtype(dtype))) for score in part.score_range)
    inner = part.edges.astype(np.float64)
    first = np.append(min(low, inner.min(initial=low) - 1), inner)
    last = np.append(inner, max(high, inner.max(initial=high)) + 1)
    return first, np.maximum(last, first + 1)
