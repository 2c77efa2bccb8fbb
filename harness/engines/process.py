"""The `process` engine: the same contract over a subprocess, with no isolation whatsoever.

For development and for machines without a container engine. It enforces time and bytes
only: an entry can read and write whatever its user can. What it starts is ended for certain
all the same, children that called setsid included (see supervisor.py).

Trap: Python imports byte code that lies beside a source without a look at that source, so what
runs is a fresh copy of the files that count in the entry's identity, made once for all sessions.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from harness.common.errors import EngineUnavailable, EntryInvalid
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.paths import REPOSITORY
from harness.common.removal import remove_tree_if_possible
from harness.common.source_files import copy_source
from harness.engines.base import Engine, EngineFacts, Launch, Program
from harness.engines.environment import entry_environment, take_cpus
from harness.engines.gpu import nvidia
from harness.engines.supervised import SupervisedRunning
from harness.records.isolation import IsolationLevel, MeasuredIsolation

HOME_PREFIX = "bmad-entry-"
FULL_BYTES = 1024**2  # less than this is no room on a disk


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


class ProcessRunning(SupervisedRunning):
    """One entry as a subprocess under its supervisor, in a home of its own."""

    def __init__(self, launch: Launch, extra: dict[str, str]) -> None:
        home = Path(tempfile.mkdtemp(prefix=f"{HOME_PREFIX}{owner_mark()}-"))
        super().__init__(
            launch,
            command=[*launch.program.command, launch.verb],
            variables=entry_variables(launch, extra, str(home)),
            folder=home,
            cpus=take_cpus(launch.limits.threads),
            paths={name: str(path) for name, path in launch.folders().items()},
        )
        self._full: tuple[str, ...] = ()

    def facts(self) -> EngineFacts:
        for name, place in (("/dev/shm", "/dev/shm"), ("/tmp", self._folder)):  # noqa: S108 - names
            if name not in self._full and _is_full(place):
                self._full = (*self._full, name)
        return replace(super().facts(), full_folders=self._full)


def _is_full(place: str | Path) -> bool:
    """Whether the file system of a folder has no room; False where there is no such folder."""
    try:
        return shutil.disk_usage(place).free < FULL_BYTES
    except OSError:
        return False
