"""A unified value beside its one-class sibling, against the jackknife by hand; and why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from harness.board.siblings import (
    HIDDEN,
    NO_EVIDENCE,
    NO_SIBLING,
    OTHER_CODE,
    OTHER_IMAGES,
    MemberSpreads,
    SiblingDifference,
    sibling_differences,
)
from harness.board.suite_rows import whole_rows
from harness.common.errors import DataMissing
from harness.common.statuses import Status
from harness.metrics.jackknife import Spread
from harness.metrics.table import RANKED
from harness.records.record import MetricValue, Record, content_hash
from tests.record_factory import record

KEY = ("image_auroc", None)
IMAGE_AUROC: dict[str, Any] = {"id": "image_auroc", "grid": None, "n": 9}
UNITS = {"brain": 40, "liver": 30}


def unified(values: Mapping[str, float], seed: int = 0, **changes: Any) -> Record:
    """A run over two members, with these image AUROCs."""
    packs = [record(benchmark=name).pack.model_dump(mode="json") for name in values]
    told: dict[str, Any] = {
        "run_key": content_hash(["unified", seed]),
        "pack": {"benchmark": "two", "base": None, "visibility": "open"} | changes.pop("pack", {}),
        "members": packs,
        "regime": {"name": "unified", "suite": "two", "delivery": "256"},
    }  # fmt: skip
    metrics = [
        *(MetricValue(**IMAGE_AUROC, value=value, member=name) for name, value in values.items()),
        MetricValue(**IMAGE_AUROC, value=float(np.mean([*values.values()])), member="mean"),
        MetricValue(id="pooled_image_auroc", grid=None, value=0.5, n=9),
    ]
    bare = record(seed=seed, metrics={}, **(told | changes))
    return bare.model_copy(update={"metrics": metrics}).sealed()


def alone(benchmark: str, value: float, seed: int = 0, **changes: Any) -> Record:
    """A one-class run on one member, its images delivered as the suite's."""
    told = {"regime": {"name": "one-class", "delivery": "256"}, "mark": benchmark}
    return record(benchmark=benchmark, seed=seed, metrics={KEY: value}, **(told | changes))


def moves(run: Record, benchmark: str) -> np.ndarray:
    """What each patient moves: a part that all runs share, and one of the run's own."""
    shared = np.random.default_rng(len(benchmark)).normal(0, 0.01, UNITS[benchmark])
    own = np.random.default_rng([run.seed, len(run.members)]).normal(0, 0.001, UNITS[benchmark])
    return np.asarray(shared + own)


def spreads(run: Record) -> dict[str, MemberSpreads]:
    names = [pack.benchmark for pack in run.members] or [run.pack.benchmark]
    return {
        name: MemberSpreads({KEY: Spread(0.5, moves(run, name), UNITS[name], RANKED)}, UNITS[name])
        for name in names
    }


def differences(
    runs: Sequence[Record], others: Sequence[Record], read: Any = spreads
) -> dict[str, SiblingDifference]:
    (whole,) = whole_rows(runs)
    found = sibling_differences(whole, runs, others, read)
    assert {each.metric for each in found} == {"image_auroc"}
    return {each.member: each for each in found}


RUNS = [unified({"brain": 0.80, "liver": 0.60}, 0), unified({"brain": 0.82, "liver": 0.64}, 1)]
OTHERS = [alone("brain", v, s) for s, v in enumerate((0.9, 0.94))]
OTHERS += [alone("liver", v, s) for s, v in enumerate((0.7, 0.7))]


def test_the_difference_is_of_means_over_seeds_and_its_error_that_of_joint_leaving_out() -> None:
    found = differences(RUNS, OTHERS)
    brain = found["brain"]
    assert brain.sibling == pytest.approx(0.92)
    assert brain.difference == pytest.approx(0.81 - 0.92)
    assert found["liver"].difference == pytest.approx(0.62 - 0.70)
    assert found["mean"].sibling == pytest.approx((0.92 + 0.70) / 2)
    assert found["mean"].difference == pytest.approx((0.81 + 0.62) / 2 - (0.92 + 0.70) / 2)
    # By hand: every patient moves both means at once, so what all runs share is gone.
    joint = np.mean([moves(run, "brain") for run in RUNS], axis=0)
    joint = joint - np.mean([moves(run, "brain") for run in OTHERS[:2]], axis=0)
    count = UNITS["brain"]
    # The spreads say 0.5 for every seed, so none comes from seeds.
    error = np.sqrt((count - 1) / count * (joint**2).sum())
    assert brain.low is not None
    assert brain.high is not None
    half = (brain.high - brain.low) / 2
    assert 1.96 * error < half < 2.2 * error
    assert half < 0.2 * 1.96 * np.sqrt(((moves(RUNS[0], "brain")) ** 2).sum())


def test_the_means_interval_adds_the_members_variances() -> None:
    found = differences(RUNS, OTHERS)
    halves = {name: (e.high - e.low) / 2 for name, e in found.items() if e.low is not None and e.high is not None}  # fmt: skip
    together = np.sqrt(halves["brain"] ** 2 + halves["liver"] ** 2) / 2
    assert halves["mean"] == pytest.approx(together, rel=0.05)


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ([], NO_SIBLING),
        ([alone("brain", 0.9, pack__version="brain-000000000000")], OTHER_IMAGES),
        ([alone("brain", 0.9, pack__patients_digest=content_hash("others"))], OTHER_IMAGES),
        ([alone("brain", 0.9, entry__identity="folder:" + content_hash("new"))], OTHER_CODE),
        ([alone("brain", 0.9, status=Status.CRASHED)], "ended with crashed"),
        ([alone("brain", 0.9, status=Status.NOT_APPLICABLE)], "ended with not_applicable"),
    ],
)
def test_without_a_sibling_it_says_why_and_the_mean_says_of_whom(
    others: list[Record], why: str
) -> None:
    found = differences(RUNS, [*others, *OTHERS[2:]])
    assert found["brain"].difference is None
    assert why in (found["brain"].reason or "")
    assert found["mean"].difference is None
    assert (found["mean"].reason or "").startswith("brain: ")
    assert found["liver"].difference is not None


def test_without_evidence_the_difference_stands_without_an_interval() -> None:
    def none(run: Record) -> dict[str, MemberSpreads]:
        raise DataMissing("not here")

    found = differences(RUNS, OTHERS, none)
    assert {each.reason for each in found.values()} == {NO_EVIDENCE}
    assert found["brain"].difference == pytest.approx(-0.11)
    assert found["brain"].low is None


def test_of_a_hidden_member_nothing_is_told() -> None:
    others = [alone("brain", 0.9, s, visibility="hidden", track="sealed") for s in (0, 1)]
    found = differences(RUNS, [*others, *OTHERS[2:]])
    assert found["brain"].reason == HIDDEN
    assert found["brain"].sibling is None


def test_the_parts_of_a_suite_are_as_open_as_the_least_open_member() -> None:
    runs = [unified({"brain": 0.8123456, "liver": 0.6}, pack={"visibility": "hidden"})]
    (whole,) = whole_rows(runs)
    assert [name for name, _ in whole.parts] == ["brain", "liver", "mean", None]
    for _, row in whole.parts:
        assert row.visibility == "hidden"
        assert all(metric.seeds == () and metric.step for metric in row.metrics)
    (open_one,) = whole_rows(RUNS[:1])
    brain = open_one.members["brain"].metric("image_auroc", None)
    assert brain is not None
    assert brain.mean == 0.80
    assert brain.step is None
