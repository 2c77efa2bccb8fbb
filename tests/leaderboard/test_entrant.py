"""What an entry's page says to whoever made it: how it did, why it failed, what next."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import date

import pytest

from harness.board.change_log import ChangeLog, row_changes_since
from harness.board.public_rows import published
from harness.board.rows import summarise
from harness.board.site_data import Material, TypicalTime, Waiting
from harness.board.suite_rows import WholeRow
from harness.check import build_parser
from harness.common.statuses import STATUS_TABLE, Status
from harness.engines.base import Limits
from leaderboard import formats
from leaderboard.commands import ENTRY, ShownRuns
from leaderboard.entrant import Board, how_it_did
from leaderboard.entry_failures import PLAIN_STATUS, failure_groups
from leaderboard.entry_next import waiting_pages, what_next
from tests.record_factory import comparison

DEFAULTS = Limits().as_dict()
WITHOUT_RESULT = [s for s in Status if s.reaches_the_board and s is not Status.OK]


def text_of(sentences):
    return " ".join("".join(piece.text for piece in each) for each in sentences)


def material_of(records, **others):
    ranked = [record for record in records if record.is_ok and record.ranked]
    compared = {ranked[0].pack.benchmark: comparison(ranked)} if len(ranked) > 1 else {}
    rows = published(summarise(records, comparisons=compared))
    return Material(rows=rows, records=tuple(records), comparisons=compared, **others)


def said(material, entry):
    (row,) = (row for row in material.rows if row.entry == entry)
    return text_of(how_it_did(WholeRow(row), Board.of(material)).sentences)


def next_of(material, entry):
    rows = [row for row in material.rows if row.entry == entry]
    return what_next(rows, Board.of(material))


def options_of(command):
    words = shlex.split(command.splitlines()[-1])
    assert words[:3] == ["python", "-m", "harness.check"]
    return build_parser().parse_args(words[3:])


# ---- how it did ---------------------------------------------------------------------------


def test_value_spread_rank_and_ties_are_told(make_record):
    records = [make_record(seed=seed) for seed in (0, 1)] + [
        make_record(entry="padim", title="PaDiM", seed=seed) for seed in (0, 1)
    ]
    told = said(material_of(records), "patchcore")
    assert told.startswith(
        "Image AUROC 91.65 ± 0.00, rank 1 of 2 in its track, cannot be told from PaDiM."
    )
    assert "PRO 85.68 ± 0.00, rank 1 of 2, shared." in told
    assert "No row of its track is above it. All 2 seeds finished." in told


def test_every_number_of_the_example_is_a_stored_one(example_material):
    board = Board.of(example_material)
    seen = 0
    for row in example_material.rows:
        metric = row.metric("image_auroc", None)
        how = how_it_did(WholeRow(row), board)
        told = text_of(how.sentences)
        if metric.standing is None:
            assert "in its track" not in told
        if metric.standing is None or metric.standing.mean is None:
            continue
        column = example_material.comparisons[row.place].column(row.track, "image_auroc", None)
        higher = [s for s in column.standings if s.mean > metric.standing.mean]
        assert f"{formats.percent(metric.mean)} ± {formats.percent(metric.std)}" in told
        assert f"rank {metric.standing.rank} of {len(column.standings)}" in told
        assert bool(how.rival) == bool(higher)
        if higher:
            rival = min(higher, key=lambda s: s.mean)
            (pair,) = (
                d for d in column.differences if {d.one, d.other} == {row.entry, rival.entry}
            )
            assert f"by {formats.percent(abs(pair.difference))} points" in told
            verdict = (
                "which is better" if rival.entry in metric.standing.better else "cannot be told"
            )
            assert verdict in told.partition("Next above it")[2].partition(".  ")[0]
            seen += 1
    assert seen > 20


def test_of_a_hidden_pack_no_difference_or_interval_is_told(example_material):
    hidden = [row for row in example_material.rows if row.visibility == "hidden"]
    board = Board.of(example_material)
    assert hidden
    for row in hidden:
        told = text_of(how_it_did(WholeRow(row), board).sentences)
        assert "interval" not in told
        assert "points" not in told
        assert "rank " in told


def test_the_trivial_bar_is_told_either_way(make_record):
    trivial = make_record(entry="trivial-grey", title="Mean grey", metadata={"family": "trivial"})
    material = material_of([make_record(), trivial])
    assert "Its mean is above that of every trivial baseline." in said(material, "patchcore")
    below = {("brain", "patchcore", "trained-here", "image_auroc"): "Mean grey"}
    assert "No better than the trivial baseline Mean grey." in said(
        replace(material, not_above_trivial=below), "patchcore"
    )
    assert "trivial baseline" not in said(material, "trivial-grey")
    assert "trivial baseline" not in said(material_of([make_record()]), "patchcore")


def test_its_time_stands_beside_that_of_the_others_on_the_same_device(make_record):
    usual = {("brain", ("NVIDIA H200",)): TypicalTime(0.5, 7)}
    told = said(material_of([make_record()], typical_times=usual), "patchcore")
    assert "0.031 s an image; the median of 7 methods here on NVIDIA H200 is 0.500 s." in told
    elsewhere = {("brain", ("cpu",)): TypicalTime(0.5, 7)}
    assert "median" not in said(material_of([make_record()], typical_times=elsewhere), "patchcore")


def test_why_there_is_no_mean_and_why_seeds_are_missing_stand_in_words(make_record):
    records = [make_record(), *(make_record(seed=s, status=Status.OUT_OF_MEMORY) for s in (1, 2))]
    material = material_of(records)
    told = said(material, "patchcore")
    assert told.startswith("No Image AUROC: not every seed finished")
    assert "1 of 3 seeds finished: out of memory (seed 1, seed 2)." in told
    assert "out_of_memory" not in told


def test_a_row_without_a_rank_says_why(make_record):
    row = make_record(ranked=False, unranked_reason="open track", track="open")
    assert "no rank: open track." in said(material_of([row]), "patchcore")
    assert "no rank: no comparison of these runs is stored." in said(
        material_of([make_record()]), "patchcore"
    )


def test_what_changed_is_told_from_the_log(make_record):
    old = [make_record(metrics={("image_auroc", None): 0.8})]
    new = [make_record(mark="again", source__commit="f" * 40)]
    log = ChangeLog(changes=row_changes_since(ChangeLog(), old, {}, date(2026, 1, 5)))
    assert "On the board since 2026-01-05." in said(material_of(old, log=log), "patchcore")
    log = ChangeLog(changes=(*log.changes, *row_changes_since(log, new, {}, date(2026, 2, 5))))
    told = said(material_of(new, log=log), "patchcore")
    assert (
        "Replaced on 2026-02-05: another harness; it was run again; Image AUROC was 80.00." in told
    )


# ---- why it failed ------------------------------------------------------------------------


def test_every_way_to_end_without_a_result_has_plain_words():
    assert set(PLAIN_STATUS) == set(WITHOUT_RESULT)
    assert not [told for told in PLAIN_STATUS.values() if "_" in told]


@pytest.mark.parametrize("status", WITHOUT_RESULT)
def test_every_status_is_told_with_its_remedy_log_and_command(make_record, status):
    record = make_record(
        seed=7, status=status, detail="image 12 of 40", limits=DEFAULTS | {"memory_mib": 512},
        machine__device="cpu", entry__overrides={"layers": 7}, entry__preset="official",
        outcome__log={"path": "brain/patchcore/seed-7.log", "lines": ["out\x1b[2J", "<b>"]},
    )  # fmt: skip
    (row,) = summarise([record])
    (group,) = failure_groups(row, ShownRuns([record], [record], DEFAULTS))
    assert group.sentence == STATUS_TABLE[status].sentence
    assert group.remedy == STATUS_TABLE[status].remedy
    assert group.detail == "image 12 of 40"
    assert group.anchors == (("failed-brain-trained-here-container-7", 7),)
    assert group.logs[0].lines == (r"out\x1b[2J", "<b>")
    options = options_of(group.command)
    assert (options.entry, options.benchmarks, options.seed) == (
        "baselines/patchcore",
        ["brain"],
        7,
    )
    assert (options.engine, options.device, options.preset) == ("docker", "cpu", "official")
    assert (options.limit, options.overrides) == (["memory_mib=512"], ["layers=7"])
    assert "same images (Brain MRI)" in group.where


def test_runs_that_ended_in_one_way_stand_together_each_with_its_anchor(make_record):
    records = [
        make_record(seed=seed, status=status)
        for seed, status in enumerate([Status.CRASHED, Status.CRASHED, Status.BAD_FRAME, Status.OK])
    ]
    (row,) = summarise(records)
    first, second = failure_groups(row, ShownRuns(records, records, DEFAULTS))
    assert (first.seeds, second.seeds) == ("seeds 0, 1", "seed 2")
    assert options_of(first.command).seed == 0
    assert first.anchors[1] == ("failed-brain-trained-here-container-1", 1)


def test_a_few_shot_run_is_tried_again_on_as_many_images(make_record):
    record = make_record(status=Status.NOT_APPLICABLE, regime={"name": "few-shot", "shots": 4})
    (row,) = summarise([record])
    (group,) = failure_groups(row, ShownRuns([record], [record], DEFAULTS))
    assert options_of(group.command).train == "shots:4"


def hidden_failure(make_record, **changes):
    record = make_record(
        benchmark="clinic", visibility="hidden", track="sealed", status=Status.CRASHED, seed=5,
        detail="image 12 holds a secret", entry__overrides={"secret": 1}, **changes,
    )  # fmt: skip
    (row,) = published(summarise([record]))
    return row


def test_of_a_hidden_pack_the_command_is_on_images_that_everybody_has(make_record):
    row = hidden_failure(make_record)
    (group,) = failure_groups(row, ShownRuns((), (), DEFAULTS))
    options = options_of(group.command)
    assert (options.entry, options.seed, options.benchmarks, options.packs) == (ENTRY, 5, [], [])
    assert options.engine == "docker"
    assert "it may end otherwise there" in group.where
    told = repr(group)
    assert "secret" not in told
    assert "image 12" not in told
    fine = make_record(limits=DEFAULTS | {"shm_mib": 99})
    (group,) = failure_groups(row, ShownRuns((), [fine], DEFAULTS))
    options = options_of(group.command)
    assert (options.entry, options.benchmarks, options.limit) == (
        "baselines/patchcore", [], ["shm_mib=99"],
    )  # fmt: skip


def test_of_a_hidden_pack_an_open_run_that_ended_alike_is_the_nearest(make_record):
    row = hidden_failure(make_record)
    others = [
        make_record(seed=1, status=Status.BAD_FRAME),
        make_record(benchmark="resc", seed=2, status=Status.CRASHED),
    ]
    (group,) = failure_groups(row, ShownRuns((), others, DEFAULTS))
    options = options_of(group.command)
    assert (options.benchmarks, options.seed) == (["resc"], 2)
    assert "ended in the same way on RESC OCT, which is open" in group.where


def test_the_demo_packs_own_preset_is_told_from_others(make_record):
    record = make_record(benchmark="demo", status=Status.CRASHED, entry__preset="bmad")
    (row,) = summarise([record])
    (group,) = failure_groups(row, ShownRuns([record], [record], DEFAULTS))
    assert options_of(group.command).preset == "bmad"


# ---- what next ----------------------------------------------------------------------------


def test_who_finished_is_told_how_to_show_and_to_cite_it(make_record):
    then = next_of(material_of([make_record(metadata={"authors": ["A. Author"]})]), "patchcore")
    assert text_of(then.steps).startswith("Every run finished.")
    markdown, html, bibtex = (each.text for each in then.snippets)
    assert markdown == (
        "[![BMAD leaderboard](SITE/badges/patchcore.svg)](SITE/entries/patchcore.html)"
    )
    assert 'src="SITE/badges/patchcore.svg"' in html
    for told in (
        "@misc{patchcore-brain",
        "A. Author",
        "@misc{pack-brain",
        "@misc{harness-0123456789",
    ):
        assert told in bibtex


def test_who_failed_is_told_what_to_do_and_whom_to_ask(make_record):
    failed = make_record(seed=2, status=Status.WRONG_SHAPE)
    then = next_of(material_of([make_record(), failed]), "patchcore")
    told = text_of(then.steps)
    assert told.startswith("1 run failed: Brain MRI (a map of the wrong size).")
    assert "with --replace" in told
    assert then.steps[0][1].page == "entries/patchcore.html#failed-brain-trained-here-container-2"
    assert then.snippets == ()
    theirs = make_record(status=Status.CRASHED, metadata={"pinned": "sha256:0"})
    told = text_of(next_of(material_of([theirs]), "patchcore").steps)
    assert "harness.submit with --update" in told
    assert "ask in the submission’s pull request" in told


def test_who_withdrew_is_told_why_and_since_when(make_record):
    records = [make_record(metadata={"withdrawn": "a wrong licence"})]
    log = ChangeLog()
    for day, gone in ((5, {}), (9, {"patchcore": "a wrong licence"})):
        news = row_changes_since(log, [make_record()], gone, date(2026, 1, day))
        log = ChangeLog(changes=(*log.changes, *news))
    told = text_of(next_of(material_of(records, log=log), "patchcore").steps)
    assert told.startswith("Withdrawn on 2026-01-09: a wrong licence.")


def test_who_cannot_do_it_has_nothing_to_mend(make_record):
    then = next_of(material_of([make_record(status=Status.NOT_APPLICABLE)]), "patchcore")
    assert text_of(then.steps).startswith("Nothing failed")


def test_who_waits_has_a_page_that_says_since_when_and_for_what(build_site, make_record):
    waiting = (
        Waiting("new", "New <b>", "2026-03-01", {"licence": "MIT"}, "2026-03-15"),
        Waiting("dateless", "Dateless", "", {}),
    )
    site = build_site([make_record()], waiting=waiting)
    page = (site / "entries/new.html").read_text()
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "New &lt;b&gt;" in text
    assert "waiting since 2026-03-01" in text
    assert "after 2026-03-15, it waits longer than it should" in text
    assert "python -m harness.check submissions/new.toml" in text
    assert 'href="entries/new.html"' in (site / "index.html").read_text()
    assert "names no date" in (site / "entries/dateless.html").read_text()


def test_the_name_of_who_waits_is_one_word_of_the_shell():
    (page,) = waiting_pages([Waiting("a; rm -rf /", "A", "", {})])
    assert shlex.split(page.command)[3:] == ["submissions/a; rm -rf /.toml"]


def test_logs_and_details_of_strangers_are_text_on_the_page(build_site, make_record):
    failed = make_record(
        status=Status.CRASHED, detail="<script>alert(1)</script>\x1b[2J",
        outcome__log={"path": "a/<img>.log", "lines": ["</pre><script>", "\u202eevil\x07"]},
    )  # fmt: skip
    page = (build_site([failed]) / "entries/patchcore.html").read_text()
    assert r"&lt;/pre&gt;&lt;script&gt;" in page
    assert r"\u202eevil\x07" in page
    assert not re.search("[\x07\x1b\u202e]|<img|<script>", page)
