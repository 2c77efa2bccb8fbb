"""Chooses the checkpoint of a training, centrally and by one rule for every entry.

No entry ever sees a label: it answers the unlabelled validation images, the judge
scores the answers and says keep or drop, go on or stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from harness.benchmarks import Pack
from harness.entries.entry import TrainingTable
from harness.metrics import GroundTruth, checkpoint_value
from harness.records.record import CheckpointPart
from harness.session.conversation import Answer, Question, Verdict
from harness.session.order import questions_of, sample_of, shuffled


class Judge:
    """Scores checkpoints on the validation split: the same rule for every entry.

    Keeps a checkpoint when its metric is higher than every earlier one (the first of
    equals wins), and says stop after `patience` checkpoints without a better one.
    An undefined metric keeps the newest checkpoint. A training that goes on after an
    interruption is judged as if there had been none: what it does again is forgotten, and the
    state that it goes on from, where it was judged before, gets the same verdict again.

    Args:
        rule: metric and patience, from the entry's `[training]`.
        pack: the pack whose validation split decides.
        checkpoints: those judged so far; each new one is added to this list.
        truth: gives that split's compiled ground truth.
        tell: takes one line of news per checkpoint.
        may_tell_steps: whether that line may say the step that the entry named, and the value.
        remember: called before the entry is asked, and before the verdict is given.
    """

    def __init__(
        self,
        rule: TrainingTable,
        pack: Pack,
        checkpoints: list[CheckpointPart],
        *,
        truth: Callable[[], GroundTruth],
        tell: Callable[[str], None],
        may_tell_steps: bool = True,
        remember: Callable[[], None] = lambda: None,
    ) -> None:
        self._rule = rule
        self._pack = pack
        self._checkpoints = checkpoints
        self._truth = truth
        self._tell = tell
        self._may_tell_steps = may_tell_steps
        self._remember = remember
        self._is_resuming = bool(checkpoints)

    def __call__(self, step: int, ask: Callable[[Iterable[Question]], Iterator[Answer]]) -> Verdict:
        """Ask the entry about the validation images and judge its answers."""
        if not self._is_judged_again(step):
            self._remember()
            value = self._measure(ask)
            best = max((c.value for c in self._checkpoints if c.value is not None), default=None)
            self._checkpoints.append(
                CheckpointPart(
                    step=step,
                    metric=self._rule.checkpoint_metric,
                    value=value,
                    kept=value is None or best is None or value > best,
                )
            )
        self._remember()
        newest = self._checkpoints[-1]
        verdict = Verdict(keep=newest.kept, stop=self._has_lost_patience())
        self._tell(self._news(newest, verdict))
        return verdict

    def _news(self, newest: CheckpointPart, verdict: Verdict) -> str:
        decided = f"{'kept' if verdict.keep else 'dropped'}{', stop' if verdict.stop else ''}"
        if not self._may_tell_steps:
            return f"  checkpoint {len(self._checkpoints)}: {decided}"
        shown = "undefined" if newest.value is None else f"{newest.value:.4f}"
        return f"  checkpoint at step {newest.step}: {newest.metric} {shown} ({decided})"

    @property
    def stop_reason(self) -> str:
        """Why the training ended, once it has."""
        if self._has_lost_patience():
            return f"no better checkpoint in {self._rule.patience} validations"
        return "finished"

    def _is_judged_again(self, step: int) -> bool:
        """Whether a resumed training's first checkpoint was judged before; later ones are dropped.

        Its state is the very one that was judged. Another measurement could differ in the last
        digit on a GPU, and then the model that was kept would not be the one in the record.
        """
        if not self._is_resuming:
            return False
        self._is_resuming = False
        self._checkpoints[:] = [c for c in self._checkpoints if c.step <= step]
        return bool(self._checkpoints) and self._checkpoints[-1].step == step

    def _has_lost_patience(self) -> bool:
        kept = [number for number, c in enumerate(self._checkpoints) if c.kept]
        since_best = len(self._checkpoints) - 1 - kept[-1] if kept else 0
        return 0 < self._rule.patience <= since_best

    def _measure(self, ask: Callable[[Iterable[Question]], Iterator[Answer]]) -> float | None:
        samples = shuffled(self._pack.split("valid"))
        if self._rule.checkpoint_metric == "none" or not samples:
            return None
        answers = ask(questions_of(self._pack, samples))
        told = ((sample_of(answer).key, answer.score, answer.anomaly_map) for answer in answers)
        return checkpoint_value(self._rule.checkpoint_metric, self._truth(), told)
