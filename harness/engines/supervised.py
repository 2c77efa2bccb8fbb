"""A program of this machine's own as an entry: its pipe, its CPUs, and its certain end.

A supervisor (supervisor.py) stands between the harness and the program: what the program starts is
found and ended with it, children that called setsid included.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.common.removal import remove_tree_if_possible
from harness.common.statuses import RunEnded, Status
from harness.engines.base import DeadlinePassed, EngineFacts, Exit, Launch
from harness.engines.environment import give_cpus
from harness.engines.memory_events import OwnMemory
from harness.engines.pump import PipeRunning, Pipes

KILL_SECONDS = 10.0  # from KILL to the supervisor's word that nothing is left


class SupervisedRunning(PipeRunning):
    """A command and all that it starts, under a supervisor.

    Args:
        launch: what is started, and its limits.
        command: the argument vector.
        variables: its whole environment.
        folder: where it is started; its own, and removed in the end.
        cpus: what `take_cpus` gave; given back in the end.
        paths: see `Running.paths`.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        command: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        cpus: tuple[int, ...],
        paths: Mapping[str, str],
    ) -> None:
        self._limits = launch.limits
        self._folder = folder
        self._cpus = cpus
        self._exit: Exit | None = None
        self._is_killed = False
        self._peak_memory_bytes: int | None = None
        self._reports = b""
        self._memory = OwnMemory()
        pipes = self._start(command, variables)
        super().__init__(pipes.ours, launch.limits.log_bytes, paths)

    def _start(self, command: Sequence[str], variables: Mapping[str, str]) -> Pipes:
        """Start the supervisor, which starts the command."""
        here, there = socket.socketpair()
        cpus = ",".join(map(str, self._cpus))
        supervisor = [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py"))]
        pipes = Pipes.open()
        try:
            self._supervisor = subprocess.Popen(
                [*supervisor, str(there.fileno()), cpus, *command],
                stdin=pipes.theirs[0],
                stdout=pipes.theirs[1],
                stderr=pipes.theirs[2],
                pass_fds=(there.fileno(),),
                env=variables,
                cwd=self._folder,
                start_new_session=True,
            )
        except OSError as error:
            pipes.close()
            here.close()
            self._give_back()
            raise RunEnded(Status.HOST_ERROR, f"cannot start a process: {error}") from error
        finally:
            there.close()
        pipes.close_theirs()
        self._control = here
        return pipes

    def wait(self, deadline: float) -> Exit:
        if self._exit is None:
            code = self._read_exit_code(deadline)
            self._exit = self._exit_with(code, max(deadline, time.monotonic() + 1.0))
        self._inbox.check_log()
        return self._exit

    def _exit_with(self, code: int, deadline: float) -> Exit:
        """How the entry has ended, once its outputs are read, or the deadline for that has passed."""
        self._supervisor.wait()
        self._finish_draining(deadline)
        return Exit(None if self._is_killed else code)

    def _read_exit_code(self, deadline: float) -> int:
        """The supervisor's last line: exit code of the entry, and peak memory."""
        if not self._read_reports(2, deadline):
            return self._supervisor.wait() or 1
        code, peak_kib = self._reports.split(b"\n")[1].split()
        self._peak_memory_bytes = int(peak_kib) * 1024
        return int(code)

    def _read_reports(self, lines: int, deadline: float) -> bool:
        """Wait for so many lines of the supervisor; False: something killed it, the entry or the system.

        Raises:
            DeadlinePassed: they did not come in time.
        """
        while self._reports.count(b"\n") < lines:
            self._control.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._control.recv(256)
            except TimeoutError:
                raise DeadlinePassed("the program did not end in time") from None
            except ConnectionResetError:
                data = b""
            if not data:
                return False
            self._reports += data
        return True

    def stop(self) -> Exit:
        if self._is_released and self._exit is not None:
            return self._exit
        self.close_input()
        try:
            for order, seconds in ((b"T", self._limits.stop_seconds), (b"K", KILL_SECONDS)):
                if self._exit is None:
                    self._order(order, seconds)
        finally:  # also when Ctrl-C comes a second time
            self._control.close()  # the supervisor takes this for a KILL
            self._release()
            self._give_back()
        if self._exit is None:
            self._supervisor.kill()
            self._supervisor.wait()
            self._exit = Exit(None)
        return self._exit

    def _order(self, order: bytes, seconds: float) -> None:
        """Send an order to the supervisor and wait for the entry's end."""
        try:
            self._control.sendall(order)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has ended; its last words can still be read
        else:
            self._is_killed = order == b"K"
        with contextlib.suppress(DeadlinePassed):
            code = self._read_exit_code(time.monotonic() + seconds)
            self._exit = self._exit_with(code, time.monotonic() + 1.0)

    def _give_back(self) -> None:
        give_cpus(self._cpus)
        self._cpus = ()
        remove_tree_if_possible(self._folder)

    def _starter(self) -> int | None:
        """Number of the command's own process, once the supervisor has told it."""
        with contextlib.suppress(DeadlinePassed):
            if b"\n" not in self._reports:
                self._read_reports(1, time.monotonic())
        return int(self._reports.split(b"\n")[0]) if b"\n" in self._reports else None

    @property
    def peak_memory_bytes(self) -> int | None:
        if self._peak_memory_bytes is None and b"\n" in self._reports:
            return peak_resident_bytes(int(self._reports.split(b"\n")[0]))
        return self._peak_memory_bytes

    def facts(self) -> EngineFacts:
        code = self._exit.code if self._exit else None
        return EngineFacts(
            memory_kills=self._memory.kills(is_killed=code == -signal.SIGKILL),
            has_memory_limit=False,
            exit_code=code,
        )

    def owns(self, process: int) -> bool:
        if self._exit is not None:  # the supervisor's number may be another's by now
            return False
        while process not in (0, self._supervisor.pid):
            process = _parent(process)  # orphans are the supervisor's children too
        return process == self._supervisor.pid


def _parent(process: int) -> int:
    """Parent of a living process; 0 where there is none, or the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def peak_resident_bytes(process: int) -> int | None:
    """Largest resident size of a living process (VmHWM), where the system tells it."""
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
