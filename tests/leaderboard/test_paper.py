"""The paper's reference numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.board.rows import summarise
from harness.records.regime import ONE_CLASS, Regime
from leaderboard.paper import by_cell, difference, method_key, read_paper, why_not_comparable


def test_all_methods_benchmarks_and_metrics_are_there():
    values = read_paper()
    assert len({value.method for value in values}) == 15
    assert {value.metric for value in values} == {
        "image_auroc", "pixel_auroc", "pixel_pro", "dice_at_0.5",
    }  # fmt: skip
    assert {value.benchmark for value in values} == {
        "brain", "liver", "resc", "oct2017", "rsna", "camelyon16",
    }  # fmt: skip


def test_percent_become_fractions_and_na_stays_undefined():
    cells = by_cell(read_paper())
    value = cells["patchcore", "brain", "image_auroc"]
    assert (value.mean, value.std) == (pytest.approx(0.9165), pytest.approx(0.0036))
    missing = cells["fanogan", "brain", "pixel_auroc"]
    assert (missing.mean, missing.std, missing.place) == (None, None, None)


def test_the_papers_best_three_are_marked():
    column = [v for v in read_paper() if (v.benchmark, v.metric) == ("brain", "image_auroc")]
    assert {v.method: v.place for v in column if v.place} == {
        "PatchCore": 1, "CS-Flow": 2, "RD4AD": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("title", "method"),
    [("PatchCore", "patchcore"), ("CS-Flow", "CSFlow"), ("Deep SVDD", "DeepSVDD")],
)
def test_spellings_of_a_method_meet(title, method):
    assert method_key(title) == method_key(method)


def test_differences_use_the_papers_grid_or_image_metrics(make_record):
    reported = by_cell(read_paper())
    row = summarise([make_record()])[0]
    assert difference(row, "image_auroc", reported) == pytest.approx(0.91649 - 0.9165)
    assert difference(row, "pixel_pro", reported) == pytest.approx(0.85555 - 0.8568)
    assert difference(row, "image_ap", reported) is None
    unknown = summarise([make_record(title="Another")])[0]
    assert difference(unknown, "image_auroc", reported) is None
    native_only = summarise([make_record(metrics={("pixel_pro", "native"): 0.9})])[0]
    assert difference(native_only, "pixel_pro", reported) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"params": {"weights": "random"}}, "random weights"),
        ({"entry__preset": "demo"}, "demo settings"),
        ({"regime": Regime(name="few-shot", shots=4)}, "another regime"),
    ],
)
def test_a_run_of_another_kind_than_the_papers_is_not_compared_with_it(
    make_record, changed, reason
):
    reported = by_cell(read_paper())
    row = summarise([make_record(**changed)])[0]
    assert why_not_comparable(row, "image_auroc", reported) == reason
    assert difference(row, "image_auroc", reported) is None
    assert why_not_comparable(row, "image_ap", reported) is None  # the paper has none
    own = replace(row, regime=ONE_CLASS, unranked_reason="own settings, not isolated")
    assert why_not_comparable(own, "image_auroc", reported) == "own settings"
