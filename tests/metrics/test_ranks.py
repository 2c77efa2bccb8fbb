"""Ranks from the joint bootstrap: real leads are found, chance is not, and no chain of ties."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.ranks import standings

RESAMPLES = 2000


def resamples(rng: np.random.Generator, value: float, own: float, shared: np.ndarray) -> np.ndarray:
    return value + shared + rng.normal(0, own, RESAMPLES)


def test_a_lead_beyond_the_error_is_a_rank_and_a_small_one_a_tie() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.05, RESAMPLES)  # hard patients move all entries together
    values = {"a": [0.90], "b": [0.895], "c": [0.80]}
    drawn = {name: [resamples(rng, value[0], 0.01, shared)] for name, value in values.items()}
    rows = {row.entry: row for row in standings(values, drawn)}
    assert (rows["a"].rank, rows["b"].rank, rows["c"].rank) == (1, 1, 3)
    assert rows["c"].better == ("a", "b")
    assert rows["a"].ties == ("b",)
    assert rows["c"].stability[2] == pytest.approx(1.0, abs=1e-3)


def test_unpaired_errors_would_hide_what_the_joint_resample_shows() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 0.05, RESAMPLES)
    values = {"a": [0.85], "b": [0.80]}
    joint = {name: [resamples(rng, value[0], 0.005, shared)] for name, value in values.items()}
    alone = {
        name: [resamples(rng, value[0], 0.005, rng.normal(0, 0.05, RESAMPLES))]
        for name, value in values.items()
    }
    assert [row.rank for row in standings(values, joint)] == [1, 2]
    assert [row.rank for row in standings(values, alone)] == [1, 1]


def test_being_tied_is_not_handed_on() -> None:
    # a = b and b = c within the error, but a > c: c has rank 2, not 1 and not 3.
    rng = np.random.default_rng(2)
    values = {"a": [0.80], "b": [0.78], "c": [0.76]}
    drawn = {name: [value[0] + rng.normal(0, 0.009, RESAMPLES)] for name, value in values.items()}
    rows = {row.entry: row for row in standings(values, drawn)}
    assert {name: row.rank for name, row in rows.items()} == {"a": 1, "b": 1, "c": 2}
    assert rows["b"].ties == ("a", "c")


def test_among_equals_chance_alone_seldom_makes_a_rank() -> None:
    wrong = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        values, drawn = {}, {}
        for name in "abcdef":
            value = 0.8 + rng.normal(0, 0.01)
            values[name] = [value]
            drawn[name] = [value + rng.normal(0, 0.01, 400)]
        wrong += any(row.rank > 1 for row in standings(values, drawn))
    # Holm holds the chance of any false rank at 5 %; 12 of 100 would be four deviations off.
    assert wrong <= 12


def test_the_spread_over_seeds_counts() -> None:
    flat = np.zeros(RESAMPLES)
    few = {"a": [0.80], "b": [0.70]}
    many = {"a": [0.95, 0.65, 0.80], "b": [0.55, 0.70, 0.85]}
    assert [row.rank for row in standings(few, {k: [v[0] + flat] for k, v in few.items()})] == [
        1,
        2,
    ]
    spread = {name: [value + flat for value in values] for name, values in many.items()}
    assert [row.rank for row in standings(many, spread)] == [1, 1]


def test_equal_entries_tie_at_the_first_place() -> None:
    rows = standings({"a": [0.5], "b": [0.5]}, {"a": [np.full(50, 0.5)], "b": [np.full(50, 0.5)]})
    assert [(row.rank, row.stability) for row in rows] == [(1, (1.0, 0.0)), (1, (1.0, 0.0))]


def test_the_same_seed_gives_the_same_ranks_and_the_order_of_entries_none() -> None:
    rng = np.random.default_rng(3)
    values = {name: [0.8, 0.81] for name in "abc"}
    drawn = {name: [0.8 + rng.normal(0, 0.02, 300) for _ in range(2)] for name in "abc"}
    first = standings(values, drawn, seed=5)
    turned = standings(dict(reversed(values.items())), dict(reversed(drawn.items())), seed=5)
    assert first == turned


def test_undefined_resamples_do_not_count() -> None:
    rng = np.random.default_rng(4)
    a, b = 0.9 + rng.normal(0, 0.01, 500), 0.7 + rng.normal(0, 0.01, 500)
    a[:100] = np.nan
    rows = standings({"a": [0.9], "b": [0.7]}, {"a": [a], "b": [b]})
    assert [row.rank for row in rows] == [1, 2]
    assert rows[0].stability == (1.0, 0.0)
