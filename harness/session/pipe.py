"""The harness's end of the pipe: everything that can go wrong in it, as a typed status.

Traps. An entry that closes its output has usually exited: only its exit tells whether it
crashed, ran out of memory or just stopped early. One that does not answer in time may wait for
a child that was killed for memory: the engine is asked on that way, too. Details name positions
and what was expected; what the entry wrote instead is told of open packs alone (`of_entry`): an
entry could write pixels there.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

from harness.common.statuses import Cause, RunEnded, Status
from harness.contract.frames import AnyFrame, parse_frame
from harness.contract.lines import (
    MAX_LINE_BYTES,
    MAX_SHOWN_BYTES,
    BadFrame,
    NonFiniteNumber,
    NotJson,
    came,
    decode_line,
    is_printed,
)
from harness.contract.serve import EXIT_NOT_APPLICABLE, EXIT_OUT_OF_GPU_MEMORY
from harness.engines.base import (
    DeadlinePassed,
    EngineFacts,
    Exit,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Running,
)
from harness.session.time_limits import Deadline, TimeLimits

MAX_BANNER_BYTES = 64 * 1024
"""Bytes that may stand on standard output before the first frame."""
_FULL = {"/dev/shm": Cause.SHM_FULL, "/tmp": Cause.TMP_FULL}  # noqa: S108 - the entry's own


class EntryPipe:
    """Sends and receives frames of one session under its deadlines.

    Every method raises `RunEnded` with the entry's fault where the entry breaks the contract.

    Args:
        running: the started entry; its caller stops it.
        limits: its deadlines, counted from now.
    """

    def __init__(self, running: Running, limits: TimeLimits) -> None:
        self._running, self.limits = running, limits
        self.may_decline = False
        """Whether the entry may still say that it cannot do what it is asked for: it knows the
        regime and the training images, and has seen no image that is scored."""

    @contextlib.contextmanager
    def typed(self, where: str, deadline: Deadline) -> Iterator[None]:
        """Turn whatever goes wrong with the pipe or a frame inside into `RunEnded`.

        Args:
            where: the frame that is sent or awaited, for the detail.
            deadline: the one that the calls inside are given.
        """
        try:
            yield
        except DeadlinePassed:
            raise _late(where, deadline, self._running.facts()) from None
        except PipeClosed:
            raise self._early_end(where) from None
        except OutputFlood:
            raise _flooded(where) from None
        except LogFlood:
            raise _log_flooded(where) from None
        except NonFiniteNumber as problem:
            raise RunEnded(
                Status.NON_FINITE, f"{where}: {problem}", of_entry=problem.came
            ) from None
        except BadFrame as problem:
            raise _bad_frame(where, problem) from None

    def send(self, line: bytes, deadline: Deadline, payload: bytes | memoryview = b"") -> None:
        """Write one frame: its line and its bytes; inside `typed`."""
        self._running.send(line, deadline.at, payload)

    def receive_frame(self, deadline: Deadline) -> tuple[AnyFrame, int]:
        """The next frame, and the bytes of its line; inside `typed`."""
        line = self._running.receive_line(MAX_LINE_BYTES, deadline.at)
        return parse_frame(line), len(line)

    def receive_bytes(self, nbytes: int, deadline: Deadline) -> bytes | bytearray:
        """Exactly `nbytes` bytes; inside `typed`."""
        return self._running.receive(nbytes, deadline.at)

    def receive_first_line(self, key: str, deadline: Deadline) -> bytes:
        """The first line that is meant for us, past the banners of start-up; inside `typed`.

        That is the first one that holds a JSON object with `key`, or that looks like one
        and is broken.
        """
        skipped = 0
        while True:
            room = MAX_BANNER_BYTES - skipped
            line = self._running.receive_line(room + MAX_LINE_BYTES, deadline.at)
            if not _is_banner(line, key):
                return line
            skipped += len(line)
            if skipped > MAX_BANNER_BYTES:
                raise NotJson(
                    f"more than {MAX_BANNER_BYTES} bytes before the first frame",
                    f"{came(line)} last",
                )

    def expect_silence(self, where: str) -> None:
        """End the run when the entry has said something that nobody asked for."""
        if waiting := self._running.pending():
            with self.typed(where, self.limits.total):
                count = min(waiting, MAX_SHOWN_BYTES)
                seen = bytes(self._running.receive(count, time.monotonic() + 1.0))
            raise RunEnded(
                Status.BAD_FRAME,
                f"{where}: there are bytes on standard output after the last frame",
                of_entry=came(seen),
                cause=Cause.PRINTED if is_printed(seen) else None,
            )

    def close(self) -> None:
        """End the entry's input and make sure that it exits with 0 and says nothing more."""
        where = "the end of the session"
        self._running.expect_output(MAX_LINE_BYTES)
        self._running.close_input()
        deadline = self.limits.exit()
        with self.typed(where, deadline):
            ending = self._running.wait(deadline.at)
        if ending.code != 0:
            raise self._ended(ending, where)
        self.expect_silence(where)

    def _early_end(self, where: str) -> RunEnded:
        """How a run ends whose entry has closed its output (or input) too early."""
        try:
            ending = self._running.wait(self.limits.last_word())
        except DeadlinePassed:
            what, facts = "the entry closed its pipe and went on running", self._running.facts()
            if facts.memory_kills:
                return _killed_for_memory(f"{where}: {what}", facts)
            cause = _full_folder(facts) or Cause.NO_END
            return RunEnded(Status.MISSING_ANSWER, f"{where}: {what}", cause=cause)
        except LogFlood:
            return _log_flooded(where)
        return self._ended(ending, where)

    def _ended(self, ending: Exit, where: str) -> RunEnded:
        return _ended(ending, where, self._running.facts(), may_decline=self.may_decline)


def _is_banner(line: bytes, key: str) -> bool:
    try:
        return key not in decode_line(line)
    except BadFrame:
        return not (line.lstrip().startswith(b"{") and f'"{key}"'.encode() in line)


def _late(where: str, deadline: Deadline, facts: EngineFacts) -> RunEnded:
    """How a run ends that passed a deadline: for want of memory, where the engine knows of it."""
    what = f"{where}: {deadline.words}"
    if facts.memory_kills:
        return _killed_for_memory(what, facts)
    return RunEnded(deadline.status, what, cause=_full_folder(facts) or deadline.cause)


def _bad_frame(where: str, problem: BadFrame) -> RunEnded:
    """What came is no frame: where it is no JSON at all, somebody printed it."""
    cause = Cause.PRINTED if isinstance(problem, NotJson) else None
    return RunEnded(Status.BAD_FRAME, f"{where}: {problem}", of_entry=problem.came, cause=cause)


def _ended(ending: Exit, where: str, facts: EngineFacts, *, may_decline: bool) -> RunEnded:
    """The status for an entry that exited when it should not have, or not with 0."""
    how = _words_of(ending)
    if ending.is_out_of_memory or facts.memory_kills:
        return _killed_for_memory(f"{where}: {how}", facts)
    if ending.code == EXIT_OUT_OF_GPU_MEMORY:
        return RunEnded(Status.OUT_OF_GPU_MEMORY, f"{where}: {how}")
    if ending.code == EXIT_NOT_APPLICABLE and may_decline:
        return RunEnded(Status.NOT_APPLICABLE, f"{where}: {how}")
    cause = _full_folder(facts)
    if ending.code == 0:
        return RunEnded(Status.MISSING_ANSWER, f"{where}: {how}", cause=cause)
    if ending.code == -signal.SIGBUS:  # a page of shared memory that is not there
        cause = cause or Cause.SHM_FULL
    return RunEnded(Status.CRASHED, f"{where}: {how}", cause=cause)


def _words_of(ending: Exit) -> str:
    if ending.code is None:
        return "the entry had to be killed"
    if ending.code == 0:
        return "the entry exited with code 0 instead"
    how = f"signal {-ending.code}" if ending.code < 0 else f"exit code {ending.code}"
    return f"the entry ended with {how}"


def _killed_for_memory(what: str, facts: EngineFacts) -> RunEnded:
    """A process of the entry was killed for memory; whose, the group's own limit tells."""
    if facts.met_memory_limit is False:
        told = f"{what}; a process of it was killed for memory, below its own limit"
        return RunEnded(Status.HOST_ERROR, told, cause=Cause.MACHINE_MEMORY)
    if not facts.has_memory_limit:
        told = f"{what}; the system killed a process of it for memory"
        return RunEnded(Status.OUT_OF_MEMORY, told, cause=Cause.MACHINE_MEMORY)
    told = f"{what}; the memory limit ended a process of it"
    return RunEnded(Status.OUT_OF_MEMORY, told)


def _full_folder(facts: EngineFacts) -> Cause | None:
    """Whether the entry may have failed for want of room."""
    found = (cause for folder, cause in _FULL.items() if folder in facts.full_folders)
    return next(found, None)


def _flooded(where: str) -> RunEnded:
    return RunEnded(
        Status.BAD_FRAME,
        f"{where}: more bytes on standard output than a frame may have here",
        cause=Cause.TOO_MUCH_OUTPUT,
    )


def _log_flooded(where: str) -> RunEnded:
    return RunEnded(Status.LOG_FLOOD, f"{where}: the log passed its limit")
