"""Podman 5, rootless or root's: the docker engine's containers, and what Podman does otherwise.

The create call is the docker engine's (`docker/options.py`), through Podman's Docker-compatible API.
What of it a rootless Podman 5.4 does not do, and what is done about it:

| option | rootless Podman | so |
|---|---|---|
| Memory, MemorySwap, PidsLimit, CpusetCpus | held where control groups (version 2) are delegated to the user; else dropped, or refused at the start | asked for where the controller is there; else the run is unbounded, and measured and recorded so; CPUs are set on the processes |
| Ulimits | dropped in silence | said in the service's own settings (`service.py`) |
| ReadonlyRootfs | /run and /var/tmp become writable, without a bound; under version 1 of control groups their folder, too | they are mounted empty and read-only |
| User | every id but root's is another's on the machine, who may not write /model | root of a user namespace, which is the caller; without a capability |
| UsernsMode | a user's setting could choose another mapping | `host`: the one above |
| DeviceRequests | read where the driver is `cdi` alone | `nvidia.com/gpu=UUID`, by the machine's CDI description |
| StopTimeout | a removal asks first, and waits 10 s, unless told otherwise | 0, under Docker too |
| StdinOnce, Attach… | not told back; half-close ends the input all the same | nothing |
| NetworkDisabled | not known | NetworkMode `none` says it |
| Healthcheck, StopSignal, Init, IpcMode, CapDrop, SecurityOpt, ShmSize, Tmpfs, Mounts, LogConfig | held | nothing |

`tests/engines/podman/test_options.py` holds it, by `podman inspect` and by what a container sees.

Traps:
- As root of its namespace, an entry owns /dev, a file system of 64 MiB without devices to make: it
  may write there too.
- Without a control group of its own, a container is known by its mounts and its pid namespace.
"""

from __future__ import annotations

import os
import re
import shutil
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.common.errors import EngineUnavailable
from harness.engines.docker.connecting import Client, connect
from harness.engines.docker.container import ENGINE_FAULTS
from harness.engines.docker.engine import DockerEngine
from harness.engines.docker.options import Place
from harness.engines.podman.service import PodmanService, remove_left_folders
from harness.records.isolation import IsolationLevel

FIRST_MAJOR = 5
_LIBPOD_INFO = "/v5.0.0/libpod/info"  # Docker's own question has no word for what is delegated
_CONTROLLERS = {"memory": "memory", "pids": "pids", "cpuset": "cpus"}
_WRITABLE_UNASKED = ("/run", "/var/tmp")  # noqa: S108 - names in a container
_GROUPS = ("/sys/fs/cgroup",)  # under version 1, a file system of root's, who the entry is
# Where Podman looks for its `--init` (containers.conf(5), helper_binaries_dir), beside PATH.
_HELPERS = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")  # fmt: skip


class PodmanEngine(DockerEngine):
    """Starts entries in Podman's containers."""

    name = "podman"
    at_most: IsolationLevel = "container"
    _gpu_command = (
        "nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml"
    )

    def _connect(self) -> Client:
        """To the service that CONTAINER_HOST names, or to one of our own."""
        if given := os.environ.get("CONTAINER_HOST"):
            fix = "start it (podman system service), or unset CONTAINER_HOST: one is started then"
            return connect([given], where="CONTAINER_HOST", fix=fix)
        if shutil.which("podman") is None:
            raise EngineUnavailable(
                "Podman is not installed",
                fix=f"install Podman {FIRST_MAJOR} or newer, with catatonit",
            )
        service = PodmanService()
        client = connect([service.address], where="podman system service", fix="see `podman info`")
        # Not with this object: a container that was started holds the client, and needs the service.
        weakref.finalize(client, service.stop)
        return client

    @cached_property
    def _host(self) -> dict[str, Any]:
        """What Podman says of this machine, and of what this user may do on it."""
        answer = self.client.get(self.client.base_url + _LIBPOD_INFO, timeout=self.client.timeout)
        answer.raise_for_status()
        host: dict[str, Any] = answer.json()["host"]
        return host

    def check(self) -> None:
        try:
            version = str(self._version["Version"])
            is_podman = self._is_podman
            major = int(re.match(r"\d*", version)[0] or 0)  # type: ignore[index]  # it always matches
            if is_podman and major >= FIRST_MAJOR:
                self._host  # noqa: B018 - asked for now, so that a run does not fail on it
        except ENGINE_FAULTS as error:
            raise EngineUnavailable(
                f"Podman does not answer: {error}", fix="see whether `podman info` answers"
            ) from error
        if not is_podman:
            raise EngineUnavailable(
                "what answers is not Podman", where="CONTAINER_HOST", fix="use --engine docker"
            )
        if major < FIRST_MAJOR:
            raise EngineUnavailable(
                f"Podman is {version}: before {FIRST_MAJOR}, its API drops options in silence",
                where="podman version",
                fix=f"install Podman {FIRST_MAJOR} or newer",
            )
        if not _has_init():
            raise EngineUnavailable(
                "Podman has no init to start containers with",
                where=", ".join(_HELPERS),
                fix="install catatonit",
            )

    @property
    def _is_rootless(self) -> bool:
        return bool(self._host["security"]["rootless"])

    def _user(self) -> str:
        return "0:0" if self._is_rootless else super()._user()

    def _place(self, cpus: tuple[int, ...], gpu: str | None) -> Place:
        controllers = self._host.get("cgroupControllers") or []
        return Place(
            user=self._user(),
            cpus=cpus,
            gpu=gpu,
            userns="host",
            unbounded=frozenset(
                what for name, what in _CONTROLLERS.items() if name not in controllers
            ),
            closed=_WRITABLE_UNASKED + (_GROUPS if self._host.get("cgroupVersion") == "v1" else ()),
            gpu_driver="cdi",
        )

    def remove_leftovers(self) -> int:
        return super().remove_leftovers() + remove_left_folders()


def _has_init() -> bool:
    """Whether there is a program that stands before an entry: it reaps, and hands on TERM."""
    places = [Path(folder, "catatonit") for folder in _HELPERS]
    return shutil.which("catatonit") is not None or any(map(Path.is_file, places))
