"""f-AnoGAN: an image that the generator of normal images cannot give back is anomalous.

Schlegl et al., "f-AnoGAN: fast unsupervised anomaly detection with generative adversarial
networks" (2019). First a WGAN-GP learns to generate normal images, then an encoder learns
which code gives each of them back (the paper's izi_f). Trap: the second phase and the score
use the critic's features in evaluation mode, with the BatchNorm statistics of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.kit import determinism, images, maps
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

# What BMAD's code passes to BatchNorm2d as epsilon, where it was meant as momentum.
LEGACY_EPSILON = 0.8
EPSILON = 1e-5  # torch's default


class Generator(nn.Module):
    """Code to image: a linear layer, then twice up by two."""

    def __init__(self, size: int, code_size: int, width: int, epsilon: float) -> None:
        super().__init__()
        self.shape = (8 * width, size // 4, size // 4)
        self.start = nn.Linear(code_size, 8 * width * (size // 4) ** 2)
        self.blocks = nn.Sequential(
            nn.BatchNorm2d(8 * width),
            *_up(8 * width, 8 * width, epsilon),
            *_up(8 * width, 4 * width, epsilon),
            nn.Conv2d(4 * width, 3, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, code: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] from (B, code size)."""
        return self.blocks(self.start(code).view(-1, *self.shape))


def _up(inputs: int, outputs: int, epsilon: float) -> Iterator[nn.Module]:
    yield nn.Upsample(scale_factor=2)
    yield nn.Conv2d(inputs, outputs, 3, padding=1)
    yield nn.BatchNorm2d(outputs, epsilon)
    yield nn.LeakyReLU(0.2, inplace=True)


def trunk(width: int, epsilon: float) -> nn.Sequential:
    """Image to features: four times down by two, flattened; critic and encoder have one each."""
    layers: list[nn.Module] = []
    widths = (3, width, 2 * width, 4 * width, 8 * width)
    for inputs, outputs in pairwise(widths):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout2d(0.25),
        ]
        if inputs != 3:
            layers.append(nn.BatchNorm2d(outputs, epsilon))
    return nn.Sequential(*layers, nn.Flatten())


class Critic(nn.Module):
    """Image to a number that is high for real images, and to the features before it."""

    def __init__(self, size: int, width: int, epsilon: float) -> None:
        super().__init__()
        self.features = trunk(width, epsilon)
        self.validity = nn.Linear(8 * width * (size // 16) ** 2, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 1), without bounds."""
        return self.validity(self.features(pixels))


def encoder(size: int, code_size: int, width: int, epsilon: float) -> nn.Sequential:
    """Image to code, in [-1, 1] though the generator learned from a normal distribution."""
    last = nn.Linear(8 * width * (size // 16) ** 2, code_size)
    return nn.Sequential(trunk(width, epsilon), last, nn.Tanh())


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, shares: Tensor) -> Tensor:
    """How far the critic's slope between real and generated images is from 1, squared.

    Args:
        critic: (B, 3, S, S) to (B, 1).
        real: images in [-1, 1].
        fake: generated images, without a graph.
        shares: (B, 1 or 3, 1, 1), the real image's share at the point between.
    """
    between = (shares * real + (1 - shares) * fake).requires_grad_()
    (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slopes.flatten(1).norm(dim=1) - 1).square().mean()


class FAnoGan(OneNetwork, learned="networks"):
    """Distance between an image and what encoder and generator make of it."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params, self.weights = seed, params, weights  # no weights are needed
        self.maps: bool = params["native_map"]
        size, width, code_size = params["image_size"], params["width"], params["code_size"]
        if size % 16:
            raise ValueError(f"image_size is {size}; it must be a multiple of 16")
        self.size: int = size
        epsilon = LEGACY_EPSILON if params["legacy_bn_eps"] else EPSILON
        with determinism.seeded(seed, "networks"):
            self.generator = placed(Generator(size, code_size, width, epsilon), self.device)
            self.critic = placed(Critic(size, width, epsilon), self.device)
            self.encoder = placed(encoder(size, code_size, width, epsilon), self.device)
        self.networks = nn.ModuleDict(
            {"generator": self.generator, "critic": self.critic, "encoder": self.encoder}
        )

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """The GAN, then the encoder; only the second phase can be judged."""
        split = images.read_training_images(train_folder, self.size)
        schedules = [
            Schedule(
                self.params[epochs],
                self.params["batch_size"],
                self.params["checkpoint_every_epochs"],
                is_judged=epochs == "epochs",
            )
            for epochs in ("gan_epochs", "epochs")
        ]
        training = Training(
            split, schedules, seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        self._fit_gan(training)
        self._fit_encoder(training)

    def _fit_gan(self, training: Training) -> None:
        """The critic learns from every batch, the generator from the first of every five."""
        optimisers = {"critic": self._adam(self.critic), "generator": self._adam(self.generator)}
        batch = 0

        def step(pixels: Tensor) -> Tensor:
            nonlocal batch
            self.generator.train()
            self.critic.train()
            real = self._augmented(pixels, training.draw)
            codes = torch.randn(len(real), self.params["code_size"], generator=training.draw)
            codes = codes.to(self.device)
            loss = self._critic_loss(real, codes, training.draw)
            descend(loss, optimisers["critic"], only=self.critic)
            if batch % self.params["critic_steps"] == 0:
                descend(self._generator_loss(codes), optimisers["generator"], only=self.generator)
            batch += 1
            return loss.detach()

        def count_anew(_epoch: int) -> None:
            nonlocal batch
            batch = 0

        state = {"generator": self.generator, "critic": self.critic}
        state |= {f"{name} optimiser": optimiser for name, optimiser in optimisers.items()}
        training.run(step, state, after_epoch=count_anew)

    def _critic_loss(self, real: Tensor, codes: Tensor, draw: torch.Generator) -> Tensor:
        with autocast(self.device, self.params["precision"]):
            with torch.no_grad():
                fake = self.generator(codes)
            lead = self.critic(real).float().mean() - self.critic(fake).float().mean()
        channels = 3 if self.params["penalty_per_channel"] else 1
        shares = torch.rand(len(real), channels, 1, 1, generator=draw).to(self.device)
        penalty = gradient_penalty(self.critic, real, fake.float(), shares)
        return self.params["penalty_weight"] * penalty - lead

    def _generator_loss(self, codes: Tensor) -> Tensor:
        with autocast(self.device, self.params["precision"]):
            return -self.critic(self.generator(codes)).float().mean()

    def _fit_encoder(self, training: Training) -> None:
        """The encoder alone learns; generator and critic stay as they are."""
        optimiser = self._adam(self.encoder)

        def step(pixels: Tensor) -> Tensor:
            self.networks.eval()
            self.encoder.train()
            real = self._augmented(pixels, training.draw)
            with autocast(self.device, self.params["precision"]):
                image_errors, feature_errors, _ = self._errors(real)
            loss = (image_errors + self.params["kappa"] * feature_errors).mean()
            return descend(loss, optimiser, only=self.encoder)

        training.run(step, {"encoder": self.encoder, "optimiser": optimiser})

    def _errors(self, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean squared error of each image (B,) and of its features (B,); the images made."""
        made = self.generator(self.encoder(real))
        with torch.no_grad():
            wanted = self.critic.features(real)
        features = self.critic.features(made)
        return (
            (made.float() - real).square().flatten(1).mean(dim=1),
            (features.float() - wanted.float()).square().mean(dim=1),
            made,
        )

    def _augmented(self, pixels: Tensor, draw: torch.Generator) -> Tensor:
        """In [-1, 1], half of the images mirrored: while training only."""
        real = images.normalise(pixels, "symmetric")
        is_mirrored = (torch.rand(len(real), 1, 1, 1, generator=draw) < 0.5).to(self.device)
        return torch.where(is_mirrored, real.flip(3), real)

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            network.parameters(),
            lr=self.params["learning_rate"],
            betas=self.params["betas"],
            fused=is_fused(self.device),
        )

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray | None, float]:
        """Image error plus kappa times feature error; the map, if wanted, is |x - G(E(x))|."""
        self.networks.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        real = images.normalise(pixels, "symmetric")
        image_error, feature_error, made = self._errors(real)
        score = float(image_error + self.params["kappa"] * feature_error)
        if not self.maps:
            return None, score
        smooth = maps.gaussian_blur(maps.residual(real, made))
        return maps.to_array(smooth, image.shape[:2]), score
