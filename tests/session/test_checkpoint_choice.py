"""The judge knows which state is the best, and tells the entry nothing but when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.common.statuses import RunEnded, Status
from harness.contract.frames import Verdict
from harness.engines.base import Limits
from harness.entries.entry import Settings, TrainingTable
from harness.session.checkpoint_choice import Judge
from harness.trained.interrupted_training import UnfinishedTraining, hold

KEY = "sha256:" + "c" * 64
GO_ON, STOP = Verdict(keep=True, stop=False), Verdict(keep=True, stop=True)


class Scripted(Judge):
    """Knows beforehand what each checkpoint is worth."""

    values: dict[int, float | None]

    def _measure(self, ask: Any) -> float | None:
        return self.values.pop(ask)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[UnfinishedTraining]:
    with hold(tmp_path, KEY, "demo/x/seed-0", most_checkpoints=5) as held:
        yield held


@pytest.fixture
def judge(training: UnfinishedTraining) -> Callable[..., list[Verdict]]:
    """`judge({step: value}, patience=…)`: one part of a training, each state saved and held."""

    def call(values: dict[int, float | None], *, patience: int = 0, saves: bool = True) -> Any:
        settings = Settings("bmad", {}, {}, TrainingTable(patience=patience))
        pack = SimpleNamespace(members=(SimpleNamespace(settings_name="demo"),))
        scripted = Scripted(settings, pack, training, truth=None, tell=lambda _: None)  # type: ignore[arg-type]
        scripted.values = dict(values)
        verdicts = []
        for step in values:
            verdicts.append(scripted(step, step))  # type: ignore[arg-type]
            if saves:
                (training.written / "model").write_text(str(step))
                training.hold_state(Limits())
        call.reason = scripted.stop_reason  # type: ignore[attr-defined]
        call.unasked = scripted.values  # type: ignore[attr-defined]
        return verdicts

    return call


def model_of(training: UnfinishedTraining, tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    training.fetch_model(tmp_path / "model", Limits())
    return (tmp_path / "model" / "model").read_text()


def test_no_verdict_tells_which_state_is_the_best(judge, training, tmp_path) -> None:
    assert judge({1: 0.5, 2: 0.9, 3: 0.7, 4: 0.9}) == [GO_ON] * 4
    assert [c.kept for c in training.checkpoints] == [True, True, False, False]
    assert model_of(training, tmp_path) == "2"


def test_where_the_metric_is_undefined_the_newest_state_is_taken(judge, training, tmp_path) -> None:
    assert judge({1: None, 2: None, 3: None}) == [GO_ON] * 3
    assert model_of(training, tmp_path) == "3"


def test_without_a_checkpoint_the_last_saved_state_is_taken(training, tmp_path) -> None:
    (training.written / "model").write_text("saved")
    assert model_of(training, tmp_path) == "saved"


def test_patience_counts_from_the_best_state(judge) -> None:
    assert judge({1: 0.5, 2: 0.6, 3: 0.6, 4: 0.5}, patience=2) == [GO_ON] * 3 + [STOP]
    assert judge.reason == "no better checkpoint in 2 validations"


def test_stop_is_the_last_word_also_after_an_interruption(judge, training, tmp_path) -> None:
    assert judge({1: 0.5, 2: 0.4}, patience=1) == [GO_ON, STOP]
    # It goes on from before the stop, and would ask once more, now with better answers.
    assert judge({1: 0.5, 2: 0.9}, patience=1) == [STOP, STOP]
    assert judge.reason == "no better checkpoint in 1 validations"


def test_the_last_that_is_judged_is_told_to_stop_whatever_it_is_worth(judge, training) -> None:
    assert judge({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5}) == [GO_ON] * 4 + [STOP]
    assert judge.reason == "5 checkpoints, the most that are judged"


def test_an_interruption_brings_no_new_questions(judge, training) -> None:
    judge({1: 0.1, 2: 0.2, 3: 0.3})
    assert judge({2: 0.0, 3: 0.4, 4: 0.5}) == [GO_ON, GO_ON, STOP]
    assert judge.unasked == {2: 0.0}  # it was judged before
    assert [c.value for c in training.checkpoints] == [0.1, 0.2, 0.4, 0.5]


def test_the_same_state_gets_the_same_verdict_and_is_held_again(judge, training, tmp_path) -> None:
    judge({1: 0.5, 2: 0.6})
    assert judge({2: 0.0}) == [GO_ON]
    assert [c.value for c in training.checkpoints] == [0.5, 0.6]
    assert training.verdicts == 2
    assert model_of(training, tmp_path) == "2"


def test_a_training_that_goes_on_past_a_best_state_it_never_saved_ends(judge, training) -> None:
    judge({1: 0.5}, saves=False)
    with pytest.raises(
        RunEnded, match="the state of checkpoint 1, the best, was never saved"
    ) as end:
        judge({2: 0.4})
    assert end.value.status is Status.BAD_FRAME


def test_a_program_that_outlives_its_harness_has_saved_what_it_went_past(
    judge, training, tmp_path
) -> None:
    judge({1: 0.5})
    judge({2: 0.9}, saves=False)  # the harness died after the verdict
    (training.written / "model").write_text("2")  # and the program went on to the next checkpoint
    training.hold_what_was_saved(Limits())
    assert judge({3: 0.4}) == [GO_ON]
    assert model_of(training, tmp_path) == "2"


def test_a_state_that_was_not_saved_in_time_is_saved_again(judge, training, tmp_path) -> None:
    judge({1: 0.5})
    judge({2: 0.9}, saves=False)  # harness and program died before the save
    training.hold_what_was_saved(Limits())
    judge({2: 0.0}, saves=False)  # judged again, and both die once more, after the save
    (training.written / "model").write_text("2")
    training.hold_what_was_saved(Limits())
    judge({3: 0.4})
    assert model_of(training, tmp_path) == "2"


def test_how_many_are_judged_is_fixed_by_the_first_part(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(hold(tmp_path, KEY, "x", most_checkpoints=3))
        (first.written / ".training").mkdir()
        (first.written / ".training" / "state").write_text("")
        first.verdicts = 2
        first.save()
    with hold(tmp_path, KEY, "x", most_checkpoints=1000) as second:
        assert (second.resumed, second.most_checkpoints, second.verdicts) == (1, 3, 2)
        assert second.part_of_record(with_curve=False).most_checkpoints == 3
