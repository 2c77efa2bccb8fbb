"""What a reader must know of a run: kills that it survived, full folders, and methods that collapsed."""

from __future__ import annotations

from harness.board.public_rows import published
from harness.board.rows import summarise
from harness.board.terminal_tables import result_tables
from harness.common.statuses import Cause, Status
from harness.engines.base import EngineFacts
from harness.publishing.public_form import public_form, public_problems
from harness.records.parts import EngineFactsPart, Mark
from harness.records.record import CheckpointPart, TrainingPart, content_hash
from harness.running.remarks import facts_part, remarks_of
from harness.session.scoring import MemberScores
from tests.record_factory import record
from tests.run_factory import random_scores, scores_of


def told(
    scores=None, training=None, facts=None, *, constant_maps=0, from_maps=False, shortage=None
):
    scores = scores and MemberScores({"demo": scores})
    return remarks_of(
        scores,
        training,
        facts,
        constant_maps=constant_maps,
        has_scores_from_maps=from_maps,
        shortage=shortage,
    )


def marks(remarks):
    return [remark.mark for remark in remarks if remark.mark]


def trained(*values):
    checkpoints = [
        CheckpointPart(step=step, metric="image_auroc", value=value, kept=True)
        for step, value in enumerate(values)
    ]
    return TrainingPart(steps=9, checkpoints=checkpoints, stop_reason="finished")


def test_the_facts_of_all_sessions_are_one() -> None:
    first = EngineFacts(memory_kills=2, met_memory_limit=True, full_folders=("/tmp",), exit_code=0)
    second = EngineFacts(memory_kills=1, full_folders=("/dev/shm", "/tmp"), exit_code=1)
    part = facts_part([first, second])
    assert part == EngineFactsPart(
        memory_kills=3, met_memory_limit=True, full_folders=["/tmp", "/dev/shm"], exit_code=1
    )
    assert facts_part([]) is None
    assert facts_part([EngineFacts()]) == EngineFactsPart()


def test_a_kill_that_was_survived_is_a_remark_and_a_mark() -> None:
    facts = EngineFactsPart(memory_kills=1, full_folders=["/dev/shm"])
    remarks = told(random_scores(), facts=facts)
    assert marks(remarks) == [Mark.KILLED_FOR_MEMORY]
    assert any("memory_mib" in remark.text for remark in remarks)
    assert any(remark.text == "/dev/shm was full (limit shm_mib)" for remark in remarks)
    assert marks(told(None, facts=facts)) == [], "a failed run says it by its status"


def test_equal_scores_and_constant_maps_are_a_collapse() -> None:
    equal = scores_of([0.5] * 4, [False, True, False, True])
    assert marks(told(equal)) == [Mark.COLLAPSED]
    assert marks(told(scores_of([0.5, 0.5, 0.5, 0.6], [False, True, False, True]))) == []
    scores = random_scores()
    count = len(scores.evidence.test.scores)
    assert marks(told(scores, constant_maps=count)) == [Mark.COLLAPSED]
    few = told(scores, constant_maps=1)
    assert marks(few) == []
    assert any(remark.text.startswith("1 test images have a map") for remark in few)


def test_checkpoints_that_score_the_same_every_time_are_a_collapse() -> None:
    scores = random_scores()
    assert marks(told(scores, trained(0.5, 0.5, 0.5))) == [Mark.COLLAPSED]
    for values in ((0.5, 0.5), (0.5, 0.5, 0.6), (1.0, 1.0, 1.0), (None, None, None)):
        assert marks(told(scores, trained(*values))) == []


def test_few_training_images_are_a_remark_and_a_mark() -> None:
    remarks = told(random_scores(), shortage="9 training images for 1 channels")
    assert marks(remarks) == [Mark.FEW_IMAGES]
    assert remarks[-1].text == "9 training images for 1 channels"
    assert marks(told(None, shortage="9 training images")) == [], "a failed run says it otherwise"


def test_a_mark_stands_on_the_row_and_leaves_no_hidden_pack() -> None:
    seen = {"memory_kills": 1}
    marked = record(marks=[Mark.KILLED_FOR_MEMORY], engine_facts=seen)
    assert summarise([marked])[0].marks == ("went on after a kill for memory",)
    assert "went on after a kill for memory" in result_tables([marked])
    hidden = record(
        visibility="hidden", marks=[Mark.COLLAPSED], engine_facts=seen, warnings=["it collapsed"]
    )
    assert published(summarise([hidden]))[0].marks == ()
    public = public_form(hidden, content_hash("salt"))
    assert public_problems(public) == []
    assert (public.marks, public.engine_facts, public.warnings) == ([], None, [])
    leaky = public.model_copy(update={"marks": [Mark.COLLAPSED], "engine_facts": EngineFactsPart()})
    assert {"marks must be left out", "engine_facts must be left out"} <= set(
        public_problems(leaky)
    )


def test_the_cause_and_the_log_of_a_hidden_failure_stay() -> None:
    failed = record(
        status=Status.CRASHED,
        visibility="hidden",
        metrics={},
        outcome__cause=Cause.SHM_FULL,
        outcome__log={"path": "p/e/seed-0.log", "lines": ["MARKER"]},
    )
    public = public_form(failed, content_hash("salt"))
    assert (public.outcome.cause, public.outcome.log) == (None, None)
    (row,) = published(summarise([failed]))
    (failure,) = row.failures
    assert (failure.log, failure.log_path) == ((), "")
    assert failure.remedy == Status.CRASHED.entry.remedy
    (shown,) = summarise([record(status=Status.CRASHED, outcome__cause=Cause.SHM_FULL)])
    assert "shm_mib" in shown.failures[0].remedy
