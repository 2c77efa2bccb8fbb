"""The `process` engine: the same contract over a subprocess, with no isolation whatsoever.

For development and for machines without a container engine. It enforces time and bytes
only: an entry can read and write whatever its user can. What it starts is ended for certain
all the same, children that called setsid included (see supervisor.py).

Trap: Python imports byte code that lies beside a source without a look at that source, so what
runs is a fresh copy of the files that count in the entry's identity, made once for all sessions.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from harness.common.errors import EngineUnavailable, EntryInvalid
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.paths import REPOSITORY
from harness.common.removal import remove_tree_if_possible
from harness.common.source_files import copy_source
from harness.common.statuses import RunEnded, Status
from harness.engines.base import (
    DeadlinePassed,
    Engine,
    EngineFacts,
    Exit,
    Launch,
    Program,
)
from harness.engines.environment import entry_environment, give_cpus, take_cpus
from harness.engines.gpu import nvidia
from harness.engines.memory_events import OwnMemory
from harness.engines.pump import PipeRunning, Pipes
from harness.records.isolation import IsolationLevel, MeasuredIsolation

HOME_PREFIX = "bmad-entry-"
FULL_BYTES = 1024**2  # less than this is no room on a disk
KILL_SECONDS = 10.0  # from KILL to the supervisor's word that nothing is left


class ProcessEngine(Engine):
    """Starts a baseline folder with this environment's own interpreter.

    The copy that it runs is removed with this object.
    """

    name = "process"
    at_most: IsolationLevel = "none"

    def check(self) -> None:
        if os.name != "posix":
            raise EngineUnavailable(
                "the process engine needs process groups, which this system has not",
                fix="run the harness on Linux or macOS, or use --engine docker",
            )

    def describe(self) -> str:
        version = ".".join(map(str, sys.version_info[:3]))
        return f"process (Python {version}, not isolated)"

    def prepare_folder(self, folder: Path, name: str, identity: str) -> Program:
        """The program of a copy of the folder's listed files, which lives as long as this process."""
        place = Path(tempfile.mkdtemp(prefix=f"{HOME_PREFIX}{owner_mark()}-"))
        copied = place / folder.resolve().name
        command = (sys.executable, "-m", "harness.contract", str(copied))
        atexit.register(remove_tree_if_possible, place)
        copy_source(folder.resolve(), copied)
        return Program(name=name, identity=identity, command=command)

    def prepare_image(self, reference: str, name: str) -> Program:
        self._refuse("an image", reference)

    def prepare_archive(self, archive: Path, name: str) -> Program:
        self._refuse("an image archive", str(archive))

    def _refuse(self, what: str, where: str) -> NoReturn:
        raise EntryInvalid(
            f"the process engine cannot run {what}",
            where=where,
            fix="use --engine docker; only a baseline folder runs as a process",
        )

    def start(self, launch: Launch) -> ProcessRunning:
        return ProcessRunning(launch, self._environment(launch))

    def start_source(self, launch: Launch, source: str) -> ProcessRunning:
        program = replace(launch.program, command=(sys.executable, "-I", "-S", "-c", source))
        return self.start(replace(launch, program=program, train=None, model=None, weights=None))

    def measure(self, launch: Launch) -> MeasuredIsolation:
        """Nothing holds, wherever the harness itself runs: the entry is a process beside it."""
        return MeasuredIsolation()

    def plan(self, launch: Launch) -> str:
        home = f"{tempfile.gettempdir()}/{HOME_PREFIX}NEW"
        variables = entry_variables(launch, self._environment(launch), home)
        settings = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
        call = shlex.join([*launch.program.command, launch.verb])
        return " ".join(["cd", home, "&&", "env", "-i", *settings, call])

    def remove_leftovers(self) -> int:
        swept = 0
        for folder in Path(tempfile.gettempdir()).glob(HOME_PREFIX + "*"):
            mark = folder.name.removeprefix(HOME_PREFIX).rpartition("-")[0]
            if is_owner_gone(mark):
                swept += remove_tree_if_possible(folder)  # another user's is not ours to remove
        return swept

    def _environment(self, launch: Launch) -> dict[str, str]:
        """What this engine adds to the common list: the device, and where Python finds us."""
        gpu = "" if launch.device == "cpu" else nvidia.find(launch.device).uuid
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY),
            "CUDA_VISIBLE_DEVICES": gpu,  # so that the one GPU is always cuda:0
        }


def entry_variables(launch: Launch, extra: dict[str, str], home: str) -> dict[str, str]:
    """The whole environment of a process entry."""
    return {**entry_environment(launch.limits.threads, home), **extra}


class ProcessRunning(PipeRunning):
    """One entry as a subprocess under its supervisor."""

    def __init__(self, launch: Launch, extra: dict[str, str]) -> None:
        self._limits = launch.limits
        self._home = tempfile.mkdtemp(prefix=f"{HOME_PREFIX}{owner_mark()}-")
        self._cpus = take_cpus(launch.limits.threads)
        self._exit: Exit | None = None
        self._is_killed = False
        self._peak_memory_bytes: int | None = None
        self._reports = b""
        self._memory = OwnMemory()
        self._full: tuple[str, ...] = ()
        variables = entry_variables(launch, extra, self._home)
        pipes = self._start([*launch.program.command, launch.verb], variables)
        paths = {name: str(path) for name, path in launch.folders().items()}
        super().__init__(pipes.ours, launch.limits.log_bytes, paths)

    def _start(self, command: list[str], variables: dict[str, str]) -> Pipes:
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
                cwd=self._home,
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
        while self._reports.count(b"\n") < 2:
            self._control.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._control.recv(256)
            except TimeoutError:
                raise DeadlinePassed("the program did not end in time") from None
            except ConnectionResetError:
                data = b""
            if not data:  # something killed the supervisor: the entry itself, or the system
                return self._supervisor.wait() or 1
            self._reports += data
        code, peak_kib = self._reports.split(b"\n")[1].split()
        self._peak_memory_bytes = int(peak_kib) * 1024
        return int(code)

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
        remove_tree_if_possible(Path(self._home))

    @property
    def peak_memory_bytes(self) -> int | None:
        if self._peak_memory_bytes is None and b"\n" in self._reports:
            return _peak_resident_bytes(int(self._reports.split(b"\n")[0]))
        return self._peak_memory_bytes

    def facts(self) -> EngineFacts:
        code = self._exit.code if self._exit else None
        for name, place in (("/dev/shm", "/dev/shm"), ("/tmp", self._home)):  # noqa: S108 - names
            if name not in self._full and _is_full(place):
                self._full = (*self._full, name)
        return EngineFacts(
            memory_kills=self._memory.kills(is_killed=code == -signal.SIGKILL),
            has_memory_limit=False,
            full_folders=self._full,
            exit_code=code,
        )

    def owns(self, process: int) -> bool:
        if self._exit is not None:  # the supervisor's number may be another's by now
            return False
        while process not in (0, self._supervisor.pid):
            process = _parent(process)  # orphans are the supervisor's children too
        return process == self._supervisor.pid


def _is_full(place: str) -> bool:
    """Whether the file system of a folder has no room; False where there is no such folder."""
    try:
        return shutil.disk_usage(place).free < FULL_BYTES
    except OSError:
        return False


def _parent(process: int) -> int:
    """Parent of a living process; 0 where there is none, or the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _peak_resident_bytes(process: int) -> int | None:
    """Largest resident size of a living process (VmHWM), where the system tells it."""
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
