"""The harness's end of the pipe: everything that can go wrong in it, as a typed status.

Traps. An entry that closes its output has usually exited: only its exit tells whether it
crashed, ran out of memory or just stopped early. Details name positions and what was
expected, never what the entry wrote: an entry could write pixels there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.common.statuses import RunEnded, Status
from harness.contract.frames import AnyFrame, parse_frame
from harness.contract.lines import MAX_LINE_BYTES, BadFrame, NonFiniteNumber, decode_line
from harness.contract.serve import EXIT_OUT_OF_GPU_MEMORY
from harness.engines.base import (
    DeadlinePassed,
    Exit,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Running,
)
from harness.session.time_limits import Deadline, TimeLimits

MAX_BANNER_BYTES = 64 * 1024
"""Bytes that may stand on standard output before the first frame."""


class EntryPipe:
    """Sends and receives frames of one session under its deadlines.

    Every method raises `RunEnded` with the entry's fault where the entry breaks the contract.

    Args:
        running: the started entry; its caller stops it.
        limits: its deadlines, counted from now.
    """

    def __init__(self, running: Running, limits: TimeLimits) -> None:
        self._running, self.limits = running, limits

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
            raise RunEnded(deadline.status, f"{where}: {deadline.words}") from None
        except PipeClosed:
            raise self._early_end(where) from None
        except OutputFlood:
            raise _flooded(where) from None
        except LogFlood:
            raise _log_flooded(where) from None
        except NonFiniteNumber as problem:
            raise RunEnded(Status.NON_FINITE, f"{where}: {problem}") from None
        except BadFrame as problem:
            raise RunEnded(Status.BAD_FRAME, f"{where}: {problem}") from None

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
                raise BadFrame(f"more than {MAX_BANNER_BYTES} bytes before the first frame")

    def expect_silence(self, where: str) -> None:
        """End the run when the entry has said something that nobody asked for."""
        if self._running.pending():
            raise RunEnded(
                Status.BAD_FRAME,
                f"{where}: there are bytes on standard output after the last frame",
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
            raise _ended(ending, where)
        self.expect_silence(where)

    def _early_end(self, where: str) -> RunEnded:
        """How a run ends whose entry has closed its output (or input) too early."""
        try:
            ending = self._running.wait(self.limits.last_word())
        except DeadlinePassed:
            return RunEnded(
                Status.MISSING_ANSWER, f"{where}: the entry closed its pipe and went on running"
            )
        except LogFlood:
            return _log_flooded(where)
        return _ended(ending, where)


def _is_banner(line: bytes, key: str) -> bool:
    try:
        return key not in decode_line(line)
    except BadFrame:
        return not (line.lstrip().startswith(b"{") and f'"{key}"'.encode() in line)


def _ended(ending: Exit, where: str) -> RunEnded:
    """The status for an entry that exited when it should not have, or not with 0."""
    if ending.is_out_of_memory:
        return RunEnded(Status.OUT_OF_MEMORY, f"{where}: the memory limit ended the entry")
    if ending.code == EXIT_OUT_OF_GPU_MEMORY:
        return RunEnded(Status.OUT_OF_GPU_MEMORY, f"{where}: the entry exited with code 77")
    if ending.code == 0:
        return RunEnded(Status.MISSING_ANSWER, f"{where}: the entry exited with code 0 instead")
    if ending.code is None:
        return RunEnded(Status.CRASHED, f"{where}: the entry had to be killed")
    how = f"signal {-ending.code}" if ending.code < 0 else f"exit code {ending.code}"
    return RunEnded(Status.CRASHED, f"{where}: the entry ended with {how}")


def _flooded(where: str) -> RunEnded:
    return RunEnded(
        Status.BAD_FRAME, f"{where}: more bytes on standard output than a frame may have here"
    )


def _log_flooded(where: str) -> RunEnded:
    return RunEnded(Status.LOG_FLOOD, f"{where}: the log passed its limit")
