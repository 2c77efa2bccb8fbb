"""SimpleNet: a discriminator tells adapted patch features from the same with noise on them.

Liu et al., "SimpleNet: a simple network for image anomaly detection and localization" (2023).
Traps: the discriminator must see features with and without noise in one pass, because its
BatchNorm takes both for one batch; noise of 0.015 is lost in bfloat16, so that the backbone
alone may run in it, and then at prediction too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps, patches
from baselines.kit.backbones import Backbone
from baselines.kit.kept_features import kept
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

NOISE_UNITS = ("absolute", "spread")


class Head(nn.Module):
    """Feature adaptor and discriminator; Xavier's normal initialisation for both.

    Args:
        features: dimensions of a patch descriptor.
        hidden: width of the discriminator's hidden layer.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.adaptor = nn.Linear(features, features)
        self.discriminator = nn.Sequential(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1, bias=False),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Normality (N, 1) of patch descriptors (N, D)."""
        normality: Tensor = self.discriminator(self.adaptor(features))
        return normality


class SimpleNet(OneNetwork, learned="head", frozen="backbone"):
    """What the discriminator takes for noise is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        check_choice(params, "noise_unit", NOISE_UNITS)
        backbone = Backbone.of(params, params["layers"], folder=weights, seed=seed)
        self.backbone = placed(backbone, self.device)
        with determinism.seeded(seed, "head"):
            self.head = Head(params["pooled_dims"], params["hidden"]).to(self.device)

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """AdamW on the adaptor, Adam on the discriminator; the backbone stays as it is."""
        split = images.read_training_images(train_folder, self.size)
        adaptor, discriminator = self._optimisers()
        schedule = self._schedule(len(split))
        features = kept(self._layers, split, schedule.batch_size, self.device)

        def step(batch: Tensor) -> Tensor:
            self.head.train()
            layers = features.layers(batch) if features else self._layers(batch)
            loss = self._loss(self._descriptors(layers)[0])
            return descend(loss, adaptor, discriminator)

        training = Training(
            features or split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        training.run(step, {"head": self.head, "adaptor": adaptor, "discriminator": discriminator})

    def _optimisers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        adaptor = torch.optim.AdamW(
            self.head.adaptor.parameters(),
            lr=self.params["adaptor_learning_rate"],
            weight_decay=self.params["adaptor_weight_decay"],
            fused=is_fused(self.device),
        )
        discriminator = torch.optim.Adam(
            self.head.discriminator.parameters(),
            lr=self.params["discriminator_learning_rate"],
            weight_decay=self.params["discriminator_weight_decay"],
            fused=is_fused(self.device),
        )
        return adaptor, discriminator

    def _schedule(self, count: int) -> Schedule:
        schedule = Schedule.of(self.params)
        steps = self.params["passes_per_epoch"] * schedule.batches_per_pass(count)
        return replace(schedule, steps_per_epoch=steps)

    @torch.no_grad()
    def _layers(self, pixels: Tensor) -> list[Tensor]:
        """The backbone's layers, float32 (B, C_l, h_l, w_l), of (B, 1 or 3, S, S) uint8."""
        with autocast(self.device, self.params["precision"]):
            features = self.backbone(self.backbone.normalise(pixels))
        return [layer.float() for layer in features]

    def _descriptors(self, layers: Sequence[Tensor]) -> tuple[Tensor, torch.Size]:
        """Patch descriptors (B*h*w, D) of the backbone's layers, and the grid (h, w)."""
        pooled = patches.pooled_patches(layers, self.params["pooled_dims"])
        return pooled.permute(0, 2, 3, 1).flatten(0, 2), pooled.shape[2:]

    def _loss(self, features: Tensor) -> Tensor:
        """Hinge on both sides of the margin (equation 5), noise on the adapted features."""
        normal = self.head.adaptor(features)
        # Drawn on the device: 16 million numbers a step take longer on a CPU than all the rest.
        noise = self.params["noise"] * torch.randn_like(normal)
        if self.params["noise_unit"] == "spread":
            noise = noise * normal.detach().std(dim=0)
        noisy = normal + noise
        scores = self.head.discriminator(torch.cat([normal, noisy]))
        above, below = scores.chunk(2)
        margin: float = self.params["margin"]
        loss: Tensor = (
            functional.relu(margin - above).mean() + functional.relu(margin + below).mean()
        )
        return loss

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Negative normality of every patch, enlarged and smoothed; score = the largest patch's."""
        self.head.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        features, grid = self._descriptors(self._layers(pixels))
        anomaly = -self.head(features)  # (h*w, 1)
        full = maps.resize(anomaly.view(1, 1, *grid), (self.size, self.size))
        smooth = maps.gaussian_blur(full, border=self.params["blur_border"])
        return maps.to_array(smooth, image.shape[:2]), float(anomaly.amax())
