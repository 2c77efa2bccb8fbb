"""The log of changes: it tells what came, changed and went, is only added to, and can be derived again."""

from __future__ import annotations

from datetime import date

import pytest

from harness.board.change_log import (
    ChangeLog,
    best_over_time,
    log_bytes,
    log_problems,
    parse_log,
    row_changes_since,
    what_changed,
    with_news,
)

MONDAY, TUESDAY, FRIDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 6)
AUROC = ("image_auroc", None)


@pytest.fixture
def run(make_record):
    def made(entry="patchcore", seed=0, auroc=0.9, **options):
        return make_record(
            entry=entry, title=entry.title(), seed=seed, metrics={AUROC: auroc}, **options
        )

    return made


def after(log, records, day=TUESDAY, withdrawn=()):
    reasons = dict.fromkeys(withdrawn, "an error")
    return ChangeLog(changes=(*log.changes, *row_changes_since(log, records, reasons, day)))


def kinds(log):
    return [(change.date, change.entry, change.kind) for change in log.changes]


def test_rows_come_are_replaced_are_withdrawn_come_back_and_go(run):
    one, two = run(), run("padim", auroc=0.8)
    log = after(ChangeLog(), [one], MONDAY)
    log = after(log, [one, two])
    log = after(log, [one, two, run(seed=1, auroc=0.7)])
    log = after(log, [one, two], FRIDAY, withdrawn=["padim"])
    log = after(log, [one, two], FRIDAY)
    log = after(log, [one], FRIDAY)
    assert kinds(log) == [
        (MONDAY, "patchcore", "new"), (TUESDAY, "padim", "new"), (TUESDAY, "patchcore", "replaced"),
        (FRIDAY, "padim", "withdrawn"), (FRIDAY, "patchcore", "replaced"), (FRIDAY, "padim", "replaced"),
        (FRIDAY, "padim", "removed"),
    ]  # fmt: skip
    assert log.changes[2].means["image_auroc"] == pytest.approx(0.8)
    assert set(log.changes[2].records) == {"0", "1"}
    assert log.changes[-1].records == {}
    assert parse_log(log_bytes(log)) == log


def test_where_nothing_changed_nothing_is_told(run):
    records = [run(), run("padim")]
    log = after(ChangeLog(), records)
    assert row_changes_since(log, records, {}, FRIDAY) == ()
    assert row_changes_since(log, list(reversed(records)), {}, FRIDAY) == ()


def test_what_changed_is_said_in_words(run):
    log = after(ChangeLog(), [run()], MONDAY)
    other = {"entry__identity": "folder:sha256:" + "1" * 64}
    log = after(log, [run(seed=1, **other), run(**other)])
    before, now = log.changes
    assert what_changed(None, before) == ()
    assert what_changed(before, now) == ("seeds 0 → 0, 1", "another code")


def test_of_a_hidden_pack_the_log_holds_the_rounded_means_of_the_table(run):
    hidden = run(auroc=0.912345678, visibility="hidden", benchmark="harbour-ct", interval=0.013)
    (change,) = after(ChangeLog(), [hidden]).changes
    assert change.means["image_auroc"] != 0.912345678
    assert change.means["image_auroc"] == pytest.approx(0.91, abs=0.011)


def test_the_best_row_is_that_of_the_ranked_ones_that_stand(run):
    log = after(ChangeLog(), [run(auroc=0.8)], MONDAY)
    both = [run(auroc=0.8), run("padim", auroc=0.9)]
    cheat = run("cheat", auroc=0.99, ranked=False, unranked_reason="open track")
    log = after(log, [*both, cheat], TUESDAY)
    log = after(log, [*both, cheat], FRIDAY, withdrawn=["padim"])
    steps = best_over_time(log, "brain", "image_auroc")
    assert [(step.date, step.title, step.value) for step in steps] == [
        (MONDAY, "Patchcore", 0.8), (TUESDAY, "Padim", 0.9), (FRIDAY, "Patchcore", 0.8),
    ]  # fmt: skip


class TestTheCheck:
    def problems(self, base, log, records, withdrawn=()):
        return list(log_problems(base, log, records, dict.fromkeys(withdrawn, "an error"), FRIDAY))

    def test_what_publish_add_writes_passes(self, run):
        base = after(ChangeLog(), [run()], MONDAY)
        records = [run(), run("padim")]
        assert self.problems(base, after(base, records, FRIDAY), records) == []

    def test_a_row_that_is_not_told_is_named(self, run):
        base = after(ChangeLog(), [run()], MONDAY)
        (problem,) = self.problems(base, base, [run(), run("padim")])
        assert "padim on brain: new, and not told" in problem

    def test_a_withdrawal_may_wait_for_the_next_publication(self, run):
        base = after(ChangeLog(), [run()], MONDAY)
        assert self.problems(base, base, [run()], withdrawn=["patchcore"]) == []

    def test_the_past_cannot_be_rewritten(self, run):
        base = after(ChangeLog(), [run()], MONDAY)
        earlier = base.changes[0].model_copy(update={"date": date(2020, 1, 1)})
        (problem,) = self.problems(base, ChangeLog(changes=(earlier,)), [run()])
        assert "only added to" in problem
        assert self.problems(base, ChangeLog(), [run()]) == [problem]

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"means": {"image_auroc": 1.0}}, "does not follow from the records"),
            ({"ranked": False}, "does not follow from the records"),
            ({"title": "Best Method"}, "does not follow from the records"),
            ({"entry": "rival"}, "nothing of it has changed"),
            ({"date": date(2026, 3, 1)}, "lies before"),
            ({"date": date(2026, 3, 9)}, "has not come yet"),
        ],
    )
    def test_what_does_not_follow_from_the_records_is_refused(self, run, changed, told):
        base = after(ChangeLog(), [run()], MONDAY)
        records = [run(), run("padim")]
        log = after(base, records, TUESDAY)
        lying = log.changes[-1].model_copy(update=changed)
        problems = self.problems(base, ChangeLog(changes=(*base.changes, lying)), records)
        assert any(told in problem for problem in problems), problems

    def test_a_row_is_told_once_a_change(self, run):
        records = [run()]
        log = after(ChangeLog(), records, MONDAY)
        twice = ChangeLog(changes=log.changes * 2)
        assert self.problems(ChangeLog(), twice, records) == ["it tells of a row twice"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema_version": 2}', b'{"changes": [1]}']
)
def test_what_is_no_log_is_told(content):
    with pytest.raises(ValueError, match=r"\w"):
        parse_log(content)


class TestWhatIsWritten:
    def test_what_no_branch_has_yet_is_told_once_however_often_it_is_published(self, run):
        base = after(ChangeLog(), [run("padim")], MONDAY)
        records = [run("padim"), run()]
        once = with_news(base, base, records, {}, TUESDAY)
        assert with_news(base, once, records, {}, FRIDAY) is once
        records = [*records, run(seed=1)]
        twice = with_news(base, once, records, {}, FRIDAY)
        assert kinds(twice) == [(MONDAY, "padim", "new"), (FRIDAY, "patchcore", "new")]
        assert set(twice.changes[-1].records) == {"0", "1"}
        assert list(log_problems(base, twice, records, {}, FRIDAY)) == []
        assert with_news(base, twice, [run("padim")], {}, FRIDAY) == base

    def test_a_folder_of_another_history_is_added_to(self, run):
        base = after(ChangeLog(), [run("padim")], MONDAY)
        own = after(ChangeLog(), [run()], MONDAY)
        assert with_news(base, own, [run()], {}, TUESDAY) == own
