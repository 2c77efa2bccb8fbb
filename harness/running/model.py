"""The trained model of a run: given by the caller, taken from the store, or trained.

Traps: what an entry wrote is copied with distrust before anything reads it; a model is kept
before it is asked anything, so that no later fault costs the training again.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.benchmarks import Pack, stage_training
from harness.common.disclosure import Artefact, may_leave
from harness.common.errors import StoreUnusable
from harness.common.statuses import Cause, RunEnded, Status
from harness.engines.base import Launch, Running
from harness.metrics import METRICS_VERSION, GroundTruth
from harness.records.record import ModelPart, TrainingPart
from harness.records.source import source
from harness.running.recording import RunProgress, peak_mib
from harness.running.request import Request, RunPlace, launch_of
from harness.session.checkpoint_choice import Judge
from harness.session.conversation import Hello, train_session
from harness.session.scoring import ground_truth
from harness.trained import model_folder
from harness.trained.given_model import GivenModel
from harness.trained.interrupted_training import UnfinishedTraining
from harness.trained.model_card import BadName, ModelCard, ModelFile, hash_of, list_model_files
from harness.trained.model_store import ModelStore, default_models

TRAINING_LABEL = "bmad.training"  # of a container: the folder of its training
FULL_DISK_BYTES = 16 * 1024**2  # an entry that crashes with less to write to is not to blame


@dataclass
class RunModel:
    """Brings one run's model into a folder of the host's."""

    request: Request
    """What the run is."""
    place: RunPlace
    """Where it happens."""
    progress: RunProgress
    """Takes what the record says of model and training."""
    folder: Path
    """Existing and empty: takes the files."""
    start: Callable[[Launch], AbstractContextManager[Running]]
    """Starts the entry; its log and memory count in the run."""
    hello: Hello
    """What a session tells the entry."""

    def get(self, training: UnfinishedTraining | None) -> None:
        """Have the model's files in its folder, and what the record says of them.

        Args:
            training: the run's own, fresh or gone on from; None where the run trains nothing.
        Raises:
            RunEnded: by the entry's fault, or the infrastructure's.
            EnvironmentFault: the model cannot be read or kept; a finished training is not lost.
        """
        if self.request.model is not None:
            self._take_given(self.request.model)
        elif training is not None and not self._take_stored():
            self._make(training)

    def _make(self, training: UnfinishedTraining) -> None:
        """One train session, where it was not over already, and the copy of what it leaves."""
        if training.stop_reason is None:
            self._train(training)
        self._note(training)
        training.fetch_model(self.folder, self.request.limits)
        files = _listed(self.folder)
        may_be_told = may_leave(Artefact.TRAINING_CURVE, self.request.pack.card.visibility)
        told = training.part_of_record(with_curve=may_be_told)
        told = told.model_copy(update={"model": hash_of(files)})
        self.progress.training = told
        self.progress.model = ModelPart(
            hash=hash_of(files), origin="trained", trained_under=self.request.key.training_hash
        )
        self.place.reporter.event(f"  trained in {training.seconds:.1f} s")
        if self.place.models is not None and self.place.keep_model:
            self._keep(self.place.models, self._card(training, told, files))

    def _keep(self, store: ModelStore, card: ModelCard) -> None:
        if card.is_portable:
            store.keep(self.folder, card)
        else:
            self.place.reporter.event("  the model has too many files to be kept")

    def _take_given(self, model: GivenModel) -> None:
        """The model that the call gives."""
        request, place = self.request, self.place
        store = place.models or ModelStore(default_models())
        model.copy(self.folder, store, request.limits)
        parts = request.key.training
        self.progress.model = model.part(parts)
        self.progress.training = model.training(parts)
        if remark := self.progress.model.remark:
            place.reporter.event(f"  the given model: {remark}")

    def _take_stored(self) -> bool:
        """Whether a training of this very run key was finished before and kept."""
        place, progress = self.place, self.progress
        if place.models is None or place.retrain:
            return False
        stored = place.models.find_trained(self.request.key.training_hash)
        if stored is None:
            return False
        place.models.fetch(stored, self.folder)
        card = stored.card
        progress.training, progress.train_seconds = card.training, card.seconds
        progress.energy.train = card.energy
        progress.model = ModelPart(hash=card.model, origin="stored", trained_under=card.key)
        for told, peaks in (
            (card.peak_ram_mib, progress.peak_ram_bytes),
            (card.peak_gpu_mib, progress.peak_gpu_bytes),
        ):
            if told is not None:
                peaks.append(int(told * 1024**2))
        place.reporter.event(f"  model taken from {place.models.root}: not trained again")
        return True

    def _card(
        self, training: UnfinishedTraining, told: TrainingPart, files: list[ModelFile]
    ) -> ModelCard:
        request = self.request
        return ModelCard(
            key=request.key.training_hash,
            parts=dict(request.key.training),
            model=hash_of(files),
            entry=request.entry.name,
            title=request.entry.table.title,
            licence=request.entry.table.licence,
            preset=request.settings.preset,
            benchmark=request.name.benchmark,
            visibility=request.pack.card.visibility,
            pack_licence=request.pack.card.licence,
            seed=request.seed,
            training=told,
            seconds=training.seconds,
            energy=training.energy,
            peak_ram_mib=peak_mib(self.progress.peak_ram_bytes),
            peak_gpu_mib=peak_mib(self.progress.peak_gpu_bytes),
            made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            harness_commit=source(METRICS_VERSION).commit,
            files=files,
        )

    def _train(self, training: UnfinishedTraining) -> None:
        request, place, meter = self.request, self.place, self.progress.energy.meter
        begun = meter.look()
        training.count_energy = lambda: meter.look().since(begun)
        home = str(training.home.resolve())
        if training.resumed:
            # A container may outlive its harness, and still write. We hold the training's lock, so
            # it is nobody's, even where its owner cannot be judged (in another container).
            place.engine.remove_labelled(TRAINING_LABEL, home)
            told = f" from step {training.curve.last_step or 0}" if self._may_tell_steps else ""
            place.reporter.event(f"  going on{told}")
            training.hold_what_was_saved(request.limits)
        staged = stage_training(request.pack, place.cache)
        launch = launch_of(request, place, "train", model=training.written, train=staged)
        launch = replace(launch, labels={**launch.labels, TRAINING_LABEL: home})

        def truth(member: Pack) -> GroundTruth:
            return ground_truth(member, "valid", place.cache, place.reporter.progress)

        judge = Judge(
            request.settings,
            request.pack,
            training,
            truth=truth,
            tell=place.reporter.event,
            may_tell_steps=self._may_tell_steps,
        )

        def show(step: int, steps: int | None, _loss: float | None) -> None:
            if self._may_tell_steps:
                place.reporter.progress("training", step, steps)
            else:
                place.reporter.progress("seconds of training", int(training.seconds), None)
            training.save_now_and_then()

        try:
            with (
                self.start(launch) as running,
                model_folder.watch_model_folder(running, training.written, request.limits),
            ):
                train_session(
                    running,
                    launch,
                    self.hello,
                    judge,
                    show,
                    on_saved=partial(training.hold_state, request.limits),
                    curve=training.curve,
                    spent_seconds=training.spent_seconds,
                )
        except RunEnded as end:
            free = shutil.disk_usage(training.written).free
            if end.status is Status.CRASHED and free < FULL_DISK_BYTES:
                raise RunEnded(
                    Status.HOST_ERROR,
                    f"the disk is full ({training.written})",
                    cause=Cause.DISK_FULL,
                ) from end
            raise
        finally:
            self._note(training)
        training.finish(judge.stop_reason)

    @property
    def _may_tell_steps(self) -> bool:
        """Whether the numbers in the entry's frames may be shown: 53 bits in each."""
        return may_leave(Artefact.ENTRY_WORDS, self.request.pack.card.visibility)

    def _note(self, training: UnfinishedTraining) -> None:
        """What the record says of the training, should the run end here."""
        self.progress.train_seconds = training.seconds
        self.progress.energy.train = training.energy
        self.progress.training = training.part_of_record(with_curve=False)


def _listed(folder: Path) -> list[ModelFile]:
    """The copied files; a name that nobody can write down is the entry's fault."""
    try:
        return list_model_files(folder)
    except BadName as error:
        what = "the model folder: a file has a name or a path that no card can carry"
        raise RunEnded(Status.BAD_MODEL, what, of_entry=error.path) from None
    except StoreUnusable:  # it names the file
        raise RunEnded(Status.HOST_ERROR, "the copy of the model cannot be read") from None
