"""Feature extractors: torchvision's networks with its V1 weights, or random ones.

Nothing is ever downloaded here. Traps: timm's default weights of the same names are
other files; a network with random weights is a stated choice (`weights = "random"`),
never what a missing file leads to; a random EfficientNet-B5 gives features near zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torchvision import models

from baselines.kit.determinism import seeded
from baselines.kit.weight_files import WEIGHT_FILES, problem_with, sha256_of


class WeightsNotFound(FileNotFoundError):
    """The weights folder lacks a file, or holds another one under its name."""


class FeatureMaps(nn.Module):
    """The feature maps of chosen layers; a network that can be trained, such as a student.

    Layer names are torchvision's: `layer1` … `layer4` of a ResNet, `features.<i>` of
    VGG16 and EfficientNet-B5. Layers after the last chosen one are left out.

    Args:
        name: a key of `WEIGHT_FILES`.
        layers: the layers whose outputs are wanted, in the network's order.
        weights: `imagenet` (the file of `WEIGHT_FILES`) or `random`.
        folder: the weights folder; not read for `random`.
        seed: gives the random weights; the same seed, the same network.
    Raises:
        WeightsNotFound: the file is missing, or its hash is wrong.
        ValueError: an unknown name, layer or kind of weights.
    """

    def __init__(
        self, name: str, layers: Sequence[str], *, weights: str, folder: Path | None, seed: int
    ) -> None:
        super().__init__()
        network, self.identity = load_network(name, weights=weights, folder=folder, seed=seed)
        stages = _stages(network)
        names = [stage for stage, _ in stages]
        if unknown := [layer for layer in layers if layer not in names]:
            raise ValueError(f"{name} has no layer {unknown[0]!r}; it has: {', '.join(names)}")
        if list(layers) != sorted(layers, key=names.index):
            raise ValueError(f"layers must stand in the network's order: {', '.join(layers)}")
        self.layers = tuple(layers)
        self.stages = nn.ModuleDict(
            {_key(stage): module for stage, module in stages[: names.index(layers[-1]) + 1]}
        )

    identity: str
    """`random/<seed>` or `sha256:<hex>` of the weight file: what a trained model depends on."""

    @classmethod
    def of(
        cls, params: Mapping[str, Any], layers: Sequence[str], *, folder: Path | None, seed: int
    ) -> Self:
        """The network that the parameters `backbone` and `weights` name; errors as above."""
        name, weights = params["backbone"], params["weights"]
        return cls(name, layers, weights=weights, folder=folder, seed=seed)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the chosen layers.

        Args:
            images: (B, 3, H, W), normalised as the weights want it.
        Returns:
            one (B, C, h, w) per layer, in the order of `layers`.
        """
        wanted = {_key(layer) for layer in self.layers}
        found = []
        for key, stage in self.stages.items():
            images = stage(images)
            if key in wanted:
                found.append(images)
        return found


class Backbone(FeatureMaps):
    """`FeatureMaps` that never change: in evaluation mode, and without gradients to itself."""

    def __init__(
        self, name: str, layers: Sequence[str], *, weights: str, folder: Path | None, seed: int
    ) -> None:
        super().__init__(name, layers, weights=weights, folder=folder, seed=seed)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:  # noqa: ARG002 - nn.Module's signature
        """Stays in evaluation mode: the batch statistics of a frozen backbone never move."""
        return super().train(False)


def load_network(
    name: str, *, weights: str, folder: Path | None, seed: int
) -> tuple[nn.Module, str]:
    """A torchvision network (of VGG16 the features alone), and the identity of its weights.

    Raises:
        WeightsNotFound: as in `Backbone`.
        ValueError: as in `Backbone`.
    """
    if name not in WEIGHT_FILES:
        raise ValueError(f"unknown backbone {name!r}; known: {', '.join(WEIGHT_FILES)}")
    if weights not in {"imagenet", "random"}:
        raise ValueError(f"weights is {weights!r}; it can be 'imagenet' or 'random'")
    with seeded(seed, f"backbone/{name}"):
        network = VggFeatures() if name == "vgg16" else models.get_model(name, weights=None)
    if weights == "random":
        return network, f"random/{seed}"
    path = weight_path(name, folder)
    state = torch.load(path, map_location="cpu", weights_only=True)
    known = network.state_dict().keys()
    network.load_state_dict({name: value for name, value in state.items() if name in known})
    return network, f"sha256:{sha256_of(path)}"


class VggFeatures(nn.Module):
    """VGG16 as torchvision makes and initialises it, without its classifier.

    The classifier is nine tenths of the weights (0.5 GB, 2 s to draw), and no feature
    map comes from it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = models.vgg.make_layers(models.vgg.cfgs["D"])
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)


def weight_path(name: str, folder: Path | None) -> Path:
    """The file of a backbone in the weights folder, held to its hash.

    Raises:
        WeightsNotFound: it is not there, or another file under its name.
        ValueError: the harness knows no file of this backbone.
    """
    if name not in WEIGHT_FILES:
        raise ValueError(f"unknown backbone {name!r}; known: {', '.join(WEIGHT_FILES)}")
    file = WEIGHT_FILES[name]
    fix = f"python -m harness.weights fetch {name}, or --set weights=random for a trial"
    if folder is None:
        raise WeightsNotFound(f"no weights folder was given for {file.file_name}; fix: {fix}")
    if problem := problem_with(file, folder):
        raise WeightsNotFound(f"{file.file_name} {problem} in {folder}; fix: {fix}")
    return folder / file.file_name


def _stages(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The network's parts up to its pooling, in order, under torchvision's names."""
    if isinstance(network, models.ResNet):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        names = ("layer1", "layer2", "layer3", "layer4")
        return [("stem", stem), *((name, getattr(network, name)) for name in names)]
    features = network.get_submodule("features")
    return [(f"features.{name}", part) for name, part in features.named_children()]


def _key(layer: str) -> str:
    """Module names may hold no dot."""
    return layer.replace(".", "_")
