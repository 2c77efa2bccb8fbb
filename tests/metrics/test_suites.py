"""A run over a suite: its mean and pooled metrics against every pair counted one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from harness.metrics import Evidence, RunScorer
from harness.metrics.errors import TruthMismatch
from harness.metrics.evidence import ScoreEvidence
from harness.metrics.jackknife import (
    difference_of,
    interval_of,
    interval_of_difference,
    mean_of_seeds,
)
from harness.metrics.pooled import all_pairs
from harness.metrics.ranks import pairs_of
from harness.metrics.scorer import evidence_of_suite
from harness.metrics.suite_table import MEAN, SUITE_METRICS
from harness.metrics.suites import SuiteScores, mean_of_members, resample_suite, score_suite
from harness.metrics.table import METRICS
from harness.records.record import MetricValue
from tests.metrics.oracles import Case, Split, random_cases, scored

DTYPES = [np.float16, np.float32]


def images(
    rng: np.random.Generator, patients: int, shift: float, *, offset: float = 0.0, each: int = 4
) -> Evidence:
    """A member without masks: images of `patients`, half of them abnormal, in tenths."""
    unit = np.repeat(np.arange(patients), each)
    labels = np.arange(unit.size) % 2 == 1
    scores = np.round(rng.normal(size=unit.size) + shift * labels + offset, 1)
    keys = tuple(f"{place:05}" for place in range(unit.size))
    groups = tuple(f"p{number:03}" for number in unit)
    test = ScoreEvidence(keys, groups, (None,) * unit.size, labels, scores)
    return Evidence(None, False, "", None, test, None, {}, {}, (), {})


def members_of(seed: int, *patients: int) -> dict[str, Evidence]:
    rng = np.random.default_rng(seed)
    return {
        f"m{place}": images(rng, count, 1 + place / 2, offset=place / 3)
        for place, count in enumerate(patients)
    }


def share_of_pairs(abnormal: np.ndarray, normal: np.ndarray) -> float:
    """Every pair looked at."""
    above = abnormal[:, None] > normal[None]
    return float(np.mean(above + 0.5 * (abnormal[:, None] == normal[None])))


def brute_force(split: dict[str, tuple[np.ndarray, np.ndarray]], *, is_across: bool) -> float:
    """Mean over ordered pairs of members, of (labels, scores) each."""
    pairs = list(permutations(split, 2)) + ([] if is_across else [(name, name) for name in split])
    shares = [share_of_pairs(split[i][1][split[i][0]], split[j][1][~split[j][0]]) for i, j in pairs]
    return float(np.mean(shares))


def found(scores: SuiteScores, metric: str, grid: str | None = None) -> MetricValue:
    return next(m for m in (*scores.pooled, *scores.means) if (m.id, m.grid) == (metric, grid))


def maps_of(
    seed: int, dtype: type, offset: float, *, images: int = 24, levels: int | None = 60
) -> list[Case]:
    """Images of twelve patients, whose maps lie `offset` higher than those of others."""
    rng = np.random.default_rng(seed)
    cases = random_cases(rng, images, (16, 18), dtype=dtype, offset=offset, levels=levels)
    return [replace(case, group=f"p{place % 12:02}") for place, case in enumerate(cases)]


def test_pooled_image_auroc_counts_every_pair_of_members_alike() -> None:
    members = members_of(1, 12, 40, 15)
    split = {name: (e.test.is_anomalous, e.test.scores) for name, e in members.items()}
    scores = score_suite(members)
    for metric, is_across in (("pooled_image_auroc", False), ("pooled_image_auroc_across", True)):
        expected = brute_force(split, is_across=is_across)
        assert found(scores, metric).value == pytest.approx(expected, abs=1e-14)
    own = [found_in(run.metrics, "image_auroc") for run in scores.members.values()]
    mean = found(scores, "image_auroc")
    assert mean.value == pytest.approx(np.mean(own), abs=1e-15)
    assert mean.n == 12 + 40 + 15
    assert mean.reason == "few patients"


def found_in(metrics: tuple[MetricValue, ...], metric: str) -> float:
    return next(m.value for m in metrics if m.id == metric and m.grid in (None, "native"))


def scorers_of(
    cases: dict[str, list[Case]], spool: Path, **options: object
) -> dict[str, RunScorer]:
    """A scorer of each member with all of its answers."""
    found = {}
    for name, own in cases.items():
        split = Split(own)
        found[name] = RunScorer(split.truth(), None, spool=spool / name, maps=True, **options)
        for key, case in zip(split.keys, own, strict=True):
            found[name].add("test", key, case.image_score, case.anomaly_map)
    return found


def pixels_of(cases: dict[str, list[Case]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels and scores of all pixels of each member."""
    return {name: Split(own).pooled() for name, own in cases.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [None, 60])
def test_pooled_pixel_auroc_counts_every_pair_of_pixels(
    dtype: type, levels: int | None, tmp_path: Path
) -> None:
    cases = {
        name: maps_of(place, dtype, offset, levels=levels)
        for place, (name, offset) in enumerate({"a": 0.0, "b": 1.0, "c": -0.5}.items())
    }
    members = evidence_of_suite(scorers_of(cases, tmp_path))
    members["no masks"] = images(np.random.default_rng(0), 12, 1)
    for name, evidence in members.items():
        evidence.save(tmp_path / f"{name}.npz")
        assert Evidence.load(tmp_path / f"{name}.npz").misranked == evidence.misranked
    scores = score_suite(members)
    split = pixels_of(cases)
    for metric in ("pooled_pixel_auroc", "pooled_pixel_auroc_across"):
        told = found(scores, metric, "native")
        expected = brute_force(split, is_across=SUITE_METRICS[metric].is_across)
        assert told.n == 36
        assert told.value == pytest.approx(expected, abs=1e-14)
        assert told.reason == "few patients"
        assert told.low < told.value < told.high
    assert score_suite(dict(reversed(members.items()))).pooled == scores.pooled
    on_disk = evidence_of_suite(scorers_of(cases, tmp_path, memory_limit_bytes=0))
    assert [e.misranked for e in on_disk.values()] == [members[name].misranked for name in on_disk]


def test_float32_pairs_that_were_not_counted_are_bounded(tmp_path: Path) -> None:
    cases = {"a": maps_of(1, np.float32, 0, levels=None), "b": maps_of(2, np.float32, 1)}
    members = evidence_of_suite(scorers_of(cases, tmp_path))
    bare = {name: replace(each, misranked=None) for name, each in members.items()}
    told = found(score_suite(bare), "pooled_pixel_auroc_across", "native")
    doubt = float(told.reason.partition("exact to ")[2].partition(":")[0])
    expected = brute_force(pixels_of(cases), is_across=True)
    assert 0 < abs(told.value - expected) < 1.1 * doubt < 0.02
    forged = {"native": {"b": members["a"].misranked["native"]["b"] * 2}}
    with pytest.raises(TruthMismatch, match="none that the histograms allow"):
        score_suite({**members, "a": replace(members["a"], misranked=forged)})


def test_a_unit_left_out_of_a_pooled_image_auroc_is_left_out_of_its_member() -> None:
    members = members_of(2, 11, 14)
    spreads = {e.id: e.spread for e in resample_suite(members) if e.member is None}
    parts = []
    for name, evidence in members.items():
        moves = []
        for group in sorted(set(evidence.test.groups)):
            split = {other: (e.test.is_anomalous, e.test.scores) for other, e in members.items()}
            kept = np.array([one != group for one in evidence.test.groups])
            split[name] = (evidence.test.is_anomalous[kept], evidence.test.scores[kept])
            moves.append(brute_force(split, is_across=False))
        parts.append(np.array(moves))
    spread = spreads["pooled_image_auroc"]
    variance = sum((own.size - 1) / own.size * np.sum((spread.value - own) ** 2) for own in parts)
    assert spread.error(1.0)[0] == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert spread.moves.size == 25


def test_a_unit_left_out_of_a_pooled_pixel_auroc_moves_it_by_what_its_pixels_do() -> None:
    cases = {"a": maps_of(1, np.float32, 0), "b": maps_of(2, np.float32, 0.7)}
    members = {name: scored(own, intervals=True).evidence for name, own in cases.items()}
    moves = all_pairs(members, "native", wants_moves=True).moves["b"]

    def across(own: dict[str, list[Case]]) -> float:
        return 2 * brute_force(pixels_of(own), is_across=True)

    whole = across(cases)
    for place in range(0, 12, 4):
        kept = [case for case in cases["b"] if case.group != f"p{place:02}"]
        assert moves[place] == pytest.approx(whole - across({**cases, "b": kept}), abs=2e-4)


def test_a_mean_adds_the_variances_of_its_members() -> None:
    scores = score_suite(members_of(3, 12, 30, 500))
    spreads = {name: run.spreads["image_auroc", None] for name, run in scores.members.items()}
    mean = mean_of_members(spreads, {"m0": 12, "m1": 30, "m2": 500})
    errors = [spread.error(1.0)[0] for spread in spreads.values()]
    assert mean.error(1.0)[0] == pytest.approx(np.sqrt(np.sum(np.square(errors))) / 3, rel=1e-12)
    assert mean.moves.size == 12 + 30 + 400
    interval, told = interval_of(mean), found(scores, "image_auroc")
    assert (interval.low, interval.high) == (told.low, told.high)
    seeds = mean_of_seeds([mean, mean_of_members(spreads, {"m0": 12, "m1": 30, "m2": 500})])
    assert seeds.value == mean.value


def test_below_ten_patients_in_any_member_nothing_is_borne() -> None:
    scores = score_suite(members_of(4, 9, 40))
    for metric in ("image_auroc", "pooled_image_auroc", "pooled_image_auroc_across"):
        told = found(scores, metric)
        assert told.value is not None
        assert told.low is told.high is None
        assert told.reason == ("no interval: it takes 10 patients in every member, and m0 has 9")
    rows = {e.id: e for e in resample_suite(members_of(4, 9, 40)) if e.member == MEAN}
    assert not rows["image_auroc"].spread.is_known


def test_what_one_member_lacks_the_mean_and_the_pooled_value_lack_with_its_reason() -> None:
    members = members_of(5, 12, 12)
    test = members["m1"].test
    normal = replace(test, is_anomalous=np.zeros_like(test.is_anomalous))
    members["m1"] = replace(members["m1"], test=normal)
    scores = score_suite(members)
    for metric in ("image_auroc", "image_ap", "pooled_image_auroc", "pooled_image_auroc_across"):
        assert found(scores, metric).value is None
        assert found(scores, metric).reason == "m1: only one class among the test images"
    assert found(scores, "pixel_auroc", "native").reason == "no member has masks"
    masks = scored(maps_of(6, np.float16, 0), maps=False, intervals=True).evidence
    mixed = score_suite({"a": masks, "b": masks})
    assert found(mixed, "pixel_pro", "native").reason == "a: the method gives no anomaly maps"
    alone = score_suite(members_of(5, 12))
    assert found(alone, "pooled_image_auroc").value == found(alone, "image_auroc").value
    assert "m0 is the only member" in found(alone, "pooled_image_auroc_across").reason


def test_every_metric_of_a_suite_is_told_once_and_without_intervals_too() -> None:
    cases = maps_of(7, np.float16, 0)
    evidence = scored(cases, cases, intervals=True).evidence
    members = {"a": evidence, "b": evidence}
    for intervals in (True, False):
        scores = score_suite(members, intervals=intervals)
        keys = [(m.id, m.grid) for m in (*scores.means, *scores.pooled)]
        assert len(keys) == len(set(keys))
        shared = {id for id in METRICS if not id.endswith("*")}
        assert {key[0] for key in keys} == shared | set(SUITE_METRICS)
    one = {(m.id, m.grid): m.value for m in scores.members["a"].metrics}
    for mean in scores.means:
        assert mean.value == one[mean.id, mean.grid]
        assert mean.low is None
    # Of one and the same pack twice, pooled and own are one number.
    own = one["pixel_auroc", "native"]
    assert found(scores, "pooled_pixel_auroc", "native").value == pytest.approx(own, abs=1e-14)


def test_the_price_of_a_regime_is_a_difference_over_the_same_units() -> None:
    """One entry trained per benchmark, and trained once: what hard patients do to both cancels."""
    unified, single = members_of(8, 20, 30), {}
    for name, evidence in unified.items():
        test = evidence.test
        better = test.scores + 0.4 * test.is_anomalous
        single[name] = replace(evidence, test=replace(test, scores=better))
    runs = {
        name: {(e.member, e.id): e for e in resample_suite(members)}
        for name, members in (("unified", unified), ("one-class", single))
    }
    key = (MEAN, "image_auroc")
    one, other = (runs[name][key].spread for name in ("unified", "one-class"))
    interval = interval_of_difference(difference_of(one, other))
    assert one.value < other.value
    assert interval.high < 0
    assert interval.high - interval.low < 0.5 * (interval_of(one).high - interval_of(one).low)
    (pair,) = pairs_of({name: [run[key].spread] for name, run in runs.items()})
    assert pair.interval == interval_of_difference(difference_of(other, one))
    rows = runs["unified"][key].rows
    assert rows.shape == (2000,)
    assert rows.std() == pytest.approx(one.error(1.0)[0], rel=0.15)
    pooled = runs["unified"][None, "pooled_image_auroc"]
    assert pooled.rows.std() == pytest.approx(pooled.spread.error(1.0)[0], rel=0.15)
    assert pooled.rows.mean() == pytest.approx(pooled.spread.value, abs=0.01)


def test_intervals_of_a_mean_and_of_a_pooled_value_cover() -> None:
    """120 draws of three members of 20 patients: 0.95 has a standard deviation of 0.02."""
    shifts, offsets = (1.0, 1.5, 2.0), (0.0, 1 / 3, 2 / 3)
    share = {
        (i, j): float(norm.cdf((offsets[i] + shifts[i] - offsets[j]) / np.sqrt(2)))
        for i in range(3)
        for j in range(3)
    }
    truth = {
        "image_auroc": np.mean([share[i, i] for i in range(3)]),
        "pooled_image_auroc": np.mean(list(share.values())),
        "pooled_image_auroc_across": np.mean([share[pair] for pair in permutations(range(3), 2)]),
    }
    held = dict.fromkeys(truth, 0)
    for draw in range(120):
        scores = score_suite(members_of(1000 + draw, 20, 20, 20))
        for metric, value in truth.items():
            told = found(scores, metric)
            held[metric] += told.low <= value <= told.high
    assert all(110 <= count <= 120 for count in held.values()), held
