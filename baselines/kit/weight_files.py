"""The pretrained files: which, how to recognise them, where they are published.

Standard library only: the harness reads this table too, and must not load torch for it.
Trap: torchvision trusts a file that is already in its cache; nothing but this check
tells a wrong file (another recipe under the same name) from the right one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PYTORCH = "https://download.pytorch.org/models/"
BLOCK_BYTES = 1 << 20
# Of pixels in [0, 1]: what torchvision's and most of timm's ImageNet weights were trained with.
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class WeightFile:
    """One pretrained file."""

    name: str
    """What the parameter `backbone` and `[entry] backbones` call it."""
    file_name: str
    """Name under which it is kept."""
    sha256: str
    """Its SHA-256: all 64 hex digits where they are known, else the 8 that the publisher writes
    into the file name (32 bits: enough against a mistake, not against an attacker)."""
    mebibytes: int | None = None
    """Its size, rounded; None where nobody says it."""
    address: str = ""
    """Where it is published; empty: among torchvision's files, under its name; of an own file:
    nowhere."""
    architecture: str = ""
    """Its network in timm's words; empty: torchvision's of the same name."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of the pixels, in [0, 1], that its images were normalised with: one per channel."""
    deviation: tuple[float, ...] = IMAGENET_DEVIATION
    """Standard deviation, likewise."""
    is_tried: bool = True
    """Whether a maintainer has fetched it from there. Else the address is as its publisher, or
    the library that loads it, has it."""
    is_own: bool = False
    """A description in the weights folder names it, and not the committed table."""

    @property
    def url(self) -> str:
        """Where it is published; empty where that is nowhere."""
        return self.address or ("" if self.is_own else PYTORCH + self.file_name)

    @property
    def description(self) -> str | None:
        """`sha256:…` over what an own file's description says but for digest and address: it decides
        what comes of the tensors. None where the committed table says it, which is code.
        """
        if not self.is_own:
            return None
        told = json.dumps([self.architecture, list(self.mean), list(self.deviation)])
        return "sha256:" + hashlib.sha256(told.encode()).hexdigest()


WEIGHT_FILES: dict[str, WeightFile] = {
    file.name: file
    for file in (
        WeightFile(
            "resnet18",
            "resnet18-f37072fd.pth",
            "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
            45,
        ),
        WeightFile("wide_resnet50_2", "wide_resnet50_2-95faca4d.pth", "95faca4d", 132),
        WeightFile(
            "vgg16",
            "vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            528,
        ),
        WeightFile("efficientnet_b5", "efficientnet_b5_lukemelas-1a07897c.pth", "1a07897c", 117),
    )
}


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file as 64 hex digits; `on_bytes` is told of every block read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
            if on_bytes:
                on_bytes(len(block))
    return digest.hexdigest()


def problem_with(file: WeightFile, folder: Path) -> str | None:
    """Why `folder` does not hold this file, in a few words; None when it holds the right one."""
    path = folder / file.file_name
    if not path.is_file():
        return "is not there"
    return mismatch(file, sha256_of(path))


def mismatch(file: WeightFile, found: str) -> str | None:
    """Why a file of this SHA-256 (64 hex digits) is another one; None where nothing says so."""
    if found.startswith(file.sha256):
        return None
    return f"has SHA-256 {found[:8]}…, not {file.sha256[:8]}…"
