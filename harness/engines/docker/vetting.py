"""What an image's own configuration may ask for: looked at before any container exists.

An image is a stranger's, and its configuration speaks to the engine, to the NVIDIA runtime
and to the loader of every program that is started in it, hooks of the runtime included
(CVE-2025-23266: LD_PRELOAD of the image was loaded by a hook that ran as root of the host).
What the create call overrides (USER, HEALTHCHECK, NVIDIA_VISIBLE_DEVICES …) is no problem;
what it cannot override is refused here.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from harness.common.foreign_text import one_line

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
# What ordinary CUDA images carry. The first two are overridden; the runtime only compares the
# required driver with its own; the rest names versions and is read by nobody.
_PLAIN_NVIDIA = re.compile(
    r"NVIDIA_(VISIBLE_DEVICES|DRIVER_CAPABILITIES|REQUIRE_[A-Z0-9_]+|PRODUCT_NAME|BUILD_ID"
    r"|[A-Z0-9_]+_VERSION)"
)
_PLAIN_LOADER = {"LD_LIBRARY_PATH", "LD_RUN_PATH"}
# On Jetson, this requirement asks the runtime to mount files of the host.
_MOUNTS_OF_THE_HOST = "csv-mounts"
SAFE_TOOLKIT = (1, 17, 8)  # the first NVIDIA container toolkit without CVE-2025-23266
_TOOLKIT_COMMANDS = (("nvidia-ctk", "--version"), ("nvidia-container-runtime", "--version"))


def problems_of(image: Mapping[str, Any], *, architecture: str) -> list[str]:
    """Why no container may be made from an image; empty for an acceptable one.

    Args:
        image: the engine's inspection of the image.
        architecture: the engine's, as the kernel calls it (`x86_64`) or as images do.
    """
    config = image.get("Config") or {}
    problems = []
    if not config.get("Entrypoint"):
        problems.append("it has no ENTRYPOINT, and the verb (predict, train, describe) needs one")
    wanted = _ARCHITECTURES.get(architecture, architecture)
    if wanted and image.get("Architecture") not in ("", None, wanted):
        found = one_line(image["Architecture"])
        problems.append(f"it is for {found}, and this machine is {wanted}")
    if image.get("Os") not in ("", None, "linux"):
        problems.append(f"it is for {one_line(image['Os'])}, and the engine runs linux")
    if volumes := sorted(config.get("Volumes") or {}):
        named = one_line(" ".join(volumes))
        problems.append(f"VOLUME {named} would be writable under a read-only root")
    return [*problems, *_variable_problems(config.get("Env") or [])]


def _variable_problems(variables: list[str]) -> Iterator[str]:
    for variable in variables:
        name, _, value = variable.partition("=")
        upper, shown = name.upper(), one_line(name)
        if upper.startswith("LD_") and name not in _PLAIN_LOADER:
            yield f"ENV {shown} changes what is loaded into every program, the runtime's hooks too"
        elif upper.startswith("NVIDIA_") and not _PLAIN_NVIDIA.fullmatch(name):
            yield f"ENV {shown} asks the NVIDIA runtime for more than one plain GPU"
        elif upper.startswith("NVIDIA_REQUIRE_") and _MOUNTS_OF_THE_HOST in value.lower():
            yield f"ENV {shown} asks the NVIDIA runtime to mount files of the host"


@cache
def toolkit_version() -> tuple[int, ...] | None:
    """Version of this machine's NVIDIA container toolkit; None where nothing here tells it."""
    for command in _TOOLKIT_COMMANDS:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        if found := re.search(r"\b(\d+)\.(\d+)\.(\d+)", done.stdout):
            return tuple(map(int, found.groups()))
    return None
