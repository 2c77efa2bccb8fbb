"""What one run is and where it happens: its request, its place, its key, its starts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from harness.benchmarks import Pack
from harness.common.errors import UsageError
from harness.console.cli import Reporter
from harness.engines.base import Engine, Launch, Limits, Program, Verb
from harness.engines.gpu import nvidia
from harness.entries.entry import Entry, Settings
from harness.entries.reviewed import NOTHING_REVIEWED, Reviewed
from harness.records.parts import SourcesPart, WeightsPart
from harness.records.releases import unlisted_name
from harness.records.run_key import RunKey
from harness.records.store import RunName, Store
from harness.trained import interrupted_training
from harness.trained.given_model import GivenModel
from harness.trained.model_store import ModelStore

DEVICE = re.compile(r"cpu|cuda:(\d+|[A-Za-z0-9/-]{8,})")


@dataclass(frozen=True)
class Request:
    """What one run is."""

    entry: Entry
    program: Program
    settings: Settings
    pack: Pack
    seed: int
    device: str
    limits: Limits
    key: RunKey
    """What decides its result; derived with the request (`request_of`) and carried from there."""
    is_audited: bool = False
    """Ask two fresh starts about some test images once more (`harness.running.audit`)."""
    model: GivenModel | None = None
    """A trained model that the call gives: the run trains none."""
    weights: tuple[WeightsPart, ...] | None = ()
    """Pretrained files that the entry can read; None: not known here (a campaign's plan alone)."""

    @property
    def trains(self) -> bool:
        """Whether the run needs a training of its own, or a stored one."""
        return self.entry.table.trains and self.model is None

    @property
    def name(self) -> RunName:
        """Its place in the store."""
        return RunName(self.pack.name, self.entry.name, self.seed)

    @property
    def earlier_name(self) -> RunName:
        """Its place while the pack was no known release; on any other pack, the same once more."""
        is_listed = self.pack.name == self.pack.base
        pack = unlisted_name(self.pack.name, self.pack.digest) if is_listed else self.pack.name
        return replace(self.name, benchmark=pack)


@dataclass(frozen=True)
class RunPlace:
    """Where runs happen and end up."""

    engine: Engine
    store: Store
    cache: Path
    """Compiled truth, staged training images and work folders."""
    weights: Path | None
    """Folder of pretrained backbones, read-only for entries."""
    reporter: Reporter
    keep_maps: bool = False
    """Keep the run's anomaly maps beside its record."""
    keep_log: bool = False
    """Keep the entry's log beside the record, also of a run that ended well (open packs only)."""
    models: ModelStore | None = None
    """Where finished trainings are looked for; None = nowhere."""
    keep_model: bool = True
    """Keep what is trained there."""
    retrain: bool = False
    """Train, even where a finished training is there."""
    trainings: Path | None = None
    """Where trainings under way are kept; None = in the cache, for a later run to go on from."""
    reviewed: Reviewed = NOTHING_REVIEWED
    """What a run may be of and take a rank."""


def request_of(
    entry: Entry,
    program: Program,
    settings: Settings,
    pack: Pack,
    *,
    seed: int,
    device: str,
    limits: Limits,
    engine: Engine,
    kind: str | None = None,
    is_audited: bool = False,
    model: GivenModel | None = None,
    weights: tuple[WeightsPart, ...] | None = (),
) -> Request:
    """A run with its key.

    Args:
        entry, program, settings, pack, seed, device, limits, is_audited, model, weights: see
            `Request`.
        engine: what starts the program.
        kind: kind of device, where it is not one of this machine; None = it is.
    Raises:
        UsageError: `device` names no device.
        DeviceUnavailable: this machine has no such GPU.
    """
    key = RunKey.of_run(
        identity=program.identity,
        params=settings.params,
        training=settings.training.model_dump(),
        pack=pack.version,
        seed=seed,
        engine=engine.name,
        device=kind or device_kind(device),
        threads=limits.threads,
        model=model.hash if model else None,
        made_of=made_of(program),
        patients=pack.patients,
        weights=weights,
    )
    return Request(
        entry, program, settings, pack, seed, device, limits, key, is_audited, model, weights
    )


def made_of(program: Program) -> SourcesPart | None:
    """What the identity of a folder is made of; None for an image."""
    if not program.own_files:
        return None
    return SourcesPart(own=program.own_files, shared=program.shared_files, base=program.built_on)


def device_kind(device: str) -> str:
    """`cpu`, or the GPU's model: what decides the last digits.

    Raises:
        UsageError: the text names no device.
        DeviceUnavailable: this machine has no such GPU.
    """
    if not DEVICE.fullmatch(device):
        raise UsageError(
            f"{device!r} is not a device",
            where="--device",
            fix="cpu, or cuda:0 (any index or UUID that nvidia-smi -L lists)",
        )
    return "cpu" if device == "cpu" else nvidia.find(device).name


def by_uuid(request: Request) -> Request:
    """The same run, with its GPU named by UUID: it stays when that GPU, or another, is lost.

    Raises:
        DeviceUnavailable: this machine has no such GPU.
    """
    if request.device == "cpu":
        return request
    return replace(request, device=f"cuda:{nvidia.find(request.device).uuid}")


def launch_of(
    request: Request, place: RunPlace, verb: Verb, *, model: Path, train: Path | None = None
) -> Launch:
    """One start of this run's program."""
    return Launch(
        program=request.program,
        verb=verb,
        device=request.device,
        limits=request.limits,
        train=train,
        model=model,
        weights=place.weights,
        labels={"bmad.run": str(request.name)},
    )


def launches(request: Request, place: RunPlace) -> list[Launch]:
    """The starts that this run would make, with a stand-in for its work folder."""
    work = place.cache / "work" / "RUN"
    predict = launch_of(request, place, "predict", model=work / "model")
    if not request.trains:
        return [predict]
    staged = work / "train"
    key = request.key.training_hash.removeprefix("sha256:")
    written = place.cache / interrupted_training.UNFINISHED_FOLDER / key / "part-1"
    return [launch_of(request, place, "train", model=written, train=staged), predict]
