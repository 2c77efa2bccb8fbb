"""Feature maps of any network that timm knows by name, its tensors from a file that is at hand.

Nothing is downloaded, and no code comes with a file: safetensors, or a state dict that torch
reads with `weights_only`. Layers are called `layer1` … `layer4` after their stride (4, 8, 16,
32), whatever the network calls them, or by timm's own names (`blocks.2`, `stages.1`).
Trap: a network whose stages have one stride alone, such as a plain vision transformer, has one
`layer<n>`; its blocks have to be named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from baselines.kit.own_backbones import SUFFIX

STRIDES = {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}


class TimmStages(nn.Module):
    """The outputs of chosen stages of one of timm's networks; later stages are left out.

    Args:
        architecture: timm's name.
        layers: the stages, in the network's order.
    Raises:
        ValueError: timm has no such network, or the network no such stage.
    """

    def __init__(self, architecture: str, layers: Sequence[str]) -> None:
        super().__init__()
        indices, more = _chosen(architecture, layers)
        try:
            self.network: nn.Module = timm.create_model(
                architecture, pretrained=False, features_only=True, out_indices=indices, **more
            )
        except TypeError:
            if not more:
                raise
            raise ValueError(f"{architecture} takes images of one size alone") from None
        layout = getattr(self.network, "output_fmt", None)
        self.is_channels_last = str(getattr(layout, "value", layout)) == "NHWC"

    def forward(self, images: Tensor) -> list[Tensor]:
        """One (B, C, h, w) per layer of (B, 3, H, W)."""
        found: list[Tensor] = list(self.network(images))
        return [each.permute(0, 3, 1, 2) for each in found] if self.is_channels_last else found

    def load(self, path: Path) -> None:
        """Take the tensors of a file, every one that the stages hold.

        Raises:
            ValueError: the file cannot be read, or lacks a tensor, or has it in another shape.
        """
        theirs = {_flat(name): value for name, value in _read(path).items()}
        state, problems = self.network.state_dict(), []
        for name, value in state.items():
            found = theirs.get(_flat(name.removeprefix("model.")))
            if found is None and name.endswith("num_batches_tracked"):
                continue  # counts the batches of a training: no feature hangs on it
            if found is None:
                problems.append(f"{name} is not in it")
            elif found.shape != value.shape:
                problems.append(
                    f"{name} has the shape {list(found.shape)}, not {list(value.shape)}"
                )
            else:
                state[name] = found
        if problems:
            raise ValueError(
                f"{path.name} does not hold this network: {'; '.join(problems[:3])}"
                + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
            )
        self.network.load_state_dict(state)


def _chosen(architecture: str, layers: Sequence[str]) -> tuple[list[int], dict[str, Any]]:
    """Places of the layers among the network's stages, and what else the network is made with."""
    if not timm.is_model(architecture):
        raise ValueError(f"timm {timm.__version__} has no network {architecture!r}")
    with torch.device("meta"):  # its description alone: nothing is drawn and no memory taken
        whole = timm.create_model(architecture, pretrained=False)
    stages = list(whole.feature_info)
    places: dict[str, int] = {}
    for place, stage in enumerate(stages):
        if name := STRIDES.get(stage["reduction"]):
            places[name] = place  # the last stage of a stride
    places |= {stage["module"]: place for place, stage in enumerate(stages)}
    if unknown := [layer for layer in layers if layer not in places]:
        raise ValueError(
            f"{architecture} has no layer {unknown[0]!r}; it has: {', '.join(sorted(places))}"
        )
    chosen = [places[layer] for layer in layers]
    if chosen != sorted(set(chosen)):
        raise ValueError(f"layers must stand in the network's order: {', '.join(layers)}")
    is_fixed = getattr(whole, "pretrained_cfg", {}).get("fixed_input_size", False)
    return chosen, {"dynamic_img_size": True} if is_fixed else {}


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == SUFFIX:
        try:
            tensors: dict[str, Tensor] = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path.name} is no safetensors file: {error}") from None
        return tensors
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _flat(name: str) -> str:
    """Names as timm's wrappers of feature maps write them: `stages.0` is `stages_0` there."""
    return name.replace(".", "_")
