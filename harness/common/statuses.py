"""How a run can end: every status, whose fault it is, one sentence and one remedy.

The host decides the status from what it sees (frames, clocks, exit codes, the
engine). What an entry prints is never trusted. Where a status has several ways into it that ask
for different things to be done, the way is a `Cause`, and its remedy stands in place of the
status's own (`remedy_of`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.common.disclosure import Artefact, may_leave
from harness.common.foreign_text import one_line

MAX_DETAIL = 1000


class Fault(StrEnum):
    """Who has to act for the run to succeed the next time."""

    NONE = "none"
    ENTRY = "entry"
    NOBODY = "nobody"
    INFRASTRUCTURE = "infrastructure"


class Status(StrEnum):
    """The end of a run. Infrastructure statuses are retried and never reach the board."""

    OK = "ok"
    INVALID_IMAGE = "invalid_image"
    START_TIMEOUT = "start_timeout"
    IMAGE_TIMEOUT = "image_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_GPU_MEMORY = "out_of_gpu_memory"
    LOG_FLOOD = "log_flood"
    BAD_FRAME = "bad_frame"
    WRONG_SHAPE = "wrong_shape"
    NON_FINITE = "non_finite"
    MISSING_ANSWER = "missing_answer"
    BAD_MODEL = "bad_model"
    NOT_APPLICABLE = "not_applicable"
    CANCELLED = "cancelled"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    IMAGE_UNAVAILABLE = "image_unavailable"
    GPU_LOST = "gpu_lost"
    HOST_ERROR = "host_error"

    @property
    def entry(self) -> StatusEntry:
        """The row of the status table: fault, sentence, remedy."""
        return STATUS_TABLE[self]

    @property
    def fault(self) -> Fault:
        """Whose fault this status is."""
        return STATUS_TABLE[self].fault

    @property
    def is_settled(self) -> bool:
        """Whether the same run would end so again, and nobody has anything to mend."""
        return self in (Status.OK, Status.NOT_APPLICABLE)

    @property
    def reaches_the_board(self) -> bool:
        """Whether it says something of the entry: of itself, or that it cannot be asked for this."""
        return self.is_settled or self.fault is Fault.ENTRY


class Cause(StrEnum):
    """A way into a status that asks for another remedy than the status does by itself."""

    SHM_FULL = "shm_full"
    TMP_FULL = "tmp_full"
    NO_NETWORK = "no_network"
    PRINTED = "printed"
    NO_EXIT = "no_exit"
    NO_END = "no_end"
    TOO_MUCH_OUTPUT = "too_much_output"
    MACHINE_MEMORY = "machine_memory"
    DISK_FULL = "disk_full"
    CONTAINER_LEFT = "container_left"
    REFUSED_LOGIN = "refused_login"
    RATE_LIMIT = "rate_limit"
    NO_SUCH_IMAGE = "no_such_image"
    NO_REGISTRY = "no_registry"
    IMAGE_GONE = "image_gone"
    UNREADABLE_FOLDER = "unreadable_folder"

    @property
    def entry(self) -> CauseEntry:
        """The row of the table of causes."""
        return CAUSE_TABLE[self]


@dataclass(frozen=True)
class StatusEntry:
    """One row of the status table."""

    fault: Fault
    """Who has to act."""
    sentence: str
    """What happened, for a reader who knows nothing of the harness."""
    remedy: str
    """The first thing to try."""


@dataclass(frozen=True)
class CauseEntry:
    """One row of the table of causes."""

    statuses: frozenset[Status]
    """What a run can end with that came this way."""
    sentence: str
    """What the host saw, or takes for likely."""
    remedy: str
    """The first thing to try."""
    can_pass: bool = True
    """Whether the same run may go well the next time although nobody did anything (asked of the
    infrastructure's statuses alone: only such a run is tried once more)."""


_E, _I = Fault.ENTRY, Fault.INFRASTRUCTURE

STATUS_TABLE: dict[Status, StatusEntry] = {
    Status.OK: StatusEntry(
        Fault.NONE, "The run finished and every image was answered.", "Nothing to do."
    ),
    Status.INVALID_IMAGE: StatusEntry(
        _E,
        "The container image was refused before a container was created.",
        "Mend the image as the detail says, then build it and try python -m harness.check.",
    ),
    Status.START_TIMEOUT: StatusEntry(
        _E,
        "The entry did not say `ready` within the start limit.",
        "Load less at start, or ask for a longer limit with --limit start_seconds=N.",
    ),
    Status.IMAGE_TIMEOUT: StatusEntry(
        _E,
        "One image was not answered within the image limit.",
        "Make predict faster, or ask for a longer limit with --limit image_seconds=N.",
    ),
    Status.TOTAL_TIMEOUT: StatusEntry(
        _E,
        "The whole session took longer than its limit.",
        "Train or predict faster, or ask for a longer limit with --limit predict_seconds=N or"
        " --limit train_seconds=N.",
    ),
    Status.CRASHED: StatusEntry(
        _E,
        "The entry ended by itself with an error.",
        "Read the end of its log; python -m harness.check, with the run's own --pack, --seed,"
        " --preset, --set and --limit, does it again and prints the whole log.",
    ),
    Status.OUT_OF_MEMORY: StatusEntry(
        _E,
        "The entry, or a process of it, was killed because it used more memory than there was.",
        "Use less memory, or ask for more with --limit memory_mib=N.",
    ),
    Status.OUT_OF_GPU_MEMORY: StatusEntry(
        _E,
        "The entry ran out of GPU memory, as it says itself by its exit code.",
        "Use smaller batches or a smaller model, or run on a GPU with more memory.",
    ),
    Status.LOG_FLOOD: StatusEntry(
        _E,
        "The entry wrote more to its log (standard error) than the limit.",
        "Print less, nothing per image or per step, or ask for more with --limit log_bytes=N.",
    ),
    Status.BAD_FRAME: StatusEntry(
        _E,
        "The entry sent something that is not a valid frame at this point.",
        "Compare the frame named in the detail with harness/contract/README.md.",
    ),
    Status.WRONG_SHAPE: StatusEntry(
        _E,
        "An anomaly map does not have its image's height and width, or changed its dtype.",
        "Resize the map to the image's own size and keep one dtype for the run.",
    ),
    Status.NON_FINITE: StatusEntry(
        _E,
        "A score or a map holds NaN or infinity.",
        "Guard divisions, square roots and logarithms; float16 overflows above 65504. A score that"
        " is its map's maximum is as good as the map.",
    ),
    Status.MISSING_ANSWER: StatusEntry(
        _E,
        "The entry ended before it had answered every image.",
        "Answer until standard input ends, then exit with code 0; the end of its log may say why"
        " it did not.",
    ),
    Status.BAD_MODEL: StatusEntry(
        _E,
        "What the entry left in /model is not a bounded set of regular files.",
        "Write plain files only (no links, pipes or devices), with plain names, and stay within"
        " --limit model_bytes=N and --limit model_files=N.",
    ),
    Status.NOT_APPLICABLE: StatusEntry(
        Fault.NOBODY,
        "The method cannot learn from what this regime gives it: there is no result, and no failure.",
        "Nothing to mend; where its paper says how, a smaller batch or another setting (--set) may"
        " train on so few images.",
    ),
    Status.CANCELLED: StatusEntry(
        Fault.NOBODY,
        "The run was interrupted by the person who started it.",
        "Start the same command again; finished runs are not repeated.",
    ),
    Status.ENGINE_UNAVAILABLE: StatusEntry(
        _I,
        "The container engine did not answer.",
        "Start the engine (for example: systemctl start docker) and run the command again.",
    ),
    Status.IMAGE_UNAVAILABLE: StatusEntry(
        _I,
        "The container image could not be found or pulled.",
        "Read what the engine said, check the reference, then run the command again.",
    ),
    Status.GPU_LOST: StatusEntry(
        _I,
        "The GPU stopped answering, or failed the host's own test kernel.",
        "Look at the GPU on the host (nvidia-smi; dmesg, for Xid), then run the command again.",
    ),
    Status.HOST_ERROR: StatusEntry(
        _I,
        "The harness or its machine failed, not the entry.",
        "Read the message, free disk space or memory, then run the command again.",
    ),
}


_ENTRYS_OWN = frozenset(
    {
        Status.START_TIMEOUT,
        Status.IMAGE_TIMEOUT,
        Status.TOTAL_TIMEOUT,
        Status.CRASHED,
        Status.MISSING_ANSWER,
        Status.BAD_FRAME,
        Status.BAD_MODEL,
    }
)
"""What a run may end with whose program was in want of something."""

CAUSE_TABLE: dict[Cause, CauseEntry] = {
    Cause.SHM_FULL: CauseEntry(
        _ENTRYS_OWN,
        "Its shared memory (/dev/shm) was full, or seems to have been.",
        "Ask for more with --limit shm_mib=N, or use data loaders without workers"
        " (num_workers=0); as a process, free the machine's own /dev/shm.",
    ),
    Cause.TMP_FULL: CauseEntry(
        _ENTRYS_OWN,
        "Its /tmp was full, or seems to have been.",
        "Write less there, or ask for more with --limit tmp_mib=N; as a process, free the disk"
        " that holds the temporary folder.",
    ),
    Cause.NO_NETWORK: CauseEntry(
        _ENTRYS_OWN,
        "Its log speaks of a network, and there is none in a run.",
        "Whatever it needs must be in its image or folder: backbones in /weights (python -m"
        " harness.weights), or where ENV TORCH_HOME, HF_HOME or XDG_CACHE_HOME of its image say.",
    ),
    Cause.PRINTED: CauseEntry(
        frozenset({Status.BAD_FRAME}),
        "Something was printed to standard output, where frames alone may stand.",
        "Print to standard error; in Python, give serve the model as module:Class, so that"
        " standard output is moved aside before its imports print.",
    ),
    Cause.NO_EXIT: CauseEntry(
        frozenset({Status.TOTAL_TIMEOUT}),
        "The entry went on running after its input had ended.",
        "Exit when standard input ends: end threads and data loaders' workers, or ask for longer"
        " with --limit stop_seconds=N.",
    ),
    Cause.NO_END: CauseEntry(
        frozenset({Status.MISSING_ANSWER}),
        "The entry closed its end of the pipe and went on running.",
        "Keep standard input and output open until the input ends, then exit with code 0.",
    ),
    Cause.TOO_MUCH_OUTPUT: CauseEntry(
        frozenset({Status.BAD_FRAME}),
        "More came on standard output than frames may have there.",
        "Send one frame for each image; in training, send progress less often, or ask for more"
        " with --limit train_stdout_bytes=N.",
    ),
    Cause.MACHINE_MEMORY: CauseEntry(
        frozenset({Status.OUT_OF_MEMORY, Status.HOST_ERROR}),
        "The machine, or the job that the harness runs in, had no memory left.",
        "Use a machine or a job with more memory, run less beside it, or bound the entry with"
        " --limit memory_mib=N (docker).",
    ),
    Cause.DISK_FULL: CauseEntry(
        frozenset({Status.HOST_ERROR, Status.IMAGE_UNAVAILABLE}),
        "A disk of this machine is full.",
        "Free some space (python -m harness.clean; the engine's own: docker system df), then run"
        " the command again.",
        can_pass=False,
    ),
    Cause.CONTAINER_LEFT: CauseEntry(
        frozenset({Status.ENGINE_UNAVAILABLE}),
        "The engine could not remove a container.",
        "Start the engine again (systemctl restart docker), then run the command again: it sweeps"
        " what was left.",
    ),
    Cause.REFUSED_LOGIN: CauseEntry(
        frozenset({Status.IMAGE_UNAVAILABLE}),
        "The registry asks for a login, or hides an image that is not public.",
        "Log in (docker login, then the registry's name) as somebody who may read it, or make the"
        " image public.",
        can_pass=False,
    ),
    Cause.RATE_LIMIT: CauseEntry(
        frozenset({Status.IMAGE_UNAVAILABLE}),
        "The registry allows no more pulls for now.",
        "Wait, or raise the limit with docker login, then run the command again.",
    ),
    Cause.NO_SUCH_IMAGE: CauseEntry(
        frozenset({Status.IMAGE_UNAVAILABLE}),
        "The registry holds no image of this name and tag.",
        "Check the reference letter by letter, and that the image was pushed.",
        can_pass=False,
    ),
    Cause.NO_REGISTRY: CauseEntry(
        frozenset({Status.IMAGE_UNAVAILABLE}),
        "The registry does not answer.",
        "Check the network, a proxy, its certificates and the registry's name, then run the"
        " command again; or load the image as an archive (docker save).",
    ),
    Cause.IMAGE_GONE: CauseEntry(
        frozenset({Status.IMAGE_UNAVAILABLE}),
        "The image was removed from the engine after it had been found.",
        "Run the command again: it builds, loads or pulls the image once more.",
        can_pass=False,
    ),
    Cause.UNREADABLE_FOLDER: CauseEntry(
        frozenset({Status.HOST_ERROR}),
        "The entry's user may not read a folder that it is given.",
        "Give everybody the right to read it (chmod o+rx on the folder that the detail names).",
        can_pass=False,
    ),
}


def remedy_of(status: Status, cause: Cause | None) -> str:
    """The first thing to try: of the way that the run came, where that is known."""
    return status.entry.remedy if cause is None else cause.entry.remedy


class RunEnded(Exception):
    """Ends a session with a typed status; never leaves `harness.running.run`.

    Args:
        status: the status of the run.
        detail: one sentence that names the frame, image number or limit; holds no
            pixel, id or label of a pack, and nothing that the entry chose while it saw one.
        of_entry: what the entry itself chose of it, a file's name say; told of open packs alone.
        cause: the way into the status, where it asks for a remedy of its own.
    """

    def __init__(
        self, status: Status, detail: str, *, of_entry: str = "", cause: Cause | None = None
    ) -> None:
        if cause is not None and status not in cause.entry.statuses:
            raise ValueError(f"{cause} is no way into {status}")
        self.status = status
        self.cause = cause
        self.detail = one_line(detail, MAX_DETAIL)
        super().__init__(f"{status}: {self.detail}")
        self._of_entry = one_line(of_entry)

    def told(self, visibility: str | None) -> str:
        """The detail as it may be told of a run on a pack of this visibility."""
        if self._of_entry and may_leave(Artefact.ENTRY_WORDS, visibility):
            return f"{self.detail}: {self._of_entry}"
        return self.detail
