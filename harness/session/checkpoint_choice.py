"""Chooses the checkpoint of a training, centrally and by one rule for every entry.

No entry ever sees a label: it answers the unlabelled validation images, the judge scores the
answers, knows the best state, and says go on or stop, and nothing else. Trap: whatever a verdict
says of a state is a question answered about labels that the entry chooses by its answers (one
image raised, one label told); so `keep` is always true, and `stop`, once said, is the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from harness.benchmarks import Pack
from harness.entries.entry import TrainingTable
from harness.metrics import GroundTruth, checkpoint_value
from harness.records.record import CheckpointPart
from harness.session.conversation import Answer, Question, Verdict
from harness.session.order import questions_of, sample_of, shuffled
from harness.trained.interrupted_training import UnfinishedTraining


class Judge:
    """Scores checkpoints on the validation split: the same rule for every entry.

    The best checkpoint is the one whose metric is higher than every earlier one (the first of
    equals wins); where the metric is undefined it is the newest. Stop is said after `patience`
    checkpoints without a better one, and at the last that is judged. A training that goes on
    after an interruption is judged as if there had been none: what it does again is forgotten,
    though it counts, and the state that it goes on from, where it was judged before, gets the
    same verdict again.

    Args:
        rule: metric and patience, from the entry's `[training]`.
        pack: the pack whose validation split decides.
        training: takes each new checkpoint; saved before the entry is asked, and before the
            verdict is given.
        truth: gives that split's compiled ground truth.
        tell: takes one line of news per checkpoint.
        may_tell_steps: whether that line may say the step that the entry named, and the value.
    """

    def __init__(
        self,
        rule: TrainingTable,
        pack: Pack,
        training: UnfinishedTraining,
        *,
        truth: Callable[[], GroundTruth],
        tell: Callable[[str], None],
        may_tell_steps: bool = True,
    ) -> None:
        self._rule = rule
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
        return self._training.verdicts >= self._training.most_checkpoints

    def _judged(self, step: int, value: float | None) -> CheckpointPart:
        earlier = (checkpoint.value for checkpoint in self._training.checkpoints)
        best = max((known for known in earlier if known is not None), default=None)
        return CheckpointPart(
            step=step,
            metric=self._rule.checkpoint_metric,
            value=value,
            kept=value is None or best is None or value > best,
        )

    def _tell_of(self, newest: CheckpointPart) -> None:
        stop = ", stop" if self._training.is_told_to_stop else ""
        decided = f"{'kept' if newest.kept else 'dropped'}{stop}"
        if not self._may_tell_steps:
            self._tell(f"  checkpoint {len(self._training.checkpoints)}: {decided}")
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

    def _measure(self, ask: Callable[[Iterable[Question]], Iterator[Answer]]) -> float | None:
        samples = shuffled(self._pack.split("valid"))
        if self._rule.checkpoint_metric == "none" or not samples:
            return None
        answers = ask(questions_of(self._pack, samples))
        told = ((sample_of(answer).key, answer.score, answer.anomaly_map) for answer in answers)
        return checkpoint_value(self._rule.checkpoint_metric, self._truth(), told)
