"""The pretrained backbone files: which, how to recognise them, where they are published.

Standard library only: the harness reads this table too, and must not load torch for it.
Trap: torchvision trusts a file that is already in its cache; nothing but this check
tells a wrong file (another recipe under the same name) from the right one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PUBLISHER = "https://download.pytorch.org/models/"
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class WeightFile:
    """One file of torchvision's `IMAGENET1K_V1` weights."""

    backbone: str
    """Name of the network in torchvision, and in `[entry] backbones`."""
    file_name: str
    """Name under which it is published and kept."""
    sha256: str
    """Its SHA-256: all 64 hex digits where they are known, else the 8 that the publisher writes
    into the file name (32 bits: enough against a mistake, not against an attacker)."""
    mebibytes: int
    """Its size, rounded."""

    @property
    def url(self) -> str:
        """Where it is published."""
        return PUBLISHER + self.file_name


WEIGHT_FILES: dict[str, WeightFile] = {
    file.backbone: file
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
    found = sha256_of(path)
    if not found.startswith(file.sha256):
        return f"has SHA-256 {found[:8]}…, not {file.sha256[:8]}…"
    return None
