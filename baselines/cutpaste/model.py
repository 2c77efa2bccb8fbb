"""CutPaste: a network tells normal images from images with a pasted piece of themselves.

Li et al., "CutPaste: self-supervised learning for anomaly detection and localization"
(2021). Its embeddings of the normal images then have a Gaussian fitted to them. Traps: in the
public code an "epoch" is a single optimiser step; the density belongs to the network at one
moment, so it is fitted again before every checkpoint.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import functional as geometry

from baselines.kit import colour, determinism, images, maps, saved
from baselines.kit.backbones import FeatureMaps
from baselines.kit.precision import autocast, placed
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

# Width of the head's last layer (512 before it, the width of ResNet-18's embedding).
HEAD_WIDTH = 128


class Network(nn.Module):
    """Embedding, and a head that says which of the views an image is."""

    def __init__(self, backbone: FeatureMaps, hidden: int, views: int) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.no_grad():
            width = self.embed(self.features(torch.zeros(1, 3, 64, 64))).shape[1]
        widths = [width] * (hidden + 1) + [HEAD_WIDTH]
        blocks = [
            nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU())
            for before, after in itertools.pairwise(widths)
        ]
        self.head = nn.Sequential(*blocks, nn.Linear(HEAD_WIDTH, views))

    def features(self, inputs: Tensor) -> Tensor:
        """(B, C, h, w): the last feature map of (B, 3, S, S)."""
        (features,) = self.backbone(inputs)
        return features

    @staticmethod
    def embed(features: Tensor) -> Tensor:
        """(B, C): the mean over the positions."""
        return features.mean(dim=(2, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, views) logits of (B, 3, S, S)."""
        logits: Tensor = self.head(self.embed(self.features(inputs)))
        return logits

    def freeze_backbone(self, is_frozen: bool, *, moves_statistics: bool) -> None:
        """Training mode, in which the backbone learns or does not."""
        self.train()
        self.backbone.requires_grad_(not is_frozen)
        self.backbone.train(not is_frozen or moves_statistics)


class Views:
    """The made-up anomalies: a piece of an image, jittered and pasted elsewhere into it.

    Args:
        params: the settings of the same names.
        random: places, sizes and angles.
        draw: the jitter.
    """

    def __init__(
        self, params: Mapping[str, Any], random: np.random.Generator, draw: torch.Generator
    ) -> None:
        self.params, self.random, self.draw = params, random, draw
        self._paste = {"patch": self.paste_patch, "scar": self.paste_scar}

    def of(self, pixels: Tensor) -> Tensor:
        """Normal images (B, C, S, S), then as many with each anomaly: ((1 + kinds) B, C, S, S)."""
        normal = colour.jitter(pixels.float(), self.params["jitter"], self.draw)
        views = [normal]
        for kind in self.params["anomalies"]:
            views.append(torch.stack([self._paste[kind](image) for image in normal]))
        return torch.cat(views)

    def paste_patch(self, image: Tensor) -> Tensor:
        """A rectangle of 2 to 15 % of the image's area (section 2.2)."""
        _, height, width = image.shape
        area = height * width * self.random.uniform(*self.params["patch_area"])
        aspect = math.exp(self.random.uniform(*np.log(self.params["patch_aspect"])))
        patch = self._cut(image, round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect)))
        return self._put(image, patch, torch.ones_like(patch[:1]))

    def paste_scar(self, image: Tensor) -> Tensor:
        """A thin, turned rectangle of a fixed range of pixels (section 2.2)."""
        width, height = (
            round(self.random.uniform(*self.params[name])) for name in ("scar_width", "scar_height")
        )
        patch = self._cut(image, height, width)
        with_mask = torch.cat([patch, torch.ones_like(patch[:1])])
        turn = self.params["scar_rotation"]
        turned = geometry.rotate(with_mask, self.random.uniform(-turn, turn), expand=True)
        return self._put(image, turned[:-1], turned[-1:])

    def _cut(self, image: Tensor, height: int, width: int) -> Tensor:
        """A jittered copy of a rectangle anywhere in the image."""
        top, left = self._place(image, height, width)
        patch = image[:, top : top + height, left : left + width]
        return colour.jitter(patch[None], self.params["jitter"], self.draw)[0]

    def _put(self, image: Tensor, patch: Tensor, mask: Tensor) -> Tensor:
        """The image with the patch anywhere in it, where the mask (1, h, w) is set."""
        _, height, width = patch.shape
        top, left = self._place(image, height, width)
        pasted = image.clone()
        region = pasted[:, top : top + height, left : left + width]
        region.copy_(torch.where(mask > 0.5, patch, region))
        return pasted

    def _place(self, image: Tensor, height: int, width: int) -> tuple[int, int]:
        """Upper left corner, all that fit being equally likely."""
        top = int(self.random.integers(image.shape[1] - height + 1))
        left = int(self.random.integers(image.shape[2] - width + 1))
        return top, left


class CutPaste:
    """Mahalanobis distance of an image's embedding to those of the normal images."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        self.maps: bool = params["native_map"]
        _check(params)
        backbone = FeatureMaps.of(params, ("layer4",), folder=weights, seed=seed)
        with determinism.seeded(seed, "head"):
            network = Network(backbone.eval(), params["head_layers"], 1 + len(params["anomalies"]))
        self.network = placed(network, self.device)
        self.mean = torch.empty(0)  # (C,) float64
        self.inverse = torch.empty(0)  # (C, C) float64

    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Tell the views apart, then the density of the training images as they are."""
        split = images.read_training_images(train, self.size)
        if len(split) < 2:
            raise ValueError("CutPaste needs at least 2 training images for a density")
        optimiser = self._make_optimiser()
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.params["epochs"])
        schedule = Schedule.of(
            self.params,
            steps_per_epoch=self.params["steps_per_epoch"],
        )
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )

        def step(pixels: Tensor) -> Tensor:
            self.network.freeze_backbone(
                cosine.last_epoch < self.params["frozen_epochs"],
                moves_statistics=self.params["frozen_statistics_move"],
            )
            views = Views(self.params, training.random, training.draw).of(pixels)
            return self._learn(views, optimiser)

        training.run(
            step,
            {"network": self.network, "optimiser": optimiser, "cosine": cosine},
            after_epoch=lambda _: cosine.step(),
            before_checkpoint=lambda: self.fit_density(split),
        )
        if not schedule.checkpoint_every_epochs:
            self.fit_density(split)

    def _make_optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.network.parameters(),
            lr=self.params["learning_rate"],
            momentum=self.params["momentum"],
            weight_decay=self.params["weight_decay"],
        )

    def _learn(self, views: Tensor, optimiser: torch.optim.Optimizer) -> Tensor:
        """One step of cross-entropy on ((1 + kinds) B, C, S, S)."""
        kinds = 1 + len(self.params["anomalies"])
        labels = torch.arange(kinds, device=self.device).repeat_interleave(len(views) // kinds)
        with autocast(self.device, self.params["precision"]):
            logits = self.network(self.network.backbone.normalise(views))
        loss = functional.cross_entropy(logits.float(), labels)
        return descend(loss, optimiser)

    @torch.no_grad()
    def fit_density(self, split: images.TrainingImages) -> None:
        """Mean and Ledoit-Wolf precision of the embeddings, each of length 1."""
        # Only here: a second at every start of the entry, and prediction needs none of it.
        from sklearn.covariance import LedoitWolf

        self.network.eval()
        embeddings = [
            self._direction(self.network.features(self.network.backbone.normalise(pixels)))
            for pixels in split.batches(self.params["batch_size"], self.device)
        ]
        density = LedoitWolf().fit(torch.cat(embeddings).cpu().numpy())
        self.mean = torch.from_numpy(density.location_).to(self.device)
        self.inverse = torch.from_numpy(density.precision_).to(self.device)

    def _direction(self, features: Tensor) -> Tensor:
        """(B, C) float64: the embeddings, scaled to length 1."""
        return functional.normalize(self.network.embed(features).double())

    def _square_distance(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distance of (1, C, h, w), 0-d."""
        delta = (self._direction(features) - self.mean)[0]
        return delta @ self.inverse @ delta

    def predict(self, image: np.ndarray) -> tuple[np.ndarray | None, float]:
        """Score = Mahalanobis distance; the map, where wanted, is its Grad-CAM."""
        self.network.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        with torch.no_grad():
            features = self.network.features(self.network.backbone.normalise(pixels))
            score = float(self._square_distance(features).clamp(min=0).sqrt())
        if not self.maps:
            return None, score
        heat = maps.resize(self._grad_cam(features), (self.size, self.size))
        return maps.to_array(maps.gaussian_blur(heat), image.shape[:2]), score

    def _grad_cam(self, features: Tensor) -> Tensor:
        """(1, 1, h, w): the channels, weighed by the mean slope of the squared distance."""
        with torch.enable_grad():
            features = features.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._square_distance(features), features)
        weights = slope.mean(dim=(2, 3), keepdim=True)
        return (weights * features.detach()).sum(dim=1, keepdim=True).relu()

    def save(self, folder: Path) -> None:
        """Write network and density."""
        density = {"mean": self.mean, "inverse": self.inverse}
        identity = self.network.backbone.identity
        saved.save_tensors(folder, {**self.network.state_dict(), **density}, identity)

    def load(self, folder: Path) -> None:
        """Read network and density.

        Raises:
            ValueError: the training began with another backbone.
        """
        tensors = saved.load_tensors(folder, self.device, self.network.backbone.identity)
        self.mean, self.inverse = tensors.pop("mean"), tensors.pop("inverse")
        self.network.load_state_dict(tensors)


def _check(params: Mapping[str, Any]) -> None:
    anomalies: Sequence[str] = params["anomalies"]
    known = ("patch", "scar")
    if not anomalies or any(kind not in known for kind in anomalies):
        raise ValueError(f"anomalies is {anomalies!r}; it can hold {' and '.join(known)}")
    longest = math.ceil(math.hypot(params["scar_width"][1], params["scar_height"][1])) + 1
    if params["image_size"] < longest:
        raise ValueError(
            f"image_size is {params['image_size']}; a turned scar needs {longest} or more"
        )
