"""Chooses the checkpoint of a training, centrally and by one rule for every entry.

No entry ever sees a label: it answers the unlabelled validation images, the judge scores the
answers, knows the best state, and says go on or stop, and nothing else. Trap: whatever a verdict
says of a state is a question answered about labels that the entry chooses by its answers (one
image raised, one label told); so `keep` is always true, and `stop`, once said, is the last word.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

from harness.benchmarks import Pack
from harness.entries.entry import Settings
from harness.metrics import CheckpointScorer, GroundTruth
from harness.records.record import CheckpointPart
from harness.session.conversation import Answer, Question, Verdict
from harness.session.order import questions_of, shuffled
from harness.session.scoring import native_answer
from harness.trained.interrupted_training import UnfinishedTraining

MEAN_OF_MEMBERS = "mean of members"
"""What the checkpoints of a suite's training are judged by."""


class Judge:
    """Scores checkpoints on the validation split: the same rule for every entry.

    The best checkpoint is the one whose metric is higher than every earlier one (the first of
    equals wins); where the metric is undefined it is the newest. Stop is said after `patience`
    checkpoints without a better one, and at the last that is judged. A training that goes on
    after an interruption is judged as if there had been none: what it does again is forgotten,
    though it counts, and the state that it goes on from, where it was judged before, gets the
    same verdict again.

    Of a suite each member is judged by its own metric, and what counts is their mean without
    weights, undefined where a member's is. A few-shot training is judged by nothing: labels would
    be supervision, so no image is sent, no verdict says stop, and the last state counts.

    Args:
        settings: metrics and patience, from the entry's own tables.
        pack: what the run sees; its validation split decides.
        training: takes each new checkpoint; saved before the entry is asked, and before the
            verdict is given.
        truth: gives the compiled ground truth of a member's validation split.
        tell: takes one line of news per checkpoint.
        may_tell_steps: whether that line may say the step that the entry named, and the value.
    """

    def __init__(
        self,
        settings: Settings,
        pack: Pack,
        training: UnfinishedTraining,
        *,
        truth: Callable[[Pack], GroundTruth],
        tell: Callable[[str], None],
        may_tell_steps: bool = True,
    ) -> None:
        self._settings = settings
        self._rule = settings.training
        self._pack = pack
        self._training = training
        self._truth = truth
        self._tell = tell
        self._may_tell_steps = may_tell_steps
        self._is_resuming = bool(training.checkpoints)

    def __call__(self, step: int, ask: Callable[[Iterable[Question]], Iterator[Answer]]) -> Verdict:
        """Ask the entry about the validation images and judge its answers.

        Raises:
            RunEnded: by the entry's fault.
        """
        training = self._training
        if not self._is_judged_again(step):
            training.save()
            training.checkpoints.append(self._judged(step, self._measure(ask)))
            training.verdicts += 1
        training.is_told_to_stop |= self._has_lost_patience() or self._is_last_that_is_judged
        training.expect_state()
        training.save()
        self._tell_of(training.checkpoints[-1])
        return Verdict(keep=True, stop=training.is_told_to_stop)

    @property
    def stop_reason(self) -> str:
        """Why the training ended, once it has."""
        if not self._training.is_told_to_stop:
            return "finished"
        if self._is_last_that_is_judged and not self._has_lost_patience():
            return f"{self._training.most_checkpoints} checkpoints, the most that are judged"
        return f"no better checkpoint in {self._rule.patience} validations"

    @property
    def _is_last_that_is_judged(self) -> bool:
        return 0 < self._training.most_checkpoints <= self._training.verdicts

    def _judged(self, step: int, value: float | None) -> CheckpointPart:
        earlier = (checkpoint.value for checkpoint in self._training.checkpoints)
        best = max((known for known in earlier if known is not None), default=None)
        return CheckpointPart(
            step=step,
            metric=MEAN_OF_MEMBERS
            if len(self._pack.members) > 1
            else self._metric(self._pack.members[0]),
            value=value,
            kept=value is None or best is None or value > best,
        )

    def _tell_of(self, newest: CheckpointPart) -> None:
        stop = ", stop" if self._training.is_told_to_stop else ""
        decided = f"{'kept' if newest.kept else 'dropped'}{stop}"
        if not self._may_tell_steps:
            self._tell(f"  checkpoint {len(self._training.checkpoints)}: {decided}")
            return
        if newest.metric == "none":
            self._tell(f"  checkpoint at step {newest.step}: not judged ({decided})")
            return
        shown = "undefined" if newest.value is None else f"{newest.value:.4f}"
        self._tell(f"  checkpoint at step {newest.step}: {newest.metric} {shown} ({decided})")

    def _is_judged_again(self, step: int) -> bool:
        """Whether a resumed training's first checkpoint was judged before; later ones are dropped.

        Its state is the very one that was judged. Another measurement could differ in the last
        digit on a GPU, and then the model that was kept would not be the one in the record.
        """
        if not self._is_resuming:
            return False
        self._is_resuming = False
        self._training.go_back_to(step)
        checkpoints = self._training.checkpoints
        return bool(checkpoints) and checkpoints[-1].step == step

    def _has_lost_patience(self) -> bool:
        best = self._training.best()
        since_best = len(self._training.checkpoints) - best if best else 0
        return 0 < self._rule.patience <= since_best

    def _metric(self, member: Pack) -> str:
        return self._settings.checkpoint_metric(member.settings_name)

    def _measure(self, ask: Callable[[Iterable[Question]], Iterator[Answer]]) -> float | None:
        samples = shuffled(self._pack.split("valid"))
        members = self._pack.members
        # Where one member is judged by nothing the mean is undefined, so nobody is asked.
        if not samples or any(self._metric(member) == "none" for member in members):
            return None
        with ExitStack() as stack:
            scorers = {
                member.card.name: stack.enter_context(
                    CheckpointScorer(self._metric(member), self._truth(member))
                )
                for member in members
            }
            for answer in ask(questions_of(self._pack, samples)):
                told = native_answer(self._pack, answer)
                scorer, key = scorers[told.origin.pack.card.name], told.origin.sample.key
                scorer.add(key, told.score, told.anomaly_map)
            return _mean([scorer.value() for scorer in scorers.values()])


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean without weights; None where a value is undefined."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
