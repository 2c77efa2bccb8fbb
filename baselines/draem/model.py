"""DRAEM: one network repairs synthetic anomalies, another sees what was repaired.

Zavrtanik, Kristan, Skočaj, "DRAEM: a discriminatively trained reconstruction embedding for
surface anomaly detection" (2021). Both networks learn together on normal images into which
textures were pasted. Traps: inputs lie in [0, 1], as the reconstructions do; image sizes must
be multiples of 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.images import TrainingImages
from baselines.kit.perlin import rotated
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.synthetic_anomalies import AnomalyMaker, textures_of
from baselines.kit.training import Schedule, Training, descend
from baselines.kit.upsampling import doubled
from harness.contract import Checkpoint

# The segmentation network halves the sides five times.
REDUCTION = 32
# Gaussian window of the structural similarity, and its two constants (Wang et al. 2004).
WINDOW, WINDOW_SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
# Keeps the logarithm of the focal loss finite; the authors' value.
SMOOTHING = 1e-5


def convolutions(*widths: int) -> nn.Sequential:
    """3x3 convolutions from width to width, each normalised and rectified."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [
            nn.Conv2d(before, after, 3, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class Doubled(nn.Module):
    """Twice the sides, bilinear, corners aligned."""

    def forward(self, batch: Tensor) -> Tensor:
        """(B, C, S, S) to (B, C, 2S, 2S)."""
        return doubled(batch, align_corners=True)


def enlarging(before: int, after: int) -> nn.Sequential:
    """Twice the sides, then a convolution."""
    return nn.Sequential(Doubled(), *convolutions(before, after))


class Encoder(nn.Module):
    """Pairs of convolutions; the sides are halved between them.

    Args:
        channels: of the input.
        widths: of each stage.
    """

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            convolutions(before, width, width)
            for before, width in zip((channels, *widths), widths, strict=False)
        )

    def forward(self, batch: Tensor) -> list[Tensor]:
        """What each stage gives, at S, S/2, S/4 …"""
        found: list[Tensor] = []
        for stage in self.stages:
            batch = stage(functional.max_pool2d(batch, 2) if found else batch)
            found.append(batch)
        return found


class Reconstruction(nn.Module):
    """An autoencoder without skip connections: (B, 3, S, S) to the same, free of anomalies."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.encoder = Encoder(3, (w, 2 * w, 4 * w, 8 * w, 8 * w))
        self.decoder = nn.Sequential(
            *(enlarging(8 * w, 8 * w), convolutions(8 * w, 8 * w, 4 * w)),
            *(enlarging(4 * w, 4 * w), convolutions(4 * w, 4 * w, 2 * w)),
            *(enlarging(2 * w, 2 * w), convolutions(2 * w, 2 * w, w)),
            *(enlarging(w, w), convolutions(w, w, w)),
            nn.Conv2d(w, 3, 3, padding=1),
        )

    def forward(self, batch: Tensor) -> Tensor:
        """The images as they should look."""
        repaired: Tensor = self.decoder(self.encoder(batch)[-1])
        return repaired


class Segmentation(nn.Module):
    """A U-Net: repaired and given image, (B, 6, S, S), to logits of normal and anomalous."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.encoder = Encoder(6, (w, 2 * w, 4 * w, 8 * w, 8 * w, 8 * w))
        # Channels from below, beside those of the skip connection, and what becomes of both.
        shapes = ((8, 8, 8, 8), (8, 4, 8, 4), (4, 2, 4, 2), (2, 1, 2, 1), (1, 1, 1, 1))
        self.decoder = nn.ModuleList()
        for below, up, skipped, after in shapes:
            self.decoder.append(enlarging(below * w, up * w))
            self.decoder.append(convolutions((up + skipped) * w, after * w, after * w))
        self.logits = nn.Conv2d(w, 2, 3, padding=1)

    def forward(self, batch: Tensor) -> Tensor:
        """(B, 2, S, S)."""
        *skipped, features = self.encoder(batch)
        for enlarge, join in zip(self.decoder[::2], self.decoder[1::2], strict=True):
            features = join(torch.cat([enlarge(features), skipped.pop()], dim=1))
        logits: Tensor = self.logits(features)
        return logits


class Networks(nn.Module):
    """Both networks: images to repaired images and anomaly logits."""

    def __init__(self, reconstruction_width: int, segmentation_width: int) -> None:
        super().__init__()
        self.reconstruction = Reconstruction(reconstruction_width)
        self.segmentation = Segmentation(segmentation_width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] to (B, 3, S, S) and (B, 2, S, S)."""
        repaired = self.reconstruction(batch)
        return repaired, self.segmentation(torch.cat([repaired, batch], dim=1))


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity of images in [0, 1] (Wang et al. 2004); the border sees zeros."""
    channels = first.shape[1]
    offsets = torch.arange(WINDOW, device=first.device) - WINDOW // 2
    line = torch.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    line = line / line.sum()
    window = (line[:, None] * line[None]).expand(channels, 1, WINDOW, WINDOW).to(first)

    def local_mean(batch: Tensor) -> Tensor:
        return functional.conv2d(batch, window, padding=WINDOW // 2, groups=channels)

    mean_one, mean_two = local_mean(first), local_mean(second)
    variances = local_mean(first * first) - mean_one**2 + local_mean(second * second) - mean_two**2
    covariance = local_mean(first * second) - mean_one * mean_two
    luminance = (2 * mean_one * mean_two + C1) / (mean_one**2 + mean_two**2 + C1)
    return (luminance * (2 * covariance + C2) / (variances + C2)).mean()


def focal_loss(logits: Tensor, masks: Tensor, gamma: float) -> Tensor:
    """Cross entropy that easy pixels hardly count in (Lin et al. 2017).

    Args:
        logits: (B, 2, S, S), of normal and anomalous.
        masks: bool (B, 1, S, S), where it is anomalous.
        gamma: 0 gives the plain cross entropy.
    """
    truth = torch.cat([~masks, masks], dim=1).float().clamp(SMOOTHING, 1 - SMOOTHING)
    right = (truth * logits.softmax(dim=1)).sum(dim=1) + SMOOTHING
    return -((1 - right) ** gamma * right.log()).mean()


class Draem(OneNetwork, learned="networks"):
    """What the second network takes for pasted is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params, self.weights = seed, params, weights
        self.size: int = params["image_size"]
        if self.size % REDUCTION:
            raise ValueError(f"image_size is {self.size}; it must be a multiple of {REDUCTION}")
        if params["score_window"] % 2 == 0:
            raise ValueError(f"score_window is {params['score_window']}; it must be odd")
        with determinism.seeded(seed, "networks"):
            networks = Networks(params["reconstruction_width"], params["segmentation_width"])
        self.networks = placed(networks, self.device)

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Both networks at once, Adam with a stepped learning rate."""
        split = images.read_training_images(train_folder, self.size)
        anomalies = self._anomalies(split)
        optimiser = torch.optim.Adam(
            self.networks.parameters(),
            lr=self.params["learning_rate"],
            fused=is_fused(self.device),
        )
        scheduler = torch.optim.lr_scheduler.MultiStepLR(
            optimiser, self.params["milestones"], self.params["milestone_factor"]
        )
        schedule = Schedule.of(self.params)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )

        def step(pixels: Tensor) -> Tensor:
            self.networks.train()
            normal = self._turned(images.normalise(pixels, "unit"), training.random)
            spoilt, masks = anomalies.spoil(normal, training.random)
            with autocast(self.device, self.params["precision"]):
                repaired, logits = self.networks(spoilt)
            loss = self.loss(normal, masks, repaired.float(), logits.float())
            return descend(loss, optimiser)

        training.run(
            step,
            {"networks": self.networks, "optimiser": optimiser, "scheduler": scheduler},
            after_epoch=lambda _: scheduler.step(),
        )

    def loss(self, normal: Tensor, masks: Tensor, repaired: Tensor, logits: Tensor) -> Tensor:
        """How far the repaired images are from the normal ones, and the logits from the masks."""
        return (
            functional.mse_loss(repaired, normal)
            + (1 - structural_similarity(repaired, normal))
            + focal_loss(logits, masks, self.params["focal_gamma"])
        )

    def _anomalies(self, split: TrainingImages) -> AnomalyMaker:
        folder = self.weights / self.params["texture_folder"] if self.weights else None
        low, high = self.params["opacity"]
        return AnomalyMaker(
            textures_of(self.params["textures"], self.size, split, folder),
            self.params["anomaly_share"],
            (low, high),
            is_grey=self.params["grey_like_images"] and split.pixels.shape[1] == 1,
        )

    def _turned(self, normal: Tensor, random: np.random.Generator) -> Tensor:
        """A share of the training images is turned, by up to 90 degrees."""
        share: float = self.params["turned_share"]
        degrees = {
            index: random.uniform(-90, 90)
            for index in range(len(normal))
            if random.random() < share
        }
        if not degrees:
            return normal
        order = torch.arange(len(normal))
        order[list(degrees)] = len(normal) + torch.arange(len(degrees))
        chosen, places = (
            images.sent(indices, normal.device) for indices in (torch.tensor(list(degrees)), order)
        )
        turned = rotated(normal.index_select(0, chosen), list(degrees.values()))
        return torch.cat([normal, turned]).index_select(0, places)

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Probability of an anomaly; the score is its largest mean over a small window."""
        self.networks.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        _, logits = self.networks(images.normalise(pixels, "unit"))
        anomalous = logits.softmax(dim=1)[:, 1:]
        window: int = self.params["score_window"]
        means = functional.avg_pool2d(anomalous, window, stride=1, padding=window // 2)
        return maps.to_array(anomalous, image.shape[:2]), float(means.amax())
