"""Rows over seeds: against numpy, and the cases in which a mean would hide something."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest

from harness.board.public_rows import published
from harness.board.rows import place, ranked_records, summarise
from harness.common.statuses import Status
from harness.records.parts import Part
from tests.record_factory import comparison

ONE = {("image_auroc", None): 0.5}


def auroc(value):
    return {("image_auroc", None): value}


def test_mean_and_deviation_are_those_of_numpy(make_record):
    values = np.random.default_rng(0).uniform(0.3, 0.99, 7)
    rows = summarise(make_record(seed=s, metrics=auroc(v)) for s, v in enumerate(values.tolist()))
    summary = rows[0].metric("image_auroc", None)
    assert summary.mean == pytest.approx(values.mean(), abs=1e-15)
    assert summary.std == pytest.approx(values.std(ddof=1), abs=1e-15)
    assert [seed.value for seed in summary.seeds] == values.tolist()


def test_the_mean_of_one_seed_is_its_value_and_has_no_deviation(make_record):
    summary = summarise([make_record(metrics=auroc(0.91649))])[0].metric("image_auroc", None)
    assert (summary.mean, summary.std, summary.std_reason) == (0.91649, None, "one seed")


def test_seed_spread_and_image_interval_stand_apart(make_record):
    records = [make_record(seed=s, metrics=auroc(v)) for s, v in ((0, 0.8), (1, 0.9))]
    summary = summarise(records)[0].metric("image_auroc", None)
    assert summary.std == pytest.approx(0.1 / 2**0.5)
    assert [(s.low, s.high) for s in summary.seeds] == [
        (pytest.approx(0.79), pytest.approx(0.81)),
        (pytest.approx(0.89), pytest.approx(0.91)),
    ]


def test_no_mean_is_taken_over_the_seeds_that_are_left_when_one_failed(make_record):
    records = [make_record(seed=0), make_record(seed=1, status=Status.CRASHED, detail="image 12")]
    row = summarise(records)[0]
    summary = row.metric("image_auroc", None)
    assert summary.mean is None
    assert summary.reason == "1 of 2 runs failed: crashed"
    assert [seed.value for seed in summary.seeds] == [0.91649, None]
    assert [(f.seed, f.status, f.detail) for f in row.failures] == [(1, Status.CRASHED, "image 12")]
    assert not row.ranked


def test_what_a_method_cannot_do_is_no_failure_and_no_value(make_record):
    records = [make_record(), make_record(seed=1, status=Status.NOT_APPLICABLE)]
    row = summarise(records)[0]
    summary = row.metric("image_auroc", None)
    assert (summary.mean, summary.reason) == (None, "undefined for seed 1: not applicable")
    assert row.failures == ()
    assert [(each.seed, each.status) for each in row.not_applicable] == [(1, Status.NOT_APPLICABLE)]
    assert (row.ranked, row.unranked_reason) == (False, "not applicable")
    (alone,) = summarise(records[1:])
    assert (alone.metrics, alone.unranked_reason) == ((), "not applicable")


def test_no_mean_is_taken_when_a_seed_is_undefined(make_record):
    records = [make_record(seed=0, metrics=auroc(None)), make_record(seed=1, metrics=auroc(0.7))]
    summary = summarise(records)[0].metric("image_auroc", None)
    assert summary.mean is None
    assert summary.reason == "undefined for seed 0: the entry gives no maps"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"entry__identity": "folder:sha256:" + "0" * 64}, "code"),
        ({"params": {"coreset_ratio": 0.25}}, "parameters"),
        ({"pack__version": "another"}, "images"),
        ({"source__metrics": "2"}, "metric versions"),
    ],
)
def test_no_mean_is_taken_over_seeds_of_different_kinds(make_record, change, what):
    row = summarise([make_record(seed=0), make_record(seed=1, **change)])[0]
    assert row.metric("image_auroc", None).mean is None
    assert row.unranked_reason == f"the seeds ran with different {what}"


def test_a_record_that_stands_twice_counts_once(make_record):
    assert summarise([make_record(), make_record()]) == summarise([make_record()])


def test_a_seed_that_was_run_twice_differently_has_no_mean(make_record):
    row = summarise([make_record(), make_record(mark="other threads")])[0]
    assert row.metric("image_auroc", None).reason == "a seed was run more than once"


def test_track_and_isolation_make_rows_of_their_own(make_record):
    records = [
        make_record(),
        make_record(isolation="none"),
        make_record(track="open"),
        make_record(benchmark="liver"),
    ]
    rows = summarise(records)
    assert [(r.benchmark, r.track, r.isolation, r.ranked) for r in rows] == [
        ("brain", "open", "container", False),
        ("brain", "trained-here", "container", True),
        ("brain", "trained-here", "none", False),
        ("liver", "trained-here", "container", True),
    ]


def test_each_reason_for_no_rank_is_said_once(make_record):
    told = "random weights, not isolated, demonstration pack"
    records = [
        make_record(seed=s, isolation="none", ranked=False, unranked_reason=told) for s in (0, 1)
    ]
    assert summarise(records)[0].unranked_reason == told


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"params": {"weights": "random"}}, "random weights"),
        ({"params": {"native_map": True}}, "a map that its paper does not give"),
        ({"isolation": "none"}, "not isolated"),
        ({"track": "open"}, "open track"),
        ({"status": Status.CRASHED}, "a run failed"),
        ({"metadata": {"withdrawn": "a bug"}}, "withdrawn: a bug"),
    ],
)
def test_no_record_can_call_itself_ranked_where_the_rules_say_no(make_record, change, reason):
    row = summarise([make_record(ranked=True, **change)])[0]
    assert (row.ranked, row.unranked_reason) == (False, reason)


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.GPU_LOST, Status.HOST_ERROR])
def test_what_nobody_or_the_infrastructure_did_is_no_row(make_record, status):
    assert summarise([make_record(status=status)]) == ()


def test_the_order_of_the_records_changes_nothing(make_record):
    records = [make_record(entry=e, seed=s) for e in ("b", "a") for s in (2, 0, 1)]
    assert summarise(records) == summarise(reversed(records))


def test_places_are_shared_by_ties_and_kept_from_unranked_rows(make_record):
    values = {"a": 0.9, "b": 0.9, "c": 0.8, "d": 0.7, "cheat": 0.99}
    rows = summarise(
        make_record(entry=e, metrics=auroc(v), ranked=e != "cheat") for e, v in values.items()
    )
    found = {row.entry: row.metric("image_auroc", None).place for row in rows}
    assert found == {"a": 1, "b": 1, "c": 3, "d": None, "cheat": None}


def test_place_counts_higher_values():
    assert [place(v, [0.1, 0.2, 0.3, 0.4]) for v in (0.4, 0.3, 0.2, 0.1, None)] == [
        1, 2, 3, None, None,
    ]  # fmt: skip


def test_ranks_come_from_a_comparison_of_exactly_these_records(make_record):
    records = [make_record(), make_record(entry="padim", title="PaDiM")]
    compared = {"brain": comparison(records, grids=(None,))}
    rows = {row.entry: row for row in summarise(records, comparisons=compared)}
    assert rows["patchcore"].metric("image_auroc", None).rank == 1
    assert rows["padim"].metric("image_auroc", None).standing.ties == ("patchcore",)
    assert rows["padim"].metric("pixel_pro", "native").rank is None
    assert all(m.rank is None for row in summarise(records) for m in row.metrics)
    older = summarise([*records, make_record(entry="new", title="New")], comparisons=compared)
    assert all(m.rank is None for row in older for m in row.metrics)


def test_an_unranked_row_neither_takes_a_rank_nor_outdates_the_others(make_record):
    records = [make_record(), make_record(entry="padim", title="PaDiM")]
    compared = {"brain": comparison(records, grids=(None,))}
    local = make_record(entry="local", title="Local", isolation="none")
    rows = {row.entry: row for row in summarise([*records, local], comparisons=compared)}
    assert rows["patchcore"].metric("image_auroc", None).rank == 1
    assert all(metric.rank is None for metric in rows["local"].metrics)
    assert ranked_records([*records, local]) == {"brain": (records[1], records[0])}


def test_of_a_hidden_pack_a_standing_keeps_its_rank_and_ties_alone(make_record):
    hidden = {"benchmark": "clinic", "visibility": "hidden", "track": "sealed"}
    records = [make_record(**hidden), make_record(entry="padim", title="PaDiM", **hidden)]
    rows = published(summarise(records, comparisons={"clinic": comparison(records)}))
    for row in rows:
        standing = row.metric("image_auroc", None).standing
        assert standing.rank == 1
        assert (standing.mean, standing.low, standing.high, standing.stability) == (
            None, None, None, (),
        )  # fmt: skip


def test_costs_are_means_of_medians_and_largest_peaks(make_record):
    records = [
        make_record(seed=0, median_seconds=0.1, gpu_mib=100.0),
        make_record(seed=1, median_seconds=0.3, gpu_mib=300.0),
    ]
    row = summarise(records)[0]
    assert row.seconds_per_image == pytest.approx(0.2)
    assert row.seconds_std == pytest.approx(0.2 / 2**0.5)
    assert row.peak_gpu_mib == 300.0


def test_hidden_rows_leave_rounded_to_their_interval_and_bare(make_record):
    records = [
        make_record(
            seed=s,
            metrics=auroc(v),
            visibility="hidden",
            track="sealed",
            interval=0.034,
            median_seconds=0.031234,
        )
        for s, v in ((0, 0.8123456), (1, 0.8654321))
    ]
    row = published(summarise(records))[0]
    summary = row.metric("image_auroc", None)
    assert (summary.mean, summary.std, summary.step) == (0.84, 0.04, 0.01)
    assert summary.seeds == ()
    assert row.seconds_per_image == 0.031
    assert row.seconds_std is None


def test_failures_on_hidden_packs_are_published_without_their_detail(make_record):
    failed = make_record(visibility="hidden", status=Status.BAD_FRAME, detail="image 12: secret")
    row = published(summarise([failed]))[0]
    assert [(f.status, f.detail) for f in row.failures] == [(Status.BAD_FRAME, "")]


def test_two_entries_that_differ_by_less_than_the_interval_publish_the_same(make_record):
    rows = [
        published(summarise([make_record(metrics=auroc(v), visibility="hidden", interval=0.02)]))
        for v in (0.8412, 0.8423)
    ]
    assert rows[0][0].metrics == rows[1][0].metrics


def test_publishing_twice_changes_nothing_and_open_rows_stay_exact(make_record):
    rows = summarise([make_record(), make_record(benchmark="clinic", visibility="hidden")])
    once = published(rows)
    assert published(once) == once
    assert once[0] == rows[0]


def test_places_of_hidden_rows_follow_what_is_shown(make_record):
    rows = summarise(
        make_record(entry=e, metrics=auroc(v), visibility="hidden", track="sealed", interval=0.03)
        for e, v in (("a", 0.841), ("b", 0.842))
    )
    assert [row.metric("image_auroc", None).place for row in published(rows)] == [1, 1]


def test_rows_are_plain_json_without_nan(make_record):
    rows = summarise([make_record(metrics={("pixel_pro", "native"): None} | ONE)])
    as_json = partial(Part.model_dump, mode="json")
    json.dumps([asdict(row) for row in rows], allow_nan=False, default=as_json)
