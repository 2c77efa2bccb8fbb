"""What a reader must know of a run beside its numbers: remarks, and which of them mark its row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.engines.base import EngineFacts
from harness.entries.weights import is_pinned
from harness.records.parts import EngineFactsPart, Mark, WeightsPart
from harness.records.record import TrainingPart
from harness.session.scoring import MemberScores

FEWEST_EQUAL = 3  # two checkpoints that are worth the same may be so by chance
_HINT = "; the method has probably collapsed"


@dataclass(frozen=True)
class Remark:
    """One thing to know of a run."""

    text: str
    """In full, for the record and the entry's page."""
    mark: Mark | None = None
    """In a few words, for every row of the run."""


def facts_part(facts: Sequence[EngineFacts]) -> EngineFactsPart | None:
    """What the engine saw over all sessions of a run; None where there was none."""
    if not facts:
        return None
    kills = [each.memory_kills for each in facts if each.memory_kills is not None]
    met = [each.met_memory_limit for each in facts if each.met_memory_limit is not None]
    full = dict.fromkeys(name for each in facts for name in each.full_folders)
    return EngineFactsPart(
        memory_kills=sum(kills) if kills else None,
        met_memory_limit=any(met) if met else None,
        full_folders=list(full),
        exit_code=facts[-1].exit_code,
    )


def remarks_of(
    scores: MemberScores | None,
    training: TrainingPart | None,
    facts: EngineFactsPart | None,
    *,
    constant_maps: int,
    has_scores_from_maps: bool,
    shortage: str | None = None,
) -> list[Remark]:
    """Everything to know of a run; of a failed one what the engine saw alone.

    Args:
        scores: of a run that ended well.
        training: the run's own, or the stored model's.
        facts: what the engine saw.
        constant_maps: test images whose map holds one value.
        has_scores_from_maps: some image's score was its map's maximum.
        shortage: of training images, in words (`ImagesWanted.shortage`).
    """
    found = list(_of_engine(facts, is_ok=scores is not None))
    if scores is None:
        return found
    found += [Remark(text) for text in scores.warnings]
    if has_scores_from_maps:
        found.append(Remark("the entry sends no score: its map's maximum is the image score"))
    if shortage:
        found.append(Remark(shortage, Mark.FEW_IMAGES))
    if 0 < 2 * constant_maps <= len(scores.image_scores):
        found.append(Remark(f"{constant_maps} test images have a map of one and the same value"))
    collapses = [*_collapses(scores, constant_maps), *_equal_checkpoints(training)]
    return found + [Remark(text + _HINT, Mark.COLLAPSED) for text in collapses]


def remarks_on_weights(weights: Sequence[WeightsPart]) -> list[Remark]:
    """The pretrained files that no digest of the committed table vouches for, each with its own."""
    return [
        Remark(
            f"{each.shown} is no pretrained file of the committed table"
            " (baselines/kit/weight_files.py): the run takes no rank until a maintainer lists it"
        )
        for each in weights
        if each.sha256 and not is_pinned(each.name, each.sha256)
    ]


def _of_engine(facts: EngineFactsPart | None, *, is_ok: bool) -> Iterator[Remark]:
    if facts is None:
        return
    if facts.memory_kills and is_ok:
        yield Remark(
            "a process of the entry was killed for memory (limit memory_mib), and the entry went on"
            " without it",
            Mark.KILLED_FOR_MEMORY,
        )
    for folder in facts.full_folders:
        limit = "tmp_mib" if folder == "/tmp" else "shm_mib"  # noqa: S108 - the entry's own
        yield Remark(f"{folder} was full (limit {limit})")


def _collapses(scores: MemberScores, constant_maps: int) -> Iterator[str]:
    """What a method that learned nothing answers."""
    told = scores.image_scores
    if len(told) > 1 and (told == told[0]).all():
        yield f"all {len(told)} test images have one and the same score"
    if 2 * constant_maps > len(told):
        yield f"{constant_maps} of {len(told)} test images have a map of one and the same value"


def _equal_checkpoints(training: TrainingPart | None) -> Iterator[str]:
    """Checkpoints that are worth the same every time; where they are perfect, that says nothing."""
    values = [each.value for each in training.checkpoints] if training else []
    if (
        len(values) >= FEWEST_EQUAL
        and len(set(values)) == 1
        and values[0] is not None
        and values[0] < 1.0
    ):
        yield f"all {len(values)} checkpoints score the same ({values[0]:.4f})"
