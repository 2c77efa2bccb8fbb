"""Which runs may take a rank: of reviewed contents, under settings that somebody committed."""

from __future__ import annotations

import pytest

from harness.board.reviews import marked, review, with_reviews
from harness.board.rows import ranked_records, summarise
from harness.engines.base import image_identity
from harness.entries.campaign_grid import Campaign, GridSettings
from harness.entries.entry import SubmissionTable
from harness.entries.reviewed import NOTHING_REVIEWED, ReviewedSet
from harness.records.record import CheckpointPart, Record, TrainingPart
from tests.entries.test_submissions import table
from tests.record_factory import record
from tests.reviewed_sets import all_reviewed, reviewed_folder

PINNED = "sha256:" + "5" * 64


def reasons(run: Record, reviewed: ReviewedSet) -> tuple[str, ...]:
    return review(run, reviewed).reasons


def test_a_committed_folder_under_its_own_settings_takes_a_rank() -> None:
    run = record()
    (shown,) = with_reviews([run], all_reviewed([run]))
    assert shown is run
    assert summarise([shown])[0].ranked


def test_what_nobody_reviewed_is_shown_and_takes_no_rank() -> None:
    run = record()
    (shown,) = with_reviews([run], NOTHING_REVIEWED)
    (row,) = summarise([shown])
    assert (row.ranked, row.unranked_reason) == (False, "unreviewed")
    assert row.metric("image_auroc", None).mean is not None
    assert ranked_records([shown]) == {}
    assert shown.record_hash == run.record_hash


def test_what_a_record_says_of_its_own_review_counts_for_nothing() -> None:
    before = record(ranked=False, unranked_reason="not isolated, unreviewed, own settings")
    after = marked(before, review(before, all_reviewed([before])))
    assert (after.ranked, after.unranked_reason) == (False, "not isolated")
    merged = record(ranked=False, unranked_reason="unreviewed")
    after = marked(merged, review(merged, all_reviewed([merged])))
    assert (after.ranked, after.unranked_reason) == (True, None)
    never = record(ranked=False)
    assert not marked(never, review(never, all_reviewed([never]))).ranked


@pytest.mark.parametrize(
    "change",
    [
        {"entry__source": None},
        {"entry__identity": "folder:sha256:" + "0" * 64},
        {"entry__source": "folder:sha256:" + "0" * 64},
        {"entry__built_on": PINNED},
    ],
)
def test_an_identity_that_does_not_follow_from_reviewed_sources_is_none(change: dict) -> None:
    honest = record()
    assert reasons(record(**change), all_reviewed([honest])) == ("unreviewed",)


def test_an_images_identity_follows_from_its_folder_and_what_it_is_built_on() -> None:
    source = record().entry.source
    built = record(
        entry__source=source, entry__built_on=PINNED, entry__identity=image_identity(source, PINNED)
    )
    assert reasons(built, all_reviewed([built])) == ()


def test_settings_that_nobody_committed_are_own_settings() -> None:
    plain = record()
    reviewed = all_reviewed([plain])
    own = record(params={"coreset_ratio": 0.9}, entry__overrides={"coreset_ratio": 0.9})
    assert reasons(own, reviewed) == ("own settings",)
    assert reasons(own, NOTHING_REVIEWED) == ("unreviewed", "own settings")
    # What `--set` says again of a preset is that preset.
    assert reasons(record(entry__overrides={"coreset_ratio": 0.1}), reviewed) == ()
    assert reasons(record(entry__preset="official"), reviewed) == ("own settings",)
    assert reasons(record(entry__checkpoint_rule={"patience": 3}), reviewed) == ("own settings",)


def test_a_preset_and_a_benchmarks_settings_are_committed() -> None:
    run = record(params={"k": 9}, entry__preset="nine")
    folder = reviewed_folder(record(params={"k": 1}), presets={"nine": {"k": 9}})
    assert reasons(run, ReviewedSet({run.entry.source: folder})) == ()
    run = record(params={"k": 7})
    folder = reviewed_folder(record(params={"k": 1}), benchmarks={"brain": {"k": 7}})
    assert reasons(run, ReviewedSet({run.entry.source: folder})) == ()
    elsewhere = record(params={"k": 7}, benchmark="liver")
    folder = reviewed_folder(
        record(params={"k": 1}), benchmarks={"brain": {"k": 7}, "liver": {"k": 5}}
    )
    assert reasons(elsewhere, ReviewedSet({elsewhere.entry.source: folder})) == ("own settings",)


# -- images -------------------------------------------------------------------------------------


def image(kind: str = "submission", pinned: str | None = PINNED, **changes: object) -> Record:
    metadata = {"pinned": pinned} if pinned else {}
    told = {"entry__kind": kind, "track": "sealed", "metadata": metadata, "params": {}} | changes
    made = record(**told)
    entry = made.entry.model_copy(update={"params": {}})
    return made.model_copy(update={"entry": entry})


def merged(**fields: object) -> ReviewedSet:
    told: SubmissionTable = table("patchcore", content=PINNED, **fields)
    return all_reviewed([], patchcore=told)


def test_an_image_takes_a_rank_as_a_merged_submission_alone() -> None:
    assert reasons(image(), merged()) == ()
    assert reasons(image(), NOTHING_REVIEWED) == ("unreviewed",)
    assert reasons(image(kind="image"), merged()) == ("unreviewed",)
    assert reasons(image(kind="archive", pinned=None), merged()) == ("unreviewed",)
    assert reasons(image(pinned="sha256:" + "6" * 64), merged()) == ("unreviewed",)
    assert reasons(image(pinned=None), merged()) == ("unreviewed",)
    assert reasons(image(entry="another"), merged()) == ("unreviewed",)


def test_the_image_of_a_submission_has_the_digest_that_its_file_names() -> None:
    digest = "r.example/patchcore@sha256:" + "1" * 64
    assert reasons(image(entry__image_digest=digest), merged()) == ()
    other = "r.example/patchcore@sha256:" + "9" * 64
    assert reasons(image(entry__image_digest=other), merged()) == ("unreviewed",)


# -- settings that a campaign chose -------------------------------------------------------------

GRID = Campaign(
    name="grid", entries=("baselines/*",), seeds=(0, 1),
    settings=(GridSettings(entries=("patch*",), values={"coreset_ratio": [0.5, 0.9]}),),
)  # fmt: skip


def run_of(ratio: float | None, seed: int, value: float | None, **changes: object) -> Record:
    """One run of the grid, with the metric by which validation chooses."""
    told: dict = {"entry__source": record().entry.source, "seed": seed}
    told["entry__identity"] = told["entry__source"]
    if ratio is not None:
        told |= {"entry": f"patchcore.coreset_ratio-{ratio}", "params": {"coreset_ratio": ratio},
                 "entry__overrides": {"coreset_ratio": ratio}}  # fmt: skip
    made = record(**(told | changes))
    checkpoint = CheckpointPart(step=1, metric="image_auroc", value=value, kept=True)
    part = TrainingPart(steps=1, checkpoints=[checkpoint], kept=1, stop_reason="finished")
    return made.model_copy(update={"training": part})


def grid_runs(**changes: object) -> dict[tuple[float | None, int], Record]:
    values = {None: 0.7, 0.5: 0.9, 0.9: 0.8}
    return {
        (ratio, seed): run_of(ratio, seed, value, **changes)
        for ratio, value in values.items()
        for seed in (0, 1)
    }


def in_grid(runs: dict, *campaigns: Campaign) -> dict[str, bool]:
    plain = record()
    reviewed = ReviewedSet({plain.entry.source: reviewed_folder(plain)}, committed=campaigns)
    return {shown.entry.name: shown.ranked for shown in with_reviews(runs.values(), reviewed)}


def test_what_validation_chose_in_a_committed_campaign_takes_a_rank_and_no_other() -> None:
    assert in_grid(grid_runs(), GRID) == {
        "patchcore": True, "patchcore.coreset_ratio-0.5": True, "patchcore.coreset_ratio-0.9": False,
    }  # fmt: skip
    assert not in_grid(grid_runs())["patchcore.coreset_ratio-0.5"]  # nobody committed the grid


def test_of_a_hidden_pack_no_choice_can_be_derived_again() -> None:
    hidden = grid_runs(visibility="hidden", track="sealed")
    assert not in_grid(hidden, GRID)["patchcore.coreset_ratio-0.5"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda runs: runs.pop((0.9, 1)),
        lambda runs: runs.pop((None, 0)),
        lambda runs: runs.update({(0.9, 0): run_of(0.9, 0, None)}),
        lambda runs: runs.update({(0.9, 0): run_of(0.9, 0, 0.1, pack__version="brain-other")}),
        lambda runs: runs.update({(0.9, 0): run_of(0.9, 0, 0.1, params={"coreset_ratio": 0.01})}),
        lambda runs: runs.update({(0.9, 0): run_of(0.9, 0, 1.0), (0.9, 1): run_of(0.9, 1, 1.0)}),
    ],
)
def test_a_choice_among_less_than_the_whole_grid_is_none(spoil) -> None:
    runs = grid_runs()
    spoil(runs)
    assert not in_grid(runs, GRID)["patchcore.coreset_ratio-0.5"]


def test_a_campaign_chooses_for_what_takes_part_in_it_alone() -> None:
    others = (
        GRID.model_copy(update={"leave_out": ("patchcore",)}),
        GRID.model_copy(update={"benchmarks": ("liver",)}),
        GRID.model_copy(update={"entries": ("submissions/*",)}),
        GRID.model_copy(update={"settings": ()}),
    )
    assert not in_grid(grid_runs(), *others)["patchcore.coreset_ratio-0.5"]
