"""Where an entry's network is switched off, its root closed and its memory bounded: all of Apptainer's options.

One table, each option with its reason; nothing else is ever given. `evaluate --dry-run` prints the
call and this table; whether it holds is measured before each run (`harness.engines.measuring`).

Traps:
- Whatever is not said, the machine's own apptainer.conf decides: folders that a site binds into
  every container, and the size of /tmp (64 MiB). An installation without set-uid programs takes a
  configuration of the caller's (`CONFIGURATION`); of another, /tmp stays what the site made of it.
- Apptainer reads the caller's APPTAINER_* and SINGULARITY_* variables as options: its own
  environment is made anew, too (`starter_variables`).
- `run` would hand the command to a script that the image's build has left in it, and variables to
  files beside it: a stranger's words. So the program is named word by word (`exec`), and the
  folder of those files is covered by ours.
- `--no-init` would save a process, but then the entry is the first of its pid namespace, where a
  TERM that it has no handler for is ignored.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.engines.apptainer.bounds import Bounds
from harness.engines.base import Launch
from harness.engines.environment import entry_environment

HOME = "/tmp"  # noqa: S108 - the container's own
ENTRY = "/entry"
PATHS = {"train": "/data/train", "model": "/model", "weights": "/weights"}
OPEN_FILES = 8192  # as under Docker
MIB = 1024**2
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the container's own
VARIABLES_FOLDER = "/.singularity.d/env"
DRIVER_LIBRARIES = "/.singularity.d/libs"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What Apptainer tells a container of itself and does not need. Two more are read-only: the image's name,
# and where it lies on this machine.
_TOLD = ("SINGULARITY_BIND", "SINGULARITY_CONTAINER", "SINGULARITY_NAME", "APPTAINER_BIND", "PS1")


@dataclass(frozen=True)
class Image:
    """What is started, and what its configuration says of that."""

    place: Path
    """The SIF, or the folder that it was unpacked to."""
    command: tuple[str, ...]
    """The ENTRYPOINT, without the verb."""
    variables: Mapping[str, str]
    """Its ENV."""
    working_folder: str
    """Its WORKDIR; `/` where it names none."""
    files: Path | None = None
    """Of a baseline: the folder that is shown as /entry."""
    binds: Mapping[str, str] = field(default_factory=dict)
    """More of this machine's folders, by their place inside: for the harness's own programs."""


@dataclass(frozen=True)
class Site:
    """What this machine and the installed Apptainer decide, not the launch."""

    settings: Path
    """Folder of the files that the options name; of one start alone."""
    has_own_configuration: bool
    """Whether this Apptainer takes a configuration of the caller's."""
    bounds: Bounds
    """Who bounds memory and processes."""
    gpu: str | None
    """UUID of the GPU; None = no GPU."""

    @property
    def shared_memory(self) -> Path:
        """Where the tmpfs of an enclosed start is mounted."""
        return self.settings / "shm"


@dataclass(frozen=True)
class Flag:
    """One option, or one line of the configuration."""

    name: str
    """As Apptainer calls it."""
    reason: str
    """Why it is given, for whoever reads the dry run."""
    words: Callable[[Launch, Image, Site], Sequence[str]]
    """The words of the call; none where it does not apply."""


def _always(words: str, reason: str) -> Flag:
    return Flag(words, reason, lambda _launch, _image, _place: words.split())


CONFIGURATION: tuple[tuple[str, str, str], ...] = (
    ("sessiondir max size", "{tmp_mib}", "limit tmp_mib: the size of /tmp, which is 64 MiB else"),
    ("mount tmp", "yes", "fresh and empty in each container"),
    ("mount dev", "minimal", "no devices but null, zero, random and, where asked for, the GPU's"),
    ("mount devpts", "no", "an entry has no terminal"),
    ("mount home", "no", "nothing of the caller's"),
    ("mount hostfs", "no", "nothing of the machine's"),
    ("mount proc", "yes", "of its own pid namespace: it sees its own processes alone"),
    ("mount sys", "yes", "torch reads the CPU's kind there, and computes accordingly"),
    ("config passwd", "no", "the caller's name is none of an entry's business"),
    ("config group", "no", "likewise"),
    ("config resolv_conf", "no", "there is no network"),
    ("enable overlay", "no", "the root is read-only; underlay makes the folders to mount at"),
    ("enable underlay", "yes", "likewise"),
    ("allow container extfs", "no", "a file system that the kernel would read for a stranger"),
    ("allow container encrypted", "no", "likewise"),
    ("systemd cgroups", "yes", "the control group of the limits is the user's systemd's to make"),
)
"""Lines of our own apptainer.conf: key, value, reason. What is not named has Apptainer's default,
in which no folder is bound."""

OPTIONS: tuple[Flag, ...] = (
    Flag(
        "--config",
        "the lines below in place of the machine's own: no folders that a site binds everywhere",
        lambda _l, _i, place: (
            ["--config", str(place.settings / "apptainer.conf")]
            if place.has_own_configuration
            else []
        ),
    ),
    _always("exec", "not `run`: nothing that stands in the image decides what is started"),
    _always("--containall", "no folder of the machine's; pid and ipc namespaces of its own"),
    _always("--cleanenv", "nothing of the host's environment"),
    _always("--no-home", "nothing of the caller's"),
    _always("--no-mount home,cwd,hostfs,bind-paths", "where a configuration of the site's holds"),
    _always("--userns", "no set-uid program is used, whatever is installed"),
    _always("--net", "a network namespace of its own"),
    _always("--network none", "with nothing in it: images cannot be sent out"),
    _always("--drop-caps all", "an entry needs no capability"),
    _always("--no-privs", "no set-uid file gives any back (no_new_privs)"),
    _always("--no-eval", "no word of the image is evaluated by a shell"),
    _always("--pid", "it sees no other process; with the first of them, all of them end"),
    _always("--ipc", "no shared memory with anybody"),
    _always("--uts", "a host name of its own"),
    Flag(
        "--scratch",
        "shared memory in the same room as /tmp, where no tmpfs of its own can be mounted for it: it"
        " has no size else",
        lambda _l, _i, place: [] if place.bounds.is_enclosed else ["--scratch", SHARED_MEMORY],
    ),
    _always("--hostname entry", "the same in every run: nothing to tell runs apart by"),
    Flag(
        "--security",
        "the filter of system calls (seccomp.py); Apptainer has none by itself",
        lambda _l, _i, place: ["--security", f"seccomp:{place.settings / 'seccomp.json'}"],
    ),
    Flag(
        "--cwd",
        "the image's WORKDIR; else it would be the harness's folder",
        lambda _l, image, _p: ["--cwd", image.working_folder],
    ),
    Flag(
        "--mount",
        "the fixed list of variables; training images and weights read-only; /model writable in"
        " train alone; a baseline's folder read-only; /dev/shm of limit shm_mib",
        lambda launch, image, place: list(_mounts(launch, image, place)),
    ),
    Flag(
        "--nv",
        "the driver's libraries and devices, where a GPU is asked for",
        lambda _l, _i, place: ["--nv"] if place.gpu else [],
    ),
    Flag(
        "--memory",
        "limit memory_mib, where this user may make control groups",
        lambda launch, _i, place: _bounded(place, "memory", "--memory", launch.limits.memory_mib * MIB),
    ),
    Flag(
        "--memory-swap",
        "the same number: no swap on top of the memory",
        lambda launch, _i, place: _bounded(
            place, "memory", "--memory-swap", launch.limits.memory_mib * MIB
        ),
    ),
    Flag(
        "--pids-limit",
        "limit pids, where this user may make control groups",
        lambda launch, _i, place: _bounded(place, "pids", "--pids-limit", launch.limits.pids),
    ),
    Flag("IMAGE", "a SIF that the harness built, or that one unpacked", lambda _l, i, _p: [str(i.place)]),
    Flag("COMMAND", "the ENTRYPOINT of its configuration", lambda _l, image, _p: image.command),
)  # fmt: skip


def call(launch: Launch, image: Image, place: Site, verb: Sequence[str]) -> list[str]:
    """The words after `apptainer`.

    Args:
        launch: what is started.
        image: out of what.
        place: where.
        verb: what follows the ENTRYPOINT.
    """
    return [word for option in OPTIONS for word in option.words(launch, image, place)] + [*verb]


def table_of_reasons() -> str:
    """The table for people: one line for each option, and for each line of the configuration."""
    rows = [(option.name, option.reason) for option in OPTIONS]
    rows += [(f"{key} = {value}", reason) for key, value, reason in CONFIGURATION]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"#   {name:<{width}}  {reason}" for name, reason in rows)


def configuration(launch: Launch) -> str:
    """Our own apptainer.conf."""
    lines = [
        f"{key} = {value.format(tmp_mib=launch.limits.tmp_mib)}" for key, value, _ in CONFIGURATION
    ]
    return "\n".join(lines) + "\n"


def variables(launch: Launch, image: Image, place: Site) -> dict[str, str]:
    """The whole environment of the entry: the image's own, and over it the harness's fixed list."""
    fixed = entry_environment(launch.limits.threads, HOME)
    for name in launch.program.own_caches:
        del fixed[name]
    found = {"PATH": _DEFAULT_PATH, **image.variables, **fixed}
    found["CUDA_VISIBLE_DEVICES"] = place.gpu or ""  # --nv shows every GPU: the one is cuda:0
    if place.gpu:
        own = found.get("LD_LIBRARY_PATH")
        found["LD_LIBRARY_PATH"] = f"{own}:{DRIVER_LIBRARIES}" if own else DRIVER_LIBRARIES
    return found


def variables_script(launch: Launch, image: Image, place: Site) -> str:
    """The file that stands in place of those of the image: what Apptainer tells is emptied first."""
    lines = [f"export {name}=''" for name in _TOLD]
    given = variables(launch, image, place)
    lines += [f"export {name}={shlex.quote(value)}" for name, value in given.items()]
    return "\n".join(lines) + "\n"


def names_that_no_shell_has(names: Sequence[str]) -> list[str]:
    """Variables of an image that Apptainer cannot give: it reads them by a shell."""
    return [name for name in names if not _SHELL_NAME.fullmatch(name)]


def starter_variables(program: Path, place: Site) -> dict[str, str]:
    """Apptainer's own environment: nothing of the caller's, who may have set options there."""
    return {
        "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": str(place.settings),
        "APPTAINER_CONFIGDIR": str(place.settings),
        "APPTAINER_CACHEDIR": str(place.settings),
        "APPTAINER_TMPDIR": str(place.settings),
        "APPTAINER_MESSAGELEVEL": "-1",  # errors alone: the log is the entry's
        "LC_ALL": "C.UTF-8",
        **place.bounds.variables,
    }


def _bounded(place: Site, controller: str, option: str, value: object) -> list[str]:
    return [option, str(value)] if controller in place.bounds.controllers else []


def _mounts(launch: Launch, image: Image, place: Site) -> Iterator[str]:
    yield from _mount(place.settings / "variables", VARIABLES_FOLDER)
    for name, path in launch.folders().items():
        is_writable = name == "model" and launch.verb == "train"
        yield from _mount(path, PATHS[name], is_writable=is_writable)
    if place.bounds.is_enclosed:
        yield from _mount(place.shared_memory, SHARED_MEMORY, is_writable=True)
    if image.files is not None:
        yield from _mount(image.files, ENTRY)
    for inside, outside in image.binds.items():
        yield from _mount(Path(outside), inside)


def _mount(source: Path, target: str, *, is_writable: bool = False) -> list[str]:
    """One mount; its fields are those of a table, so that a path may hold commas and quotes."""
    fields = ["type=bind", f"source={source}", f"destination={target}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*fields, *([] if is_writable else ["ro"])])
    return ["--mount", line.getvalue()]
