"""The pretrained parts of anomalib's networks: from the weights folder, frozen, never saved.

anomalib asks timm for a pretrained network, and timm would download it. Inside
`pretrained_backbones` it gets the kit's own instead: for torchvision's networks the very weights
that `backbones.load_network` gives (random ones included, so that a method through the adapter
and one of our own stand on the same features), for every other name of timm's the file of the
weights folder. Traps: a random ResNet of timm's own has residual branches that begin at zero;
timm's default weights of a name (`.tv2_in1k`, `.a1_in1k`) are other files than torchvision's V1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import timm
from torch import Tensor, nn

from baselines.kit.backbones import identity_of, load_network, weight_path
from baselines.kit.images import Spread
from baselines.kit.own_backbones import find_file
from baselines.kit.timm_stages import STRIDES
from baselines.kit.weight_files import WEIGHT_FILES, WeightFile

# Of timm's own forms, those whose tensors are named as torchvision's.
TORCHVISION = ("resnet18", "wide_resnet50_2", "vgg16")
Region = Callable[[], AbstractContextManager[Any]]


class Frozen:
    """The parts of a network that came with weights: no gradient, evaluation mode, not saved."""

    def __init__(self) -> None:
        self._parts: list[nn.Module] = []
        self._identities: list[str] = []

    spread: Spread | None = None
    """Mean and standard deviation that the last part's images are normalised with; None: unsaid."""

    def add(self, part: nn.Module, identity: str) -> None:
        """Take a part in.

        Args:
            part: the network, or what holds it; from now on it is the owner's.
            identity: `random/<seed>` or `sha256:<hex>` of its file.
        """
        self._parts.append(part)
        if identity not in self._identities:
            self._identities.append(identity)

    @property
    def identity(self) -> str:
        """Of all parts, in the order in which they were taken in; `none` where there are none."""
        return "+".join(self._identities) or "none"

    def freeze(self, region: Region | None) -> None:
        """No gradients any more, and evaluation mode.

        Args:
            region: what each part computes in, its results in float32 again; None: as all else.
        """
        for part in self._parts:
            part.requires_grad_(False)
            if region is not None:
                _compute_in(part, region)
        self.eval()

    def eval(self) -> None:
        """Evaluation mode: the batch statistics of a frozen part never move."""
        for part in self._parts:
            part.eval()

    def without(self, model: nn.Module) -> dict[str, Tensor]:
        """The state of a network without that of its frozen parts."""
        theirs = self._prefixes(model)
        return {
            name: value for name, value in model.state_dict().items() if not name.startswith(theirs)
        }

    def load_beside(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Load what `without` gave, and nothing else.

        Raises:
            ValueError: names are missing, or there are others.
        """
        theirs = self._prefixes(model)
        missing, unexpected = model.load_state_dict(dict(tensors), strict=False)
        missing = [name for name in missing if not name.startswith(theirs)]
        if missing or unexpected:
            raise ValueError(
                f"the saved tensors are another network's: missing {missing}, unknown {unexpected}"
            )

    def _prefixes(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(
            f"{name}."
            for name, module in model.named_modules(remove_duplicate=False)
            if any(module is part for part in self._parts)
        )


@contextmanager
def pretrained_backbones(
    weights: str, folder: Path | None, seed: int, frozen: Frozen
) -> Iterator[None]:
    """Inside, a network that asks timm for a pretrained backbone gets the kit's, and it is frozen.

    Args:
        weights: `random`, or the word for the files of the weights folder.
        folder: the weights folder; not read for `random`.
        seed: gives the random weights.
        frozen: takes in what was made.
    Raises:
        WeightsNotFound: the folder does not hold it.
        ValueError: the harness knows no such file.
    """
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **more: Any) -> nn.Module:
        bare = name.partition(".")[0]  # timm's `wide_resnet50_2.tv_in1k`
        is_unknown = weights == "random" and bare not in WEIGHT_FILES
        if timm.is_model(bare) and (is_unknown or not pretrained):
            plain: nn.Module = create(name, pretrained=False, **more)
            if pretrained:
                frozen.add(plain, f"random/{seed}")
            return plain
        file = find_file(bare, folder)
        asked = partial(create, file.architecture or bare, **more)
        if not pretrained:
            return _named_by_stride(asked(pretrained=False))
        network, identity = _pretrained(asked, file, weights, folder, seed)
        frozen.add(network, identity)
        frozen.spread = (file.mean, file.deviation)
        return network

    with patch.object(timm, "create_model", offline):
        yield


def _pretrained(
    create: Callable[..., nn.Module], file: WeightFile, weights: str, folder: Path | None, seed: int
) -> tuple[nn.Module, str]:
    if file.name in TORCHVISION:
        ours, identity = load_network(file.name, weights=weights, folder=folder, seed=seed)
        network = create(pretrained=False)
        theirs = network.state_dict().keys()
        kept = {key: value for key, value in ours.state_dict().items() if key in theirs}
        network.load_state_dict(kept)
        return network, identity
    if weights == "random":
        return create(pretrained=False), f"random/{seed}"
    path = weight_path(file.name, folder)
    filled = create(pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    return filled, identity_of(file, path)


def _named_by_stride(network: nn.Module) -> nn.Module:
    """Feature maps of an own backbone are `layer1` … `layer4` after their stride, as in the kit."""
    for stage in getattr(network, "feature_info", ()):
        stage["module"] = STRIDES.get(stage["reduction"], stage["module"])
    return network


def _compute_in(part: nn.Module, region: Region) -> None:
    def wrapped(called: Callable[..., Any]) -> Callable[..., Any]:
        def inside(*given: Any, **named: Any) -> Any:
            with region():
                return float32(called(*given, **named))

        return inside

    for name in ("forward", "forward_intermediates"):  # the second: of timm's transformers
        if hasattr(part, name):
            setattr(part, name, wrapped(getattr(part, name)))


def float32(found: Any) -> Any:
    """The same, every floating tensor of it in float32: what leaves a region of mixed precision."""
    if isinstance(found, Tensor):
        return found.float() if found.is_floating_point() else found
    if isinstance(found, dict):
        return {key: float32(value) for key, value in found.items()}
    if isinstance(found, tuple) and hasattr(found, "_fields"):
        return type(found)(*map(float32, found))
    if isinstance(found, (list, tuple)):
        return type(found)(map(float32, found))
    return found
