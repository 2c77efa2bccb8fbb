"""Who bounds the memory and the processes of an entry on this machine: Apptainer, the scheduler, the kernel, nobody.

Apptainer hands limits to a control group of version 2. An ordinary user may make one only where
systemd runs a manager of his own and gives it the controllers (`Delegate=`; systemd.resource-control
(5)). `systemd-run --user --scope` needs the very same and does no more, so it is not tried besides.
Where there is none of it the job's own limits hold, if a scheduler set some, and processes are counted
in a namespace (`enclosure.py`); whether any of it is as tight as what was asked for is measured
(`harness.engines.measuring`), not believed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bounds:
    """What may be asked of Apptainer here."""

    controllers: frozenset[str]
    """Of `memory` and `pids`: those that are delegated to this user."""
    variables: Mapping[str, str]
    """What Apptainer needs to reach the user's systemd; empty where nothing is delegated."""
    job: str = ""
    """Slurm's job that the harness runs in; empty where it is none."""
    is_enclosed: bool = False
    """Whether a start has a user namespace of its own around it, which bounds processes and
    /dev/shm (`enclosure.py`)."""

    @property
    def words(self) -> str:
        """For people: who bounds memory and processes."""
        if {"memory", "pids"} <= self.controllers:
            return "Apptainer bounds memory and processes (cgroups v2 are delegated to this user)"
        memory = (
            f"memory is bounded by Slurm's job {self.job} alone"
            if self.job
            else "nobody bounds memory here (no cgroups v2 delegated, no Slurm job)"
        )
        if self.is_enclosed:
            return f"{memory}; processes by their number in a user namespace of the start's own"
        return f"{memory}, and nobody bounds processes"


def bounds_of(
    variables: Mapping[str, str] = os.environ, system: Path = Path("/"), user: int | None = None
) -> Bounds:
    """Look at this machine.

    Args:
        variables: the harness's environment.
        system: the root of /sys and /run.
        user: number of the user; this one by default.
    """
    number = os.getuid() if user is None else user
    job = variables.get("SLURM_JOB_ID", "")
    runtime = Path(variables.get("XDG_RUNTIME_DIR") or f"/run/user/{number}")
    bus = variables.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
    place = system / runtime.relative_to("/") if runtime.is_absolute() else runtime
    if not (place / "bus").exists() or not (place / "systemd").is_dir():
        return Bounds(frozenset(), {}, job)
    slice_ = system / f"sys/fs/cgroup/user.slice/user-{number}.slice/user@{number}.service"
    try:
        given = (slice_ / "cgroup.controllers").read_text(encoding="utf-8").split()
    except OSError:  # cgroups v1, or no manager of this user
        return Bounds(frozenset(), {}, job)
    reach = {"XDG_RUNTIME_DIR": str(runtime), "DBUS_SESSION_BUS_ADDRESS": bus}
    delegated = frozenset(given) & {"memory", "pids"}
    return Bounds(delegated, reach if delegated else {}, job)
