"""What Dinomaly and INP-Former share: a decoder learns to give back the tokens of a frozen ViT.

The networks are anomalib's; around them stands what both authors' code says (Dinomaly `utils.py`,
`optimizers/StableAdamW.py`; INP-Former `utils.py`): initialisation, StableAdamW, a learning rate
that warms up and falls as a cosine with every step, the map and its score. Traps: anomalib leaves
the biases of the MLPs out, returns Dinomaly's map without the blur and gives the schedule to
Lightning as one of epochs; its own schedule holds a numpy array, which a training that is
taken up again could not read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from baselines.kit import maps
from baselines.kit.anomalib_backbones import float32, pretrained_backbones
from baselines.kit.anomalib_model import AnomalibModel
from baselines.kit.anomalib_parts import library
from baselines.kit.precision import autocast
from baselines.kit.timm_vits import VitForm

# `trunc_normal_` of both authors: standard deviation and where it is cut off.
INITIAL_DEVIATION, INITIAL_CUT = 0.01, 0.03
BETAS = (0.9, 0.999)
# Blocks whose tokens are averaged before they are compared; two groups (Dinomaly, section 3.4).
GROUP = 4


class TokenReconstruction(AnomalibModel):
    """A network of anomalib that holds `encoder`, `decoder` and `gaussian_blur`.

    Parameters of `entry.toml` beside the adapter's: `backbone` (a ViT by timm's name), `layers`
    (eight of its blocks, counted from 0: as many as the decoder has), `mlp_bias`,
    `learning_rate`, `final_learning_rate`, `warmup_steps`, `weight_decay`, `adam_epsilon`,
    `map_size` and `top_share`.
    """

    weight_kinds = ("pretrained", "random")
    learned_parts: ClassVar[Sequence[str]]
    """Attributes of the network that are initialised as the authors do."""
    reconstruction: ClassVar[str]
    """anomalib's method that runs encoder and decoder."""

    def make(self, weights: Path | None) -> nn.Module:
        """The network around the frozen ViT.

        Raises:
            ValueError: the image is no whole number of patches wide, or `layers` are not eight.
            WeightsNotFound: as the adapter.
        """
        if len(self.params["layers"]) != 2 * GROUP:
            raise ValueError(f"layers must name {2 * GROUP} blocks, one per block of the decoder")
        form = VitForm.of(self.params["backbone"])
        form.check_size(self.size)
        module = library(f"models.image.{self.part}.torch_model")
        kind = _of_form(getattr(module, self.network), form)
        with pretrained_backbones(self.params["weights"], weights, self.seed, self.frozen):
            made: nn.Module = kind(**self.made_with())
        if self.params["mlp_bias"]:
            _give_biases(made)
        for name in self.learned_parts:
            _initialise(getattr(made, name))
        return made

    def made_with(self) -> dict[str, Any]:
        """`arguments`, and the ViT with its layers."""
        encoder = {"encoder_name": self.params["backbone"], "target_layers": self.params["layers"]}
        return {**super().made_with(), **encoder}

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """StableAdamW with AMSGrad (arXiv 2304.13013; Dinomaly's `optimizers/StableAdamW.py`)."""
        kind = library("models.image.dinomaly.components.optimizer").StableAdamW
        made: torch.optim.Optimizer = kind(
            parameters, lr=self.params["learning_rate"], betas=BETAS, amsgrad=True,
            weight_decay=self.params["weight_decay"], eps=self.params["adam_epsilon"],
        )  # fmt: skip
        return made

    def rates(
        self, optimiser: torch.optim.Optimizer, epochs: int, steps_per_epoch: int
    ) -> LRScheduler:
        """Linear from 0 over the warm-up, then a cosine to `final_learning_rate`, step by step."""
        steps = epochs * steps_per_epoch
        final = self.params["final_learning_rate"] / self.params["learning_rate"]
        warmup = min(self.params["warmup_steps"], steps // 2)
        return LambdaLR(optimiser, lambda step: rate_at(step, steps, warmup, final))

    @torch.no_grad()
    def infer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map (1, 1, M, M) and score (1,), both of the blurred map, as the authors evaluate.

        The cosine distances of both groups at the network's size, their mean resized to `map_size`
        (M) and blurred by 5x5 pixels of a Gaussian of sigma 4; the score is the mean of the
        `top_share` highest pixels.
        """
        encoded, decoded, *_ = self.reconstruct(pixels)
        size = (self.size, self.size)
        raw, _ = self.model.calculate_anomaly_maps(encoded, decoded, out_size=size)  # type: ignore[operator]
        map_size: int = self.params["map_size"]
        smooth = self.model.gaussian_blur(maps.resize(raw, (map_size, map_size)))  # type: ignore[operator]
        highest = max(1, int(smooth[0].numel() * self.params["top_share"]))
        return smooth, smooth.flatten(1).topk(highest).values.mean(dim=1)

    def answer(self, found: tuple[Tensor, Tensor]) -> tuple[Tensor, float]:
        """What `infer` found."""
        anomaly_map, score = found
        return anomaly_map, float(score[0])

    def reconstruct(self, pixels: Tensor) -> tuple[Any, ...]:
        """What the network compares, in float32: the encoder's tokens and the decoder's, two groups
        (B, D, h, w) each; then what else the network's own method returns.

        Args:
            pixels: (B, 1 or 3, S, S) uint8.
        """
        with autocast(self.device, self._precision):
            found = getattr(self.model, self.reconstruction)(self.normalised(pixels))
        result: tuple[Any, ...] = float32(found)
        return result


def rate_at(step: int, steps: int, warmup: int, final: float) -> float:
    """The learning rate of a step (from 0) as a share of the highest.

    Args:
        step: number of the step.
        steps: of the whole training.
        warmup: how many of them the rate rises over; the last of these has the highest already.
        final: what the cosine falls towards.
    """
    if step < warmup:
        return step / max(1, warmup - 1)
    if step >= steps:
        return final
    return final + 0.5 * (1 - final) * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def _of_form(kind: type[nn.Module], form: VitForm) -> type[nn.Module]:
    """anomalib looks width and heads up in a table of DINOv2's sizes: here they are the ViT's own."""

    def looked_up(name: str, layers: list[int]) -> dict[str, Any]:  # noqa: ARG001 - anomalib's
        return {"embed_dim": form.width, "num_heads": form.heads, "target_layers": layers}

    return type("OfForm", (kind,), {"_get_architecture_config": staticmethod(looked_up)})


def _give_biases(network: nn.Module) -> None:
    """The authors' MLPs have biases, anomalib's have none but for INP-Former's bottleneck."""
    kind = library("models.image.dinomaly.components.layers").DinomalyMLP
    for mlp in network.modules():
        if isinstance(mlp, kind):
            for name in ("fc1", "fc2"):
                plain = getattr(mlp, name)
                setattr(mlp, name, nn.Linear(plain.in_features, plain.out_features))


def _initialise(part: nn.Module) -> None:
    for module in part.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(
                module.weight, std=INITIAL_DEVIATION, a=-INITIAL_CUT, b=INITIAL_CUT
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
