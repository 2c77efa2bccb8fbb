"""Makes programs of folders, archives and references, and starts them under Apptainer.

Nothing is left of a start but what the store keeps: Apptainer has no daemon, so a container is a tree
of our own processes, and its files are those of one folder, which goes with it.
"""

from __future__ import annotations

import atexit
import logging
import platform
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from harness.benchmarks.cache import default_cache
from harness.common.errors import EngineUnavailable, EntryInvalid
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.removal import remove_tree_if_possible
from harness.common.source_files import copy_source
from harness.common.statuses import RunEnded, Status
from harness.engines.apptainer import base, gpus, images, registry, seccomp, store
from harness.engines.apptainer.bounds import bounds_of
from harness.engines.apptainer.enclosure import enclosed, why_impossible
from harness.engines.apptainer.options import (
    OPEN_FILES,
    PATHS,
    Image,
    Site,
    call,
    configuration,
    starter_variables,
    table_of_reasons,
    variables_script,
)
from harness.engines.apptainer.own_python import own_python_image
from harness.engines.apptainer.preflight import Installation, find_installation
from harness.engines.apptainer.running import ApptainerRunning
from harness.engines.base import (
    DeadlinePassed,
    Engine,
    Launch,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Program,
    image_identity,
)
from harness.engines.environment import take_cpus, usable_cpus
from harness.engines.gpu import nvidia
from harness.engines.oci.baselines_base import Base, baselines_base
from harness.records.isolation import IsolationLevel

PREFIX = "bmad-apptainer-"
TRIAL_SECONDS = 60.0
# Hard and soft: an entry cannot raise them again. No core file holds images.
_RLIMITS = f'ulimit -c 0; ulimit -n {OPEN_FILES} 2>/dev/null; exec "$@"'
logger = logging.getLogger("harness.engines")


class ApptainerEngine(Engine):
    """Starts entries in containers of the caller's own making, without a daemon and without root."""

    name = "apptainer"
    at_most: IsolationLevel = "container"

    @cached_property
    def _installation(self) -> Installation:
        return find_installation()

    @cached_property
    def _store(self) -> store.ImageStore:
        return store.ImageStore(self._root, self._installation)

    @property
    def _root(self) -> Path:
        return default_cache() / "apptainer"

    @property
    def _base(self) -> Base:
        """What folders stand on."""
        return baselines_base()

    @property
    def _base_archive(self) -> Path | None:
        """What its SIF is made of, where it is not Dockerfile.gpu."""
        return base.given_archive()

    def check(self) -> None:
        _ = self._installation
        if self._trial is not None:
            raise EngineUnavailable(
                f"{self._installation.name} is there, but cannot start a container: {self._trial}",
                where=str(self._installation.program),
                fix="try what it says: apptainer exec --userns --net --network none, as this user",
            )

    @cached_property
    def _trial(self) -> str | None:
        """What goes wrong when a container of the harness's own is started; None where nothing does."""
        launch = Launch(Program("trial", "trial"), "describe")
        try:
            with self.start_source(launch, "print('well', flush=True)") as running:
                said = running.receive_line(1024, time.monotonic() + TRIAL_SECONDS)
        except RunEnded as end:
            return end.detail
        except (DeadlinePassed, PipeClosed, OutputFlood, LogFlood):
            return running.log.decode(errors="replace").strip()[-500:] or "it says nothing"
        return None if said == b"well\n" else "its program prints something else"

    def describe(self) -> str:
        found = self._installation
        kind = "" if found.kind == self.name else f"{found.kind} "
        return f"{self.name} {kind}{'.'.join(map(str, found.version))}"

    def prepare_folder(self, folder: Path, name: str, identity: str) -> Program:
        """The program of a copy of the folder, which lives as long as this process, over the base.

        Raises:
            EntryInvalid: the folder brings a Dockerfile of its own, which needs a Docker engine.
            EnvironmentFault: the base cannot be made.
        """
        if (folder / "Dockerfile").is_file():
            raise EntryInvalid(
                "Apptainer builds no Dockerfile",
                where=str(folder / "Dockerfile"),
                fix="build it where Docker or Podman is, docker save it, and evaluate the archive",
            )
        key = base.base_sif(self._store, self._base, self._base_archive)
        place = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{owner_mark()}-"))
        atexit.register(remove_tree_if_possible, place)
        place.chmod(0o755)
        copy_source(folder.resolve(), place / "entry")
        built_on = self._base.built_on
        return Program(
            name=name,
            identity=image_identity(identity, built_on),
            image=f"sha256:{key}",
            command=(str(place / "entry"),),
            size_bytes=self._store.nbytes(key),
            built_on=built_on,
            sif=self._store.sif_of(key),
        )

    def folder_identity(self, identity: str) -> str:
        return image_identity(identity, self._base.built_on)

    def prepare_image(self, reference: str, name: str) -> Program:
        return images.program_of_reference(self._store, reference, name)

    def prepare_archive(self, archive: Path, name: str) -> Program:
        return images.program_of_archive(self._store, archive, name)

    def pin(self, program: Program, reference: str) -> str | None:
        named = program.image_digest
        if named is None:
            return None
        try:
            return named if registry.digest_of(named) == named.rpartition("@")[2] else None
        except (EntryInvalid, RunEnded) as error:
            logger.info("the registry does not confirm %s: %s", named, error)
            return None

    def save_archive(self, program: Program, path: Path) -> None:
        raise EntryInvalid(
            "Apptainer writes no image archives",
            where=program.name,
            fix="give the archive itself (docker save), or use --engine docker",
        )

    def start(self, launch: Launch) -> ApptainerRunning:
        if launch.program.refusal:
            raise RunEnded(Status.INVALID_IMAGE, launch.program.refusal)
        self._check_gpus(launch)
        return self._start(launch, self._image(launch.program), [launch.verb])

    def start_source(self, launch: Launch, source: str) -> ApptainerRunning:
        bare = Launch(launch.program, "predict", launch.device, launch.limits)
        return self._start(bare, partial(own_python_image, source=source), [])

    def is_word_taken(self, program: Program) -> bool:
        """It does: this machine's own Python is what is started (`own_python.py`)."""
        return True

    def _image(self, program: Program) -> Image:
        """What a prepared program is started from.

        Raises:
            RunEnded: `image_unavailable` where its SIF is gone.
        """
        key = images.store_key(program.image)
        card = self._store.find(key)
        if card is None:
            raise RunEnded(Status.IMAGE_UNAVAILABLE, f"the SIF of {program.name} is gone")
        return Image(
            place=self._store.startable(key),
            command=card.command,
            variables=card.variables,
            working_folder=card.working_folder,
            files=Path(program.command[0]) if program.command else None,
        )

    def _start(
        self, launch: Launch, image: Image | Callable[[Path], Image], verb: list[str]
    ) -> ApptainerRunning:
        """Start a container; an image may be made in a folder of this start's own."""
        gpu = self._gpu(launch.device)
        settings = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{owner_mark()}-"))
        try:
            if not isinstance(image, Image):
                (settings / "root").mkdir(mode=0o755)
                image = image(settings / "root")
            place = self._place(settings, gpu)
            _write_settings(launch, image, place)
        except BaseException:
            remove_tree_if_possible(settings)
            raise
        return ApptainerRunning(
            launch,
            command=["/bin/sh", "-c", _RLIMITS, "sh", *self._words(launch, image, place, verb)],
            variables=starter_variables(self._installation.program, place),
            folder=settings,
            cpus=take_cpus(launch.limits.threads),
            paths={name: PATHS[name] for name in launch.folders()},
            has_memory_limit="memory" in place.bounds.controllers,
            start_fault=self._start_fault if verb else _nobodys_fault,
        )

    def _place(self, settings: Path, gpu: str | None) -> Site:
        bounds = bounds_of()
        is_enclosed = "pids" not in bounds.controllers and self._no_enclosure is None
        bounds = replace(bounds, is_enclosed=is_enclosed)
        return Site(settings, self._installation.has_own_configuration, bounds, gpu)

    @cached_property
    def _no_enclosure(self) -> str | None:
        """Why this machine bounds no processes in a namespace; None where it does."""
        if (problem := why_impossible()) is not None:
            logger.info("processes cannot be bounded in a user namespace here: %s", problem)
        return problem

    def _words(self, launch: Launch, image: Image, place: Site, verb: list[str]) -> list[str]:
        """The whole call: Apptainer's, in a namespace of its own where that bounds something."""
        words = [str(self._installation.program), *call(launch, image, place, verb)]
        return (
            enclosed(words, place.shared_memory, launch.limits)
            if place.bounds.is_enclosed
            else words
        )

    def _start_fault(self) -> RunEnded | None:
        """Whether Apptainer can start nothing at all any more, whatever the entry has printed."""
        self.__dict__.pop("_trial", None)
        if self._trial is None:
            return None
        return RunEnded(Status.ENGINE_UNAVAILABLE, f"Apptainer can start nothing: {self._trial}")

    def _gpu(self, device: str) -> str | None:
        return None if device == "cpu" else nvidia.find(device).uuid

    def _check_gpus(self, launch: Launch) -> None:
        """See that exactly what was asked for can be used; counted once for each device.

        Raises:
            DeviceUnavailable: with the fix.
        """
        if launch.device == "cpu":
            return
        if launch.device not in self._gpus_inside:
            with self.start_source(launch, gpus.COUNT) as running:
                self._gpus_inside[launch.device] = gpus.counted(running, TRIAL_SECONDS)
        gpus.check(self._gpus_inside[launch.device], launch)

    @cached_property
    def _gpus_inside(self) -> dict[str, gpus.Count]:
        return {}

    def plan(self, launch: Launch) -> str:
        if launch.program.refusal:
            return f"# refused, no container is started: {launch.program.refusal}"
        settings = Path(tempfile.gettempdir()) / f"{PREFIX}NEW"
        place = self._place(settings, self._gpu(launch.device))
        image = self._image(launch.program)
        words = self._words(launch, image, place, [launch.verb])
        cpus = ",".join(map(str, usable_cpus()[: launch.limits.threads]))
        return (
            f"taskset --cpu-list {cpus} {shlex.join(words)}\n"
            f"# apptainer.conf:\n{_commented(configuration(launch))}"
            f"# variables, in place of the image's:\n{_commented(variables_script(launch, image, place))}"
            f"# {place.bounds.words}\n# why each option:\n{table_of_reasons()}"
        )

    def remove_leftovers(self) -> int:
        swept = store.remove_half_made(self._root)
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            if is_owner_gone(folder.name.removeprefix(PREFIX).rpartition("-")[0]):
                swept += remove_tree_if_possible(folder)
        return swept

    def remove_images(self) -> int:
        if "_store" in self.__dict__:
            self._store.release()
        return store.remove_images(self._root)


def _nobodys_fault() -> None:
    return None


def _commented(text: str) -> str:
    return "".join(f"#   {line}\n" for line in text.splitlines())


def _write_settings(launch: Launch, image: Image, place: Site) -> None:
    """The files that the options name."""
    (place.settings / "variables").mkdir(mode=0o755)
    place.shared_memory.mkdir()
    written = {
        "apptainer.conf": configuration(launch),
        "seccomp.json": seccomp.profile(platform.machine()),
        "variables/50-entry.sh": variables_script(launch, image, place),
    }
    for name, text in written.items():
        (place.settings / name).write_text(text, encoding="utf-8")
