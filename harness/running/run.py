"""One run: train where the entry trains, predict, score, and leave a record.

    execute(request, place) -> Record

Traps: a run exists only by its record, so nothing is written before the end; work
happens in a temporary folder that a later start sweeps, but for the training, which a later
run goes on from; the infrastructure's faults leave no record at all, because they say nothing
about the entry.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.benchmarks import Sample
from harness.board.gallery import GalleryMaker, open_gallery, reach_of
from harness.common.disclosure import Artefact, PictureReach, may_leave
from harness.common.errors import InfrastructureFault, StoreConflict
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.removal import remove_tree_if_possible
from harness.common.room_to_write import DISK_FULL
from harness.common.statuses import Cause, Fault, RunEnded, Status
from harness.engines.base import Launch, Running
from harness.engines.energy import EnergyMeter
from harness.engines.gpu import health as gpu_health
from harness.engines.gpu.memory import GpuMemoryGauge
from harness.metrics.operating_points import operating_points
from harness.records.isolation import MeasuredIsolation
from harness.records.kept_maps import MapKeeper
from harness.records.parts import LogPart, OutcomePart
from harness.records.record import Record
from harness.running.audit import Audit
from harness.running.isolating import require_isolation, tell_isolation
from harness.running.log_words import last_lines, spoken_of
from harness.running.model import RunModel
from harness.running.recording import RunProgress, record_of
from harness.running.request import Request, RunPlace, by_uuid, launch_of
from harness.running.run_energy import RunEnergy
from harness.session.conversation import Answer, Hello, PredictSession
from harness.session.order import questions_of, sample_of, shuffled
from harness.session.scoring import (
    MemberScorers,
    MemberScores,
    ground_truth,
    native_answer,
    native_map,
)
from harness.trained import interrupted_training
from harness.trained.interrupted_training import UnfinishedTraining


def execute(request: Request, place: RunPlace, *, before: Record | None = None) -> Record:
    """Do one run and store its record, whether it ended well or by the entry's fault.

    Args:
        request: what the run is.
        place: where it happens.
        before: the record that this one may take the place of, as the caller found it.

    Raises:
        InfrastructureFault: the engine, the GPU or this machine failed; nothing is stored.
        StoreConflict: another process is doing this run, or has just finished it.
        StoreUnusable: the record cannot be written.
    """
    request = by_uuid(request)
    with (
        place.store.lock(request.name),
        _disk_faults(request, place),
        work_folder(place.cache) as work,
    ):
        if place.store.find(request.name) != before:
            raise StoreConflict(
                f"another process has just finished {request.name}",
                where=str(place.store.root),
                fix="run the same command again: it goes on from there",
            )
        with _held_training(request, place) as training:
            record = _execute(request, place, work, training)
            if training is not None:
                training.remove()
            return record


def _execute(
    request: Request, place: RunPlace, work: Path, training: UnfinishedTraining | None
) -> Record:
    meter = EnergyMeter.of(request.device)
    progress = RunProgress(datetime.datetime.now(datetime.UTC), time.monotonic(), RunEnergy(meter))
    with meter.counting():
        return _run_and_store(request, place, work, progress, training)


def _run_and_store(
    request: Request,
    place: RunPlace,
    work: Path,
    progress: RunProgress,
    training: UnfinishedTraining | None,
) -> Record:
    run = _Run(request, place, work, progress)
    try:
        gpu_health.require_well(place.engine, run.launch())
        progress.isolation = _isolation(request, place, run.launch())
        run.get_model(training)
        audit = Audit.of(request.pack.split("test"), request.device) if request.is_audited else None
        run.predict(audit)
        if audit is not None:
            run.audit(audit)
        outcome = OutcomePart(status=Status.OK, answered=progress.answered)
    except RunEnded as end:
        detail = end.told(request.pack.card.visibility)
        if end.status.fault is Fault.INFRASTRUCTURE:
            raise InfrastructureFault(end.status, detail, end.cause) from end
        outcome = _failed(request, place, progress, end)
    return _store(request, place, progress, record_of(request, place, progress, outcome))


def _isolation(request: Request, place: RunPlace, launch: Launch) -> MeasuredIsolation:
    """What stands between the entry and this machine; told where it is less than a container."""
    measured = require_isolation(
        place.engine,
        launch,
        [request.pack.card.visibility],
        is_foreign=request.entry.kind != "folder",
    )
    tell_isolation(place.engine, measured, place.reporter)
    return measured


def _failed(request: Request, place: RunPlace, progress: RunProgress, end: RunEnded) -> OutcomePart:
    """How a run ended by the entry's fault; on an open pack with the last lines of its log."""
    visibility, cause, log = request.pack.card.visibility, end.cause, None
    detail = end.told(visibility)
    if may_leave(Artefact.LOG, visibility):
        cause = cause or spoken_of(end.status, progress.log)
        whole = place.store.log_path(request.name).relative_to(place.store.root)
        log = LogPart(path=whole.as_posix(), lines=last_lines(progress.log))
        if end.status is Status.NOT_APPLICABLE and log.lines:
            told = log.lines[-1].rpartition("NotApplicable: ")[2]  # a traceback ends so
            detail = f"{detail}: {told}"
    return OutcomePart(
        status=end.status,
        detail=detail,
        answered=progress.answered,
        cause=cause,
        log=log,
    )


@contextlib.contextmanager
def _disk_faults(request: Request, place: RunPlace) -> Iterator[None]:
    """A disk that is full in the middle of a run is this machine's fault, wherever it shows."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        # A file of the model is called what the entry called it.
        is_named = may_leave(Artefact.ENTRY_WORDS, request.pack.card.visibility)
        full = (error.filename if is_named else None) or place.cache
        raise InfrastructureFault(
            Status.HOST_ERROR, f"the disk is full ({full})", Cause.DISK_FULL
        ) from error


def _held_training(
    request: Request, place: RunPlace
) -> contextlib.AbstractContextManager[UnfinishedTraining | None]:
    """The run's training, fresh or gone on from; None where the run trains nothing."""
    if not request.trains:
        return contextlib.nullcontext()
    root = place.trainings or place.cache
    # None of a few-shot training is judged, so no verdict tells anything.
    most = 0 if request.regime.shots is not None else request.limits.checkpoints
    return interrupted_training.hold(
        root, request.key.training_hash, str(request.name), most_checkpoints=most
    )


@contextlib.contextmanager
def work_folder(cache: Path) -> Iterator[Path]:
    """A fresh folder for one run, removed at its end whatever happens."""
    parent = cache / "work"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f"{owner_mark()}-"))
    try:
        yield folder
    finally:
        remove_tree_if_possible(folder)


def sweep_work_folders(cache: Path) -> int:
    """Remove the work folders of processes that are gone; returns how many."""
    stale = [
        folder
        for folder in (cache / "work").glob("*-*")
        if is_owner_gone(folder.name.partition("-")[0])
    ]
    return sum(map(remove_tree_if_possible, stale))


@dataclass
class _Run:
    """The sessions of one run: train, predict, and two more where it is audited."""

    request: Request
    place: RunPlace
    work: Path
    progress: RunProgress

    def __post_init__(self) -> None:
        self.model.mkdir()

    @property
    def model(self) -> Path:
        """The host's own copy of the trained model; empty where the entry does not train."""
        return self.work / "model"

    def launch(self) -> Launch:
        """One start for predict."""
        return launch_of(self.request, self.place, "predict", model=self.model)

    def get_model(self, training: UnfinishedTraining | None) -> None:
        """Have the trained model in its folder, where the entry has one."""
        hello = self._hello(self.request.pack.has_masks)  # a checkpoint is judged, not shown
        RunModel(self.request, self.place, self.progress, self.model, self._running, hello).get(
            training
        )

    def predict(self, audit: Audit | None = None) -> None:
        """One predict session: the validation split first where it sets thresholds, then test."""
        progress, launch = self.progress, self.launch()
        self._compile_truth()
        began, begun = time.monotonic(), progress.energy.meter.look()
        kept = self.work / "maps.zip" if self.place.keep_maps else None
        with (
            self._running(launch) as running,
            MapKeeper(kept) if kept else contextlib.nullcontext() as keeper,
        ):
            session = PredictSession(running, launch, self._hello(self._asks_for_maps))
            ready = session.start()
            progress.start_up_seconds = ready.start_up_seconds
            progress.entry_has_maps = ready.maps
            self._score(session, keeper, audit, has_maps=ready.maps)
            session.finish()
        progress.kept_maps = kept
        progress.predict_seconds = time.monotonic() - began
        progress.energy.predict = progress.energy.meter.look().since(begun)

    def audit(self, audit: Audit) -> None:
        """Two fresh starts, asked about the picked images once more; what fails there is no failure."""
        began = time.monotonic()
        self.place.reporter.event(f"  auditing: {len(audit.picked)} images in two fresh starts")
        try:
            first, second = self._asked_afresh(audit), self._asked_afresh(audit)
        except RunEnded as end:
            if end.status.fault is Fault.INFRASTRUCTURE:
                raise
            detail = f"a fresh start ended with {end.status}: {end.detail}"
            part = audit.part("not reproducible", detail, seconds=time.monotonic() - began)
        else:
            part = audit.verdict(first, second, seconds=time.monotonic() - began)
        self.progress.audit = part
        if part.verdict != "passed":
            self.place.reporter.event(f"  audit: {part.verdict} ({part.detail})")

    def _asked_afresh(self, audit: Audit) -> list[Answer]:
        launch = self.launch()
        with self._running(launch) as running:
            session = PredictSession(running, launch, self._hello(self._asks_for_maps))
            session.start()
            answers = self._answers(session, audit.picked, "audited image")
            told = [self._scored(answer) for _, answer in answers]
            session.finish()
        return told

    def _score(
        self,
        session: PredictSession,
        keeper: MapKeeper | None,
        audit: Audit | None,
        *,
        has_maps: bool,
    ) -> None:
        pack, place, progress = self.request.pack, self.place, self.progress
        scorers = MemberScorers(
            pack, place.cache, self.work, has_maps=has_maps, on_progress=place.reporter.progress
        )
        if pack.has_masks:
            samples = shuffled(pack.split("valid"))
            for sample, answer in self._answers(session, samples, "validation image"):
                native = native_answer(pack, answer)
                scorers.add("valid", native)
                progress.answers.add(sample.key, answer)
                progress.note_latency(answer.latency_seconds, is_test=False)
                if keeper is not None:
                    keeper.add("valid", sample.key, native.anomaly_map)
        if len(pack.members) == 1:  # pictures of a suite would be of one of its members
            gallery = open_gallery(pack.members[0], place.cache, place.reporter.progress)
            progress.gallery = gallery
        self._score_test(session, scorers, keeper, audit)
        progress.scores = scorers.finish()

    def _score_test(
        self,
        session: PredictSession,
        scorers: MemberScorers,
        keeper: MapKeeper | None,
        audit: Audit | None,
    ) -> None:
        pack, progress = self.request.pack, self.progress
        samples = shuffled(pack.split("test"))
        is_warm = progress.warm_up_seconds is not None
        answers = self._answers(session, samples, "test image")
        for sample, told in progress.energy.over_images(answers, is_warm=is_warm):
            answer = self._scored(told)
            native = native_answer(pack, answer)
            scorers.add("test", native)
            progress.answers.add(sample.key, answer)
            if audit is not None:
                audit.see(sample, answer)
            if keeper is not None:
                keeper.add("test", sample.key, native.anomaly_map)
            if progress.gallery is not None:
                shown = native.anomaly_map if pack.has_masks else native_map(pack, told)
                progress.gallery.offer(native.origin.sample, native.score, shown)
            progress.note_answer(answer)

    @property
    def _asks_for_maps(self) -> bool:
        """To score them; else to show them, where the images may be shown.

        What may be seen on this machine alone is not worth the time: the maps of RSNA's test
        split would be 72 GB.
        """
        pack = self.request.pack
        is_alone = len(pack.members) == 1
        return pack.has_masks or (is_alone and reach_of(pack.members[0]) is PictureReach.EVERYWHERE)

    def _scored(self, answer: Answer) -> Answer:
        """What of an answer the record speaks of: a map that is only shown leaves no trace in it."""
        return answer if self.request.pack.has_masks else answer.score_alone()

    def _compile_truth(self) -> None:
        """Before the clock of the session starts: the first run on a pack reads its masks."""
        place, seen = self.place, self.request.pack
        for pack in seen.members:
            is_thresholded = pack.has_masks and seen.split("valid")
            for split in ("valid", "test") if is_thresholded else ("test",):
                ground_truth(pack, split, place.cache, place.reporter.progress)

    def _answers(
        self, session: PredictSession, samples: Sequence[Sample], what: str
    ) -> Iterator[tuple[Sample, Answer]]:
        questions = questions_of(self.request.pack, samples)
        for done, answer in enumerate(session.ask(questions, what), start=1):
            yield sample_of(answer), answer
            self.place.reporter.progress(f"{what}s", done, len(samples))

    @contextlib.contextmanager
    def _running(self, launch: Launch) -> Iterator[Running]:
        gauge = GpuMemoryGauge.of(launch.device)  # before the start: what is in use without it
        running = self.place.engine.start(launch)
        try:
            # Twice: it is stopped whatever happens, and before the gauge's last look.
            with running, gauge.watching(running.owns), running:
                yield running
        except RunEnded as end:
            known = gpu_health.explained(end, self.place.engine, launch)
            if known is end:
                raise
            raise known from end
        finally:
            # The log is complete only after the program was stopped.
            self.progress.log += running.log
            self.progress.facts.append(running.facts())
            if (peak := running.peak_memory_bytes) is not None:
                self.progress.peak_ram_bytes.append(peak)
            if gauge.peak_bytes is not None:
                self.progress.peak_gpu_bytes.append(gauge.peak_bytes)
            self.progress.energy.note_gpu_use(has_seen_others=gauge.has_seen_others)

    def _hello(self, maps_wanted: bool) -> Hello:
        request = self.request
        return Hello(
            benchmark=request.pack.card.name,  # what is listed since must change no answer
            seed=request.seed,
            device="cpu" if request.device == "cpu" else "cuda:0",
            maps_wanted=maps_wanted,
            params=dict(request.settings.params),
            tmp_mib=self.progress.isolation.tmp_mib,
        )


def _store(request: Request, place: RunPlace, progress: RunProgress, record: Record) -> Record:
    scores = progress.scores if record.is_ok else None
    gallery = progress.gallery if record.is_ok else None
    maps = progress.kept_maps if record.is_ok else None
    # It may hold pixels of the images: of a hidden run it is never kept.
    may_be_kept = may_leave(Artefact.LOG, request.pack.card.visibility)
    log = progress.log if may_be_kept and (place.keep_log or not record.is_ok) else None
    return place.store.save(
        request.name,
        record,
        write_evidence=scores.save_evidence if scores else None,
        write_gallery=_gallery_writer(gallery, scores, record) if gallery and scores else None,
        write_maps=partial(shutil.copyfile, maps) if maps else None,
        log=log,
    )


def _gallery_writer(
    gallery: GalleryMaker, scores: MemberScores, record: Record
) -> Callable[[Path], None]:
    """Draws the pictures of a run on one pack, at the thresholds that its evidence gives."""
    (alone,) = scores.by_member.values()
    points = operating_points(alone.evidence)
    return partial(gallery.write, run_key=record.run_key, points=points)
