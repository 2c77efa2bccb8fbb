"""Which container engine answers, and how an entry is started there and swept up after.

Traps:
- Podman answers on Docker's own socket where a distribution says so: it has an engine of its own
  (`harness/engines/podman`), which knows what it does otherwise, and is refused here.
- A rootless engine maps its root to the caller, and every other user id to one that may not
  write the caller's folders: there the program runs as that root, which is the caller.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound

from harness.common.errors import DeviceUnavailable, EngineUnavailable, EnvironmentFault
from harness.common.owner import is_owner_gone, owner_mark
from harness.common.statuses import Cause, RunEnded, Status
from harness.engines.base import (
    Engine,
    Launch,
    Program,
    image_identity,
    judged_from_outside,
)
from harness.engines.docker import build, images, runc
from harness.engines.docker.connecting import Client, candidate_sockets, connect
from harness.engines.docker.container import (
    ENGINE_FAULTS,
    ContainerRunning,
    engine_lost,
    remove_container,
    start_container,
)
from harness.engines.docker.gauges import seen_when_confined
from harness.engines.docker.loaded import LoadedImages, remove_loaded_images
from harness.engines.docker.options import Place, container_settings, reasons
from harness.engines.environment import give_cpus, take_cpus, usable_cpus
from harness.engines.gpu import nvidia
from harness.engines.oci import vetting
from harness.engines.oci.baselines_base import Base, baselines_base
from harness.engines.probe import Seen
from harness.records.isolation import IsolationLevel, MeasuredIsolation

OWNER_LABEL = "bmad.owner"
NOBODY = 65534  # who runs an entry when the harness is root
_NO_GPU = re.compile(
    r"could not select device driver|nvidia-container|libnvidia|unknown device|no such device|CDI",
    re.IGNORECASE,
)
# An image that holds a file or a link where a folder must be; the engine finds out by failing.
_NO_FOLDER = re.compile(
    r"not a directory|too many (levels of symbolic )?links|file name too long"
    r"|Cwd must be an absolute path|chdir to cwd|current working directory is outside",
    re.IGNORECASE,
)
logger = logging.getLogger("harness.engines")


class DockerEngine(Engine):
    """Starts entries in containers that can do nothing but answer."""

    name = "docker"
    _has_told_of_runc = False
    at_most: IsolationLevel = "container"
    _gpu_command = "nvidia-ctk runtime configure --runtime=docker, then restart Docker"

    @cached_property
    def client(self) -> Client:
        """The engine's API; connected on first use, closed with this object."""
        client = self._connect()
        weakref.finalize(self, client.close)
        return client

    def _connect(self) -> Client:
        return connect(
            candidate_sockets(),
            where="DOCKER_HOST" if os.environ.get("DOCKER_HOST") else "",
            fix="install and start Docker (systemctl start docker) and join its group "
            "(usermod -aG docker $USER), or use --engine process for your own code",
        )

    @cached_property
    def _loaded(self) -> LoadedImages:
        """Images of archives; those that nobody else uses go with this object."""
        loaded = LoadedImages(self.client)
        weakref.finalize(self, loaded.release)
        return loaded

    @cached_property
    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = self.client.info()
        return info

    @cached_property
    def _is_podman(self) -> bool:
        components = self._version.get("Components") or []
        return any("podman" in str(part.get("Name", "")).lower() for part in components)

    @cached_property
    def _version(self) -> dict[str, Any]:
        version: dict[str, Any] = self.client.version()
        return version

    def check(self) -> None:
        try:
            info, is_podman = self._info, self._is_podman
        except ENGINE_FAULTS as error:
            raise EngineUnavailable(
                f"the container engine does not answer: {error}",
                fix="start it again (systemctl restart docker)",
            ) from error
        if is_podman:
            raise EngineUnavailable(
                "what answers on Docker's socket is Podman",
                where="DOCKER_HOST" if os.environ.get("DOCKER_HOST") else "",
                fix="use --engine podman",
            )
        for field in ("MemoryLimit", "SwapLimit", "PidsLimit", "CpuCfsQuota"):
            if info.get(field) is False:
                logger.warning("the container engine does not enforce %s on this machine", field)

    def describe(self) -> str:
        return f"{self.name} {self._version['Version']} (API {self.client.api_version})"

    def prepare_folder(self, folder: Path, name: str, identity: str) -> Program:
        return build.build_folder(self.client, folder, name, identity)

    def folder_identity(self, identity: str) -> str:
        return image_identity(identity, baselines_base().built_on)

    def prepare_image(self, reference: str, name: str) -> Program:
        self._check_runc(is_foreign=True)
        image = images.find_or_pull(self.client, reference)
        return self._program(image, name)

    def prepare_archive(self, archive: Path, name: str) -> Program:
        self._check_runc(is_foreign=True)
        image = images.load_archive(self.client, archive, self._loaded.hold)
        return self._program(image, name)

    def _program(self, image: dict[str, Any], name: str) -> Program:
        return images.program_of(
            image,
            name,
            identity=f"image:{image['Id']}",
            architecture=self._info.get("Architecture", ""),
        )

    @cached_property
    def _runc(self) -> runc.Runc | None:
        return runc.runc_of(self._version, self._info.get("DefaultRuntime") or "")

    def _check_runc(self, *, is_foreign: bool) -> None:
        """Refuse a stranger's image where the engine's runc is known to let it out.

        Raises:
            EnvironmentFault: it is; or BMAD_RUNC=strict is set, and nothing is known of it.
        """
        try:
            found = self._runc
        except ENGINE_FAULTS as error:
            raise engine_lost(error) from error
        if found is None or found.verdict == "safe":
            return
        is_refused = found.verdict == "old" or runc.is_strict()
        if is_foreign and is_refused:
            raise EnvironmentFault(
                f"the container engine's runc is {found.name}: before {runc.SAFE}, a stranger's"
                " image can take over the host (CVE-2024-21626, CVE-2025-31133, CVE-2025-52565,"
                " CVE-2025-52881)",
                where="docker version",
                fix="install a newer runc (Docker's own packages: containerd.io), then restart"
                " the engine",
            )
        if not self._has_told_of_runc:
            self._has_told_of_runc = True
            logger.warning(_RUNC_WARNINGS[found.verdict], found.name, runc.SAFE)

    def check_device(self, device: str, *, is_foreign: bool) -> None:
        if device == "cpu":
            return
        found, safe = vetting.toolkit_version(), vetting.SAFE_TOOLKIT
        wanted = ".".join(map(str, safe))
        if found is None and not is_foreign:
            logger.warning(
                "the version of the NVIDIA container toolkit is unknown: %s or newer is needed",
                wanted,
            )
        elif found is None or found < safe:
            what = "of an unknown version" if found is None else ".".join(map(str, found))
            raise DeviceUnavailable(
                f"the NVIDIA container toolkit is {what}: before {wanted}, an image can take over"
                " the host (CVE-2025-23266)",
                where=f"--device {device}",
                fix=f"install nvidia-container-toolkit {wanted} or newer, or use --device cpu",
            )

    def pin(self, program: Program, reference: str) -> str | None:
        return images.pinned(self.client, program.image, reference)

    def save_archive(self, program: Program, path: Path) -> None:
        images.save(self.client, program.image, path)

    def start(self, launch: Launch) -> ContainerRunning:
        if launch.program.refusal:
            raise RunEnded(Status.INVALID_IMAGE, launch.program.refusal)
        self.check_device(launch.device, is_foreign=launch.program.is_foreign)
        self._check_runc(is_foreign=launch.program.is_foreign)
        if os.geteuid() == 0:
            _open_folders(launch, self._user())
        return self._start(launch)

    def start_source(self, launch: Launch, source: str) -> ContainerRunning:
        self.check_device(launch.device, is_foreign=launch.program.is_foreign)
        own = replace(launch.program, name="harness", image=self._own_python(launch.program))
        bare = replace(launch, program=own, train=None, model=None, weights=None)
        return self._start(bare, entrypoint=["python3", "-I", "-S", "-c", source])

    def is_word_taken(self, program: Program) -> bool:
        """It does: what is started for a stranger's image is the base image (`own_python`)."""
        return True

    def _base(self) -> Base:
        """What the folders' images stand on."""
        return baselines_base()

    def _own_python(self, program: Program) -> str:
        return build.own_python(self.client, program, self._base())

    def _measure(self, launch: Launch) -> MeasuredIsolation:
        """A stranger's image alone is no reason to build the base, which takes minutes: where it is
        not there, his own program is started, given nothing, and looked at from outside.
        """
        base = self._base()
        is_there = build.find_built(self.client, base.tag, base.identity) is not None
        if launch.program.is_foreign and not launch.program.refusal and not is_there:
            seen = self._seen_from_outside(launch)
            if seen.namespaces:  # else it had ended, or cannot be seen from here
                return judged_from_outside(seen, launch.limits)
        return super()._measure(launch)

    def _seen_from_outside(self, launch: Launch) -> Seen:
        bare = replace(launch, train=None, model=None, weights=None)
        with self.start(replace(bare, limits=replace(launch.limits, stop_seconds=0.0))) as running:
            return seen_when_confined(running)

    def _start(self, launch: Launch, entrypoint: Sequence[str] = ()) -> ContainerRunning:
        """Start a container; with an entrypoint in place of the image's, our program."""
        gpu = self._gpu(launch.device)
        cpus = take_cpus(launch.limits.threads)
        place = self._place(cpus, gpu)
        name = _container_name(launch)
        settings = container_settings(launch, place, _labels(launch))
        if entrypoint:
            settings["Entrypoint"] = list(entrypoint)
        try:
            return start_container(
                self.client,
                launch,
                settings,
                name,
                lambda: give_cpus(cpus),
                cpus=cpus if "cpus" in place.unbounded else (),
            )
        except ENGINE_FAULTS as error:
            raise self._start_failure(error, launch) from error

    def _start_failure(self, error: Exception, launch: Launch) -> Exception:
        """What the user is told when the engine would not start the container."""
        if launch.device != "cpu" and _NO_GPU.search(str(error)):
            return DeviceUnavailable(
                f"the container engine has no GPU to give: {_explanation(error)}",
                where=f"--device {launch.device}",
                fix=f"install the NVIDIA container toolkit and tell the engine of it "
                f"({self._gpu_command}), or use --device cpu",
            )
        if isinstance(error, APIError) and _NO_FOLDER.search(str(error)):
            return RunEnded(
                Status.INVALID_IMAGE,
                "it holds a file, or a link that leads nowhere, where a folder must be: its WORKDIR,"
                " /tmp, /model, /weights or /data/train",
            )
        if isinstance(error, ImageNotFound):
            return RunEnded(
                Status.IMAGE_UNAVAILABLE,
                f"the image is gone: {_explanation(error)}",
                cause=Cause.IMAGE_GONE,
            )
        if (
            isinstance(error, APIError) and error.is_client_error()
        ):  # our call was wrong, not theirs
            return RunEnded(Status.HOST_ERROR, f"the engine refused: {_explanation(error)}")
        return engine_lost(error)

    def plan(self, launch: Launch) -> str:
        cpus = usable_cpus()[: launch.limits.threads]
        place = self._place(tuple(cpus), self._gpu(launch.device))
        if launch.program.refusal:
            return f"# refused, no container is created: {launch.program.refusal}"
        body = json.dumps(container_settings(launch, place, _labels(launch)), indent=2)
        return (
            f"POST /containers/create?name={_container_name(launch)}\n{body}\n"
            f"# why each option:\n{reasons()}"
        )

    def _user(self) -> str:
        """`uid:gid` of the program: the caller, or nobody where the caller is root."""
        if self._has("rootless"):
            return "0:0"
        if os.geteuid() == 0:
            return f"{NOBODY}:{NOBODY}"
        return f"{os.getuid()}:{os.getgid()}"

    def _has(self, option: str) -> bool:
        """Whether the engine runs with a security option (`rootless`, `userns`)."""
        return any(f"name={option}" in text for text in self._info.get("SecurityOptions") or [])

    def _place(self, cpus: tuple[int, ...], gpu: str | None) -> Place:
        userns = "host" if self._has("userns") else ""
        return Place(user=self._user(), cpus=cpus, gpu=gpu, userns=userns)

    def _gpu(self, device: str) -> str | None:
        """UUID of the GPU that is asked for; a UUID is the engine's to find."""
        if device == "cpu":
            return None
        wanted = device.partition(":")[2] or "0"
        return nvidia.find(device).uuid if wanted.isdecimal() else wanted

    def remove_leftovers(self) -> int:
        removed = 0
        filters = {"label": OWNER_LABEL}
        for container in self.client.containers(all=True, filters=filters):
            if is_owner_gone(container["Labels"].get(OWNER_LABEL, "")):
                remove_container(self.client, container["Id"])
                removed += 1
        return removed

    def remove_labelled(self, name: str, value: str) -> int:
        found = self.client.containers(all=True, filters={"label": f"{name}={value}"})
        for container in found:
            remove_container(self.client, container["Id"])
        return len(found)

    def remove_images(self) -> int:
        return build.remove_built_images(self.client) + remove_loaded_images(self.client)


_RUNC_WARNINGS = {
    "old": "the container engine's runc is %s, which is known to let images out: %s is needed",
    "unknown": "nothing is known of the container engine's runc, %s: %s is needed, or a build of"
    " your distribution that has the same mended",
}


def _open_folders(launch: Launch, user: str) -> None:
    """Give the model folder to the program's user, and see that he can read the others.

    Raises:
        RunEnded: `host_error` when he cannot.
    """
    if user == "0:0":
        return
    for name, path in launch.folders().items():
        if name == "model" and launch.verb == "train":
            os.chown(path, *map(int, user.split(":")))
        elif path.is_dir() and path.stat().st_mode & 0o005 != 0o005:
            raise RunEnded(
                Status.HOST_ERROR,
                f"the entry runs as user {user}, who cannot read {path}: chmod o+rx {path}",
                cause=Cause.UNREADABLE_FOLDER,
            )


def _container_name(launch: Launch) -> str:
    readable = re.sub(r"[^a-zA-Z0-9_.-]", "-", launch.program.name)[:40]
    return f"bmad-{readable}-{launch.verb}-{secrets.token_hex(6)}"


def _labels(launch: Launch) -> dict[str, str]:
    return {
        **launch.labels,
        OWNER_LABEL: owner_mark(),
        "bmad.entry": launch.program.name,
        "bmad.verb": launch.verb,
    }


def _explanation(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
