"""The intervals cover, and equals tie: two cells per metric of `make bench-intervals`, and a race."""

from __future__ import annotations

import csv
import re
from collections import defaultdict

import pytest

from harness.metrics import score
from leaderboard import guide
from tests.benchmarks.bench_intervals import (
    EVERY_CELL,
    SHOWN,
    Cell,
    PixelWorld,
    Race,
    compete,
    cover,
    image_run,
    image_truths,
    intervals_of,
)

CELLS = (
    Cell("image", 0.9, 20, "same", "unequal", 150),
    Cell("image", 0.97, 20, "other", "one large", 150),
    Cell("pixel", 0.75, 20, "other", "equal", 150),
    Cell("pixel", 0.97, 20, "same", "unequal", 150),
)


@pytest.fixture(scope="module")
def covered():
    return [cover(cell) for cell in CELLS]


@pytest.mark.parametrize("cell", [CELLS[0], CELLS[3]])
def test_the_bench_takes_its_intervals_from_what_every_run_gets(cell: Cell) -> None:
    rng = cell.rng()
    is_pixel = cell.level == "pixel"
    shift, _ = image_truths(cell.auroc)
    run = PixelWorld(cell.auroc).run(cell, rng) if is_pixel else image_run(cell, shift, rng)
    wanted = {m.id: m for m in score(run).metrics if m.grid != "paper"}
    names = [name for name in SHOWN if name.startswith("image") != is_pixel]
    found = intervals_of(run, cell.level, names)
    assert set(found) == set(names)
    for name, interval in found.items():
        assert (interval.low, interval.high) == (wanted[name].low, wanted[name].high), name


@pytest.mark.parametrize("metric", SHOWN)
def test_an_interval_covers_as_often_as_it_says(covered, metric: str) -> None:
    """150 draws: a share of 0.95 has a standard deviation of 0.018."""
    shares = [c.held / c.given for cell in covered for c in cell if c.metric == metric]
    assert len(shares) == 2
    assert min(shares) >= 0.90
    assert sum(shares) / 2 >= 0.92


def test_the_percentile_interval_of_old_covers_less(covered) -> None:
    """The bench can tell a bad interval from a good one."""
    found = [one for cell in covered[1:] for one in cell if one.metric in SHOWN]
    new = sum(one.held for one in found) / sum(one.given for one in found)
    old = sum(one.old_held for one in found) / sum(one.old_given for one in found)
    assert old < new - 0.05


def test_the_sites_promise_is_what_the_bench_found() -> None:
    """`From 20 patients up … 94 to 98 of 100`: of each metric at each true value, mean of designs."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with EVERY_CELL.open() as file:
        for row in csv.DictReader(file):
            key = (row["metric"], row["true_value"], row["patients"])
            found[key].append(float(row["held_percent"]))
    means = {key: sum(shares) / len(shares) for key, shares in found.items() if int(key[2]) >= 20}
    assert {metric for metric, _, _ in means} == {name.replace(":a", ":*") for name in SHOWN}
    promised = re.search(r"in (\d+) to (\d+) of 100", guide.TERMS["interval"].line)
    assert [round(min(means.values())), round(max(means.values()))] == [
        *map(int, promised.groups())
    ]


def test_equal_entries_are_seldom_told_apart_and_a_lead_is_found() -> None:
    for race in (Race("image", 3, 20, 1, 0.0, 120), Race("pixel", 3, 20, 1, 0.0, 120)):
        for equal in compete(race):
            assert equal.told_apart <= 0.05 + 3 * 0.02, equal.metric
            assert equal.mean_held >= 0.90 <= equal.difference_held, equal.metric
    ahead = {each.metric: each for each in compete(Race("image", 2, 40, 1, 0.025, 60))}
    assert ahead["image_auroc"].told_apart >= 0.2
