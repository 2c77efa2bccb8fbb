"""Chooses the checkpoint of a training, centrally and by one rule for every entry.

No entry ever sees a label: it answers the unlabelled validation images, the judge
scores the answers and says keep or drop, go on or stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.benchmarks import Pack
from harness.entries import TrainingTable
from harness.metrics import GroundTruth, checkpoint_value
from harness.questions import questions_of, sample_of, shuffled
from harness.records import CheckpointPart, CurvePoint, TrainingPart
from harness.session import Answer, Question, Verdict

CURVE_POINTS = 500  # of a training curve in the record: more than a screen can show


class Judge:
    """Scores checkpoints on the validation split: the same rule for every entry.

    Keeps a checkpoint when its metric is higher than every earlier one (the first of
    equals wins), and says stop after `patience` checkpoints without a better one.
    An undefined metric keeps the newest checkpoint.

    Args:
        rule: metric and patience, from the entry's `[training]`.
        pack: the pack whose validation split decides.
        truth: gives that split's compiled ground truth.
        tell: takes one line of news per checkpoint.
    """

    def __init__(
        self,
        rule: TrainingTable,
        pack: Pack,
        *,
        truth: Callable[[], GroundTruth],
        tell: Callable[[str], None],
    ) -> None:
        self._rule = rule
        self._pack = pack
        self._truth = truth
        self._tell = tell
        self._best: float | None = None
        self._since_best = 0
        self._stop_reason = "finished"
        self._checkpoints: list[CheckpointPart] = []

    def __call__(self, step: int, ask: Callable[[Iterable[Question]], Iterator[Answer]]) -> Verdict:
        """Ask the entry about the validation images and judge its answers."""
        value = self._measure(ask)
        is_better = value is None or self._best is None or value > self._best
        if value is not None and is_better:
            self._best = value
        self._since_best = 0 if is_better else self._since_best + 1
        has_lost_patience = 0 < self._rule.patience <= self._since_best
        if has_lost_patience:
            self._stop_reason = f"no better checkpoint in {self._rule.patience} validations"
        self._checkpoints.append(
            CheckpointPart(
                step=step, metric=self._rule.checkpoint_metric, value=value, kept=is_better
            )
        )
        shown = "undefined" if value is None else f"{value:.4f}"
        self._tell(
            f"  checkpoint at step {step}: {self._rule.checkpoint_metric} {shown}"
            f" ({'kept' if is_better else 'dropped'}{', stop' if has_lost_patience else ''})"
        )
        return Verdict(keep=is_better, stop=has_lost_patience)

    def _measure(self, ask: Callable[[Iterable[Question]], Iterator[Answer]]) -> float | None:
        samples = shuffled(self._pack.split("valid"))
        if self._rule.checkpoint_metric == "none" or not samples:
            return None
        answers = ask(questions_of(self._pack, samples))
        told = ((sample_of(answer).key, answer.score, answer.anomaly_map) for answer in answers)
        return checkpoint_value(self._rule.checkpoint_metric, self._truth(), told)

    def part(
        self, curve: Sequence[tuple[int, float | None]], *, steps: int | None = None
    ) -> TrainingPart:
        """What the record keeps of the training."""
        kept = [checkpoint.step for checkpoint in self._checkpoints if checkpoint.kept]
        stride = max(1, -(-len(curve) // CURVE_POINTS))
        return TrainingPart(
            steps=steps,
            checkpoints=list(self._checkpoints),
            kept=kept[-1] if kept else None,
            stop_reason=self._stop_reason,
            curve=[CurvePoint(step=step, loss=loss) for step, loss in curve[::stride]],
        )
