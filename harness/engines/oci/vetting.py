"""What an image's own configuration may ask for: looked at before any container exists.

An image is a stranger's, and its configuration speaks to the engine, to the NVIDIA runtime
and to the loader of every program that is started in it, hooks of the runtime included
(CVE-2025-23266: LD_PRELOAD of the image was loaded by a hook that ran as root of the host).
What the create call overrides (USER, HEALTHCHECK, NVIDIA_VISIBLE_DEVICES …) is no problem;
what it cannot override is refused here, also where the engine itself would only fail on it: its
error would be taken for the engine's own, and the image would be tried again for ever.

What cannot be seen here, because it hangs on the image's files (a WORKDIR that is a file, or a link
into /proc), is found when the engine makes the container (`engine.py`), and is why runc must not be
an old one (`runc.py`).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import subprocess
from collections import Counter
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
_LONGEST_SHOWN = 60
SAFE_TOOLKIT = (1, 17, 8)  # the first NVIDIA container toolkit without CVE-2025-23266
MAX_TEXT_BYTES = 64 * 1024  # the kernel starts no program with one argument of 128 KiB
MAX_ALL_BYTES = 512 * 1024  # nor with 2 MiB of arguments and variables; most engines give less
_MAX_PATH_BYTES, _MAX_NAME_BYTES, _MAX_PATH_PARTS = 1024, 255, 64
# Of these, a working folder is a handle into the host (CVE-2024-21626), or no folder of the image's.
_NOT_THE_IMAGES = ("/tmp", "/data", "/model", "/weights")  # noqa: S108 - names, no file is made
# Read at a run; caches that programs write (matplotlib's, numba's) need the harness's own.
WEIGHT_CACHES = ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME")
_KERNELS_FOLDERS = ("/proc", "/sys", "/dev")
_TOOLKIT_COMMANDS = (("nvidia-ctk", "--version"), ("nvidia-container-runtime", "--version"))


def problems_of(image: Mapping[str, Any], *, architecture: str) -> list[str]:
    """Why no container may be made from an image; empty for an acceptable one.

    Args:
        image: the engine's inspection of the image.
        architecture: the engine's, as the kernel calls it (`x86_64`) or as images do.
    """
    config = image.get("Config") or {}
    problems = list(_start_problems(config))
    wanted = _ARCHITECTURES.get(architecture, architecture)
    if wanted and image.get("Architecture") not in ("", None, wanted):
        found = one_line(image["Architecture"])
        problems.append(f"it is for {found}, and this machine is {wanted}")
    if image.get("Os") not in ("", None, "linux"):
        problems.append(f"it is for {one_line(image['Os'])}, and the engine runs linux")
    if volumes := sorted(config.get("Volumes") or {}):
        problems.append(
            f"VOLUME {one_line(' '.join(volumes))} would be writable under a read-only root"
        )
    variables = config.get("Env") or []
    return [*problems, *_form_problems(variables), *_variable_problems(variables)]


def _start_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the program that it starts, and with the folder that it starts in."""
    entrypoint, command = config.get("Entrypoint") or [], config.get("Cmd") or []
    if not entrypoint:
        yield "it has no ENTRYPOINT, and the verb (predict, train, describe) needs one"
    elif not entrypoint[0]:
        yield "its ENTRYPOINT names no program"
    for field, words in (("ENTRYPOINT", entrypoint), ("CMD", command)):
        if any("\0" in word for word in words):
            yield f"its {field} holds a NUL byte"
        if any(_size(word) > MAX_TEXT_BYTES for word in words):
            yield f"its {field} holds a word of more than {MAX_TEXT_BYTES} bytes"
    texts = [*entrypoint, *command, *(config.get("Env") or [])]
    if sum(map(_size, texts)) > MAX_ALL_BYTES:
        yield f"its ENTRYPOINT, CMD and ENV together have more than {MAX_ALL_BYTES} bytes"
    if problem := _folder_problem(config.get("WorkingDir") or "/"):
        yield f"its WORKDIR {one_line(config['WorkingDir'], _LONGEST_SHOWN)} {problem}"


def _folder_problem(path: str) -> str | None:
    """Why no program may be started in this folder of an image."""
    parts = path.split("/")
    plain = posixpath.normpath("/" + path.lstrip("/"))
    is_kernels = any(plain == place or plain.startswith(place + "/") for place in _KERNELS_FOLDERS)
    is_long = _size(path) > _MAX_PATH_BYTES or max(map(_size, parts)) > _MAX_NAME_BYTES
    problems = (
        (not path.isprintable(), "is no plain text"),
        (not path.startswith("/"), "is not absolute"),
        (".." in parts, "leads upwards"),
        (is_long, "is too long"),
        (len(parts) > _MAX_PATH_PARTS, "is too deep"),
        (is_kernels, "is the kernel's, not the image's"),
    )
    return next((text for is_so, text in problems if is_so), None)


def _form_problems(variables: list[str]) -> Iterator[str]:
    """Variables that no program can be given, or that say two things."""
    names = [variable.partition("=")[0] for variable in variables]
    for variable, name in zip(variables, names, strict=True):
        if not name:
            yield f"ENV {one_line(variable, _LONGEST_SHOWN)} has no name"
        elif "=" not in variable:
            yield f"ENV {one_line(name, _LONGEST_SHOWN)} has no value"
        elif not name.isprintable() or " " in name:
            yield f"ENV {one_line(name, _LONGEST_SHOWN)} is no name"
        elif "\0" in variable:
            yield f"ENV {one_line(name, _LONGEST_SHOWN)} holds a NUL byte"
        elif _size(variable) > MAX_TEXT_BYTES:
            yield f"ENV {one_line(name, _LONGEST_SHOWN)} has more than {MAX_TEXT_BYTES} bytes"
    for name, count in Counter(names).items():
        if name and count > 1:
            yield f"ENV {one_line(name, _LONGEST_SHOWN)} is set {count} times"


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


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


def content_of(image: Mapping[str, Any]) -> str:
    """Hash of the layers and of how the image is started; labels, names and dates do not count."""
    config = image.get("Config") or {}
    parts = [(image.get("RootFS") or {}).get("Layers")]
    parts += [config.get(name) or None for name in ("Entrypoint", "Cmd", "Env", "WorkingDir")]
    text = json.dumps(parts, separators=(",", ":")).encode()
    return "sha256:" + hashlib.sha256(text).hexdigest()


def own_caches(variables: list[str]) -> tuple[str, ...]:
    """Which variables of the harness's list an image sets to folders of weights of its own.

    A folder below one that the harness mounts is not the image's. What an image says of its whole
    cache holds for the caches below it, too.
    """
    told = dict(variable.split("=", 1) for variable in variables if "=" in variable)
    own = [name for name in WEIGHT_CACHES if _is_in_image(told.get(name, ""))]
    if "XDG_CACHE_HOME" in own:
        own += [name for name in WEIGHT_CACHES if name not in told]
    return tuple(own)


def _is_in_image(path: str) -> bool:
    plain = posixpath.normpath("/" + path.lstrip("/"))
    outside = any(plain == place or plain.startswith(place + "/") for place in _NOT_THE_IMAGES)
    return _folder_problem(path) is None and plain != "/" and not outside


@cache
def toolkit_version() -> tuple[int, ...] | None:
    """Version of this machine's NVIDIA container toolkit; None where nothing here tells it."""
    for command in _TOOLKIT_COMMANDS:
        try:
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", timeout=30, check=True
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if found := re.search(r"\b(\d+)\.(\d+)\.(\d+)", done.stdout):
            return tuple(map(int, found.groups()))
    return None
