"""PaDiM: a Gaussian per image position over the features of normal images.

Defard et al., "PaDiM: a patch distribution modeling framework for anomaly detection and
localization" (2021). The fit streams: sums instead of all embeddings, which would take up
to 182 GB on the paper's data. Trap: with ResNet-50 features the sums still take 8 GB.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.kit import determinism, images, maps, patches, saved
from baselines.kit.backbones import Backbone
from harness.contract import Checkpoint

# 0.01 I of the paper (section III-B), and 1e-5 I more as in anomalib.
REGULARISATION = 0.01 + 1e-5
# Positions inverted at once: bounds the float64 copies, changes no digit.
POSITIONS_AT_ONCE = 64


class Padim:
    """Mahalanobis distance to the Gaussian of the same position."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.params = params
        self.size: int = params["image_size"]
        self.backbone = Backbone(
            params["backbone"],
            params["layers"],
            weights=params["weights"],
            folder=weights,
            seed=seed,
        ).to(self.device)
        self.channels = self._choose_channels(seed)
        self.mean = torch.empty(0)  # (C, P)
        self.inverse = torch.empty(0)  # (P, C, C)

    def _choose_channels(self, seed: int) -> Tensor:
        """A random subset of the channels: as good as PCA, and free (section IV-A)."""
        with torch.inference_mode():
            probe = torch.zeros(1, 3, self.size, self.size, device=self.device)
            total = sum(layer.shape[1] for layer in self.backbone(probe))
        chosen = min(self.params["channels"], total)
        order = torch.randperm(total, generator=determinism.generator(seed, "channels"))
        return order[:chosen].to(self.device)

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, C, h, w) from (B, 1 or 3, S, S) uint8: the chosen channels on layer 1's grid."""
        features = self.backbone(images.normalise(pixels, "imagenet"))
        return patches.concatenate(features, "nearest")[:, self.channels]

    @torch.inference_mode()
    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Mean and inverse covariance of every position, from one pass over the images."""
        split = images.read_training_images(train, self.size)
        if len(split) < 2:
            raise ValueError("PaDiM needs at least 2 training images for a covariance")
        sums = GaussianSums()
        size: int = self.params["batch_size"]
        for step, pixels in enumerate(split.batches(size, self.device), start=1):
            sums.add(self.embed(pixels).flatten(2))
            checkpoint.progress(step, -(-len(split) // size), None)
        self.mean, self.inverse = sums.mean_and_inverse()

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Distance per position, brought to the image's size and smoothed; score = its maximum."""
        embedding = self.embed(images.from_array(image, self.size).to(self.device))
        delta = (embedding.flatten(2)[0] - self.mean).T[:, None]  # (P, 1, C)
        squares = torch.bmm(torch.bmm(delta, self.inverse), delta.transpose(1, 2))
        distances = squares.clamp(min=0).sqrt().view(1, 1, *embedding.shape[2:])
        smooth = maps.gaussian_blur(maps.resize(distances, (self.size, self.size)))
        return maps.to_array(smooth, image.shape[:2]), float(smooth.amax())

    def save(self, folder: Path) -> None:
        """Write the Gaussians."""
        tensors = {"mean": self.mean, "inverse": self.inverse, "channels": self.channels}
        saved.save_tensors(folder, tensors, self.backbone.identity)

    def load(self, folder: Path) -> None:
        """Read the Gaussians.

        Raises:
            ValueError: they belong to another backbone.
        """
        tensors, identity = saved.load_tensors(folder, self.device)
        self.backbone.check_same_as(identity)
        self.mean, self.inverse = tensors["mean"], tensors["inverse"]
        self.channels = tensors["channels"]


class GaussianSums:
    """Sum and sum of outer products per position, in float64; batches in any sizes."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = torch.empty(0)  # (P, C)
        self.outer = torch.empty(0)  # (P, C, C)

    def add(self, embeddings: Tensor) -> None:
        """Count a batch (B, C, P) in."""
        vectors = embeddings.permute(2, 0, 1).double()  # (P, B, C)
        if not self.count:
            positions, _, channels = vectors.shape
            self.sum = vectors.new_zeros(positions, channels)
            self.outer = vectors.new_zeros(positions, channels, channels)
        self.count += vectors.shape[1]
        self.sum += vectors.sum(dim=1)
        self.outer.baddbmm_(vectors.transpose(1, 2), vectors)

    def mean_and_inverse(self) -> tuple[Tensor, Tensor]:
        """Means (C, P) and inverse regularised covariances (P, C, C), float32."""
        mean = self.sum / self.count
        inverse = torch.empty_like(self.outer, dtype=torch.float32)
        identity = torch.eye(mean.shape[1], dtype=torch.float64, device=mean.device)
        for start in range(0, len(mean), POSITIONS_AT_ONCE):
            part = slice(start, start + POSITIONS_AT_ONCE)
            spread = self.outer[part] - self.count * mean[part, :, None] * mean[part, None, :]
            covariance = spread / (self.count - 1) + REGULARISATION * identity
            inverse[part] = torch.linalg.inv(covariance).float()
        return mean.T.float().contiguous(), inverse
