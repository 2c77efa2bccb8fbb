"""Turns what happened in a run into its record, also when the run failed."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.benchmarks import Pack
from harness.board.gallery import GalleryMaker
from harness.board.reviews import marked, review
from harness.board.tracks import ranking, track_of
from harness.common.statuses import Status
from harness.engines.base import EngineFacts
from harness.metrics import METRICS_VERSION
from harness.records.isolation import MeasuredIsolation, isolation_level
from harness.records.parts import OutcomePart
from harness.records.record import (
    AuditPart,
    CostPart,
    EntryPart,
    Latency,
    ModelPart,
    PackPart,
    Record,
    TimesPart,
    TrainingPart,
)
from harness.records.source import source
from harness.running.audit import AnswersHash
from harness.running.machine import machine
from harness.running.remarks import facts_part, remarks_of, remarks_on_weights
from harness.running.request import Request, RunPlace
from harness.running.run_energy import RunEnergy
from harness.session.one_image import Answer
from harness.session.scoring import MemberScores, ground_truth


@dataclass
class RunProgress:
    """What has happened so far in a run; becomes the record, also of a failed one."""

    started: datetime.datetime
    clock: float
    energy: RunEnergy
    isolation: MeasuredIsolation = field(default_factory=MeasuredIsolation)
    training: TrainingPart | None = None
    model: ModelPart | None = None
    train_seconds: float | None = None
    start_up_seconds: float | None = None
    predict_seconds: float | None = None
    warm_up_seconds: float | None = None
    latencies: list[float] = field(default_factory=list)
    scores: MemberScores | None = None
    gallery: GalleryMaker | None = None
    peak_ram_bytes: list[int] = field(default_factory=list)
    peak_gpu_bytes: list[int] = field(default_factory=list)
    log: bytes = b""
    facts: list[EngineFacts] = field(default_factory=list)
    answered: int = 0
    constant_maps: int = 0
    has_scores_from_maps: bool = False
    entry_has_maps: bool = True
    kept_maps: Path | None = None
    answers: AnswersHash = field(default_factory=AnswersHash)
    audit: AuditPart | None = None

    def note_latency(self, seconds: float, *, is_test: bool) -> None:
        """Count the time of one image; the session's first is warm-up."""
        if self.warm_up_seconds is None:
            self.warm_up_seconds = seconds
        elif is_test:
            self.latencies.append(seconds)

    def note_answer(self, answer: Answer) -> None:
        """Count one answered test image, once its map was scored."""
        self.note_latency(answer.latency_seconds, is_test=True)
        self.answered += 1
        self.has_scores_from_maps |= answer.is_score_from_map
        drawn = answer.anomaly_map
        if drawn is not None and drawn[0, 0] == drawn[-1, -1]:  # two corners settle most of them
            self.constant_maps += bool((drawn == drawn[0, 0]).all())


def record_of(
    request: Request, place: RunPlace, progress: RunProgress, outcome: OutcomePart
) -> Record:
    """The record of a run, not sealed yet; a failed one holds no metrics."""
    entry, scores = request.entry, progress.scores if outcome.status is Status.OK else None
    track = track_of(entry, request.pack, progress.model)
    is_ranked, reason = ranking(
        request.settings,
        request.pack,
        isolation_level(progress.isolation),
        track=track,
        model=progress.model,
        weights=request.weights,
        regime=request.regime,
    )
    facts = facts_part(progress.facts)
    remarks = remarks_of(
        scores,
        progress.training if scores else None,
        facts,
        constant_maps=progress.constant_maps,
        has_scores_from_maps=progress.has_scores_from_maps,
        shortage=_shortage(request),
    )
    remarks += remarks_on_weights(request.weights or ())
    record = Record(
        run_key=request.key.hash,
        entry=EntryPart(
            name=entry.name,
            title=entry.shown_title,
            kind=entry.kind,
            identity=request.program.identity,
            image_digest=request.program.image_digest,
            sif=request.program.sif,
            image=request.program.image or None,
            source=request.program.source,
            built_on=request.program.built_on,
            maps=progress.entry_has_maps,
            preset=request.settings.preset,
            params=dict(request.settings.params),
            overrides=dict(request.settings.overrides),
            made_of=request.key.made_of,
            checkpoint_rule=request.settings.rule,
            metadata=entry.metadata,
            supervision=entry.supervision,
        ),
        pack=pack_part(request.pack, place),
        members=_members(request.pack, place),
        regime=request.regime,
        seed=request.seed,
        track=track,
        ranked=is_ranked,
        unranked_reason=reason,
        limits=request.limits.as_dict(),
        machine=machine(place.engine, request.device, request.limits.threads, progress.isolation),
        weights=request.weights,
        source=source(METRICS_VERSION),
        times=_times(progress),
        training=progress.training,
        model=progress.model,
        cost=CostPart(
            peak_ram_mib=peak_mib(progress.peak_ram_bytes),
            peak_gpu_mib=peak_mib(progress.peak_gpu_bytes),
        ),
        energy=progress.energy.parts(
            has_trained=progress.train_seconds is not None, images=len(progress.latencies)
        ),
        maps=scores.maps if scores else None,
        outcome=outcome,
        metrics=list(scores.metrics) if scores else [],
        audit=progress.audit if scores else None,
        answers=progress.answers.value if scores else None,
        warnings=[remark.text for remark in remarks],
        marks=list(dict.fromkeys(remark.mark for remark in remarks if remark.mark)),
        engine_facts=facts,
    )
    return marked(record, review(record, place.reviewed))


def peak_mib(peaks: Sequence[int]) -> float | None:
    """The highest of the sessions' peaks, given in bytes; None where none is known."""
    return max(peaks) / 1024**2 if peaks else None


def _shortage(request: Request) -> str | None:
    """What is told where the training split is small for the entry's settings."""
    wanted = request.entry.table.images_wanted
    if wanted is None:
        return None
    return wanted.shortage(len(request.pack.split("train")), request.settings.params)


def pack_part(pack: Pack, place: RunPlace) -> PackPart:
    """What the record says of the pack: counts and version, nothing of an image.

    Of a suite it is all members together; what a regime leaves out of a pack counts in it.
    """
    truths = [
        ground_truth(member, "test", place.cache, place.reporter.progress)
        for member in pack.members
    ]
    masked = [truth for truth in truths if truth.native and truth.paper]
    counts = pack.card.counts
    return PackPart(
        benchmark=pack.name,
        base=pack.base,
        version=pack.version,
        digest=pack.digest,
        patients_digest=pack.patients,
        patients_stated=pack.card.patients,
        visibility=pack.card.visibility,
        images_may_be_shown=pack.card.images_may_be_shown,
        train=counts.train,
        valid=counts.valid_normal + counts.valid_anomalous,
        test_normal=counts.test_normal,
        test_anomalous=counts.test_anomalous,
        patients=pack.card.groups.test,
        accepted=pack.card.accepted,
        regions=sum(len(truth.native.region_sizes[0]) for truth in masked if truth.native)
        if masked
        else None,
        regions_lost=sum(truth.paper.regions_lost for truth in masked if truth.paper)
        if masked
        else None,
    )


def _members(pack: Pack, place: RunPlace) -> tuple[PackPart, ...]:
    """The packs of a suite; none of a run on one pack."""
    if len(pack.members) == 1:
        return ()
    return tuple(pack_part(member, place) for member in pack.members)


def _times(progress: RunProgress) -> TimesPart:
    warm_up, latency = progress.warm_up_seconds, None
    if warm_up is not None and progress.answered:
        seconds = np.asarray(progress.latencies or [warm_up], dtype=np.float64)
        median, p90, p99 = (float(q) for q in np.quantile(seconds, (0.5, 0.9, 0.99)))
        latency = Latency(median=median, p90=p90, p99=p99, warm_up=warm_up)
    return TimesPart(
        started=progress.started.isoformat(timespec="seconds"),
        total=time.monotonic() - progress.clock,
        train=progress.train_seconds,
        start_up=progress.start_up_seconds,
        predict=progress.predict_seconds,
        latency=latency,
    )
