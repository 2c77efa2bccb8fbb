"""A maintainer's own backbone: a file of tensors, and a small TOML beside it that says what it is.

`<name>.toml` in the weights folder describes `<name>.safetensors`, and holds no code:

    architecture = "resnet50"                                   # in timm's words
    sha256 = "…64 hex digits…"
    mean = [0.485, 0.456, 0.406]                                # of pixels in [0, 1]
    std = [0.229, 0.224, 0.225]
    address = "https://…/model.safetensors"                     # where it is published, if it is

Standard library only. The text is foreign and is read within bounds: 4 KiB, the five keys above,
and a name that is a name and no path. Trap: a name of the committed table cannot be redefined.
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any

from baselines.kit.weight_files import WEIGHT_FILES, WeightFile

MAX_BYTES = 4096  # the parser takes seconds for a longer text that is made to cost time
SUFFIX = ".safetensors"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ARCHITECTURE = re.compile(r"[a-z0-9_]{1,64}(\.[a-z0-9_]{1,64})?")  # no hub's address
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"https?://[!-~]{1,1000}")
_REQUIRED, _OPTIONAL = ("architecture", "sha256", "mean", "std"), ("address",)


class BadDescription(ValueError):
    """A description of an own backbone that says something impossible, or not enough."""


def description_path(name: str, folder: Path) -> Path:
    """Where the description of this backbone lies, whether or not it is there.

    Raises:
        BadDescription: the name is none that a backbone can have.
    """
    if not NAME.fullmatch(name):
        raise BadDescription(
            f"{name[:80]!r} is no name for a backbone: small letters, digits, _ and -, at most 64"
        )
    return folder / f"{name}.toml"


def find_file(name: str, folder: Path | None) -> WeightFile:
    """The file of a backbone: of the committed table, or described in the weights folder.

    Args:
        name: what the parameter `backbone` says.
        folder: the weights folder; None = there is none.
    Raises:
        ValueError: neither knows the name, or the description is wrong (`BadDescription`).
    """
    if name in WEIGHT_FILES:
        return WEIGHT_FILES[name]
    if folder is None or not description_path(name, folder).is_file():
        raise ValueError(
            f"unknown backbone {name!r}; known: {', '.join(WEIGHT_FILES)};"
            f" an own one is described by {name}.toml in the weights folder"
        )
    return read_description(description_path(name, folder))


def own_names(folder: Path | None) -> list[str]:
    """Names of the backbones that a weights folder describes, sorted; of wrong descriptions too."""
    if folder is None or not folder.is_dir():
        return []
    names = {path.stem for path in folder.glob("*.toml") if NAME.fullmatch(path.stem)}
    return sorted(names - WEIGHT_FILES.keys())


def read_description(path: Path) -> WeightFile:
    """What a description says; its name is the file's own.

    Raises:
        BadDescription: it is too long, no TOML, or says something impossible.
        OSError: it cannot be read.
    """
    name = path.name.removesuffix(".toml")
    description_path(name, path.parent)
    if name in WEIGHT_FILES:
        raise BadDescription(f"{name} is a backbone of the committed table: take another name")
    with path.open("rb") as stream:
        text = stream.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise BadDescription(f"{path.name} is longer than {MAX_BYTES} bytes")
    try:
        document = tomllib.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadDescription(f"{path.name} is no TOML: {error}") from None
    if problems := list(_problems(document)):
        raise BadDescription(f"{path.name}: {'; '.join(problems)}")
    return WeightFile(
        name,
        name + SUFFIX,
        document["sha256"],
        address=document.get("address", ""),
        architecture=document["architecture"],
        mean=tuple(map(float, document["mean"])),
        deviation=tuple(map(float, document["std"])),
        is_own=True,
    )


def _problems(document: dict[str, Any]) -> list[str]:
    """Everything that a description gets wrong, each in a few words."""
    known = (*_REQUIRED, *_OPTIONAL)
    found = [f"unknown key {key[:80]!r}" for key in document if key not in known]
    found += [f"{key} is missing" for key in _REQUIRED if key not in document]
    for key, pattern, what in (
        ("architecture", _ARCHITECTURE, "a network's name in timm"),
        ("sha256", _DIGEST, "64 hex digits in small letters"),
        ("address", _ADDRESS, "an http address"),
    ):
        value = document.get(key)
        if key in document and not (isinstance(value, str) and pattern.fullmatch(value)):
            found.append(f"{key} must be {what}")
    for key, lowest in (("mean", -math.inf), ("std", 0.0)):
        if key in document and not _is_triple(document[key], lowest):
            above = " above 0" if lowest == 0 else ""
            found.append(f"{key} must be three finite numbers{above}")
    return found


def _is_triple(value: object, lowest: float) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
        and all(abs(each) <= 1e6 and each > lowest for each in value)  # NaN is neither
    )
