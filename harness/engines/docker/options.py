"""Where a container's network is switched off, its root closed and its memory bounded: all options.

One table, each option with its reason; nothing else is ever set. What a container gets is decided
here alone, in the engine API's own words. `evaluate --dry-run` prints the call and this table; a
test compares it with what the engine says of a running container, field by field. A field that is
not in the table is the engine's default, and the test knows those too.

Trap: whatever the create call does not set, the image decides. So USER, HEALTHCHECK,
STOPSIGNAL and the NVIDIA variables are set although they look like defaults; what cannot be
overridden is refused before (`oci/vetting.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.engines.base import Launch
from harness.engines.environment import entry_environment

HOME = "/tmp"  # noqa: S108 - the container's own tmpfs
PATHS = {"train": "/data/train", "model": "/model", "weights": "/weights"}
OPEN_FILES = 8192  # engines' own defaults differ, and some are more than their user may set
MIB = 1024**2


@dataclass(frozen=True)
class Place:
    """What the engine and this machine decide about a container, not the launch."""

    user: str
    """`uid:gid` that the program runs as."""
    cpus: tuple[int, ...]
    """CPU numbers of the run."""
    gpu: str | None
    """Identifier of the GPU for the engine's device request; None = no GPU."""
    userns: str
    """`host` where the engine would map user ids away; else empty."""
    unbounded: frozenset[str] = frozenset()
    """What of `memory`, `pids` and `cpus` the engine cannot bound here: it is not asked for."""
    closed: tuple[str, ...] = ()
    """Folders that the engine would make writable, and without a bound, unasked."""
    gpu_driver: str = ""
    """What the engine finds the GPU by; empty = its own choice."""


@dataclass(frozen=True)
class Option:
    """One field of the create call."""

    field: str
    """Its name; `HostConfig.` before those of that part."""
    reason: str
    """Why it is set, for whoever reads the dry run."""
    value: Callable[[Launch, Place, Mapping[str, str]], Any]
    """Its value for a launch, a place and the labels."""


def _always(field: str, value: Any, reason: str) -> Option:
    return Option(field, reason, lambda _launch, _place, _labels: value)


OPTIONS: tuple[Option, ...] = (
    Option(
        "Image",
        "by its id, never by a tag: a tag can move",
        lambda launch, _place, _labels: launch.program.image,
    ),
    Option(
        "Cmd",
        "the contract's verb, in place of the image's CMD",
        lambda launch, _place, _labels: [launch.verb],
    ),
    Option(
        "Env",
        "a fixed list; nothing of the host's environment, one GPU or none whatever the image asks for,"
        " and its own folders of weights where it names them",
        lambda launch, place, _labels: _environment(launch, place),
    ),
    Option(
        "User",
        "never the machine's root, whatever USER the image names: the caller (to himself, root of his"
        " own user namespace, where the engine is rootless), or nobody where the caller is root",
        lambda _launch, place, _labels: place.user,
    ),
    _always("Hostname", "entry", "the same in every run: nothing to tell runs apart by"),
    Option(
        "Labels",
        "who started it: what a killed harness leaves is found and removed",
        lambda _launch, _place, labels: dict(labels),
    ),
    _always("Healthcheck", {"Test": ["NONE"]}, "an image's HEALTHCHECK would run beside the entry"),
    _always("StopSignal", "SIGTERM", "an image could name a signal that asks for nothing"),
    _always("StopTimeout", 0, "the harness has asked and waited (stop_seconds): a removal kills at once"),
    _always("Tty", False, "a terminal would change bytes and merge the two outputs"),
    _always("OpenStdin", True, "the pipe in"),
    _always("StdinOnce", True, "our half-close is the entry's end of file"),
    _always("AttachStdin", True, "the pipe in"),
    _always("AttachStdout", True, "the pipe out"),
    _always("AttachStderr", True, "the log, read and bounded by the harness"),
    _always("NetworkDisabled", True, "no network at all"),
    _always("HostConfig.NetworkMode", "none", "no network at all: images cannot be sent out"),
    _always("HostConfig.ReadonlyRootfs", True, "an entry writes to /tmp, /dev/shm and /model alone"),
    _always("HostConfig.CapDrop", ["ALL"], "an entry needs no capability"),
    _always("HostConfig.SecurityOpt", ["no-new-privileges"], "no set-uid file gives any back"),
    _always("HostConfig.Privileged", False, "said, so that no engine's default can differ"),
    Option(
        "HostConfig.Memory",
        "limit memory_mib; past it the kernel kills the container, not the host (0: this engine cannot"
        " bound it here; the record says so)",
        lambda launch, place, _labels: _memory_bytes(launch, place),
    ),
    Option(
        "HostConfig.MemorySwap",
        "the same number: no swap on top of the memory",
        lambda launch, place, _labels: _memory_bytes(launch, place),
    ),
    Option(
        "HostConfig.CpusetCpus",
        "limit threads as CPUs: torch takes its thread count from what it sees",
        lambda _launch, place, _labels: (
            "" if "cpus" in place.unbounded else ",".join(map(str, place.cpus))
        ),
    ),
    Option(
        "HostConfig.PidsLimit",
        "limit pids: a fork bomb ends in itself (0: likewise)",
        lambda launch, place, _labels: 0 if "pids" in place.unbounded else launch.limits.pids,
    ),
    _always(
        "HostConfig.Ulimits",
        [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": OPEN_FILES, "Hard": OPEN_FILES},
        ],
        "no core file holds images; engines' defaults for open files differ",
    ),
    Option(
        "HostConfig.ShmSize",
        "limit shm_mib: data loaders need it, nobody may fill the host with it",
        lambda launch, _place, _labels: launch.limits.shm_mib * MIB,
    ),
    Option(
        "HostConfig.Tmpfs",
        "limit tmp_mib: fresh and empty in each container; exec, because compilers of kernels need it;"
        " what else an engine would make writable is empty and read-only",
        lambda launch, place, _labels: {
            HOME: f"rw,exec,nosuid,nodev,mode=1777,size={launch.limits.tmp_mib}m",
            **dict.fromkeys(place.closed, "ro,noexec,nosuid,nodev,mode=555,size=4k"),
        },
    ),
    Option(
        "HostConfig.Mounts",
        "training images and weights read-only; /model writable in train alone",
        lambda launch, _place, _labels: list(_mounts(launch)),
    ),
    Option(
        "HostConfig.DeviceRequests",
        "one GPU by its UUID, where one is asked for",
        lambda _launch, place, _labels: _device_requests(place),
    ),
    _always("HostConfig.IpcMode", "private", "no shared memory with anybody"),
    Option(
        "HostConfig.UsernsMode",
        "`host` where the engine could map user ids away from the owner of /model",
        lambda _launch, place, _labels: place.userns,
    ),
    _always("HostConfig.Init", True, "reaps what the entry leaves behind, and hands on TERM"),
    _always("HostConfig.LogConfig", {"Type": "none"}, "the engine keeps no log: it may hold images"),
    _always("HostConfig.RestartPolicy", {"Name": "no"}, "a run is started by the harness alone"),
    _always(
        "HostConfig.AutoRemove",
        False,
        "the engine's last word (exit code, memory kill) is read after the end",
    ),
)  # fmt: skip


def container_settings(launch: Launch, place: Place, labels: Mapping[str, str]) -> dict[str, Any]:
    """The body of the engine's create call, in the engine API's own words."""
    body: dict[str, Any] = {"HostConfig": {}}
    for option in OPTIONS:
        part, _, name = option.field.rpartition(".")
        (body[part] if part else body)[name] = option.value(launch, place, labels)
    return body


def reasons() -> str:
    """The table for people: one line for each option."""
    width = max(len(option.field) for option in OPTIONS)
    return "\n".join(f"#   {option.field:<{width}}  {option.reason}" for option in OPTIONS)


def _environment(launch: Launch, place: Place) -> list[str]:
    variables = entry_environment(launch.limits.threads, HOME)
    for name in launch.program.own_caches:
        del variables[name]
    # `void` also where no GPU is asked for: an image's own `all` must not reach the runtime.
    variables["NVIDIA_VISIBLE_DEVICES"] = place.gpu or "void"
    variables["NVIDIA_DRIVER_CAPABILITIES"] = "compute,utility"
    return [f"{name}={value}" for name, value in variables.items()]


def _mounts(launch: Launch) -> Iterator[dict[str, Any]]:
    for name, path in launch.folders().items():
        yield {
            "Type": "bind",
            "Source": str(path),
            "Target": PATHS[name],
            "ReadOnly": not (name == "model" and launch.verb == "train"),
            "BindOptions": {"Propagation": "rprivate"},
        }


def _device_requests(place: Place) -> list[dict[str, Any]]:
    if place.gpu is None:
        return []
    request: dict[str, Any] = {"Capabilities": [["gpu", "compute", "utility"]]}
    if place.gpu_driver == "cdi":
        return [{**request, "Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={place.gpu}"]}]
    return [{**request, "DeviceIDs": [place.gpu]}]


def _memory_bytes(launch: Launch, place: Place) -> int:
    return 0 if "memory" in place.unbounded else launch.limits.memory_mib * MIB
