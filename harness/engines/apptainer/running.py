"""One entry under Apptainer: a supervised program whose container is a tree of its own processes.

Apptainer has no daemon: its starter is our child, the first process of the container's pid
namespace the starter's, and the entry that one's. Whoever of them is killed, the rest goes with the
namespace; the supervisor kills all.

Traps:
- Exit codes are the container's: 128 + n where the program was ended by signal n.
- Apptainer ends with 255 when it cannot start the program, and an entry may end so, too, and print
  what Apptainer would have. So its words are never read: whether the engine is at fault is tried
  again with a program of the harness's own (`start_fault`), asked where no byte of output came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.common.statuses import RunEnded
from harness.engines.base import EngineFacts, Exit, Launch
from harness.engines.full_folders import FolderGauge
from harness.engines.memory_events import MemoryEvents, events_of, group_folders
from harness.engines.supervised import SupervisedRunning, peak_resident_bytes

CANNOT_START = 255
_SIGNALS = 64


class ApptainerRunning(SupervisedRunning):
    """One container.

    Args:
        launch, command, variables, folder, cpus, paths: as for `SupervisedRunning`.
        has_memory_limit: whether the kernel holds it to `memory_mib`.
        start_fault: looks whether Apptainer can start anything; what ended the run if it cannot.
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
        has_memory_limit: bool,
        start_fault: Callable[[], RunEnded | None],
    ) -> None:
        self._has_spoken = False
        self._process: int | None = None
        self._group: Path | None = None
        self._events: MemoryEvents | None = None
        self._folders: FolderGauge | None = None
        self._full: tuple[str, ...] = ()
        super().__init__(
            launch, command=command, variables=variables, folder=folder, cpus=cpus, paths=paths
        )
        self._has_memory_limit = has_memory_limit
        self._start_fault = start_fault

    def receive_line(self, max_bytes: int, deadline: float) -> bytes:
        line = super().receive_line(max_bytes, deadline)
        self._has_spoken = True
        self._look()
        return line

    def _look(self) -> None:
        """Find the container's gauges once it is there, and read them."""
        if self._exit is None and self._process is None:
            self._process = self._find_main()
        if self._process is not None and self._folders is None and self._exit is None:
            self._folders = FolderGauge(self._process)
            own = set(group_folders("self"))
            groups = (each for each in group_folders(self._process) if each not in own)
            self._group = next((each for each in groups if events_of(each)), None)
        if self._group is not None and (events := events_of(self._group)):
            self._events = events
        if self._folders is not None:
            self._folders.sample()
            self._full = self._folders.full

    def _find_main(self) -> int | None:
        """The container's program: the child of the first process of its pid namespace."""
        starter = self._starter()
        return None if starter is None else main_of_container(starter)

    @property
    def main_process(self) -> int | None:
        if self._exit is not None:
            return None
        self._look()
        return self._process

    def _end_input(self) -> None:
        self._look()  # the container's last moments
        super()._end_input()

    def _exit_with(self, code: int, deadline: float) -> Exit:
        ended = super()._exit_with(code, deadline)
        return ended if ended.code is None else replace(ended, code=_signed(ended.code))

    def facts(self) -> EngineFacts:
        self._look()
        seen = super().facts()
        if seen.exit_code == CANNOT_START and not self._has_spoken and (end := self._start_fault()):
            raise end
        kills = self._events.kills if self._events else 0
        return replace(
            seen,
            memory_kills=max(kills, seen.memory_kills or 0),
            met_memory_limit=self._events.limit_hits > 0 if self._events and kills else None,
            has_memory_limit=self._has_memory_limit,
            full_folders=self._full,
        )

    def _give_back(self) -> None:
        if self._folders is not None:
            self._folders.close()
            self._full, self._folders, self._process = self._folders.full, None, None
        super()._give_back()

    @property
    def peak_memory_bytes(self) -> int | None:
        process = self.main_process
        return super().peak_memory_bytes if process is None else peak_resident_bytes(process)


def main_of_container(starter: int, proc: Path = Path("/proc")) -> int | None:
    """The program that a starter runs in a pid namespace; None where it is not there yet.

    Args:
        starter: number of Apptainer's own process.
        proc: where the kernel tells of processes.
    """
    below: dict[int, list[int]] = {}
    depth: dict[int, list[int]] = {}
    for folder in proc.iterdir():
        if folder.name.isdigit() and (told := _parent_and_numbers(folder)):
            parent, numbers = told
            below.setdefault(parent, []).append(int(folder.name))
            depth[int(folder.name)] = numbers
    rest = [starter]
    while rest:
        process = rest.pop()
        if process != starter and len(depth[process]) > len(depth.get(starter, [0])):
            first = depth[process][-1] == 1
            return min(below.get(process, []), default=None) if first else process
        rest += below.get(process, [])
    return None


def _parent_and_numbers(folder: Path) -> tuple[int, list[int]] | None:
    """Parent of a process, and its numbers in each pid namespace from ours inwards."""
    try:
        lines = (folder / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # it ended while we looked
        return None
    told = dict(line.partition(":")[::2] for line in lines)
    if "PPid" not in told or "NSpid" not in told:
        return None
    return int(told["PPid"]), [int(number) for number in told["NSpid"].split()]


def _signed(code: int) -> int:
    """128 + n, the container's way to say `ended by signal n`, as -n."""
    return 128 - code if 128 < code <= 128 + _SIGNALS else code
