"""Properties that hold for every metric of the table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import METRICS, RunScorer, RunScores, find_metric
from harness.metrics.jackknife import FEW_UNITS
from harness.metrics.suite_table import SUITE_METRICS
from harness.publishing.site_build import metric_definitions
from leaderboard import guide, words
from tests.metrics.oracles import Case, Split, random_cases, scored, slow_aupro, value, values
from tests.paths import REPOSITORY

DTYPES = [np.float16, np.float32]
AT_ONE_THRESHOLD = ("dice_at_", "dice_per_image")
LARGE_NORMAL = Case(np.zeros((320, 320), bool), np.zeros((320, 320), np.float32))
"""As many normal pixels as AUPIMO takes."""


def ranking_values(scores: RunScores) -> dict[tuple[str, str | None], float | None]:
    """Metrics that depend on the order of the scores alone, on the native grid."""
    return {
        key: number
        for key, number in values(scores).items()
        if key[1] != "paper" and not key[0].startswith(AT_ONE_THRESHOLD)
    }


def remapped(cases: Sequence[Case], change: object) -> list[Case]:
    return [
        Case(
            case.mask,
            change(case.anomaly_map),
            case.image,
            score=float(change(np.array([case.image_score], case.anomaly_map.dtype))[0]),
            is_anomalous=case.label,
        )
        for case in cases
    ]


def cases_of(seed: int, dtype: type, **options: object) -> list[Case]:
    return random_cases(np.random.default_rng(seed), 7, (17, 29), dtype=dtype, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_perfect_maps_score_one_and_inverted_ones_zero(dtype: type) -> None:
    perfect = [
        Case(c.mask, (c.mask + 0.25).astype(dtype), c.image, subclass="kind")
        for c in [*cases_of(1, dtype, background=0.2), LARGE_NORMAL]
    ]
    first = values(scored(perfect, perfect))
    assert len(first) > 30
    for key, number in first.items():
        assert find_metric(key[0]).direction == "higher"
        if key[1] != "paper":  # resizing blurs the edges
            assert number == pytest.approx(1.0, abs=1e-12), key
    inverted = remapped(perfect, lambda scores: -scores)
    for key, number in ranking_values(scored(inverted)).items():
        if "auroc" in key[0] or "pro" in key[0] or "overlap" in key[0]:
            assert number == pytest.approx(0.0, abs=1e-12), key


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "change",
    [lambda x: x * x.dtype.type(2), lambda x: np.where(x > 0, x * x.dtype.type(4), x)],
    ids=["twice", "bent"],
)
def test_a_strictly_increasing_transform_changes_no_ranking_metric(
    dtype: type, change: object
) -> None:
    cases = cases_of(2, dtype, background=0.2)
    assert ranking_values(scored(remapped(cases, change))) == ranking_values(scored(cases))


@pytest.mark.parametrize("levels", [None, 11])
def test_float16_values_given_as_float32_score_the_same_to_the_last_bit(
    levels: int | None,
) -> None:
    halves = cases_of(3, np.float16, levels=levels, background=0.3)
    floats = remapped(halves, lambda scores: scores.astype(np.float32))
    first, second = (scored(c, c, intervals=True) for c in (halves, floats))
    assert [m for m in first.metrics if m.grid != "paper"] == [
        m for m in second.metrics if m.grid != "paper"
    ]
    assert first.maps.levels == second.maps.levels
    assert first.maps.largest_bin == second.maps.largest_bin


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_and_sharding_change_nothing_to_the_last_bit(dtype: type, tmp_path: Path) -> None:
    cases = cases_of(4, dtype, background=0.3)
    valid = cases_of(5, dtype)
    whole = scored(cases, valid, intervals=True)
    backwards = scored(cases, valid, intervals=True, order=reversed(range(len(cases))))
    split, valid_split = Split(cases), Split(valid)
    truths = split.truth(), valid_split.truth()
    shards = [RunScorer(*truths, spool=tmp_path / str(n), maps=True) for n in range(3)]
    for position, (key, case) in enumerate(zip(split.keys, cases, strict=True)):
        shards[(position * 5 + 1) % 3].add("test", key, case.image_score, case.anomaly_map)
    for position, (key, case) in enumerate(zip(valid_split.keys, valid, strict=True)):
        shards[position % 2].add("valid", key, case.image_score, case.anomaly_map)
    shards[2].merge(shards[0])
    shards[2].merge(shards[1])
    merged = shards[2].finish()
    assert merged.metrics == whole.metrics == backwards.metrics
    saved = []
    for name, scores in (("whole", whole), ("merged", merged), ("backwards", backwards)):
        scores.evidence.save(tmp_path / name)
        saved.append((tmp_path / name).read_bytes())
    assert saved[0] == saved[1] == saved[2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_maps_have_auroc_one_half_exactly_and_no_dice(dtype: type) -> None:
    constant = remapped(cases_of(6, dtype, background=0.2), lambda s: np.full_like(s, 0.3))
    scores = scored(constant, constant)
    for metric in ("pixel_auroc", "pixel_auroc_foreground"):
        assert value(scores, metric) == 0.5
        assert value(scores, metric, "paper") == 0.5
    assert value(scores, "image_auroc", None) == 0.5
    assert value(scores, "pixel_pro") == pytest.approx(0.15, abs=1e-12)  # (0.3 ** 2 / 2) / 0.3
    for metric in scores.metrics:
        if "dice" in metric.id:
            assert metric.value is None
            assert "constant" in metric.reason
    assert "one and the same score" in scores.warnings[1]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 40)] * 4),
    st.sampled_from(DTYPES),
    st.sampled_from([(0.0, 1.0), (-2.5, -0.0), (6e-8, 1.2e-7), (0.5, 100.0)]),
)
def test_two_valued_maps_equal_the_closed_form(
    counts: tuple[int, int, int, int], dtype: type, pair: tuple[float, float]
) -> None:
    hit, missed, alarm, quiet = counts
    low, high = (dtype(number) for number in pair)
    mask = np.array([True] * (hit + missed) + [False] * (alarm + quiet))[None]
    anomaly_map = np.array([high] * hit + [low] * missed + [high] * alarm + [low] * quiet)[None]
    scores = scored([Case(mask, anomaly_map.astype(dtype))])
    recall, rate = hit / (hit + missed), alarm / (alarm + quiet)
    precision, base = hit / (hit + alarm), (hit + missed) / sum(counts)
    assert value(scores, "pixel_auroc") == pytest.approx((1 + recall - rate) / 2, abs=1e-12)
    assert value(scores, "pixel_ap") == pytest.approx(
        recall * precision + (1 - recall) * base, abs=1e-12
    )
    dice = 2 * hit / (2 * hit + alarm + missed)
    assert value(scores, "dice_at_0.5") == pytest.approx(dice, abs=1e-15)
    assert value(scores, "dice_max") == pytest.approx(max(dice, 2 * base / (1 + base)), abs=1e-12)
    assert value(scores, "pixel_pro") == pytest.approx(slow_aupro([mask], [anomaly_map]), abs=1e-9)


def test_every_undefined_metric_is_absent_with_its_reason() -> None:
    rng = np.random.default_rng(8)
    blank = np.zeros((9, 9), bool)
    normal = [Case(blank, rng.normal(size=(9, 9)).astype(np.float32)) for _ in range(3)]
    anomalous = [Case(~blank, case.anomaly_map) for case in normal]
    for cases in (normal, anomalous):
        scores = scored(cases, cases, intervals=True)
        assert {m.id for m in scores.metrics} == {id for id in METRICS if id[-1] != "*"}
        assert all(m.value is None and "one class" in m.reason for m in scores.metrics)
    no_maps = scored([*normal, *anomalous], maps=False)
    for metric in no_maps.metrics:
        assert (metric.value is None) == (metric.grid is not None)
        assert metric.value is not None or metric.reason == "the method gives no anomaly maps"
    assert no_maps.maps is None
    no_masks = scored([*normal, *anomalous], has_masks=False)
    assert {m.reason for m in no_masks.metrics if m.grid} == {"the pack has no masks"}


def test_without_a_validation_split_its_threshold_is_absent_with_a_reason() -> None:
    cases = cases_of(9, np.float32)
    reasons = {m.id: m.reason for m in scored(cases).metrics if m.grid == "native"}
    assert reasons["dice_at_valid"] == "there is no validation split with masks"
    blank = [Case(c.mask & False, c.anomaly_map) for c in cases]
    reasons = {m.id: m.reason for m in scored(cases, blank).metrics if m.grid == "native"}
    assert reasons["dice_at_valid"] == "only one class among the validation pixels"


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_split_scores_within_zero_and_one_or_says_why_not(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    seed = data.draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    shapes = data.draw(
        st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=4)
    )
    share = data.draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    cases = [
        Case(
            rng.random(s) < share,
            rng.normal(size=s).astype(dtype),
            (rng.random(s) < 0.5).astype(np.uint8),
        )
        for s in shapes
    ]
    scores = scored(cases, cases, intervals=True)
    for metric in scores.metrics:
        if metric.value is None:
            assert metric.reason
        else:
            assert 0 <= metric.value <= 1
            if metric.low is not None:
                assert 0 <= metric.low <= metric.high <= 1


def test_the_readers_tables_are_those_of_the_code() -> None:
    readme = Path(__file__).parents[2] / "harness" / "metrics" / "README.md"
    rows = [line for line in readme.read_text().splitlines() if line.startswith("| `")]
    for metrics in (METRICS, SUITE_METRICS):
        told = [f"| `{m.id}` | {m.level} | {m.definition} |" for m in metrics.values()]
        first = rows.index(told[0])
        assert rows[first : first + len(told)] == told


def test_a_metric_whose_intervals_cover_too_seldom_somewhere_says_so_and_no_other_does() -> None:
    """From 20 patients up, in single designs of `make bench-intervals`; chance alone moves one by 1."""
    held: dict[str, list[float]] = {}
    with (REPOSITORY / "leaderboard/static/interval-coverage.csv").open() as file:
        for line in csv.DictReader(file):
            if int(line["patients"]) >= FEW_UNITS:
                held.setdefault(line["metric"], []).append(float(line["held_percent"]))
    seldom = {name: found for name, found in held.items() if min(found) < 91}
    assert {name for name, metric in METRICS.items() if metric.interval_remark} == set(seldom)
    for name, found in seldom.items():
        span = f"{min(found):.0f} to {max(found):.0f}"
        assert f"in {span} % of simulated runs" in METRICS[name].explained
        assert f"{words.metric_words(name).title} in {span}" in guide.TERMS["interval"].line
        assert METRICS[name].explained in metric_definitions()[name]
