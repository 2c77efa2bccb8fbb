"""What stood between an entry and the machine: as measured, and the level that follows from it.

The engine's name says nothing of it: a Docker whose host bounds no memory holds less than its
options ask for, and an Apptainer on a cluster that delegates control groups holds all of them.
`harness.engines.measuring` measures; here is what the record says, and the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from harness.common.disclosure import Artefact, Visibility, may_leave
from harness.records.parts import Part

IsolationLevel = Literal["container", "same user", "none"]
BOUNDS = ("memory", "pids", "tmp", "shm")
"""What is bounded in a container, by the names that `unbounded` uses."""
_NEEDED = {
    "network_off": "its network is not off",
    "own_pids": "no pid namespace of its own",
    "own_ipc": "no ipc namespace of its own",
    "root_read_only": "its root can be written",
    "no_capabilities": "it has capabilities, or can get some",
}
"""Without one of these nothing stands between an entry and the machine; in words, what is missing."""
_NO_SECCOMP = "no filter of system calls"


class MeasuredIsolation(Part):
    """What was seen to hold where an entry runs; None: it could not be seen, and does not count."""

    network_off: bool | None = None
    """It has a network of its own, which leads nowhere."""
    own_pids: bool | None = None
    """It sees no processes but its own (a pid namespace of its own)."""
    own_ipc: bool | None = None
    """It shares no memory and no queues with anybody (an ipc namespace of its own)."""
    root_read_only: bool | None = None
    """Its root file system cannot be written."""
    no_capabilities: bool | None = None
    """It has no capability, and no file gives it any (no_new_privs)."""
    seccomp: bool | None = None
    """A filter stands before its system calls."""
    other_user: bool | None = None
    """To the machine it is another user than the harness. Decides no level: under Docker, an
    ordinary caller's entry has his number too, and reaches nothing of his."""
    memory_bounded: bool | None = None
    """The kernel holds all its processes together to the memory asked for, swap included."""
    pids_bounded: bool | None = None
    """The kernel holds it to the number of processes asked for."""
    tmp_bounded: bool | None = None
    """A file system of its own is mounted on /tmp, no larger than asked for."""
    tmp_mib: int | None = None
    """Size of the file system that /tmp is on, as it is told in the hello frame."""
    shm_bounded: bool | None = None
    """Likewise on /dev/shm; False where it could not be seen. None where an older harness wrote the
    record, which did not look at it: there it decides nothing."""
    unbounded: tuple[str, ...] = ()
    """What of `memory`, `pids`, `tmp`, `shm` is not known to be bounded; follows from the fields above."""

    @model_validator(mode="before")
    @classmethod
    def _name_unbounded(cls, told: Any) -> Any:
        if isinstance(told, Mapping) and "unbounded" not in told:
            return {**told, "unbounded": _unbounded(told)}
        return told

    @model_validator(mode="after")
    def _unbounded_follows(self) -> Self:
        if self.unbounded != _unbounded(self.__dict__):
            raise ValueError(f"unbounded is {self.unbounded}, which the bounds do not say")
        return self


def _unbounded(told: Mapping[str, Any]) -> tuple[str, ...]:
    was_looked_at = {"shm": told.get("shm_bounded") is not None}
    return tuple(
        name
        for name in BOUNDS
        if was_looked_at.get(name, True) and told.get(f"{name}_bounded") is not True
    )


def isolation_level(measured: MeasuredIsolation) -> IsolationLevel:
    """What a row says, and what ranks are decided by.

    `container`: everything holds. `same user`: no network, namespaces of its own, a read-only
    root and no capability, but a bound or the filter of system calls is missing. `none`: all else;
    what could not be seen does not hold.
    """
    if not all(getattr(measured, name) for name in _NEEDED):
        return "none"
    return "container" if measured.seccomp and not measured.unbounded else "same user"


def engine_of(engine: str, isolation: IsolationLevel, measured: MeasuredIsolation | None) -> str:
    """Name of the engine that a record was made by: a part of its run key.

    Args:
        engine, isolation, measured: as `MachinePart` has them. Where nothing was measured, an older
            harness wrote the record, which knew two engines, and Podman as one of them.
    """
    if measured is None:
        return "process" if isolation == "none" else "docker"
    return engine.partition(" ")[0]


def lacks(measured: MeasuredIsolation) -> tuple[str, ...]:
    """In words, what does not hold; empty for a `container`."""
    told = [words for name, words in _NEEDED.items() if not getattr(measured, name)]
    told += [] if measured.seccomp else [_NO_SECCOMP]
    *most, last = measured.unbounded or ("",)
    bounds = f"{', '.join(most)} and {last}" if most else last
    return (*told, f"{bounds} not bounded") if bounds else tuple(told)


def forbidden(isolation: IsolationLevel, visibility: Visibility, *, is_foreign: bool) -> str | None:
    """Why a run may not happen so, and no record of it counts; None where it may.

    Args:
        isolation: what stands between the entry and the machine.
        visibility: of the pack.
        is_foreign: what runs arrived as an image.
    """
    if isolation == "none" and (is_foreign or not may_leave(Artefact.UNISOLATED_RUN, visibility)):
        return "a stranger's image or a hidden pack is always isolated"
    if isolation == "same user" and not may_leave(Artefact.SAME_USER_RUN, visibility):
        return "a hidden pack's images are given to programs in a container alone, not as the same user"
    return None
