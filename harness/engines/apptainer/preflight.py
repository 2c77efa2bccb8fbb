"""Whether this machine can run an entry under Apptainer: the program, its version, what the kernel allows.

Trap: an installation may mount a SIF by squashfuse, by the kernel (set-uid), or not at all. Of the
last kind, some unpack it at every start (minutes, for a base with torch) and some refuse; so there
the harness unpacks it once and keeps the folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.common.errors import EngineUnavailable

OLDEST = {"apptainer": (1, 2, 0), "singularity-ce": (4, 0, 0)}
"""The first with `--no-eval`, `--mount` and rootless limits; of each of the two."""
PROGRAMS = ("apptainer", "singularity")
ASK_SECONDS = 60.0
_VERSION = re.compile(r"(apptainer|singularity-ce|singularity)\D*(\d+)\.(\d+)(?:\.(\d+))?")
_FUSE_PROGRAMS = ("squashfuse_ll", "squashfuse")
# Where Apptainer brings helpers of its own, seen from its program.
_HELPERS = (
    "../libexec/apptainer/bin",
    "../lib/apptainer/bin",
    "../lib/x86_64-linux-gnu/apptainer/bin",
)


@dataclass(frozen=True)
class Installation:
    """The Apptainer of this machine."""

    program: Path
    """Its command."""
    kind: str
    """`apptainer` or `singularity-ce`."""
    version: tuple[int, int, int]
    """Its version."""
    has_own_configuration: bool
    """Whether it takes a configuration of the caller's: an installation without set-uid programs."""
    can_mount: bool
    """Whether a SIF is mounted here; else it is unpacked."""

    @property
    def name(self) -> str:
        """Kind and version, as they stand in the record."""
        return f"{self.kind} {'.'.join(map(str, self.version))}"


def find_installation() -> Installation:
    """The Apptainer on PATH, asked what it is and what it may.

    Raises:
        EngineUnavailable: there is none, or it or this machine cannot do what is needed.
    """
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise EngineUnavailable(
            "Apptainer is not installed",
            where="PATH",
            fix="load the module that has it (module load apptainer), or ask for it:"
            " an ordinary user can install it, too (apptainer.org, install-unprivileged.sh)",
        )
    if os.geteuid() == 0:
        raise EngineUnavailable(
            "Apptainer gives an entry its caller's own user id, and this caller is root",
            where="--engine apptainer",
            fix="run the harness as an ordinary user, or use --engine docker",
        )
    kind, version = read_version(_said(program, "--version"))
    built = dict(
        line.partition("=")[::2] for line in _said(program, "buildcfg").splitlines() if "=" in line
    )
    is_set_uid = _is_set_uid(built)
    _check_namespaces()
    return Installation(
        program=Path(program),
        kind=kind,
        version=version,
        has_own_configuration=not is_set_uid,
        can_mount=_can_mount(Path(program).resolve()),
    )


def read_version(said: str) -> tuple[str, tuple[int, int, int]]:
    """Kind and version out of what `--version` prints.

    Raises:
        EngineUnavailable: it is another program, or too old.
    """
    found = _VERSION.search(said)
    kind = found[1] if found else said.strip()[:60]
    if found is None or kind not in OLDEST:
        raise EngineUnavailable(
            f"this is neither Apptainer nor Singularity CE: {kind}",
            where="PATH",
            fix="install Apptainer 1.2 or newer",
        )
    version = (int(found[2]), int(found[3]), int(found[4] or 0))
    if version < OLDEST[kind]:
        raise EngineUnavailable(
            f"{kind} {'.'.join(map(str, version))} is too old:"
            f" {'.'.join(map(str, OLDEST[kind]))} or newer is needed",
            where="PATH",
            fix="load or install a newer one (module avail apptainer)",
        )
    return kind, version


def _said(program: str, *words: str) -> str:
    """What a command prints.

    Raises:
        EngineUnavailable: it fails.
    """
    try:
        done = subprocess.run(
            [program, *words],
            capture_output=True, encoding="utf-8", errors="replace", timeout=ASK_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailable(
            f"{program} {' '.join(words)} fails: {error}",
            where="PATH",
            fix="install Apptainer again",
        ) from error
    return done.stdout


def _is_set_uid(built: dict[str, str]) -> bool:
    """Whether the installation has its set-uid starter: it may be built with one, and lack it."""
    if built.get("APPTAINER_SUID_INSTALL", "1") == "0":
        return False
    package = built.get("PACKAGE_NAME", "apptainer")
    starter = Path(built.get("LIBEXECDIR", "/usr/libexec")) / package / "bin/starter-suid"
    return starter.exists()


def _check_namespaces(system: Path = Path("/")) -> None:
    """See that an ordinary user may make a user namespace here; Apptainer's isolation is made of one.

    Raises:
        EngineUnavailable: he may not.
    """
    told = {
        "user.max_user_namespaces": "0",
        "kernel.unprivileged_userns_clone": "0",
        "kernel.apparmor_restrict_unprivileged_userns": None,  # it may be allowed for Apptainer
    }
    for name, forbidding in told.items():
        try:
            value = (system / "proc/sys" / name.replace(".", "/")).read_text().strip()
        except OSError:
            continue
        if value == forbidding:
            raise EngineUnavailable(
                f"the kernel allows no user namespaces ({name} is {value})",
                where=f"/proc/sys/{name.replace('.', '/')}",
                fix=f"ask the machine's administrator: sysctl {name}=15000"
                if forbidding == "0" and "max" in name
                else f"ask the machine's administrator: sysctl {name}=1",
            )


def _can_mount(program: Path) -> bool:
    """Whether squashfuse is there and may be used."""
    folders = [str((program.parent / place).resolve()) for place in _HELPERS]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    if not any(shutil.which(name, path=path) for name in _FUSE_PROGRAMS):
        return False
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
