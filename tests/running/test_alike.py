"""Two answers of a GPU: honest noise is alike, a real change is not, and outliers move nothing."""

from __future__ import annotations

import numpy as np
import pytest

from harness.running.alike import MAPS, SCORES, Distribution

SIZE = 400
FLOAT32, TF32 = 1e-6, 1e-3  # relative: sums in another order, and rounded factors


def normal(chance):
    return chance.normal(10.0, 1.0, SIZE)


def uniform_far_from_zero(chance):
    return 100.0 + chance.uniform(0, 100, SIZE)


def heavy_tails(chance):
    return np.exp(chance.normal(0.0, 4.0, SIZE))


def two_clusters(chance):
    return np.where(
        chance.random(SIZE) < 0.3, chance.normal(9, 1, SIZE), chance.normal(1, 0.1, SIZE)
    )


def with_outliers(count: int, size: float = 1e6):
    def make(chance):
        scores = chance.normal(10.0, 1.0, SIZE)
        scores[:count] = size * (1 + chance.random(count))
        return scores

    make.__name__ = f"{count} outliers of {size:g}"
    return make


SPREAD = [
    *(normal, uniform_far_from_zero, heavy_tails, two_clusters, with_outliers(1)),
    *(with_outliers(31), with_outliers(31, -1e30), with_outliers(180), with_outliers(1, 1e300)),
]


def constant(chance):
    return np.full(SIZE, 0.5)


def nearly_constant(chance):
    return np.where(np.arange(SIZE) == 7, 1e6, 0.5)


def two_values(chance):
    return np.where(chance.random(SIZE) < 0.5, 0.0, 1.0)


def two_values_one_rare(chance):
    return np.where(np.arange(SIZE) < SIZE // 10, 1.0, 0.25)


TIED = [constant, nearly_constant, two_values, two_values_one_rare]


@pytest.mark.parametrize("make", SPREAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("noise", [0.0, FLOAT32, TF32])
def test_honest_noise_is_alike_however_the_scores_lie(make, noise) -> None:
    for seed in range(5):
        chance = np.random.default_rng(seed)
        exact = make(chance)
        run = exact * (1 + noise * chance.uniform(-1, 1, SIZE))
        again = exact * (1 + noise * chance.uniform(-1, 1, SIZE))
        assert Distribution.of(run, SCORES).is_alike(run, again)


@pytest.mark.parametrize("make", TIED, ids=lambda make: make.__name__)
def test_rounding_is_alike_where_scores_are_tied(make) -> None:
    chance = np.random.default_rng(0)
    run = make(chance)
    again = run * (1 + FLOAT32 * chance.uniform(-1, 1, SIZE))
    assert Distribution.of(run, SCORES).is_alike(run, again)
    assert Distribution.of(run, SCORES).is_alike(run, run)


@pytest.mark.parametrize("make", [two_values, two_values_one_rare], ids=lambda make: make.__name__)
def test_rounding_is_alike_within_each_of_two_levels(make) -> None:
    chance = np.random.default_rng(0)
    exact = make(chance) + 1.0
    run, again = (exact * (1 + FLOAT32 * chance.uniform(-1, 1, SIZE)) for _ in range(2))
    assert Distribution.of(run, SCORES).is_alike(run, again)


@pytest.mark.parametrize("make", [*SPREAD, *TIED], ids=lambda make: make.__name__)
@pytest.mark.parametrize("number", [200, 390])
def test_a_change_of_one_score_is_seen_whatever_the_others_are(make, number) -> None:
    chance = np.random.default_rng(3)
    run = make(chance)
    ordinary = np.sort(run[np.abs(run) < 1e5])  # the outliers are not what changes
    step = ordinary[int(0.8 * len(ordinary))] - ordinary[int(0.2 * len(ordinary))] or 0.2
    changed = run.copy()
    changed[number] = ordinary[len(ordinary) // 2]
    changed[number] += step if run[number] <= changed[number] else -step
    assert not Distribution.of(run, SCORES).is_alike(run, changed)
    assert not Distribution.of(changed, SCORES).is_alike(run, changed)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, -1e6])
def test_a_number_that_is_added_to_every_score_hides_no_change(offset) -> None:
    chance = np.random.default_rng(0)
    run = offset + chance.normal(0.0, 1e-3, SIZE)
    changed = run.copy()
    changed[:32] = run[:32][::-1]
    assert not Distribution.of(run, SCORES).is_alike(run, changed)


def test_scores_that_differ_by_their_rounding_alone_have_no_reproducible_order() -> None:
    chance = np.random.default_rng(0)
    run, again = (0.5 * (1 + 1e-7 * chance.uniform(-1, 1, SIZE)) for _ in range(2))
    assert not Distribution.of(run, SCORES).is_alike(run, again)


def flat_background(chance):
    """Four fifths of each map are one level, as behind a brain."""
    maps = 0.1 + np.zeros((32, 64, 64))
    maps[:, :29, :29] += chance.gamma(2.0, 1.0, (32, 29, 29))
    return maps


def zero_background(chance):
    """As a reconstruction's difference: nearly nothing, by sums that cancel."""
    maps = 1e-6 * chance.random((32, 64, 64))
    maps[:, 20:50, 20:50] += chance.gamma(2.0, 1.0, (32, 30, 30))
    return maps


def all_over(chance):
    return chance.gamma(2.0, 1.0, (32, 64, 64))


def two_levels(chance):
    return np.where(chance.random((32, 64, 64)) < 0.1, 1.0, 0.25)


def as_logarithms(chance):
    return chance.normal(-300.0, 40.0, (32, 64, 64))


MADE = [flat_background, zero_background, all_over, two_levels, as_logarithms]


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("noise", [0.0, FLOAT32, TF32])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_honest_noise_in_maps_is_alike(make, noise, dtype) -> None:
    chance = np.random.default_rng(0)
    exact = make(chance)
    run, again = (
        (exact * (1 + noise * chance.uniform(-1, 1, exact.shape))).astype(dtype) for _ in range(2)
    )
    assert Distribution.of_maps(list(run)).is_alike(run, again)


def test_what_cancels_in_a_map_keeps_the_rounding_of_the_bulk() -> None:
    chance = np.random.default_rng(0)
    exact = zero_background(chance)
    run, again = (exact + FLOAT32 * chance.uniform(-1, 1, exact.shape) for _ in range(2))
    assert Distribution.of_maps(list(run)).is_alike(run, again)


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("outlier", [None, 1e6, -1e6])
def test_a_change_in_a_part_of_a_map_is_seen_whatever_one_other_map_says(make, outlier) -> None:
    chance = np.random.default_rng(0)
    maps = make(chance)
    if outlier is not None:
        maps[-1] = outlier * (1 + chance.random(maps[-1].shape))
    changed = maps[0].copy()
    changed[:8, :8] += 0.5 * np.ptp(np.quantile(maps[:-1], (0.02, 0.98)))
    assert not Distribution.of_maps(list(maps)).is_alike(maps[0], changed)


def test_low_pixels_in_every_map_do_not_hide_a_change_elsewhere() -> None:
    chance = np.random.default_rng(0)
    maps = all_over(chance)
    maps[:, :, :20] = -1e6 * (1 + chance.random((32, 64, 20)))
    changed = maps[0].copy()
    changed[:, 30] += 1.0
    assert not Distribution.of_maps(list(maps)).is_alike(maps[0], changed)


def test_a_few_high_pixels_in_every_map_do_not_hide_a_change_elsewhere() -> None:
    chance = np.random.default_rng(0)
    maps = all_over(chance)
    maps[:, :, :5] = 1e6 * (1 + chance.random((32, 64, 5)))
    changed = maps[0].copy()
    changed[:, 30] += 1.0
    assert not Distribution.of_maps(list(maps)).is_alike(maps[0], changed)


def test_one_number_or_none_that_differs_is_judged_too() -> None:
    assert Distribution.of([1.0], SCORES).is_alike(1.0, 1.0)
    assert not Distribution.of([1.0], SCORES).is_alike(1.0, 1.1)
    assert Distribution.of([0.0, 0.0], MAPS).is_alike(np.zeros(2), np.zeros(2))
    assert not Distribution.of([0.0, 0.0], MAPS).is_alike(np.zeros(2), np.ones(2))
