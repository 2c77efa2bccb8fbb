"""Ranks over the same patients: real leads are found, chance is not, and no chain of ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from harness.metrics.jackknife import Spread
from harness.metrics.ranks import ComparedPair, RankedEntry, pairs_of, standings, who_is_better
from harness.metrics.table import RANKED

PATIENTS = 400


def spreads(
    values: Mapping[str, Sequence[float]], moves: Mapping[str, np.ndarray]
) -> dict[str, list[Spread]]:
    """Seeds of each entry, whose patients move it by `moves` standard errors' worth, [P]."""
    return {
        name: [Spread(value, moves[name] / np.sqrt(PATIENTS), PATIENTS, RANKED) for value in seeds]
        for name, seeds in values.items()
    }


def ranked(
    values: Mapping[str, Sequence[float]], moves: Mapping[str, np.ndarray], *, seed: int = 0
) -> tuple[RankedEntry, ...]:
    """Standings whose resamples follow from the same moves."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2000, PATIENTS)) / np.sqrt(PATIENTS)
    drawn = {
        name: [value + weights @ moves[name] for value in seeds] for name, seeds in values.items()
    }
    return standings(spreads(values, moves), drawn, seed=seed)


def test_a_lead_beyond_the_error_is_a_rank_and_a_small_one_a_tie() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.05, PATIENTS)  # hard patients move all entries together
    values = {"a": [0.90], "b": [0.895], "c": [0.80]}
    moves = {name: shared + rng.normal(0, 0.01, PATIENTS) for name in values}
    rows = {row.entry: row for row in ranked(values, moves)}
    assert (rows["a"].rank, rows["b"].rank, rows["c"].rank) == (1, 1, 3)
    assert rows["c"].better == ("a", "b")
    assert rows["a"].ties == ("b",)
    assert rows["c"].stability[2] == pytest.approx(1.0, abs=1e-3)
    assert rows["a"].interval.low < 0.9 < rows["a"].interval.high


def test_a_lead_over_one_that_leads_is_a_lead() -> None:
    """Alone, b and c would share rank 2, although b is above c."""

    def pair(one: str, other: str, p: float) -> ComparedPair:
        return ComparedPair(one, other, means[one] - means[other], None, p, p)

    means = {"a": 0.93, "b": 0.92, "c": 0.91}
    pairs = [pair("a", "b", 0.01), pair("b", "c", 0.01), pair("a", "c", 0.2)]
    assert who_is_better(pairs, means) == {"a": set(), "b": {"a"}, "c": {"a", "b"}}


@pytest.mark.parametrize("seed", range(20))
def test_who_shares_a_rank_cannot_be_told_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.05, PATIENTS)
    spread = {name: float(rng.choice([0.005, 0.05, 0.3])) for name in "abcdefgh"}
    moves = {n: shared + rng.normal(0, wide, PATIENTS) for n, wide in spread.items()}
    values = {name: [float(rng.uniform(0.88, 0.92))] for name in spread}
    real = {(p.one, p.other) for p in pairs_of(spreads(values, moves)) if p.is_real}
    rows = ranked(values, moves)
    for one in rows:
        for other in rows:
            if one.rank == other.rank and one is not other:
                assert other.entry in one.ties
                assert (one.entry, other.entry) not in real
        assert set(one.better).isdisjoint(one.ties)
        assert one.rank == 1 + len(one.better)


def test_unpaired_errors_would_hide_what_the_same_patients_show() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 0.05, PATIENTS)
    values = {"a": [0.85], "b": [0.80]}
    joint = {name: shared + rng.normal(0, 0.005, PATIENTS) for name in values}
    alone = {name: rng.normal(0, 0.05, PATIENTS) for name in values}
    assert [row.rank for row in ranked(values, joint)] == [1, 2]
    assert [row.rank for row in ranked(values, alone)] == [1, 1]


def test_being_tied_is_not_handed_on() -> None:
    # a = b and b = c within the error, but a > c: c has rank 2, not 1 and not 3.
    rng = np.random.default_rng(2)
    values = {"a": [0.80], "b": [0.78], "c": [0.76]}
    moves = {name: rng.normal(0, 0.009, PATIENTS) for name in values}
    rows = {row.entry: row for row in ranked(values, moves)}
    assert {name: row.rank for name, row in rows.items()} == {"a": 1, "b": 1, "c": 2}
    assert rows["b"].ties == ("a", "c")


def test_among_equals_chance_alone_seldom_makes_a_rank() -> None:
    wrong = 0
    for trial in range(300):
        rng = np.random.default_rng(trial)
        moves = {name: rng.normal(0, 0.01, PATIENTS) for name in "abcdef"}
        values = {name: [0.8 + rng.normal(0, 0.01)] for name in moves}
        wrong += any(pair.is_real for pair in pairs_of(spreads(values, moves)))
    # Holm holds the chance of any false rank at 5 %; 30 of 300 would be four deviations off.
    assert 3 <= wrong <= 30


def test_the_spread_over_seeds_counts() -> None:
    flat = dict.fromkeys("ab", np.zeros(PATIENTS))
    few = {"a": [0.80], "b": [0.70]}
    many = {"a": [0.95, 0.65, 0.80], "b": [0.55, 0.70, 0.85]}
    assert [row.rank for row in ranked(few, flat)] == [1, 2]
    assert [row.rank for row in ranked(many, flat)] == [1, 1]


def test_equal_entries_tie_at_the_first_place() -> None:
    flat = dict.fromkeys("ab", np.zeros(PATIENTS))
    rows = ranked({"a": [0.5], "b": [0.5]}, flat)
    assert [(row.rank, row.stability) for row in rows] == [(1, (1.0, 0.0)), (1, (1.0, 0.0))]


def test_the_same_seed_gives_the_same_ranks_and_the_order_of_entries_none() -> None:
    rng = np.random.default_rng(3)
    values = {name: [0.8, 0.81] for name in "abc"}
    moves = {name: rng.normal(0, 0.02, PATIENTS) for name in "abc"}
    first = ranked(values, moves, seed=5)
    turned = ranked(dict(reversed(values.items())), dict(reversed(moves.items())), seed=5)
    assert first == turned


def test_undefined_resamples_do_not_count() -> None:
    rng = np.random.default_rng(4)
    moves = {name: rng.normal(0, 0.01, PATIENTS) for name in "ab"}
    a, b = 0.9 + rng.normal(0, 0.01, 500), 0.7 + rng.normal(0, 0.01, 500)
    a[:100] = np.nan
    rows = standings(spreads({"a": [0.9], "b": [0.7]}, moves), {"a": [a], "b": [b]})
    assert [row.rank for row in rows] == [1, 2]
    assert rows[0].stability == (1.0, 0.0)


def test_the_correction_is_holms() -> None:
    rng = np.random.default_rng(6)
    moves = {name: rng.normal(0, 0.01, PATIENTS) for name in "abcd"}
    values = {name: [0.8 + 0.02 * place] for place, name in enumerate("abcd")}
    pairs = sorted(pairs_of(spreads(values, moves)), key=lambda pair: pair.p)
    highest = 0.0
    for place, pair in enumerate(pairs):
        highest = max(highest, min(1.0, (6 - place) * pair.p))
        assert pair.corrected_p == pytest.approx(highest)
        assert pair.is_real == (highest <= 0.05)
        assert (pair.p <= 0.05) == (not pair.interval.low <= 0 <= pair.interval.high)
    assert 0 < sum(pair.is_real for pair in pairs) < 6


def test_nobody_leads_where_too_few_patients_bear_the_metric() -> None:
    few = {
        name: [Spread(value, np.zeros(9), 5, RANKED)] for name, value in (("a", 0.9), ("b", 0.1))
    }
    rows = standings(few, {name: [np.full(50, seeds[0].value)] for name, seeds in few.items()})
    assert [(row.rank, row.interval) for row in rows] == [(1, None), (1, None)]
