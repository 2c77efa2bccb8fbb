"""What a machine of a cluster says of itself, and whether one run may happen on it.

    python -m harness.campaigns.ray.node_check facts            what this machine has
    python -m harness.campaigns.ray.node_check check < JOB      may this run happen here, and by which call?

One JSON object comes, one goes. The campaign sends what decides the run's result; this
machine works out its own, from its own files, and names every difference. Trap: an error
here is about this machine and never about the entry, which the campaign has opened already;
what an engine says of an entry (it cannot be built, it is refused) is left to the run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.campaigns import slots
from harness.campaigns.command import Command
from harness.common.errors import EntryInvalid, HarnessError, InfrastructureFault
from harness.common.paths import REPOSITORY
from harness.common.source_files import SHARED_SOURCES
from harness.console import data_options
from harness.console.cli import Parser, Reporter, read_limits
from harness.entries.identity import tree_hash
from harness.records.source import source

if TYPE_CHECKING:
    from harness.engines.base import Engine, Limits
    from harness.entries.entry import Entry
    from harness.running.regimes import AskedRegime, Ground

BUSY_SECONDS = 30.0  # a GPU may still be freed by the run before this one
GPU_POLL_SECONDS = 1.0
PULL_PAUSES = (5.0, 20.0)  # a registry that says no may say yes a moment later


@dataclasses.dataclass(frozen=True)
class NodeJob:
    """One run as a machine of the cluster is asked for it."""

    command: Command
    """The call, as it stands on the campaign's machine."""
    harness: Mapping[str, object]
    """What the campaign's machine says of its harness (`harness_facts`)."""
    expected: Mapping[str, object]
    """What decides the run's result (`plan.key_parts_of`)."""
    owner: int
    """Process on this machine that the run's folder belongs to."""

    @classmethod
    def read(cls, text: str) -> NodeJob:
        """From JSON."""
        told = json.loads(text)
        command = told["command"]
        for name in ("place", "regime", "limits"):
            command[name] = tuple(command[name])
        command["overrides"] = tuple(map(tuple, command["overrides"]))
        return cls(Command(**command), told["harness"], told["expected"], told["owner"])


@dataclasses.dataclass(frozen=True)
class NodeVerdict:
    """Whether a run may happen on this machine."""

    problems: tuple[str, ...] = ()
    """Why never; all at once."""
    busy: str = ""
    """Why not now."""
    arguments: tuple[str, ...] = ()
    """The call of `harness.evaluate` on this machine."""
    work: str = ""
    """Fresh folder for the run; the results are below `results`."""


def harness_facts() -> dict[str, object]:
    """Which harness this is, to the byte."""
    from harness.metrics import METRICS_VERSION

    sources = [REPOSITORY / name for name in ("harness", *SHARED_SOURCES)]
    made = source(METRICS_VERSION)
    return {
        "version": made.version,
        "contract": made.contract,
        "metric definitions": made.metrics,
        "sources": tree_hash(sources, base=REPOSITORY),
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


def machine_facts() -> dict[str, object]:
    """What this machine has."""
    from harness.engines import engine_names, make_engine
    from harness.engines.base import Limits
    from harness.engines.gpu import nvidia
    from harness.running.isolating import isolation_lacking

    engines, isolation = [], {}
    for name in engine_names():
        engine = make_engine(name)
        try:
            engine.check()
        except HarnessError:
            continue
        engines.append(name)
        isolation[name] = isolation_lacking(engine, Limits())
    return {
        "harness": harness_facts(),
        "engines": engines,
        "isolation": isolation,
        "gpus": [gpu.name for gpu in nvidia.gpus()],
    }


def check_job(job: NodeJob) -> NodeVerdict:
    """Whether the run may happen here, and by which call."""
    own = harness_facts()
    if other := differences_in_words(own, job.harness):
        # The rest would be worked out by other code.
        return NodeVerdict(tuple(f"the harness is another one: {each}" for each in other))
    command = _here(job.command)
    problems, busy, device = _problems(command, job.expected)
    if problems or busy:
        return NodeVerdict(tuple(problems), busy)
    work = _work_folder(job.owner)
    command = dataclasses.replace(command, device=device, results=str(work / "results"))
    return NodeVerdict(arguments=tuple(command.arguments()), work=str(work))


def differences_in_words(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs between this machine and the campaign, each in words."""
    own = json.loads(json.dumps(own))
    found = []
    for name in sorted(own.keys() | theirs.keys()):
        mine, other = own.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            found += [f"{name}: {each}" for each in differences_in_words(mine, other)]
        elif mine != other:
            found.append(f"{name} is {mine} here and {other} in the campaign")
    return found


def _here(command: Command) -> Command:
    """The call with this machine's own folders, where it has been told of some."""
    place = command.place
    if os.environ.get("BMAD_DATA") and "--data-root" in place:
        at = place.index("--data-root")
        place = place[:at] + place[at + 2 :]
    weights = None if os.environ.get("BMAD_WEIGHTS") else command.weights
    return dataclasses.replace(command, place=place, weights=weights)


def _problems(command: Command, expected: Mapping[str, object]) -> tuple[list[str], str, str]:
    """Why the run may not happen here, why not now, and the device by its UUID."""
    from harness.benchmarks import check_cache, default_cache
    from harness.campaigns.offer import Offer
    from harness.campaigns.plan import key_parts_of, request_for
    from harness.engines import make_engine
    from harness.engines.gpu import nvidia
    from harness.entries.opening import open_entry
    from harness.entries.weights import default_weights_folder, require_for
    from harness.running.regimes import AskedRegime, regime_of

    problems: list[str] = []
    asked = AskedRegime()
    engine, device, kind = make_engine(command.engine), command.device, command.device
    entry = ground = None
    with _noting(problems):
        engine.check()
    with _noting(problems):
        if device != "cpu":
            gpu = nvidia.find(device)
            device, kind = f"cuda:{gpu.uuid}", gpu.name
            engine.check_device(device, is_foreign=False)
    with _noting(problems):
        check_cache(default_cache())
        ground, asked = _ground(command)
    with _noting(problems):
        entry = open_entry(command.source).renamed(command.name)
    if entry is None or ground is None:
        return problems, "", device
    offer = Offer(engine, kind, ())
    folder = Path(command.weights) if command.weights else default_weights_folder()
    with _noting(problems):
        pack, regime = ground.for_run(regime_of(entry, asked), command.seed, Reporter())
        request = request_for(
            entry, pack, regime, seed=command.seed, preset=command.preset, offer=offer,
            overrides=dict(command.overrides), limits=read_limits(command.limits), weights=folder,
        )  # fmt: skip
        own = key_parts_of(request)
        if "weights" not in expected or request.weights is None:
            own.pop("weights", None)  # the campaign's machine needs no files, and may have none
            expected = {name: value for name, value in expected.items() if name != "weights"}
        problems += differences_in_words(own, expected)
        require_for(entry.table, request.settings.params, folder)
    if not problems and entry.kind in ("image", "submission"):
        with _noting(problems):
            _find_image(entry, engine)
    if not problems:
        with _noting(problems):
            _see_isolation(entry, engine, ground, device, request.limits)
    return problems, "" if problems else _busy(device), device


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Note an error of the harness on one line, and go on."""
    try:
        yield
    except HarnessError as error:
        where = f" ({error.where})" if error.where else ""
        problems.append(" ".join(f"{error.what}{where}".split()))


def _ground(command: Command) -> tuple[Ground, AskedRegime]:
    """The pack, or the suite with its members, that the call names, opened; and its regime."""
    from harness.benchmarks import default_cache
    from harness.running.regimes import open_grounds, read_regime

    parser = Parser("evaluate", "", "")
    data_options.add(parser)
    data_options.add_regime(parser)
    options = parser.parse_args([*command.place, *command.regime])
    asked = read_regime(options)
    (ground,) = open_grounds(options, asked, default_cache(), Reporter())
    return ground, asked


def _find_image(entry: Entry, engine: Engine) -> None:
    """See that the image is on this machine or can be pulled.

    Raises:
        HarnessError: it is not, or its archive is not here.
    """
    from harness.entries.entry import SubmissionTable
    from harness.entries.program import prepare_program
    from harness.entries.submissions import find_archive

    if isinstance(entry.table, SubmissionTable) and entry.table.archive:
        find_archive(entry.table, entry.submission)
        return
    for pause in (*PULL_PAUSES, None):
        try:
            prepare_program(entry, engine)
        except EntryInvalid:
            return  # what an engine says of the image itself is the run's to tell
        except InfrastructureFault:
            if pause is None:
                raise
            time.sleep(pause)
        else:
            return


def _see_isolation(
    entry: Entry, engine: Engine, ground: Ground, device: str, limits: Limits
) -> None:
    """See that what stands between the entry and this machine is enough for the packs, before any work.

    Raises:
        HarnessError: it is not, with what is missing; or it cannot be measured.
    """
    from harness.common.disclosure import strictest
    from harness.engines.base import Launch
    from harness.entries.program import prepare_program
    from harness.records.isolation import forbidden
    from harness.running.isolating import require_isolation

    is_foreign = entry.kind != "folder"
    visibilities = [pack.card.visibility for pack in ground.packs]
    if not forbidden("none", strictest(visibilities), is_foreign=is_foreign):
        return  # it may run wherever it likes
    try:
        program = prepare_program(entry, engine)
    except EntryInvalid:
        return  # what an engine says of the image itself is the run's to tell
    launch = Launch(program, "predict", device, limits)
    require_isolation(engine, launch, visibilities, is_foreign=is_foreign)


def _busy(device: str) -> str:
    """Who else uses the GPU, still after a while; empty where nobody does."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not slots.is_free(device):
        if time.monotonic() > deadline:
            return f"{device} is in use by others"
        time.sleep(GPU_POLL_SECONDS)
    return ""


def _work_folder(owner: int) -> Path:
    """A fresh folder for one run; a later run on this machine sweeps it when its owner is gone."""
    from harness.benchmarks import default_cache
    from harness.common.owner import owner_mark

    parent = default_cache() / "work"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix=f"{owner_mark(owner)}-"))


def main(argv: Sequence[str]) -> int:
    """Answer one question on standard output."""
    answer: object
    if argv == ["facts"]:
        answer = machine_facts()
    elif argv == ["check"]:
        answer = dataclasses.asdict(check_job(NodeJob.read(sys.stdin.read())))
    else:
        print("usage: python -m harness.campaigns.ray.node_check facts|check", file=sys.stderr)
        return 2
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
