"""ReContrast: encoder and decoder learn the domain together; crossed pairs keep them from agreeing.

Guo et al., "ReContrast: domain-specific anomaly detection via contrastive reconstruction" (2023).
Bottleneck and decoder are anomalib's, after RD4AD. Traps: what is made of the trained encoder's
features is held to the frozen one's, and the other way round; training is counted in steps, not in
passes; whether the trained encoder's BatchNorm sees batches decides much, and is chosen on validation
(`encoder_batchnorm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.anomalib_parts import load_part
from baselines.kit.backbones import Backbone, FeatureMaps
from baselines.kit.precision import autocast, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training
from harness.contract import Checkpoint

# The scales that the bottleneck fuses and the decoder gives back; anomalib's files know these three.
LAYERS = ("layer1", "layer2", "layer3")
# The networks that anomalib has a mirrored decoder of, and the widths of the narrowest.
MIRRORED = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2")
RESNET18_WIDTHS = (64, 128, 256)
BATCHNORMS = ("eval", "train", "guarded")
# In standard deviations: where the share of points without a gradient begins and ends.
FIRST_ALPHA, LAST_ALPHA = -3.0, 1.0

bottleneck_part = load_part("models/image/reverse_distillation/components/bottleneck.py")
decoder_part = load_part("models/components/backbone/resnet_decoder.py")


class GuardedBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm that never divides by less than a floor, where a channel hardly varies.

    The floor is the smaller one of the pretrained variance and `floor` (the authors' appendix E
    and their `partialnormv2.py`).
    """

    least: Tensor

    def __init__(self, pretrained: nn.BatchNorm2d, floor: float, epsilon: float) -> None:
        super().__init__(pretrained.num_features, eps=epsilon)
        self.load_state_dict(pretrained.state_dict())
        # Of the pretrained file, as it was: it must not follow the running variance.
        self.register_buffer("least", self.running_var.clamp(max=floor), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """As `nn.BatchNorm2d`."""
        if not self.training:
            return super().forward(features)
        features = features.float()
        dims, points = (0, 2, 3), features.numel() // features.shape[1]
        mean, variance = features.mean(dim=dims), features.var(dim=dims, correction=0)
        unbiased = variance.detach() * points / (points - 1)
        is_lively = unbiased > self.least
        divisor = torch.where(is_lively, variance, self.least)
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(torch.where(is_lively, unbiased, self.least), self.momentum)
        scale = self.weight * (divisor + self.eps).rsqrt()  # (C,)
        return (features - _by_channel(mean)) * _by_channel(scale) + _by_channel(self.bias)


def _by_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def guard(module: nn.Module, floor: float, epsilon: float) -> None:
    """Replace every BatchNorm in a module by a guarded one with its values."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, GuardedBatchNorm2d(child, floor, epsilon))
        else:
            guard(child, floor, epsilon)


class Decoder(nn.Module):
    """The one-class bottleneck, RD4AD's decoder, and two sets of output convolutions behind it.

    Of encoders that are no ResNet it is ResNet-18's: 1x1 convolutions bring their maps to its
    widths, and the output convolutions bring what it makes to theirs.

    Args:
        architecture: the encoders' network.
        channels: of its three feature maps.
    """

    def __init__(self, architecture: str, channels: Sequence[int]) -> None:
        super().__init__()
        is_mirrored = architecture in MIRRORED
        mirrored = architecture if is_mirrored else "resnet18"
        widths = channels if is_mirrored else RESNET18_WIDTHS
        group = 128 if mirrored.startswith("wide_") else 64
        self.entrance = nn.ModuleList(
            nn.Identity() if is_mirrored else nn.Conv2d(theirs, ours, 1)
            for theirs, ours in zip(channels, widths, strict=True)
        )
        self.bottleneck = bottleneck_part.get_bottleneck_layer(mirrored, width_per_group=group)
        self.decoder = decoder_part.get_decoder(mirrored)
        self.outputs = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(ours, theirs, 1) for theirs, ours in zip(channels, widths, strict=True)
            )
            for _ in range(2)
        )
        for layer in self.outputs.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, trained: list[Tensor], frozen: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What is made of both encoders' features, in one batch: each by its own set of outputs.

        Args:
            trained, frozen: three (B, C, h, w) each.
        Returns:
            three from the trained encoder's features, three from the frozen one's.
        """
        both = [
            enter(torch.cat(pair))
            for enter, *pair in zip(self.entrance, trained, frozen, strict=True)
        ]
        halves = [scale.chunk(2) for scale in self.decoder(self.bottleneck(both))]
        of_trained, of_frozen = (
            [output(half[which]) for output, half in zip(outputs, halves, strict=True)]
            for which, outputs in enumerate(self.outputs)
        )
        return of_trained, of_frozen


class ReContrast(OneNetwork, learned="network", frozen="frozen_encoder"):
    """Where the decoder cannot follow one encoder from the other's features, it is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        check_choice(params, "encoder_batchnorm", BATCHNORMS)
        if self.size % 32:
            raise ValueError(f"image_size is {self.size}; it must be a multiple of 32")
        frozen = Backbone.of(params, LAYERS, folder=weights, seed=seed)
        encoder = FeatureMaps.of(params, LAYERS, folder=weights, seed=seed)  # the same weights
        if params["encoder_batchnorm"] == "guarded":
            guard(encoder, params["variance_floor"], params["batchnorm_epsilon"])
        with determinism.seeded(seed, "decoder"):
            decoder = Decoder(frozen.architecture, frozen.channels())
        self.frozen_encoder = placed(frozen, self.device)
        self.network = placed(nn.ModuleDict({"encoder": encoder, "decoder": decoder}), self.device)

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """AdamW on decoder and trained encoder; the frozen encoder stays as it is."""
        split = images.read_training_images(train_folder, self.size)
        schedule = Schedule.of(self.params, steps_per_epoch=self.params["steps_per_epoch"])
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        optimisers = {
            part: torch.optim.AdamW(
                self.network[part].parameters(),
                lr=self.params[rate],
                weight_decay=self.params["weight_decay"],
                eps=self.params["adam_epsilon"],
            )
            for part, rate in (("decoder", "learning_rate"), ("encoder", "encoder_learning_rate"))
        }
        steps = _Steps()

        def step(pixels: Tensor) -> Tensor:
            self._set_training()
            with autocast(self.device, self.params["precision"]):
                pairs = self._pairs(pixels)
            alpha = self._alpha(steps.done, schedule.steps(len(split)))
            loss = sum(hard_distance(target, made, alpha) for target, made in pairs) / 2
            for optimiser in optimisers.values():
                optimiser.zero_grad()
            loss.backward()
            optimisers["decoder"].step()
            if not self._rests(steps.done):
                optimisers["encoder"].step()
            steps.done += 1
            reset = self.params["adam_reset_steps"]
            if reset and steps.done % reset == 0:
                optimisers["decoder"].state.clear()
            return loss.detach()

        state = {f"{part} optimiser": optimiser for part, optimiser in optimisers.items()}
        training.run(step, {"network": self.network, "steps": steps, **state})

    def _set_training(self) -> None:
        self.network.train()
        if self.params["encoder_batchnorm"] == "eval":
            self.network["encoder"].eval()

    def _alpha(self, done: int, steps: int) -> float:
        """Rises in a line over the first share of all steps."""
        ramp = steps * self.params["ramp_share"]
        return min(FIRST_ALPHA + (LAST_ALPHA - FIRST_ALPHA) * done / ramp, LAST_ALPHA)

    def _rests(self, done: int) -> bool:
        """Whether the encoder waits, for the decoder's AdamW has just begun anew."""
        reset = self.params["adam_reset_steps"]
        return reset > 0 and done >= reset and done % reset < self.params["encoder_rest_steps"]

    def _pairs(self, pixels: Tensor) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Crossed: what each half of the decoder is held to, and what it made of the other."""
        normalised = self.frozen_encoder.normalise(pixels)
        trained = self.network["encoder"](normalised)
        with torch.no_grad():
            frozen = self.frozen_encoder(normalised)
        of_trained, of_frozen = self.network["decoder"](trained, frozen)
        return [(frozen, of_trained), (trained, of_frozen)]

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Cosine distances of six pairs, added at the input's size and smoothed; score = maximum."""
        self.network.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        scales = [
            maps.resize(
                1 - functional.cosine_similarity(theirs, ours)[:, None],
                (self.size, self.size),
                align_corners=True,
            )
            for target, made in self._pairs(pixels)
            for theirs, ours in zip(target, made, strict=True)
        ]
        smooth = maps.gaussian_blur(torch.stack(scales).sum(dim=0), border="reflect")
        count = max(1, int(smooth.numel() * self.params["score_share"]))
        score = smooth.flatten().topk(count).values.mean()
        return maps.to_array(smooth, image.shape[:2]), float(score)


class _Steps:
    """How many steps are done: kept with the training's state."""

    done = 0

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = state["done"]


def hard_distance(target: list[Tensor], made: list[Tensor], alpha: float) -> Tensor:
    """One minus the cosine of each scale flattened to one vector, added over the scales.

    Points that are easy, closer than the mean by `alpha` standard deviations, have their say in
    the value and none in the gradient (section 3.3).

    Args:
        target: (B, C, h, w) each; gets no gradient.
        made: likewise.
        alpha: the threshold; at -3 nearly every point has a gradient, at 1 the hardest sixth.
    """
    losses = []
    for theirs, ours in zip(target, made, strict=True):
        theirs, ours = theirs.detach().float(), ours.float()  # noqa: PLW2901 - the same features
        with torch.no_grad():
            distances = 1 - functional.cosine_similarity(theirs, ours)[:, None]  # (B, 1, h, w)
            is_easy = distances < distances.mean() + alpha * distances.std()
        hard = torch.where(is_easy, ours.detach(), ours)
        cosine = functional.cosine_similarity(theirs.flatten(1), hard.flatten(1))
        losses.append((1 - cosine).mean())
    return torch.stack(losses).sum()
