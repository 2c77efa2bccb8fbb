"""The Python that the baselines' base stands on, where no registry can be reached: of Debian's packages.

    BMAD_BASE_IMAGE=debootstrap:bookworm

makes Apptainer run debootstrap, as an ordinary user, for what scripts/local-base.sh makes with Docker:
the smallest Debian of that suite, with its python3. It is made once, before the stages that stand on it.

Environment: BMAD_DEBIAN_MIRROR, where the packages come from; else the one that this machine's apt uses.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.common.errors import EnvironmentFault

SCHEME = "debootstrap:"
MIRROR_VARIABLE = "BMAD_DEBIAN_MIRROR"
PACKAGES = "python3 python3-venv ca-certificates"
_SUITE = re.compile(r"[a-z][a-z0-9-]*")
_INDEX_SECONDS = 30.0


def with_python(
    arguments: Mapping[str, str], folder: Path, build: Callable[[Path, Path], None]
) -> dict[str, str]:
    """Build arguments of Dockerfile.gpu whose Python base is there.

    Args:
        arguments: those that the environment sets.
        folder: where a base that has to be made first is put.
        build: makes a SIF (first) of a definition file (second).
    Raises:
        EnvironmentFault: the suite is none, or nothing says where Debian's packages are.
    """
    given = arguments.get("BASE_IMAGE", "")
    if not given.startswith(SCHEME):
        return dict(arguments)
    suite = given.removeprefix(SCHEME)
    if not _SUITE.fullmatch(suite):
        raise EnvironmentFault(
            f"{suite!r} is no suite of Debian's",
            where="BMAD_BASE_IMAGE",
            fix=f"name the one whose Python is the lock's: {SCHEME}bookworm",
        )
    definition, sif = folder / "python.def", folder / "python.sif"
    definition.write_text(
        f"Bootstrap: debootstrap\nOSVersion: {suite}\nMirrorURL: {mirror(suite)}\n"
        f"Include: {PACKAGES}\n",
        encoding="utf-8",
    )
    build(sif, definition)
    return {**arguments, "BASE_IMAGE": str(sif)}


def mirror(suite: str) -> str:
    """Where Debian's packages come from: what is given, else what apt uses here.

    Raises:
        EnvironmentFault: neither says.
    """
    if given := os.environ.get(MIRROR_VARIABLE):
        return given
    found = mirror_of_apt(_apt_indexes(), suite)
    if found is None:
        raise EnvironmentFault(
            "nothing says where Debian's packages are: this machine's apt has no mirror",
            where=MIRROR_VARIABLE,
            fix=f"export {MIRROR_VARIABLE}=URL of a mirror of Debian's",
        )
    return found


def mirror_of_apt(indexes: str, suite: str) -> str | None:
    """The site of a suite among apt's indexes; another suite's is on the same mirror.

    Args:
        indexes: a site and a suite on each line.
        suite: the one that is wanted.
    """
    lines = [words for line in indexes.splitlines() if len(words := line.split()) == 2]
    pairs = [(site, name) for site, name in lines if "security" not in name]
    named = [site for site, name in pairs if name == suite]
    return next(iter([*named, *(site for site, _ in pairs)]), None)


def _apt_indexes() -> str:
    """What apt reads here; empty where there is no apt."""
    try:
        return subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"],
            capture_output=True, encoding="utf-8", errors="replace", timeout=_INDEX_SECONDS,
            check=False,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
