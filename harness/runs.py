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
import errno
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness import model_folder, unfinished
from harness.audit import Audit
from harness.benchmarks import Sample, stage_training
from harness.engines.base import Launch, Running
from harness.engines.owner import is_owner_gone, owner_mark
from harness.errors import InfrastructureFault, StoreConflict
from harness.gallery import open_gallery
from harness.given_model import GivenModel
from harness.judge import Judge
from harness.kept_maps import MapKeeper
from harness.metrics import METRICS_VERSION
from harness.model_card import ModelCard, ModelFile, hash_of, list_files
from harness.model_store import ModelStore, default_models
from harness.provenance import source
from harness.questions import questions_of, sample_of, shuffled
from harness.recording import Progress, record_of
from harness.records import ModelPart, OutcomePart, Record, TrainingPart
from harness.requests import Place, Request, launch_of, request_key, training_parts
from harness.scoring import ground_truth, new_scorer
from harness.session import Answer, Hello, PredictSession, train_session
from harness.statuses import Fault, RunEnded, Status
from harness.unfinished import UnfinishedTraining

FULL_DISK_BYTES = 16 * 1024**2  # an entry that crashes with less to write to is not to blame


def execute(request: Request, place: Place, *, before: Record | None = None) -> Record:
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
    with place.store.lock(request.name), work_folder(place.cache) as work:
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
    request: Request, place: Place, work: Path, training: UnfinishedTraining | None
) -> Record:
    progress = Progress(datetime.datetime.now(datetime.UTC), time.monotonic())
    run = _Run(request, place, work, progress)
    try:
        if training is not None:
            run.train(training)
        elif request.model is not None:
            run.take_given(request.model)
        audit = Audit.of(request.pack.split("test"), request.device) if request.is_audited else None
        run.predict(audit)
        if audit is not None:
            run.audit(audit)
        outcome = OutcomePart(status=Status.OK, answered=progress.answered)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise InfrastructureFault(
            Status.HOST_ERROR, f"the disk is full ({error.filename or work})"
        ) from error
    except RunEnded as end:
        if end.status.fault is Fault.INFRASTRUCTURE:
            raise InfrastructureFault(end.status, end.detail) from end
        outcome = OutcomePart(status=end.status, detail=end.detail, answered=progress.answered)
    return _store(request, place, progress, record_of(request, place, progress, outcome))


def _held_training(
    request: Request, place: Place
) -> contextlib.AbstractContextManager[UnfinishedTraining | None]:
    """The run's training, fresh or gone on from; None where the run trains nothing."""
    if not request.trains:
        return contextlib.nullcontext()
    return unfinished.hold(place.cache, request_key(request, place.engine), str(request.name))


@contextlib.contextmanager
def work_folder(cache: Path) -> Iterator[Path]:
    """A fresh folder for one run, removed at its end whatever happens."""
    parent = cache / "work"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f"{owner_mark()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_work_folders(cache: Path) -> int:
    """Remove the work folders of processes that are gone; returns how many."""
    stale = [
        folder
        for folder in (cache / "work").glob("*-*")
        if is_owner_gone(folder.name.partition("-")[0])
    ]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
    return len(stale)


@dataclass
class _Run:
    """The sessions of one run: train, predict, and two more where it is audited."""

    request: Request
    place: Place
    work: Path
    progress: Progress

    def __post_init__(self) -> None:
        self.model.mkdir()

    @property
    def model(self) -> Path:
        """The host's own copy of the trained model; empty where the entry does not train."""
        return self.work / "model"

    def train(self, training: UnfinishedTraining) -> None:
        """The model of a finished training, or one train session and the copy of what it leaves."""
        if self._take_stored():
            return
        if training.stop_reason is None:
            self._train(training)
        self._note(training)
        model_folder.copy(training.written, self.model, self.request.limits)
        files = list_files(self.model)
        told = training.part_of_record(with_curve=self._is_open)
        told = told.model_copy(update={"model": hash_of(files)})
        key = request_key(self.request, self.place.engine)
        self.progress.training = told
        self.progress.model = ModelPart(hash=hash_of(files), origin="trained", trained_under=key)
        self.place.reporter.event(f"  trained in {training.seconds:.1f} s")
        if self.place.models is not None and self.place.keep_model:
            self.place.models.keep(self.model, self._card(training, told, files))

    def take_given(self, model: GivenModel) -> None:
        """The model that the call gives."""
        request, place = self.request, self.place
        store = place.models or ModelStore(default_models())
        model.copy(self.model, store, request.limits)
        parts = training_parts(request, place.engine)
        self.progress.model = model.part(parts)
        self.progress.training = model.training(parts)
        if remark := self.progress.model.remark:
            place.reporter.event(f"  the given model: {remark}")

    def _take_stored(self) -> bool:
        """Whether a training of this very run key was finished before and kept."""
        place, progress = self.place, self.progress
        if place.models is None or place.retrain:
            return False
        stored = place.models.find_trained(request_key(self.request, place.engine))
        if stored is None:
            return False
        place.models.fetch(stored, self.model)
        card = stored.card
        progress.training, progress.train_seconds = card.training, card.seconds
        progress.model = ModelPart(hash=card.model, origin="stored", trained_under=card.key)
        if card.peak_ram_mib is not None:
            progress.peak_ram_bytes.append(int(card.peak_ram_mib * 1024**2))
        place.reporter.event(f"  model taken from {place.models.root}: not trained again")
        return True

    def _card(
        self, training: UnfinishedTraining, told: TrainingPart, files: list[ModelFile]
    ) -> ModelCard:
        request, peaks = self.request, self.progress.peak_ram_bytes
        return ModelCard(
            key=request_key(request, self.place.engine),
            parts=training_parts(request, self.place.engine),
            model=hash_of(files),
            entry=request.entry.name,
            title=request.entry.table.title,
            licence=request.entry.table.licence,
            preset=request.settings.preset,
            benchmark=request.pack.name,
            visibility=request.pack.card.visibility,
            pack_licence=request.pack.card.licence,
            seed=request.seed,
            training=told,
            seconds=training.seconds,
            peak_ram_mib=max(peaks) / 1024**2 if peaks else None,
            made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            harness_commit=source(METRICS_VERSION).commit,
            files=files,
        )

    def _train(self, training: UnfinishedTraining) -> None:
        request, place = self.request, self.place
        if training.resumed:
            place.engine.remove_leftovers()  # a container that outlived its harness still writes
            place.reporter.event(f"  going on from step {training.curve.last_step or 0}")
        staged = stage_training(request.pack, place.cache)
        launch = launch_of(request, place, "train", model=training.written, train=staged)
        truth = partial(ground_truth, request.pack, "valid", place.cache, place.reporter.progress)
        judge = Judge(
            request.settings.training,
            request.pack,
            training.checkpoints,
            truth=truth,
            tell=place.reporter.event,
            remember=training.save,
        )

        def show(step: int, steps: int | None, _loss: float | None) -> None:
            place.reporter.progress("training", step, steps)
            training.save_now_and_then()

        try:
            with (
                self._running(launch) as running,
                model_folder.watch(running, training.written, request.limits),
            ):
                train_session(
                    running,
                    launch,
                    self._hello(),
                    judge,
                    show,
                    curve=training.curve,
                    spent_seconds=training.spent_seconds,
                )
        except RunEnded as end:
            free = shutil.disk_usage(training.written).free
            if end.status is Status.CRASHED and free < FULL_DISK_BYTES:
                raise RunEnded(Status.HOST_ERROR, f"the disk is full ({training.written})") from end
            raise
        finally:
            self._note(training)
        training.finish(judge.stop_reason)

    def _note(self, training: UnfinishedTraining) -> None:
        """What the record says of the training, should the run end here."""
        self.progress.train_seconds = training.seconds
        self.progress.training = training.part_of_record(with_curve=False)

    @property
    def _is_open(self) -> bool:
        return self.request.pack.card.visibility == "open"

    def predict(self, audit: Audit | None = None) -> None:
        """One predict session: the validation split first where it sets thresholds, then test."""
        progress = self.progress
        launch = launch_of(self.request, self.place, "predict", model=self.model)
        self._compile_truth()
        began = time.monotonic()
        kept = self.work / "maps.zip" if self.place.keep_maps else None
        with (
            self._running(launch) as running,
            MapKeeper(kept) if kept else contextlib.nullcontext() as keeper,
        ):
            session = PredictSession(running, launch, self._hello())
            ready = session.start()
            progress.start_up_seconds = ready.start_up_seconds
            progress.entry_has_maps = ready.maps
            self._score(session, keeper, audit, has_maps=ready.maps)
            session.finish()
        progress.kept_maps = kept
        progress.predict_seconds = time.monotonic() - began

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
        launch = launch_of(self.request, self.place, "predict", model=self.model)
        with self._running(launch) as running:
            session = PredictSession(running, launch, self._hello())
            session.start()
            told = [answer for _, answer in self._answers(session, audit.picked, "audited images")]
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
        scorer = new_scorer(
            pack, place.cache, self.work, has_maps=has_maps, on_progress=place.reporter.progress
        )
        if pack.has_masks:
            samples = shuffled(pack.split("valid"))
            for sample, answer in self._answers(session, samples, "validation images"):
                scorer.add("valid", sample.key, answer.score, answer.anomaly_map)
                progress.answers.add(sample.key, answer)
                if keeper is not None:
                    keeper.add("valid", sample.key, answer.anomaly_map)
        progress.gallery = open_gallery(pack, place.cache, place.reporter.progress)
        samples = shuffled(pack.split("test"))
        for sample, answer in self._answers(session, samples, "test images"):
            scorer.add("test", sample.key, answer.score, answer.anomaly_map)
            progress.answers.add(sample.key, answer)
            if audit is not None:
                audit.see(sample, answer)
            if keeper is not None:
                keeper.add("test", sample.key, answer.anomaly_map)
            if progress.gallery is not None:
                progress.gallery.offer(sample, answer.score, answer.anomaly_map)
            progress.latencies.append(answer.latency_seconds)
            progress.answered += 1
            progress.has_scores_from_maps |= answer.is_score_from_map
        progress.scores = scorer.finish()

    def _compile_truth(self) -> None:
        """Before the clock of the session starts: the first run on a pack reads its masks."""
        pack, place = self.request.pack, self.place
        for split in ("valid", "test") if pack.has_masks else ("test",):
            ground_truth(pack, split, place.cache, place.reporter.progress)

    def _answers(
        self, session: PredictSession, samples: Sequence[Sample], label: str
    ) -> Iterator[tuple[Sample, Answer]]:
        questions = questions_of(self.request.pack, samples)
        for done, answer in enumerate(session.ask(questions), start=1):
            yield sample_of(answer), answer
            self.place.reporter.progress(label, done, len(samples))

    @contextlib.contextmanager
    def _running(self, launch: Launch) -> Iterator[Running]:
        running = self.place.engine.start(launch)
        try:
            with running:
                yield running
        finally:
            # The log is complete only after the program was stopped.
            self.progress.log += running.log
            if (peak := running.peak_memory_bytes) is not None:
                self.progress.peak_ram_bytes.append(peak)

    def _hello(self) -> Hello:
        request = self.request
        return Hello(
            benchmark=request.pack.name,
            seed=request.seed,
            device="cpu" if request.device == "cpu" else "cuda:0",
            maps_wanted=request.pack.has_masks,
            params=dict(request.settings.params),
        )


def _store(request: Request, place: Place, progress: Progress, record: Record) -> Record:
    scores = progress.scores if record.is_ok else None
    gallery = progress.gallery if record.is_ok else None
    maps = progress.kept_maps if record.is_ok else None
    is_open = request.pack.card.visibility == "open"
    # The log of a hidden run may hold pixels of its images: it is never kept.
    log = progress.log if is_open and (place.keep_log or not record.is_ok) else None
    return place.store.save(
        request.name,
        record,
        write_evidence=scores.evidence.save if scores else None,
        write_gallery=partial(gallery.write, run_key=record.run_key) if gallery else None,
        write_maps=partial(shutil.copyfile, maps) if maps else None,
        log=log,
    )
