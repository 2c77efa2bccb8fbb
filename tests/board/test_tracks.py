"""Whether a run may take a rank: one place decides, and nothing that was written says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness.board.reviews import Review
from harness.board.rows import ranked_records, summarise
from harness.board.terminal_tables import result_tables
from harness.board.tracks import OPEN_TRACK, ranking, reasons_of, why_unranked
from harness.publishing.publication import record_problems
from harness.records.record import Record
from harness.records.store import read_record
from tests.record_factory import KNOWN

MakeRecord = Callable[..., Record]


def ranked_as(track: str, **params: Any) -> tuple[bool, str | None]:
    settings = SimpleNamespace(params=params, preset="bmad")
    pack = SimpleNamespace(name="brain", members=())
    return ranking(settings, pack, SimpleNamespace(isolation="container"), track=track)


def test_a_run_of_the_open_track_never_says_that_it_is_ranked() -> None:
    assert ranked_as("open") == (False, "open track")
    assert ranked_as("sealed") == (True, None)
    assert ranked_as("trained-here") == (True, None)
    assert ranked_as("open", weights="random") == (False, "random weights, open track")


def test_an_old_record_that_says_so_is_read_and_takes_no_rank(
    make_record: MakeRecord, tmp_path
) -> None:
    old = make_record(track="open", ranked=True).sealed()
    path = tmp_path / "seed-0.json"
    path.write_text(old.model_dump_json())
    record = read_record(path)
    assert record.ranked
    assert reasons_of(record) == why_unranked(record) == [OPEN_TRACK]
    (row,) = summarise([record])
    assert (row.ranked, row.unranked_reason) == (False, OPEN_TRACK)
    assert ranked_records([record]) == {}
    assert f"unranked ({OPEN_TRACK})" in result_tables([record], width=400)
    assert "ok, unranked" in result_tables([record], width=400)


def test_what_a_record_says_against_itself_counts_as_well(make_record: MakeRecord) -> None:
    record = make_record(ranked=False, unranked_reason="unreviewed, not isolated")
    assert why_unranked(record) == ["unreviewed", "not isolated"]
    (row,) = summarise([record])
    assert row.unranked_reason == "unreviewed, not isolated"


@pytest.mark.parametrize(
    ("track", "is_ranked", "reason", "is_wrong"),
    [
        ("open", False, "open track", False),
        ("open", True, None, False),  # of an older harness
        ("open", False, "not isolated", True),
        ("open", False, None, True),
        ("trained-here", True, None, False),
        ("trained-here", False, "open track", True),
    ],
)
def test_a_published_record_says_what_was_found(
    make_record: MakeRecord, track: str, is_ranked: bool, reason: str | None, is_wrong: bool
) -> None:
    record = make_record(track=track, ranked=is_ranked, unranked_reason=reason)
    review = Review((), "looked at")
    told = [text for text in record_problems(record, review, KNOWN) if "may take a rank" in text]
    assert bool(told) == is_wrong
