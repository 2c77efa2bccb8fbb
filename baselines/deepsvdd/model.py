"""Deep SVDD: normal images are pulled into a small sphere, far from its centre is anomalous.

Ruff et al., "Deep One-Class Classification" (2018). An autoencoder first gives the encoder its
weights; then the encoder alone learns to map normal images close to a fixed centre. Traps:
no layer may have a bias, or everything collapses onto the centre; the centre is computed once,
after the pretraining, and never moves; the decoder ends in a sigmoid, so the input must lie
in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.kit import determinism, images, maps
from baselines.kit.images import TrainingImages
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

# LeNet of the paper's CIFAR-10 experiments; each stage halves the sides.
CHANNELS = (3, 32, 64, 128)
REDUCTION = 2 ** (len(CHANNELS) - 1)
# Kernel of every convolution, and the variance that its normalisation adds.
KERNEL, BN_EPS = 5, 1e-4
# A coordinate of the centre closer to 0 could be met with all weights zero (paper, section 3.4).
LEAST_CENTRE = 0.1
OBJECTIVES = ("one-class", "soft-boundary")
CONTRASTS = ("global", "imagenet")


def encoder(size: int, dimensions: int) -> nn.Sequential:
    """(B, 3, S, S) to (B, D): LeNet without a single bias."""
    stages = [
        nn.Sequential(
            nn.Conv2d(before, after, KERNEL, padding=KERNEL // 2, bias=False),
            nn.BatchNorm2d(after, eps=BN_EPS, affine=False),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
        )
        for before, after in pairwise(CHANNELS)
    ]
    features = CHANNELS[-1] * (size // REDUCTION) ** 2
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(features, dimensions, bias=False))


def decoder(size: int, dimensions: int) -> nn.Sequential:
    """(B, D) to (B, 3, S, S) in [0, 1]: the encoder mirrored, upsampling by repetition."""
    side = size // REDUCTION
    narrow = dimensions // side**2
    widths = (narrow, *CHANNELS[:0:-1])
    layers: list[nn.Module] = [nn.Unflatten(1, (narrow, side, side)), nn.LeakyReLU()]
    for before, after in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(before, after, KERNEL, padding=KERNEL // 2, bias=False),
            nn.BatchNorm2d(after, eps=BN_EPS, affine=False),
            nn.LeakyReLU(),
            nn.Upsample(scale_factor=2),
        ]
    last = nn.ConvTranspose2d(CHANNELS[1], CHANNELS[0], KERNEL, padding=KERNEL // 2, bias=False)
    return nn.Sequential(*layers, last, nn.Sigmoid())


class Autoencoder(nn.Module):
    """Encoder, normalised code, decoder: pretrains the encoder, then is thrown away."""

    def __init__(self, size: int, dimensions: int) -> None:
        super().__init__()
        self.encoder = encoder(size, dimensions)
        self.code = nn.BatchNorm1d(dimensions, eps=BN_EPS, affine=False)
        self.decoder = decoder(size, dimensions)
        gain = nn.init.calculate_gain("leaky_relu")
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight, gain)

    def forward(self, batch: Tensor) -> Tensor:
        """The images again, (B, 3, S, S)."""
        reconstruction: Tensor = self.decoder(self.code(self.encoder(batch)))
        return reconstruction


def reconstruction_loss(reconstruction: Tensor, batch: Tensor) -> Tensor:
    """Squared error of an image, summed over its pixels; mean over the batch."""
    return (reconstruction - batch).square().flatten(1).sum(dim=1).mean()


class Contrast(nn.Module):
    """Images as the networks want them; knows the range of the training images.

    `global`: minus the image's own mean, divided by its mean absolute deviation, then scaled so
    that the training images fill [0, 1]. `imagenet`: what BMAD did.
    """

    low: Tensor
    high: Tensor

    def __init__(self, how: str) -> None:
        super().__init__()
        if how not in CONTRASTS:
            raise ValueError(f"contrast is {how!r}; it can be {' or '.join(CONTRASTS)}")
        self._how = how
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.ones(()))

    def fit(self, split: TrainingImages, batch_size: int, device: torch.device) -> None:
        """Take the smallest and the largest value of all training images."""
        ranges = [
            torch.stack(equalised(pixels).aminmax()) for pixels in split.batches(batch_size, device)
        ]
        low, high = torch.stack(ranges).unbind(dim=1)
        self.low.copy_(low.amin())
        self.high.copy_(high.amax())

    def forward(self, pixels: Tensor) -> Tensor:
        """Float32 (B, 3, S, S) from uint8 (B, C, S, S)."""
        if self._how == "imagenet":
            return images.normalise(pixels, "imagenet")
        return (equalised(pixels) - self.low) / (self.high - self.low)


def equalised(pixels: Tensor) -> Tensor:
    """Every image with mean 0 and mean absolute value 1 over all its pixels and channels."""
    values = images.normalise(pixels, "unit")
    centred = values - values.mean(dim=(1, 2, 3), keepdim=True)
    # An image of one grey value has no contrast to divide by.
    scale = centred.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-8)
    return centred / scale


class Sphere(nn.Module):
    """Where normal images lie: a fixed centre, and a radius where the boundary is soft."""

    centre: Tensor
    radius: Tensor
    epochs: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dimensions))
        self.register_buffer("radius", torch.zeros(()))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def put_at(self, mean: Tensor) -> None:
        """Centre at the mean of the embeddings (D,), no coordinate close to 0."""
        least = torch.where(mean < 0, -LEAST_CENTRE, LEAST_CENTRE).to(mean)
        self.centre.copy_(torch.where(mean.abs() < LEAST_CENTRE, least, mean))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Squared distances (B,) of the embeddings (B, D) from the centre."""
        return (embeddings.float() - self.centre).square().sum(dim=1)

    def soft_boundary_loss(self, distances: Tensor, nu: float) -> Tensor:
        """Squared radius, and how far images reach beyond it (paper, equation 3)."""
        beyond = (distances - self.radius.square()).clamp_min(0)
        return self.radius.square() + beyond.mean() / nu

    def fit_radius(self, distances: Tensor, nu: float) -> None:
        """The radius that leaves a share nu of these images outside."""
        self.radius.copy_(distances.detach().sqrt().quantile(1 - nu))


class DeepSVDD(OneNetwork, learned="learned"):
    """The farther from the centre of the normal images, the more anomalous."""

    def __init__(
        self,
        device: str,
        seed: int,
        params: Mapping[str, Any],
        weights: Path | None,  # noqa: ARG002 - nothing here is pretrained
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        self.maps: bool = params["native_map"]
        _check(params)
        with determinism.seeded(seed, "encoder"):
            self.encoder = placed(encoder(self.size, params["dimensions"]), self.device)
        self.contrast = Contrast(params["contrast"]).to(self.device)
        self.sphere = Sphere(params["dimensions"]).to(self.device)

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """An autoencoder for the first weights, then the sphere."""
        split = images.read_training_images(train_folder, self.size)
        self.contrast.fit(split, self.params["batch_size"], self.device)
        is_pretrained = self.params["pretraining_epochs"] > 0
        schedules = [self._pretraining_schedule()] if is_pretrained else []
        schedules.append(Schedule.of(self.params))
        training = Training(
            split, schedules, seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        if is_pretrained:
            self._pretrain(training)
        self.sphere.put_at(self._mean_embedding(split))
        self._pull_together(training)

    def _pretraining_schedule(self) -> Schedule:
        return Schedule(
            self.params["pretraining_epochs"],
            self.params["pretraining_batch_size"],
            self.params["checkpoint_every_epochs"],
            smallest_batch=2,  # the code is normalised over the batch
            is_judged=False,
        )

    def _pretrain(self, training: Training) -> None:
        with determinism.seeded(self.seed, "autoencoder"):
            autoencoder = placed(Autoencoder(self.size, self.params["dimensions"]), self.device)
        optimiser, scheduler = self._optimiser(autoencoder, "pretraining_")

        def step(pixels: Tensor) -> Tensor:
            autoencoder.train()
            batch = self.contrast(pixels)
            with autocast(self.device, self.params["precision"]):
                reconstruction = autoencoder(batch)
            loss = reconstruction_loss(reconstruction.float(), batch)
            return descend(loss, optimiser)

        training.run(
            step,
            {"autoencoder": autoencoder, "optimiser": optimiser, "scheduler": scheduler},
            after_epoch=lambda _: scheduler.step(),
        )
        self.encoder.load_state_dict(autoencoder.encoder.state_dict())

    @torch.inference_mode()
    def _mean_embedding(self, split: TrainingImages) -> Tensor:
        """(D,), over all training images."""
        self.encoder.eval()
        total = torch.zeros(self.params["dimensions"], device=self.device)
        for pixels in split.batches(self.params["batch_size"], self.device):
            total += self.encoder(self.contrast(pixels)).sum(dim=0)
        return total / len(split)

    def _pull_together(self, training: Training) -> None:
        optimiser, scheduler = self._optimiser(self.encoder, "")
        nu, is_soft = self.params["nu"], self.params["objective"] == "soft-boundary"

        def step(pixels: Tensor) -> Tensor:
            self.encoder.train()
            with autocast(self.device, self.params["precision"]):
                embeddings = self.encoder(self.contrast(pixels))
            distances = self.sphere(embeddings)
            loss = self.sphere.soft_boundary_loss(distances, nu) if is_soft else distances.mean()
            descend(loss, optimiser)
            if is_soft and self.sphere.epochs >= self.params["radius_warm_up_epochs"]:
                self.sphere.fit_radius(distances, nu)
            return loss.detach()

        def after_epoch(epochs: int) -> None:
            scheduler.step()
            self.sphere.epochs.fill_(epochs)

        training.run(
            step,
            {
                "encoder": self.encoder,
                "sphere": self.sphere,
                "optimiser": optimiser,
                "scheduler": scheduler,
            },
            after_epoch=after_epoch,
        )

    def _optimiser(
        self, network: nn.Module, phase: str
    ) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.MultiStepLR]:
        """Adam, its learning rate a tenth from the milestones on; settings by the phase's name."""
        optimiser = torch.optim.Adam(
            network.parameters(),
            lr=self.params[f"{phase}learning_rate"],
            weight_decay=self.params[f"{phase}weight_decay"],
            fused=is_fused(self.device),
        )
        milestones = self.params[f"{phase}milestones"]
        return optimiser, torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)

    def predict(self, image: np.ndarray) -> tuple[np.ndarray | None, float]:
        """Squared distance from the centre, minus the squared radius where there is one.

        The native map is the absolute gradient of the distance with respect to the input.
        """
        self.encoder.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        batch = self.contrast(pixels).requires_grad_(self.maps)
        with torch.set_grad_enabled(self.maps):
            distance = self.sphere(self.encoder(batch))
        score = float(distance.detach() - self.sphere.radius.square())
        if not self.maps:
            return None, score
        (gradient,) = torch.autograd.grad(distance, batch)
        return maps.to_array(gradient.abs().sum(dim=1, keepdim=True), image.shape[:2]), score

    @property
    def learned(self) -> nn.ModuleDict:
        """Encoder, sphere, and the range of the training images."""
        return nn.ModuleDict(
            {"encoder": self.encoder, "sphere": self.sphere, "contrast": self.contrast}
        )


def _check(params: Mapping[str, Any]) -> None:
    """Raise `ValueError` for settings that make no network or no objective."""
    size, dimensions = params["image_size"], params["dimensions"]
    if size % REDUCTION or dimensions % (size // REDUCTION) ** 2:
        raise ValueError(
            f"image_size is {size} and dimensions is {dimensions}; image_size must be a multiple "
            f"of {REDUCTION}, and dimensions of (image_size / {REDUCTION})^2"
        )
    check_choice(params, "objective", OBJECTIVES)
    if not 0 < params["nu"] <= 1:
        raise ValueError(f"nu is {params['nu']}; it must lie above 0 and not above 1")
