"""The file of a comparison: what it refuses, and what of it may leave the machine."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.board.comparison import (
    Standing,
    comparison_bytes,
    comparison_path,
    read_comparisons,
    without_numbers,
)
from harness.board.paired_differences import PairedDifference
from harness.common.errors import StoreUnusable
from harness.publishing.comparison_check import comparison_problems
from tests.record_factory import comparison, record


@pytest.fixture
def pair():
    return [record(), record(entry="padim", title="PaDiM")]


def test_a_comparison_reads_back_as_it_was_written(tmp_path, pair):
    made = comparison(pair)
    path = comparison_path(tmp_path, "brain")
    path.parent.mkdir()
    path.write_bytes(comparison_bytes(made))
    assert read_comparisons(tmp_path) == {"brain": made}


def test_a_results_folder_without_comparisons_has_none(tmp_path):
    assert read_comparisons(tmp_path) == {}


def test_it_is_current_for_exactly_the_records_that_it_names(pair):
    made = comparison(pair)
    assert made.is_current(reversed(pair))
    assert not made.is_current(pair[:1])
    assert not made.is_current([*pair, record(seed=1)])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rank": 3}, "rank 3 with 1 better"),
        ({"better": ("a",), "ties": ("a",)}, "contradict"),
        ({"better": ("me",)}, "contradict"),
        ({"stability": (0.5, 0.4)}, "sum to 1"),
        ({"mean": float("nan")}, "not finite"),
    ],
)
def test_a_standing_that_contradicts_itself_is_refused(change, told):
    sound = {"entry": "me", "rank": 2, "better": ("a",), "ties": ("b",), "seeds": 1, "mean": 0.5}
    Standing(**sound)
    with pytest.raises(ValueError, match=told):
        Standing(**(sound | change))


@pytest.mark.parametrize("damage", [{"columns": None}, {"schema_version": 3}, {"surplus": 1}])
def test_a_file_of_another_schema_is_refused_with_its_path(tmp_path, pair, damage):
    content = json.loads(comparison_bytes(comparison(pair))) | damage
    path = comparison_path(tmp_path, "brain")
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    with pytest.raises(StoreUnusable, match="not a comparison") as caught:
        read_comparisons(tmp_path)
    assert str(path) in str(caught.value.where)


def test_of_a_hidden_pack_nothing_but_ranks_and_ties_is_published():
    hidden = {"benchmark": "clinic", "visibility": "hidden", "track": "sealed"}
    made = comparison([record(**hidden), record(entry="padim", title="PaDiM", **hidden)])
    bare = without_numbers(made)
    assert "0.91" in comparison_bytes(made).decode()
    assert "0.91" not in comparison_bytes(bare).decode()
    assert [s.rank for c in bare.columns for s in c.standings] == [1, 1] * len(made.columns)
    assert without_numbers(comparison([record()])) == comparison([record()])


def differing(pair, **changes):
    """The comparison of two entries, with one paired difference in its first column."""
    made = comparison(pair)
    first, *others = made.columns
    one, other = sorted(standing.entry for standing in first.standings)
    told = {"difference": 0.0, "low": -0.01, "high": 0.01, "p_holm": 1.0} | changes
    column = replace(first, differences=(PairedDifference(one, other, **told),))
    return replace(made, columns=(column, *others))


def test_the_paired_differences_are_read_as_they_were_written_and_a_file_of_version_1_has_none(
    tmp_path, pair
):
    made = differing(pair)
    path = comparison_path(tmp_path, "brain")
    path.parent.mkdir()
    path.write_bytes(comparison_bytes(made))
    assert read_comparisons(tmp_path)["brain"] == made
    content = json.loads(comparison_bytes(made)) | {"schema_version": 1}
    for column in content["columns"]:
        del column["differences"]
    path.write_text(json.dumps(content))
    old = read_comparisons(tmp_path)["brain"]
    assert old.schema_version == 1
    assert old.columns[0].standings == made.columns[0].standings
    assert {column.differences for column in old.columns} == {()}


def test_of_a_hidden_pack_no_difference_leaves_the_machine(pair):
    hidden = replace(differing(pair), visibility="hidden")
    assert {column.differences for column in without_numbers(hidden).columns} == {()}


def test_a_verdict_goes_by_the_corrected_p_and_not_by_the_interval_alone():
    alone = PairedDifference("a", "b", 0.02, 0.01, 0.03, 0.051)
    assert alone.leaves_zero_out
    assert alone.verdict == "undecided"
    assert PairedDifference("a", "b", -0.02, -0.03, -0.01, 0.05).verdict == "other"


@pytest.mark.parametrize(
    "wrong",
    [("b", "a", 0.0, -0.1, 0.1, 1.0), ("a", "b", 0.2, -0.1, 0.1, 1.0), ("a", "b", 0.0, None, 0.1, 1.0),
     ("a", "b", float("nan"), None, None, 1.0), ("a", "b", 0.0, None, None, 1.5)],
)  # fmt: skip
def test_a_difference_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ValueError, match="a"):
        PairedDifference(*wrong)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"difference": 0.005}, "is not that of their means"),
        ({"low": 0.0, "high": 0.0, "p_holm": 0.01}, "says another thing than their ranks"),
    ],
)
def test_the_check_holds_differences_to_the_means_and_to_the_ranks(pair, changes, problem):
    before = list(comparison_problems(differing(pair), pair))
    assert not any("difference" in each for each in before)
    (found,) = set(comparison_problems(differing(pair, **changes), pair)) - set(before)
    assert problem in found
