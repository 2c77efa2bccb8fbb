"""Joins packs and metrics: the compiled ground truth of a split, and the scorers of a run.

The metrics know nothing of files; packs know nothing of metrics. A run on several packs has one
scorer for each, and every map is scored in its image's own size, however the image was delivered. Masks are read once
per pack version: the compiled truth is kept in the cache and never read again when an
entry is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.benchmarks import Pack
from harness.benchmarks.pack import MemberSample
from harness.common.progress import Progress
from harness.metrics import Evidence, GroundTruth, RunScorer, RunScores, TruthImage, score
from harness.metrics.certify import Certified, certify, certify_suite
from harness.metrics.errors import TruthMismatch
from harness.metrics.kernels.resize import resized_map
from harness.metrics.scorer import evidence_of_suite
from harness.metrics.suite_evidence import load_members, save_members
from harness.metrics.suites import score_suite
from harness.metrics.thresholds import NO_SPLIT
from harness.records.members import MEAN
from harness.records.record import MapsPart, MetricValue, Record, content_hash
from harness.records.releases import claimed_name
from harness.session.one_image import Answer
from harness.session.order import sample_of

NO_LABELLED_IMAGES = "a few-shot run is given no labelled image"
"""Why a few-shot run has no threshold of the validation split."""


def truth_folder(cache: Path, pack_version: str, split: str) -> Path:
    """Where the compiled truths of a split lie in the cache: one per naming of its images."""
    return cache / "truth" / f"{pack_version}-{split}"


def _truth_path(pack: Pack, split: str, cache: Path) -> Path:
    # The version speaks of pixels, masks and labels; names, patients and subclasses may change.
    names = [[sample.key, sample.group, sample.subclass] for sample in pack.split(split)]
    mark = content_hash(names).removeprefix("sha256:")[:12]
    return truth_folder(cache, pack.version, split) / f"{mark}.npz"


def ground_truth(pack: Pack, split: str, cache: Path, on_progress: Progress) -> GroundTruth:
    """The compiled ground truth of one split, from the cache where it is there.

    Args:
        pack: an opened pack.
        split: `valid` or `test`.
        cache: the harness's cache folder.
        on_progress: called with a label, the images done and their number.
    """
    path = _truth_path(pack, split, cache)
    if path.is_file() and (stored := GroundTruth.load(path)) is not None:
        return stored
    images = [
        TruthImage(
            key=sample.key,
            is_anomalous=sample.is_anomalous,
            group=sample.group,
            subclass=sample.subclass,
            image=partial(pack.image, sample),
            mask=partial(pack.mask, sample) if pack.has_masks else None,
        )
        for sample in pack.split(split)
    ]
    truth = GroundTruth.compile(
        images,
        has_masks=pack.has_masks,
        pack_version=pack.version,
        on_progress=partial(on_progress, f"compiling the {split} truth"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    truth.save(path)
    return truth


@dataclass(frozen=True)
class NativeAnswer:
    """An answer as it is scored: of a pack on disk, on its image's own grid."""

    origin: MemberSample
    """The member that the image is of, and its own sample there."""
    score: float
    """Image score."""
    anomaly_map: NDArray[np.floating[Any]] | None
    """float32 or float16 [H, W] in the image's own size; None without one, or where the member
    has no masks."""


def native_answer(pack: Pack, answer: Answer) -> NativeAnswer:
    """An answer brought back to the size of its image on disk, bilinearly, in the map's own dtype.

    Args:
        pack: what the run sees; an image that it delivers in its own size comes back as it is.
        answer: to a question of `questions_of`.
    """
    origin = pack.origin(sample_of(answer))
    is_scored = origin.pack.has_masks
    return NativeAnswer(origin, answer.score, native_map(pack, answer) if is_scored else None)


def native_map(pack: Pack, answer: Answer) -> NDArray[np.floating[Any]] | None:
    """The map of an answer in the size of its image on disk, as in `native_answer`; None without one."""
    drawn, own = answer.anomaly_map, pack.origin(sample_of(answer)).sample
    if drawn is None or drawn.shape == (own.height, own.width):
        return drawn
    return resized_map(drawn, own.height, own.width)


@dataclass(frozen=True)
class MemberScores:
    """What a scored run comes to, member by member; a run on one pack has one."""

    by_member: Mapping[str, RunScores]
    """By what each pack says it is (its card's name), its scores."""
    over_all: tuple[MetricValue, ...] = ()
    """Of a suite: the means over its members, and what is pooled."""

    @property
    def _alone(self) -> RunScores | None:
        return next(iter(self.by_member.values())) if len(self.by_member) == 1 else None

    @property
    def metrics(self) -> list[MetricValue]:
        """Every metric: of one pack as it is; of a suite each member's, their means, and pooled."""
        if self._alone is not None:
            return list(self._alone.metrics)
        own = [
            metric.model_copy(update={"member": name})
            for name, scores in self.by_member.items()
            for metric in scores.metrics
        ]
        return [*own, *self.over_all]

    @property
    def maps(self) -> MapsPart | None:
        """What the maps were like; of a suite the dtype alone."""
        found = [scores.maps for scores in self.by_member.values() if scores.maps is not None]
        if self._alone is not None or not found:
            return found[0] if found else None
        return MapsPart(dtype=found[0].dtype, levels=None, largest_bin=None)

    @property
    def warnings(self) -> list[str]:
        """Remarks for the reader; of a suite each with its member."""
        if self._alone is not None:
            return list(self._alone.warnings)
        return [
            f"{name}: {warning}"
            for name, scores in self.by_member.items()
            for warning in scores.warnings
        ]

    @property
    def image_scores(self) -> NDArray[np.float64]:
        """[n] image scores of all test images."""
        return np.concatenate([each.evidence.test.scores for each in self.by_member.values()])

    def save_evidence(self, path: Path) -> None:
        """Write the evidence from which all metrics follow."""
        if self._alone is not None:
            self._alone.evidence.save(path)
        else:
            save_members(path, {name: each.evidence for name, each in self.by_member.items()})


def suite_scores(evidence: Mapping[str, Evidence], *, intervals: bool = True) -> MemberScores:
    """What a run on a suite comes to.

    Args:
        evidence: by member, in the suite's order.
        intervals: False for the values alone.
    """
    found = score_suite(evidence, intervals=intervals)
    means = (metric.model_copy(update={"member": MEAN}) for metric in found.means)
    return MemberScores(found.members, (*means, *found.pooled))


def scores_of_scorers(scorers: Mapping[str, RunScorer], *, intervals: bool = True) -> MemberScores:
    """What a run comes to, from scorers that hold all of its answers; errors as in `RunScorer.finish`.

    Args:
        scorers: by member; of a run on one pack, its own alone.
        intervals: False for the values alone, of a suite; of one pack its scorer decides.
    """
    if len(scorers) > 1:
        return suite_scores(evidence_of_suite(scorers), intervals=intervals)
    return MemberScores({name: scorer.finish() for name, scorer in scorers.items()})


def evidence_of_members(path: Path, record: Record) -> dict[str, Evidence]:
    """What a record's evidence file holds, by member in the record's order; of one pack, its own.

    Raises:
        TruthMismatch: the file is damaged, or of other members than the record.
    """
    names = [claimed_name(pack.benchmark) for pack in record.members]
    if not names:
        return {claimed_name(record.pack.benchmark): Evidence.load(path)}
    found = load_members(path)
    if set(found) != set(names):
        raise TruthMismatch(
            f"the evidence is of {', '.join(found) or 'nothing'}, and the record of"
            f" {', '.join(names)}",
            where=str(path),
            fix="restore it from a copy, or run the entry again",
        )
    return {name: found[name] for name in names}


def scores_of(evidence: Mapping[str, Evidence]) -> MemberScores:
    """What a finished run came to, from its evidence by member."""
    if len(evidence) > 1:
        return suite_scores(evidence)
    return MemberScores({name: score(each) for name, each in evidence.items()})


def certified(
    evidence: Mapping[str, Evidence], stored: Sequence[MetricValue]
) -> tuple[Certified, ...]:
    """Each of a record's metrics beside what its evidence by member allows."""
    if len(evidence) > 1:
        return certify_suite(evidence, stored)
    (alone,) = evidence.values()
    return certify(alone, stored)


class MemberScorers:
    """Scores a run as its answers arrive, each by the ground truth of its own pack.

    Args:
        pack: what the run sees.
        cache: the harness's cache folder.
        spool: folder of the run for what does not fit in memory.
        has_maps: whether the entry answers with anomaly maps.
        on_progress: as in `ground_truth`.
    """

    def __init__(
        self, pack: Pack, cache: Path, spool: Path, *, has_maps: bool, on_progress: Progress
    ) -> None:
        has_valid = bool(pack.split("valid"))
        self._scorers = {}
        for member in pack.members:
            test = ground_truth(member, "test", cache, on_progress)
            is_judged = member.has_masks and has_valid
            scorer = RunScorer(
                test,
                ground_truth(member, "valid", cache, on_progress) if is_judged else None,
                spool=spool / member.card.name,
                maps=has_maps and member.has_masks,
            )
            scorer.why_no_valid = NO_SPLIT if has_valid else NO_LABELLED_IMAGES
            self._scorers[member.card.name] = scorer

    def add(self, split: str, answer: NativeAnswer) -> None:
        """Take one answer of the `valid` or `test` split; the first of a member without masks,
        which sets no threshold, is passed over."""
        member, key = answer.origin.pack, answer.origin.sample.key
        if split == "test" or member.has_masks:
            scorer = self._scorers[member.card.name]
            scorer.add(split, key, answer.score, answer.anomaly_map)

    def finish(self) -> MemberScores:
        """Metrics, warnings and evidence of the whole run; errors as in `RunScorer.finish`."""
        return scores_of_scorers(self._scorers)
