"""Whether a run may take a rank: one place decides, and nothing that was written says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from baselines.kit.weight_files import WEIGHT_FILES, WeightFile
from harness.board.reviews import Review, marked
from harness.board.rows import ranked_records, summarise
from harness.board.terminal_tables import result_tables
from harness.board.tracks import OPEN_TRACK, SAME_USER, ranking, reasons_of, why_unranked
from harness.publishing.publication import record_problems
from harness.records.isolation import IsolationLevel
from harness.records.record import Record
from harness.records.store import read_record
from tests.record_factory import KNOWN, NO_CGROUPS

MakeRecord = Callable[..., Record]


def ranked_as(
    track: str, isolation: IsolationLevel = "container", **params: Any
) -> tuple[bool, str | None]:
    settings = SimpleNamespace(params=params, preset="bmad")
    pack = SimpleNamespace(name="brain", members=())
    return ranking(settings, pack, isolation, track=track)


def test_a_run_of_the_open_track_never_says_that_it_is_ranked() -> None:
    assert ranked_as("open") == (False, "open track")
    assert ranked_as("sealed") == (True, None)
    assert ranked_as("trained-here") == (True, None)
    assert ranked_as("open", weights="random") == (False, "random weights, open track")


def test_as_the_same_user_only_what_is_trained_here_may_take_a_rank() -> None:
    assert ranked_as("trained-here", "same user") == (True, None)
    assert ranked_as("open", "same user") == (False, f"{SAME_USER}, {OPEN_TRACK}")
    assert ranked_as("sealed", "same user") == (False, SAME_USER)
    assert ranked_as("trained-here", "none") == (False, "not isolated")


def test_an_unreviewed_run_as_the_same_user_takes_none(make_record: MakeRecord) -> None:
    record = make_record(isolation="same user", machine__measured=NO_CGROUPS)
    assert summarise([marked(record, Review((), "looked at"))])[0].ranked
    told = result_tables([record], width=400)
    assert "ok, same user" in told
    assert "same user: memory and pids not bounded: brain/patchcore" in told
    (row,) = summarise([marked(record, Review(("unreviewed",), "nobody knows it"))])
    assert (row.ranked, row.unranked_reason) == (False, "unreviewed")
    assert row.lacks == ("memory and pids not bounded",)


@pytest.mark.parametrize(
    ("changes", "is_wrong"),
    [
        ({}, False),
        ({"track": "open", "entry__kind": "image", "ranked": False,
          "unranked_reason": f"{SAME_USER}, {OPEN_TRACK}"}, False),
        ({"track": "sealed", "visibility": "hidden", "ranked": False,
          "unranked_reason": SAME_USER}, True),
    ],
)  # fmt: skip
def test_no_record_of_a_hidden_pack_is_published_that_ran_as_the_same_user(
    make_record: MakeRecord, changes: dict[str, Any], is_wrong: bool
) -> None:
    record = make_record(isolation="same user", machine__measured=NO_CGROUPS, **changes)
    told = "\n".join(record_problems(record, Review((), "looked at"), KNOWN))
    assert ("its isolation is 'same user'" in told) == is_wrong
    assert "may take a rank" not in told


def test_efficientad_without_the_images_that_it_is_defined_with_takes_no_rank() -> None:
    assert ranked_as("trained-here", penalty="none") == (False, "no penalty images")
    assert ranked_as("trained-here", penalty="imagenet") == (True, None)


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


def part(name: str = "resnet18", digest: str | None = None, **more: Any) -> dict[str, Any]:
    known = WEIGHT_FILES["resnet18"].sha256
    return {"name": name, "file": f"{name}.pth", "sha256": f"sha256:{digest or known}", **more}


NET = {"backbones": ["resnet18", "wide_resnet50_2"]}
OWN = part("mine", "0" * 64, architecture="resnet18", description="sha256:" + "1" * 64)


@pytest.mark.parametrize(
    ("metadata", "params", "weights", "reasons"),
    [
        (NET, {}, [part()], []),
        (NET, {"backbone": "resnet18"}, [part()], []),
        (NET, {}, [part(digest="0" * 64)], ["unpinned weights"]),
        (NET, {}, [part("vit_small_patch14_dinov2", "0" * 64)], ["unpinned weights"]),
        (NET, {"backbone": "mine"}, [OWN], ["own backbone"]),
        (NET, {"backbone": "mine"}, [part(), OWN], ["own backbone"]),
        # It read a file, and tells of none, or of another one.
        (NET, {}, None, ["unpinned weights"]),
        (NET, {}, [], ["unpinned weights"]),
        (NET, {"backbone": "wide_resnet50_2"}, [part()], ["unpinned weights"]),
        # It read none.
        (NET, {"weights": "random"}, None, ["random weights"]),
        (NET, {"weights": "random"}, [OWN | {"sha256": None}], ["random weights"]),
        ({}, {}, None, []),
        (
            {"backbones": ["imagenette2"], "needed_where": {"imagenette2": {"penalty": "imagenet"}}},
            {}, [], [],
        ),
    ],
)  # fmt: skip
def test_a_row_ranks_only_with_pretrained_files_of_the_committed_table(
    make_record: MakeRecord, metadata: Any, params: Any, weights: Any, reasons: list[str]
) -> None:
    record = make_record(metadata=metadata, params=params, weights=weights)
    assert reasons_of(record) == why_unranked(record) == reasons


def test_a_file_that_is_listed_later_ranks_from_then_on(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = make_record(
        metadata={"backbones": ["toynet"]}, weights=[part("toynet", "0" * 64)],
        ranked=False, unranked_reason="unpinned weights, unreviewed",
    )  # fmt: skip
    assert marked(stored, Review((), "")).unranked_reason == "unpinned weights"
    monkeypatch.setitem(WEIGHT_FILES, "toynet", WeightFile("toynet", "toynet.pth", "0" * 64))
    assert marked(stored, Review((), "")).ranked
    assert marked(stored, Review(("unreviewed",), "")).unranked_reason == "unreviewed"


def test_seeds_with_different_pretrained_files_are_no_mean(make_record: MakeRecord) -> None:
    wide = (
        part("wide_resnet50_2", "95faca4d" + "0" * 56),
        part("wide_resnet50_2", "95faca4d" + "1" * 56),
    )
    runs = [make_record(seed=seed, weights=[each]) for seed, each in enumerate(wide)]
    (row,) = summarise(runs)
    assert row.unranked_reason == "the seeds ran with different pretrained weights"
    assert row.weight_files == tuple(f"wide_resnet50_2 {each['sha256']}" for each in wide)


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
