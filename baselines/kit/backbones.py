"""Feature extractors: torchvision's networks with its V1 weights, timm's networks, or random ones.

Nothing is ever downloaded here. Which network and which file a name means stands in
`WEIGHT_FILES`, or in a description in the weights folder (`own_backbones.py`). Traps: timm's
default weights of the same names are other files; a network with random weights is a stated
choice (`weights = "random"`), never what a missing file leads to; a random EfficientNet-B5
gives features near zero; images are normalised as the file wants it (`FeatureMaps.normalise`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torchvision import models

from baselines.kit import images as kit_images
from baselines.kit.determinism import seeded
from baselines.kit.own_backbones import find_file
from baselines.kit.weight_files import WeightFile, problem_with, sha256_of

if TYPE_CHECKING:
    from baselines.kit.timm_stages import TimmStages

TORCHVISIONS = ("resnet18", "wide_resnet50_2", "vgg16", "efficientnet_b5")


class WeightsNotFound(FileNotFoundError):
    """The weights folder lacks a file, or holds another one under its name."""


class FeatureMaps(nn.Module):
    """The feature maps of chosen layers; a network that can be trained, such as a student.

    Layer names are torchvision's: `layer1` … `layer4` of a ResNet, `features.<i>` of
    VGG16 and EfficientNet-B5; of timm's networks `layer1` … `layer4` are the stages of stride
    4, 8, 16, 32 (`timm_stages.py`). Layers after the last chosen one are left out.

    Args:
        name: a key of `WEIGHT_FILES`, or of a description in the weights folder.
        layers: the layers whose outputs are wanted, in the network's order.
        weights: `imagenet` (the backbone's file) or `random`.
        folder: the weights folder; for `random` only an own backbone's description is read there.
        seed: gives the random weights; the same seed, the same network.
    Raises:
        WeightsNotFound: the file is missing, or its hash is wrong.
        ValueError: an unknown name, layer or kind of weights.
    """

    def __init__(
        self, name: str, layers: Sequence[str], *, weights: str, folder: Path | None, seed: int
    ) -> None:
        super().__init__()
        file = find_file(name, folder)
        self.name, self.architecture = name, file.architecture or name
        self.spread = (file.mean, file.deviation)
        self.layers = tuple(layers)
        self.timm_network: TimmStages | None = None
        self.stages = nn.ModuleDict()
        if file.architecture:
            self.timm_network, self.identity = _timm_network(
                file, layers, weights=weights, folder=folder, seed=seed
            )
            return
        network, self.identity = load_network(name, weights=weights, folder=folder, seed=seed)
        stages = _stages(network)
        names = [stage for stage, _ in stages]
        if unknown := [layer for layer in layers if layer not in names]:
            raise ValueError(f"{name} has no layer {unknown[0]!r}; it has: {', '.join(names)}")
        if list(layers) != sorted(layers, key=names.index):
            raise ValueError(f"layers must stand in the network's order: {', '.join(layers)}")
        for stage, module in stages[: names.index(layers[-1]) + 1]:
            self.stages[_key(stage)] = module

    identity: str
    """`random/<seed>`, or `sha256:<hex>` of the weight file (and what an own description says of
    it): what a trained model depends on."""
    architecture: str
    """The network in timm's words, or torchvision's name."""
    spread: kit_images.Spread
    """Mean and standard deviation that images are normalised with."""

    @classmethod
    def of(
        cls, params: Mapping[str, Any], layers: Sequence[str], *, folder: Path | None, seed: int
    ) -> Self:
        """The network that the parameters `backbone` and `weights` name; errors as above."""
        name, weights = params["backbone"], params["weights"]
        return cls(name, layers, weights=weights, folder=folder, seed=seed)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Float32 (B, 3, S, S) as the weights want it, from uint8 (B, 1 or 3, S, S)."""
        return kit_images.normalise(pixels, self.spread)

    @torch.no_grad()
    def channels(self) -> tuple[int, ...]:
        """How many channels each chosen layer has; the batch statistics stay as they are."""
        was_training = self.training
        self.eval()
        probe = self(torch.zeros(1, 3, 64, 64, device=next(self.parameters()).device))
        self.train(was_training)
        return tuple(layer.shape[1] for layer in probe)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the chosen layers.

        Args:
            images: (B, 3, H, W), normalised as the weights want it (`normalise`).
        Returns:
            one (B, C, h, w) per layer, in the order of `layers`.
        """
        if self.timm_network is not None:
            return self.timm_network(images)
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
    if name not in TORCHVISIONS:
        raise ValueError(f"unknown backbone {name!r}; torchvision's: {', '.join(TORCHVISIONS)}")
    _check_weights(weights)
    with seeded(seed, f"backbone/{name}"):
        network = VggFeatures() if name == "vgg16" else models.get_model(name, weights=None)
    if weights == "random":
        return network, f"random/{seed}"
    path = weight_path(name, folder)
    state = torch.load(path, map_location="cpu", weights_only=True)
    known = network.state_dict().keys()
    network.load_state_dict({name: value for name, value in state.items() if name in known})
    return network, f"sha256:{sha256_of(path)}"


def _timm_network(
    file: WeightFile, layers: Sequence[str], *, weights: str, folder: Path | None, seed: int
) -> tuple[TimmStages, str]:
    """One of timm's networks with the file's tensors, or random ones; and its identity."""
    from baselines.kit.timm_stages import TimmStages  # timm takes a second to import

    _check_weights(weights)
    path = None if weights == "random" else weight_path(file.name, folder)
    with seeded(seed, f"backbone/{file.name}"):
        network = TimmStages(file.architecture, layers)
    if path is None:
        return network, f"random/{seed}"
    network.load(path)
    told = [f"sha256:{sha256_of(path)}", *([file.description] if file.description else [])]
    return network, " described by ".join(told)


def _check_weights(weights: str) -> None:
    if weights not in {"imagenet", "random"}:
        raise ValueError(f"weights is {weights!r}; it can be 'imagenet' or 'random'")


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
        ValueError: neither the committed table nor the folder knows the name.
    """
    file = find_file(name, folder)
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
