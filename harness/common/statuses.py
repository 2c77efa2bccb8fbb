"""How a run can end: every status, whose fault it is, one sentence and one remedy.

The host decides the status from what it sees (frames, clocks, exit codes, the
engine). What an entry prints is never trusted.
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


@dataclass(frozen=True)
class StatusEntry:
    """One row of the status table."""

    fault: Fault
    """Who has to act."""
    sentence: str
    """What happened, for a reader who knows nothing of the harness."""
    remedy: str
    """The first thing to try."""


_E, _I = Fault.ENTRY, Fault.INFRASTRUCTURE

STATUS_TABLE: dict[Status, StatusEntry] = {
    Status.OK: StatusEntry(
        Fault.NONE, "The run finished and every image was answered.", "Nothing to do."
    ),
    Status.INVALID_IMAGE: StatusEntry(
        _E,
        "The container image was refused before a container was created.",
        "Mend the image's configuration as the detail says, then build and check it again.",
    ),
    Status.START_TIMEOUT: StatusEntry(
        _E,
        "The entry did not say `ready` within the start limit.",
        "Load less at start, or ask for a longer limit with --limit start_seconds=N.",
    ),
    Status.IMAGE_TIMEOUT: StatusEntry(
        _E,
        "One image was not answered within the image limit.",
        "Make predict faster; the answer must come before the next image is sent.",
    ),
    Status.TOTAL_TIMEOUT: StatusEntry(
        _E,
        "The whole session took longer than its limit.",
        "Train or predict faster, or ask for a longer limit with --limit.",
    ),
    Status.CRASHED: StatusEntry(
        _E,
        "The entry ended by itself with an error.",
        "Read the entry's log: python -m harness.check prints it in full.",
    ),
    Status.OUT_OF_MEMORY: StatusEntry(
        _E,
        "The entry was killed because it used more memory than its limit.",
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
        "Print less: nothing per image or per step.",
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
        "Guard divisions, square roots and logarithms; float16 overflows above 65504.",
    ),
    Status.MISSING_ANSWER: StatusEntry(
        _E,
        "The entry ended before it had answered every image.",
        "Answer until standard input ends, then exit with code 0.",
    ),
    Status.BAD_MODEL: StatusEntry(
        _E,
        "What the entry left in /model is not a bounded set of regular files.",
        "Write plain files only (no links, pipes or devices) and stay within the limits.",
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
        "Check the reference and the registry login, then run the command again.",
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


class RunEnded(Exception):
    """Ends a session with a typed status; never leaves `harness.running.run`.

    Args:
        status: the status of the run.
        detail: one sentence that names the frame, image number or limit; holds no
            pixel, id or label of a pack, and nothing that the entry chose while it saw one.
        of_entry: what the entry itself chose of it, a file's name say; told of open packs alone.
    """

    def __init__(self, status: Status, detail: str, *, of_entry: str = "") -> None:
        self.status = status
        self.detail = one_line(detail, MAX_DETAIL)
        super().__init__(f"{status}: {self.detail}")
        self._of_entry = one_line(of_entry)

    def told(self, visibility: str | None) -> str:
        """The detail as it may be told of a run on a pack of this visibility."""
        if self._of_entry and may_leave(Artefact.ENTRY_WORDS, visibility):
            return f"{self.detail}: {self._of_entry}"
        return self.detail
