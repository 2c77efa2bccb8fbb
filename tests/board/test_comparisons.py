"""The file of a comparison: what it refuses, and what of it may leave the machine."""

from __future__ import annotations

import json

import pytest

from harness.board.comparison import (
    Standing,
    comparison_bytes,
    comparison_path,
    read_comparisons,
    without_numbers,
)
from harness.common.errors import StoreUnusable
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


@pytest.mark.parametrize("damage", [{"columns": None}, {"schema_version": 2}, {"surplus": 1}])
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
