"""What every engine offers: start one program, talk to it through one pipe, stop it for certain.

The session (harness/session/conversation.py) knows only these classes. Deadlines are instants of
`time.monotonic()`, never durations, so that a chain of calls shares one limit.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from harness.common.errors import EntryInvalid
from harness.common.statuses import RunEnded, Status
from harness.engines import measuring
from harness.engines.probe import Seen, seen_of
from harness.records.isolation import IsolationLevel, MeasuredIsolation
from harness.records.record import content_hash

Verb = Literal["predict", "train", "describe"]
CANARY = Path(__file__).with_name("canary.py")
"""The program that `Engine.start_canary` starts; it needs the standard library alone."""

MEASURE_SECONDS = 60.0  # a container starts in half a second; an unpacked sandbox later


@dataclass(frozen=True)
class Limits:
    """What one session may use. All are settable, told to the entry and kept in the record."""

    start_seconds: float = 300.0
    """From the start of the program to its `ready` frame."""
    image_seconds: float = 120.0
    """From the send of one image to the last byte of its answer."""
    predict_seconds: float = 4 * 3600.0
    """One whole predict session."""
    train_seconds: float = 24 * 3600.0
    """One whole train session, checkpoints included."""
    stop_seconds: float = 10.0
    """From the end of input (or TERM) to the exit, before the program is killed."""
    memory_mib: int = 16 * 1024
    """RAM, swap included (docker only)."""
    shm_mib: int = 1024
    """Size of /dev/shm (docker only)."""
    tmp_mib: int = 1024
    """Size of the tmpfs on /tmp (docker only)."""
    pids: int = 512
    """Processes and threads (docker only)."""
    threads: int = 2
    """CPU threads: cpuset under docker, OMP_NUM_THREADS and MKL_NUM_THREADS under both."""
    log_bytes: int = 8 * 1024**2
    """Bytes on standard error."""
    train_stdout_bytes: int = 64 * 1024**2
    """Bytes on standard output in a train session, the answers to checkpoint images not counted."""
    model_bytes: int = 16 * 1024**3
    """Total size of the files in /model after training."""
    model_files: int = 10_000
    """Number of files in /model after training."""
    checkpoints: int = 100
    """Checkpoints of one training that are judged; the last of them is told to stop."""

    def as_dict(self) -> dict[str, float | int]:
        """The limits as they stand in the hello frame and in the record."""
        return asdict(self)


@dataclass(frozen=True)
class Program:
    """Something an engine can start: made by `Engine.prepare`."""

    name: str
    """The entry's name, for labels and messages."""
    identity: str
    """What runs: `image:sha256:…` (docker) or `folder:sha256:…` (process)."""
    command: tuple[str, ...] = ()
    """Argument vector without the verb (process engine)."""
    image: str = ""
    """Image id `sha256:…` (docker engine)."""
    image_digest: str | None = None
    """Registry digest `name@sha256:…` where the image has one."""
    sif: str | None = None
    """`sha256:…` of the file that is started (apptainer engine); None where there is no such file."""
    own_files: str = ""
    """Of a folder, `sha256:…` over its own files alone."""
    shared_files: str = ""
    """Of a folder, `sha256:…` over what every baseline stands on."""
    content: str = ""
    """`sha256:…` over an image's layers and how it is started: equal under every name, label and
    date; empty on the process engine."""
    size_bytes: int = 0
    """Unpacked size of the image (docker engine)."""
    own_caches: tuple[str, ...] = ()
    """Variables by which an image names its own folders of weights: they stay as they are."""
    refusal: str = ""
    """Why nothing may be started from the image; `start` then ends with `invalid_image`."""
    source: str | None = None
    """Of a source folder: identity of its files and of what they stand on
    (`harness.entries.program` knows it); None of an image."""
    built_on: str | None = None
    """Of a folder's image: hash of all else that decides what is in it (`image_identity`)."""

    @property
    def is_foreign(self) -> bool:
        """Somebody else built it: its configuration and its files are a stranger's."""
        return self.identity.startswith("image:")


def image_identity(source: str, built_on: str) -> str:
    """Identity of the image that is built from a source folder.

    Args:
        source: identity of the folder.
        built_on: hash of all else that decides what is in the image.
    """
    return "folder:" + content_hash({"source": source, "built_on": built_on})


@dataclass(frozen=True)
class Launch:
    """One start of a program."""

    program: Program
    verb: Verb
    device: str = "cpu"
    """`cpu`, or `cuda:<uuid or index>`; inside the container it is always `cuda:0`."""
    limits: Limits = field(default_factory=Limits)
    train: Path | None = None
    """Host folder of the staged training images; read-only for the entry."""
    model: Path | None = None
    """Host folder: fresh and writable in `train`, read-only in `predict`."""
    weights: Path | None = None
    """Host folder of the pretrained backbones; read-only."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Extra labels of the container (run key, benchmark)."""

    def folders(self) -> dict[str, Path]:
        """`train`, `model` and `weights` that were given; a weights folder only if it is there.

        (Weights are fetched by a command of their own; before that, there is no such folder.)
        """
        named = {"train": self.train, "model": self.model, "weights": self.weights}
        return {
            name: path.resolve()
            for name, path in named.items()
            if path is not None and (name != "weights" or path.is_dir())
        }


@dataclass(frozen=True)
class Exit:
    """How a program ended, as the host saw it."""

    code: int | None
    """Exit code; negative = ended by that signal; None = it had to be killed by us."""
    is_out_of_memory: bool = False
    """The engine's word that the memory limit killed it."""


@dataclass(frozen=True)
class EngineFacts:
    """What was seen of a program from outside, beside its pipe; None: it cannot be seen here."""

    memory_kills: int | None = None
    """How many of its processes, children too, were killed for memory so far."""
    met_memory_limit: bool | None = None
    """Whether it met its own limit; False beside a kill: the machine had no memory left."""
    has_memory_limit: bool = True
    """Whether the engine holds it to one."""
    full_folders: tuple[str, ...] = ()
    """`/dev/shm` and `/tmp`, where they were seen full."""
    exit_code: int | None = None
    """Of its main process, as in `Exit`, once it has ended."""


class DeadlinePassed(Exception):
    """An operation on a running program did not finish by its deadline."""


class PipeClosed(Exception):
    """The program closed its end of the pipe (it usually exited)."""


class OutputFlood(Exception):
    """The program wrote more to standard output than the harness asked for."""


class LogFlood(Exception):
    """The program wrote more than `Limits.log_bytes` to standard error."""


class Running(ABC):
    """One started program: a duplex byte pipe, its log, and its end.

    Both outputs are drained by a thread of its own to their very end, whatever the
    caller does. `send`, `receive_line`, `receive` raise `DeadlinePassed`, `PipeClosed`,
    `OutputFlood` or `LogFlood`, and nothing else about the entry.
    As a context manager it calls `stop()` on the way out, whatever happened.
    """

    paths: Mapping[str, str]
    """`train`, `model`, `weights` as the entry sees them; only those that were given."""

    @abstractmethod
    def send(
        self, data: bytes | memoryview, deadline: float, payload: bytes | memoryview = b""
    ) -> None:
        """Write all of `data`, then all of `payload`, to standard input, the outputs being drained.

        (As one write: each write more is one more message on its way through the engine.)
        """

    @abstractmethod
    def receive_line(self, max_bytes: int, deadline: float) -> bytes:
        """Bytes up to and with the next newline.

        Raises:
            OutputFlood: more than `max_bytes` came without a newline.
        """

    @abstractmethod
    def receive(self, nbytes: int, deadline: float) -> bytes | bytearray:
        """Exactly `nbytes` bytes of standard output."""

    @abstractmethod
    def interrupt(self, error: Exception) -> None:
        """Make a waiting `send` or `receive*`, and every later call of the session, raise `error`.

        For a thread that watches the run from outside; it stops nothing by itself.
        """

    @abstractmethod
    def pending(self) -> int:
        """Bytes of standard output that have arrived and were not received yet."""

    @abstractmethod
    def expect_output(self, max_bytes: int) -> None:
        """Bound the bytes that may wait unread on standard output from now on."""

    @property
    @abstractmethod
    def last_arrival(self) -> float:
        """`time.monotonic()` when the newest byte of standard output arrived."""

    @abstractmethod
    def close_input(self) -> None:
        """End of file on the program's standard input; output can still be received."""

    @abstractmethod
    def wait(self, deadline: float) -> Exit:
        """How it ended.

        Raises:
            DeadlinePassed: it still runs at the deadline.
            LogFlood: it has ended, with more than `Limits.log_bytes` in its log.
        """

    @abstractmethod
    def stop(self) -> Exit:
        """End it for certain (input closed, TERM, `stop_seconds`, KILL), remove what is left.

        Safe to call twice and at any moment; returns how the program ended.
        """

    @property
    @abstractmethod
    def log(self) -> bytes:
        """Standard error so far, cut at `Limits.log_bytes`."""

    @property
    @abstractmethod
    def peak_memory_bytes(self) -> int | None:
        """Peak RAM of the program and its children as the host saw it, where it could."""

    def facts(self) -> EngineFacts:
        """What the engine knows of it by now; asked on every way out, also before `stop`.

        Raises:
            RunEnded: the engine failed.
        """
        return EngineFacts()

    @property
    def main_process(self) -> int | None:
        """Its main process, as this machine counts; None where that cannot be told for certain."""
        return None

    def owns(self, process: int) -> bool:
        """Whether a process of this machine is the program, or was started by it.

        Args:
            process: its number as this machine counts; asked several times a second, from
                another thread, also after the end.
        Returns:
            False also where that cannot be told.
        """
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Engine(ABC):
    """Starts programs. One module or package per engine; `harness/engines/__init__.py` lists them."""

    name: str
    """`docker`, `process`, …; a part of the run key, and the first word of `describe`."""
    at_most: IsolationLevel
    """What it isolates to where everything that it asks for holds; what does hold is measured."""

    @abstractmethod
    def check(self) -> None:
        """Raise `EngineUnavailable` (with the fix) when this engine cannot start anything."""

    @abstractmethod
    def describe(self) -> str:
        """`name` and a version, for the record and the first line of `evaluate`.

        The first word is `name`: the record's engine is read from it
        (`harness.records.isolation.engine_of`).
        """

    @abstractmethod
    def prepare_folder(self, folder: Path, name: str, identity: str) -> Program:
        """Make a source folder (entry.toml, model.py) startable.

        Args:
            folder: the entry's folder; only its files and the shared kit are used.
            name: the entry's name.
            identity: content hash of folder, kit, contract and lock file
                (`harness.entries.identity.folder_identity`); names the built image.
        Raises:
            EntryInvalid: the image cannot be built; the message ends with the build's last lines.
        """

    def folder_identity(self, identity: str) -> str:
        """The identity that `prepare_folder` will give the program, before anything is built.

        Args:
            identity: as in `prepare_folder`.
        """
        return identity

    @abstractmethod
    def prepare_image(self, reference: str, name: str) -> Program:
        """Resolve an image reference to one immutable image; pulls when it is not there.

        An image that may not be started is a program too: its `refusal` says why.

        Raises:
            EntryInvalid: this engine cannot run images, or this names none.
            RunEnded: `image_unavailable` when it can be neither found nor pulled.
        """

    @abstractmethod
    def prepare_archive(self, archive: Path, name: str) -> Program:
        """Load an image archive (`docker save`) that holds exactly one image.

        Raises:
            EntryInvalid: this engine cannot run archives, or the archive is not acceptable.
        """

    def check_device(  # noqa: B027 - most engines have nothing to refuse
        self, device: str, *, is_foreign: bool
    ) -> None:
        """Refuse a device that this engine cannot give safely.

        Args:
            device: as in `Launch`.
            is_foreign: the program that asks is a stranger's image.
        Raises:
            DeviceUnavailable: with the fix.
        """

    @abstractmethod
    def start(self, launch: Launch) -> Running:
        """Start a program.

        Raises:
            DeviceUnavailable: a GPU was asked for and this engine has none.
            RunEnded: `invalid_image` for a refused image; an infrastructure status when the
                start failed otherwise.
        """

    @abstractmethod
    def start_source(self, launch: Launch, source: str) -> Running:
        """Start a program of the harness's own where and how `start` would start the entry.

        Args:
            launch: of the entry; its folders are not needed.
            source: Python source that needs the standard library alone, run by `-I -S -c`.
        Raises:
            DeviceUnavailable, RunEnded: as `start`.
        """

    def start_canary(self, launch: Launch) -> Running:
        """Start the canary kernel (`canary.py`) where and how `start` would start the program.

        Args, Raises: as `start_source`.
        """
        return self.start_source(launch, CANARY.read_text("utf-8"))

    def is_word_taken(self, program: Program) -> bool:
        """Whether what a program of `start_source` says of itself counts.

        Its interpreter must be none of a stranger's, who could have it say what he likes. Where it
        does not count, only what is seen from outside does.
        """
        return not program.is_foreign

    def measure(self, launch: Launch) -> MeasuredIsolation:
        """What stands between the entry and this machine where `start` would start it.

        Measured once for each program, device and set of limits, with a start of its own.

        Raises:
            DeviceUnavailable, RunEnded: as `start`; `host_error` where the probe does not answer.
        """
        key = (launch.program, launch.device, launch.limits)
        if key not in self._measured:
            self._measured[key] = self._measure(launch)
        return self._measured[key]

    def _measure(self, launch: Launch) -> MeasuredIsolation:
        deadline = time.monotonic() + MEASURE_SECONDS
        with self.start_source(launch, measuring.probe_source()) as running:
            inside = _probe_answer(running, deadline)
            process = running.main_process
            outside = Seen() if process is None else seen_of(process)
            running.close_input()
            with contextlib.suppress(DeadlinePassed, LogFlood):  # it is stopped all the same
                running.wait(deadline)
        is_taken = self.is_word_taken(launch.program)
        return _judged(outside, inside if is_taken else Seen(), launch.limits)

    @cached_property
    def _measured(self) -> dict[tuple[Program, str, Limits], MeasuredIsolation]:
        return {}

    @abstractmethod
    def plan(self, launch: Launch) -> str:
        """The exact call that `start` would make, for `--dry-run`: text, nothing is started."""

    def pin(self, program: Program, reference: str) -> str | None:
        """`name@sha256:…` under which a registry holds this image, asked of the registry itself.

        Args:
            program: as `prepare_image` returned it.
            reference: how the user named it; its repository is the one that is asked.
        Returns:
            None where the registry does not hold it, or does not answer.
        """
        return None

    def save_archive(self, program: Program, path: Path) -> None:
        """Write the image as `docker save` does; the file must not be there.

        Raises:
            EntryInvalid: this engine has no images.
            RunEnded: with an infrastructure status when the engine failed.
        """
        raise EntryInvalid("there is no image to save", where=f"engine {self.name}")

    def remove_leftovers(self) -> int:
        """Remove what harness processes that are gone left running or lying; returns how many."""
        return 0

    def remove_labelled(self, name: str, value: str) -> int:
        """Remove what was started with this label, by whomever; returns how many."""
        return 0

    def remove_images(self) -> int:
        """Remove the images that the harness built; returns how many."""
        return 0


def judged_from_outside(seen: Seen, limits: Limits) -> MeasuredIsolation:
    """What holds, where nobody inside is asked."""
    return _judged(seen, Seen(), limits)


def _judged(outside: Seen, inside: Seen, limits: Limits) -> MeasuredIsolation:
    asked = measuring.AskedBounds(limits.memory_mib, limits.pids, limits.tmp_mib, limits.shm_mib)
    return measuring.isolation_seen(outside, inside, seen_of(), asked)


def _probe_answer(running: Running, deadline: float) -> Seen:
    """What the probe says of itself.

    Raises:
        RunEnded: `host_error` where it says nothing, or something else.
    """
    try:
        return measuring.seen_from_inside(running.receive_line(measuring.LINE_BYTES, deadline))
    except (DeadlinePassed, PipeClosed, OutputFlood, LogFlood, ValueError) as error:
        log = running.log.decode(errors="replace").strip()[-300:]
        raise RunEnded(
            Status.HOST_ERROR,
            "the isolation cannot be measured: the harness's own program did not answer where an"
            f" entry would run ({log or error or type(error).__name__})",
        ) from None
