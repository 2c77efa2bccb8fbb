"""The pipe between the harness and one program: what has arrived, what is sent, and the bounds.

Traps:
- A program may write while it is being written to. Its outputs are therefore drained by a
  thread of their own to their very end, whatever the caller does; past a bound the bytes are
  counted and dropped, never left in the pipe, where they would block the program or its engine.
- `send` waits on two things at once: room in the program's input, and an alarm that the
  draining thread raises on a flood or at the end of the output. The alarm is a pipe whose
  write end is closed: readable for ever after, so it can be neither missed nor eaten.
- A waiting session is woken once, when all that it waits for is there: every wake-up more is a
  change of threads, and a container's stream comes in pieces of 32 KiB.
- Descriptors are closed only after the draining thread has ended: a number that is closed
  under a waiting thread may belong to another file by the time it reads.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from harness.engines.base import (
    DeadlinePassed,
    LogFlood,
    OutputFlood,
    PipeClosed,
    Running,
)

READ_BYTES = 1 << 20  # one read; a pipe holds at most this much for an ordinary user
FIRST_OUTPUT_BYTES = 1 << 18  # a 64 KiB banner and the first frame, until expect_output is called


class Alarm:
    """A one-way flag that a `poll` can wait for."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        self._lock = threading.Lock()
        self._is_raised = False

    def raise_it(self) -> None:
        """Make `fd` ready for reading, for ever; may be called from any thread and twice."""
        with self._lock:
            if not self._is_raised:
                self._is_raised = True
                os.close(self._write_fd)

    def close(self) -> None:
        """Give the descriptors back; nobody may wait on `fd` any more."""
        self.raise_it()
        os.close(self.fd)


class Inbox:
    """What a program has written and nobody has taken yet; filled by one draining thread."""

    def __init__(self, log_bytes: int) -> None:
        self.alarm = Alarm()
        self._changed = threading.Condition()
        self._output = bytearray()
        self._target = bytearray()  # what `take` waits for; arrives here without a detour
        self._filled = 0
        self._missing = 0  # bytes without which waking the session is of no use
        self._output_limit = FIRST_OUTPUT_BYTES
        self._has_output_flood = False
        self._has_output_ended = False
        self._log = bytearray()
        self._log_limit = log_bytes
        self._has_log_flood = False
        self._interruption: Exception | None = None
        self._last_arrival = time.monotonic()

    # The draining thread's side.

    def room(self) -> memoryview:
        """Where bytes of standard output are best read to; empty where none are waited for."""
        with self._changed:
            allowed = max(0, self._output_limit - self._waiting_bytes)
            return memoryview(self._target)[self._filled :][:allowed]

    def fill(self, count: int) -> None:
        """So many bytes of standard output were read to `room()`."""
        with self._changed:
            self._filled += count
            self._note_arrival(count)

    def add_output(self, data: bytes | memoryview) -> None:
        """Keep bytes of standard output, or drop them where they pass the bound."""
        with self._changed:
            room = self._output_limit - self._waiting_bytes
            self._has_output_flood |= len(data) > room
            self._keep(data[: max(0, room)])
            self._note_arrival(len(data))
        if self._has_output_flood:
            self.alarm.raise_it()

    def _keep(self, data: bytes | memoryview) -> None:
        gap = len(self._target) - self._filled
        if gap:
            part = data[:gap]
            self._target[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            data = data[gap:]
        self._output += data

    def _note_arrival(self, count: int) -> None:
        self._last_arrival = time.monotonic()
        self._missing -= count
        if self._missing <= 0 or self._has_output_flood:
            self._changed.notify_all()

    def add_log(self, data: bytes | memoryview) -> None:
        """Keep bytes of standard error up to the log's bound and drop the rest."""
        with self._changed:
            room = self._log_limit - len(self._log)
            self._log += data[: max(0, room)]
            self._has_log_flood |= len(data) > room
            if self._has_log_flood:
                self._changed.notify_all()
        if self._has_log_flood:
            self.alarm.raise_it()

    def end_output(self) -> None:
        """The program will write nothing more to standard output."""
        with self._changed:
            self._has_output_ended = True
            self._changed.notify_all()
        self.alarm.raise_it()

    # The session's side.

    def check(self) -> None:
        """Raise what the alarm means: a flood, or the end of the output."""
        with self._changed:
            self._check_floods()
            if self._has_output_ended:
                raise PipeClosed("the program closed its standard output")

    def interrupt(self, error: Exception) -> None:
        """Let every waiting and later call of the session raise this error."""
        with self._changed:
            self._interruption = error
            self._changed.notify_all()
        self.alarm.raise_it()

    def check_log(self) -> None:
        """Raise `LogFlood` when the log has passed its bound, or what interrupted the run."""
        if self._interruption is not None:
            raise self._interruption
        if self._has_log_flood:
            raise LogFlood(f"more than {self._log_limit} bytes on standard error")

    def _check_floods(self) -> None:
        self.check_log()
        if self._has_output_flood:
            raise OutputFlood(f"more than {self._output_limit} unread bytes on standard output")

    def take_line(self, max_bytes: int, deadline: float) -> bytes:
        """Bytes up to and with the next newline; see `Running.receive_line`."""
        searched = 0
        with self._changed:
            while True:
                self.check_log()
                found = self._output.find(b"\n", searched, max_bytes)
                if found >= 0:
                    return bytes(self._take(found + 1))
                if len(self._output) >= max_bytes:
                    raise OutputFlood(f"no end of line within {max_bytes} bytes")
                searched = len(self._output)
                self._wait(deadline, 1)

    def take(self, nbytes: int, deadline: float) -> bytearray:
        """Exactly `nbytes` bytes; see `Running.receive`."""
        with self._changed:
            self.check_log()
            if len(self._output) >= nbytes:
                return self._take(nbytes)
            found = self._take(len(self._output))
            self._target, self._filled = bytearray(nbytes), len(found)
            self._target[: len(found)] = found
            while self._filled < nbytes:
                self._wait(deadline, nbytes - self._filled)
                self.check_log()
            taken, self._target, self._filled = self._target, bytearray(), 0
            return taken

    def _take(self, nbytes: int) -> bytearray:
        if nbytes == len(self._output):  # the usual case: hand over without a copy
            taken, self._output = self._output, bytearray()
            return taken
        taken = self._output[:nbytes]
        del self._output[:nbytes]
        return taken

    def _wait(self, deadline: float, missing: int) -> None:
        """Wait for so many bytes more, after what is there has turned out not to be enough."""
        self._check_floods()
        if self._has_output_ended:
            raise PipeClosed("the program closed its standard output")
        self._missing = missing
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not self._changed.wait(remaining):
            raise DeadlinePassed("the program did not answer in time")

    @property
    def _waiting_bytes(self) -> int:
        return len(self._output) + self._filled

    def pending(self) -> int:
        """Bytes of standard output that wait to be taken."""
        with self._changed:
            return self._waiting_bytes

    def set_output_limit(self, max_bytes: int) -> None:
        """Bound the bytes that may wait from now on; what already waits counts."""
        with self._changed:
            self._output_limit = max_bytes
            self._has_output_flood |= self._waiting_bytes > max_bytes
        if self._has_output_flood:
            self.alarm.raise_it()

    @property
    def last_arrival(self) -> float:
        """`time.monotonic()` of the newest byte of standard output."""
        return self._last_arrival

    @property
    def log(self) -> bytes:
        """Standard error so far, within its bound."""
        with self._changed:
            return bytes(self._log)


def write_all(fd: int, parts: Sequence[bytes | memoryview], inbox: Inbox, deadline: float) -> None:
    """Write to a non-blocking descriptor until all is written, or something ends it.

    Raises:
        DeadlinePassed, PipeClosed, OutputFlood, LogFlood: as in `Running.send`.
    """
    rest = [memoryview(part).cast("B") for part in parts]
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.register(inbox.alarm.fd, select.POLLIN)
    while rest:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlinePassed("the program did not read its input in time")
        ready = dict(poll.poll(remaining * 1000))
        if inbox.alarm.fd in ready:
            inbox.check()
        if fd in ready:
            try:
                rest = _unwritten(rest, os.writev(fd, rest))
            except BlockingIOError:  # less room than the engine's socket wants for one write
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise PipeClosed("the program closed its standard input") from None


def _unwritten(parts: list[memoryview], count: int) -> list[memoryview]:
    """What is left of the parts after so many bytes."""
    for number, part in enumerate(parts):
        if count < len(part):
            return [part[count:], *parts[number + 1 :]]
        count -= len(part)
    return []


def drain_pipes(output_fd: int, log_fd: int, inbox: Inbox, quit_fd: int) -> None:
    """Read both outputs to their end, or until `quit_fd` becomes readable."""
    room = memoryview(
        bytearray(READ_BYTES)
    )  # one for all reads: fresh pages cost more than the copy
    poll = select.poll()
    for fd in (output_fd, log_fd, quit_fd):
        poll.register(fd, select.POLLIN)
    is_open = {output_fd, log_fd}
    while is_open:
        ready = [fd for fd, _ in poll.poll()]
        if quit_fd in ready:
            break
        for fd in ready:
            if fd == output_fd:
                count = _read_output(fd, inbox, room)
            else:
                count = os.readv(fd, [room])
                inbox.add_log(room[:count])
            if not count:
                poll.unregister(fd)
                is_open.remove(fd)
                if fd == output_fd:
                    inbox.end_output()
    inbox.end_output()


def _read_output(fd: int, inbox: Inbox, room: memoryview) -> int:
    """One read: what is waited for straight to its place, the rest by way of `room`."""
    place = inbox.room()
    count = os.readv(fd, [place, room] if place else [room])
    if place and count:
        inbox.fill(min(count, len(place)))
    if count > len(place):
        inbox.add_output(room[: count - len(place)])
    return count


@dataclass(frozen=True)
class Pipes:
    """Both ends of the three pipes of one program."""

    ours: tuple[int, int, int]
    """What the harness holds: write end of input, read ends of output and error."""
    theirs: tuple[int, int, int]
    """What the program gets as descriptors 0, 1 and 2."""

    @classmethod
    def open(cls) -> Self:
        """Six descriptors, none inherited by other programs; the pipes are as large as allowed."""
        pairs = [os.pipe() for _ in range(3)]
        if sys.platform == "linux":
            for _, write_fd in pairs:
                try:
                    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, READ_BYTES)
                except PermissionError:  # this user's share of pipe memory is spent: only slower
                    break
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = pairs
        return cls((in_write, out_read, err_read), (in_read, out_write, err_write))

    def close_theirs(self) -> None:
        """The program has its own copies now."""
        for fd in self.theirs:
            os.close(fd)

    def close(self) -> None:
        """The program could not be started."""
        for fd in (*self.ours, *self.theirs):
            os.close(fd)


class PumpedRunning(Running):
    """The half of `Running` that every engine shares: the pipe, but not the program's end.

    Args:
        input_fd: non-blocking descriptor of the program's standard input.
        inbox: what the engine's draining thread fills.
        paths: see `Running.paths`.
    """

    def __init__(self, input_fd: int, inbox: Inbox, paths: Mapping[str, str]) -> None:
        self.paths = dict(paths)
        self._input_fd = input_fd
        self._is_input_open = True
        self._inbox = inbox

    def send(
        self, data: bytes | memoryview, deadline: float, payload: bytes | memoryview = b""
    ) -> None:
        if not self._is_input_open:
            raise PipeClosed("the program's standard input is closed already")
        write_all(self._input_fd, (data, payload), self._inbox, deadline)

    def close_input(self) -> None:
        if self._is_input_open:
            self._is_input_open = False
            self._end_input()

    @abstractmethod
    def _end_input(self) -> None:
        """Let the program see the end of its input; called at most once."""

    def receive_line(self, max_bytes: int, deadline: float) -> bytes:
        return self._inbox.take_line(max_bytes, deadline)

    def receive(self, nbytes: int, deadline: float) -> bytes | bytearray:
        return self._inbox.take(nbytes, deadline)

    def interrupt(self, error: Exception) -> None:
        self._inbox.interrupt(error)

    def pending(self) -> int:
        return self._inbox.pending()

    def expect_output(self, max_bytes: int) -> None:
        self._inbox.set_output_limit(max_bytes)

    @property
    def last_arrival(self) -> float:
        return self._inbox.last_arrival

    @property
    def log(self) -> bytes:
        return self._inbox.log


class PipeRunning(PumpedRunning):
    """A program behind three ordinary pipes.

    Args:
        pipes: our ends of the program's standard input, output and error.
        log_bytes: bound of the log.
        paths: see `Running.paths`.
    """

    def __init__(
        self, pipes: tuple[int, int, int], log_bytes: int, paths: Mapping[str, str]
    ) -> None:
        input_fd, self._output_fd, self._log_fd = pipes
        os.set_blocking(input_fd, False)
        super().__init__(input_fd, Inbox(log_bytes), paths)
        self._quit = Alarm()
        self._is_released = False
        self._drain = threading.Thread(
            target=drain_pipes,
            args=(self._output_fd, self._log_fd, self._inbox, self._quit.fd),
            name="drain",
            daemon=True,
        )
        self._drain.start()

    def _end_input(self) -> None:
        os.close(self._input_fd)

    def _finish_draining(self, deadline: float) -> bool:
        """Wait until both outputs have been read to their end; False = not by the deadline."""
        self._drain.join(max(0.0, deadline - time.monotonic()))
        return not self._drain.is_alive()

    def _release(self) -> None:
        """End the draining thread and give the descriptors back; safe to call twice."""
        if self._is_released:
            return
        self._is_released = True
        self.close_input()
        self._quit.raise_it()
        self._drain.join()
        os.close(self._output_fd)
        os.close(self._log_fd)
        self._quit.close()
        self._inbox.alarm.close()
