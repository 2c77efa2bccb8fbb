"""Metric against number of images: the band is of the seeds, and what is missing says why."""

from __future__ import annotations

import statistics

import pytest

from harness.board.few_shot_curves import few_shot_curves
from harness.board.rows import summarise
from harness.common.statuses import Status
from harness.records.record import Record
from tests.record_factory import record

KEY = ("image_auroc", None)


def few(shots: int, seed: int, value: float, **changes: object) -> Record:
    told: dict = {"regime": {"name": "few-shot", "shots": shots}, "mark": shots}
    return record(seed=seed, metrics={KEY: value}, **(told | changes))


def test_points_go_up_in_images_with_a_band_over_seeds_and_one_class_at_the_end() -> None:
    values = {4: (0.8, 0.86, 0.83), 1: (0.7, 0.99999, 0.9), 16: (0.95,)}
    runs = [few(k, s, v) for k, each in values.items() for s, v in enumerate(each)]
    runs.append(record(metrics={KEY: 0.97}))
    (curve,) = few_shot_curves(summarise(runs))
    assert [point.shots for point in curve.points] == [1, 4, 16]
    one, four, sixteen = curve.points
    deviation = statistics.stdev(values[4])
    assert (four.low, four.high) == (
        pytest.approx(0.83 - deviation),
        pytest.approx(0.83 + deviation),
    )
    assert one.high == 1.0  # never above what a metric can be
    assert (sixteen.low, sixteen.high, sixteen.reason) == (None, None, "one seed")
    assert curve.with_all is not None
    assert curve.with_all.mean == 0.97


def test_what_cannot_be_done_is_a_gap_with_its_reason() -> None:
    runs = [few(1, 0, 0.5, status=Status.NOT_APPLICABLE), few(2, 0, 0.8), few(4, 0, 0.9, status=Status.CRASHED)]  # fmt: skip
    (curve,) = few_shot_curves(summarise(runs))
    assert [(p.mean, p.reason) for p in curve.points] == [
        (None, "not applicable"), (0.8, "one seed"), (None, "failed"),
    ]  # fmt: skip
    assert curve.with_all is None
    assert few_shot_curves(summarise(runs[:1])) == ()


def test_deliveries_tracks_and_entries_have_curves_of_their_own() -> None:
    small = {"name": "few-shot", "shots": 4, "delivery": "256"}
    runs = [few(4, 0, 0.8), few(4, 0, 0.7, regime=small, mark="256"), few(4, 0, 0.6, entry="padim")]
    found = few_shot_curves(summarise(runs))
    assert {(c.entry, c.delivery) for c in found} == {
        ("patchcore", "native"), ("patchcore", "256"), ("padim", "native"),
    }  # fmt: skip
