"""MKD: a small cloner learns what a frozen VGG16 says of normal images, layer by layer.

Salehi et al., "Multiresolution knowledge distillation for anomaly detection" (2021). The map
is the gradient of the score at the input, by guided backpropagation through the cloner.
Trap: `predict` needs autograd, so nothing may wrap it in inference mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.backbones import Backbone
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

# The critical layers: VGG16's second to fifth pooling.
TEACHER_LAYERS = ("features.9", "features.16", "features.23", "features.30")
# Training looks at all four of them, the score at the last three.
SCORED = slice(1, None)
# Channels of the cloner's convolutions, a pooling after each row.
CLONERS = {
    "small": ((16, 16), (16, 128), (16, 16, 256), (16, 16, 512), (16, 16, 512)),
    "equal": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
POOLINGS = len(CLONERS["small"])
# Share of the pixels of an official map that are not cut off at its top.
KEPT_SHARE = 0.99

Activation = Callable[[Tensor], Tensor]


class Guided(torch.autograd.Function):
    """A ReLU whose backward pass lets positive gradients through, where it was active."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        """The ReLU."""
        output = inputs.clamp(min=0)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The guided rule (Springenberg et al. 2015)."""
        (output,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * (output > 0)


class Cloner(nn.Module):
    """VGG16's layout: batch norm after each convolution but the one before a pooling."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.rows = nn.ModuleList()
        channels = 3
        for widths in rows:
            row = nn.ModuleList()
            for position, width in enumerate(widths, start=1):
                row.append(_convolution(channels, width, has_norm=position < len(widths)))
                channels = width
            self.rows.append(row)

    def forward(self, pixels: Tensor, relu: Activation = functional.relu) -> list[Tensor]:
        """What the second to the fifth pooling give, of (B, 3, S, S)."""
        pooled = []
        for row in self.rows:
            for layer in row:
                pixels = relu(layer(pixels))
            pixels = functional.max_pool2d(pixels, 2)
            pooled.append(pixels)
        return pooled[1:]


def _convolution(inputs: int, outputs: int, *, has_norm: bool) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.xavier_uniform_(convolution.weight)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs)) if has_norm else convolution


def discrepancy(teacher: Sequence[Tensor], cloner: Sequence[Tensor], value_weight: float) -> Tensor:
    """Direction and value, per image (B,): sum over layers of 1 - cosine + weight * mean square.

    The cosine is that of the whole layer, flattened to one vector (equations 2 to 4).
    """
    total = torch.zeros(len(teacher[0]), device=teacher[0].device)
    for theirs, ours in zip(teacher, cloner, strict=True):
        first, second = theirs.float().flatten(1), ours.float().flatten(1)
        direction = 1 - functional.cosine_similarity(first, second)
        total = total + direction + value_weight * (first - second).square().mean(dim=1)
    return total


class MultiresolutionDistillation(OneNetwork, learned="cloner", frozen="teacher"):
    """Where the cloner cannot follow its teacher, the image is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        _check(params)
        self.teacher = placed(
            Backbone.of(params, TEACHER_LAYERS, folder=weights, seed=seed),
            self.device,
        )
        with determinism.seeded(seed, "cloner"):
            self.cloner = placed(Cloner(CLONERS[params["cloner"]]), self.device)

    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Adam on the cloner; the teacher stays as it is."""
        split = images.read_training_images(train, self.size)
        optimiser = torch.optim.Adam(
            self.cloner.parameters(), lr=self.params["learning_rate"], fused=is_fused(self.device)
        )

        def step(pixels: Tensor) -> Tensor:
            self.cloner.train()
            inputs = self.teacher.normalise(pixels)
            with autocast(self.device, self.params["precision"]):
                with torch.no_grad():
                    teacher = self.teacher(inputs)
                cloner = self.cloner(inputs)
            loss = discrepancy(teacher, cloner, self.params["value_weight"]).mean()
            return descend(loss, optimiser)

        schedule = Schedule.of(self.params)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        training.run(step, {"cloner": self.cloner, "optimiser": optimiser})

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Score = discrepancy of the last three layers; map = its gradient at the input."""
        score, gradient = self.explain(images.from_array(image, self.size).to(self.device))
        strength = gradient.abs().sum(dim=1, keepdim=True)  # (1, 1, S, S)
        if self.params["map_scale"] == "image":
            strength = scaled(strength)
        smooth = maps.gaussian_blur(strength, border=self.params["blur_border"])
        return maps.to_array(smooth, image.shape[:2]), float(score)

    def explain(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,) and the gradient (B, 3, S, S) of each at its image's input.

        The gradient is the sum of two paths. The rule of guided backpropagation holds in the
        cloner's; through the teacher it is the plain one.
        """
        self.cloner.eval()
        relu = Guided.apply if self.params["gradient"] == "guided" else functional.relu
        with torch.enable_grad():
            inputs = self.teacher.normalise(pixels).requires_grad_()
            teacher, cloner = self.teacher(inputs)[SCORED], self.cloner(inputs, relu)[SCORED]
            scores = discrepancy(teacher, cloner, self.params["value_weight"])
            (gradient,) = torch.autograd.grad(scores.sum(), inputs)
        return scores.detach(), gradient


def scaled(strength: Tensor) -> Tensor:
    """The official code's: cut off above the 99th percentile, brought to [0, 1]."""
    low, high = strength.amin(), torch.quantile(strength.flatten(), KEPT_SHARE)
    if high <= low:
        return torch.zeros_like(strength)
    return ((strength - low) / (high - low)).clamp(0, 1)


def _check(params: Mapping[str, Any]) -> None:
    for name, known in (
        ("cloner", tuple(CLONERS)),
        ("gradient", ("guided", "plain")),
        ("map_scale", ("none", "image")),
    ):
        check_choice(params, name, known)
    if params["image_size"] < 2**POOLINGS:
        raise ValueError(
            f"image_size is {params['image_size']}; five poolings need {2**POOLINGS} or more"
        )
