"""Autoencoders of small images, and what entries share that compare an image with its copy.

Network, losses and settings are MedIAnomaly's (Cai et al., "MedIAnomaly: a comparative study of
anomaly detection in medical images", 2025; code at commit 507201c, MIT). Traps: its networks see
images of 64 or 128 pixels, so that a map knows nothing finer; its scripts train with 1024 hidden
units, not with the 2048 that the class has as its default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.kit import colour, determinism, images, maps
from baselines.kit.precision import autocast, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

HALVINGS = 4
# What a network can be fed: grey, or red, green and blue.
INPUT_CHANNELS = (1, 3)


class Autoencoder(nn.Module):
    """Four convolutions down, a code of a few numbers, four convolutions up.

    Args:
        params: `image_size`, `input_channels`, `width`, `hidden`, `code_size`.
        code_parts: numbers that the encoder gives per number of the code (2: mean, log-variance).
        image_parts: images that the decoder gives (2: image, log-variance).
    Raises:
        ValueError: the size cannot be halved four times.
    """

    def __init__(
        self, params: Mapping[str, Any], *, code_parts: int = 1, image_parts: int = 1
    ) -> None:
        super().__init__()
        size, width = params["image_size"], params["width"]
        if size % 2**HALVINGS:
            raise ValueError(f"image_size is {size}; it must be a multiple of {2**HALVINGS}")
        channels, code_size = params["input_channels"], params["code_size"]
        widths = (channels, width, 2 * width, 4 * width, 4 * width)
        self.shape = (4 * width, size // 2**HALVINGS, size // 2**HALVINGS)
        flat = int(np.prod(self.shape))
        self.down = nn.Sequential(*_down(widths))
        self.encoder = _dense(flat, params["hidden"], code_parts * code_size)
        self.decoder = _dense(code_size, params["hidden"], flat)
        self.up = nn.Sequential(*_up((*widths[:0:-1], image_parts * channels)))

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, code parts * code size) from (B, C, S, S)."""
        code: Tensor = self.encoder(self.down(pixels).flatten(1))
        return code

    def decode(self, code: Tensor) -> Tensor:
        """(B, image parts * C, S, S), without bounds, from (B, code size)."""
        made: Tensor = self.up(self.decoder(code).view(-1, *self.shape))
        return made

    def forward(self, pixels: Tensor) -> Tensor:
        """What the decoder makes of the code."""
        return self.decode(self.encode(pixels))


def _down(widths: tuple[int, ...]) -> Iterator[nn.Module]:
    for inputs, outputs in pairwise(widths):
        yield nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        yield nn.BatchNorm2d(outputs)
        yield nn.ReLU(inplace=True)


def _up(widths: tuple[int, ...]) -> Iterator[nn.Module]:
    """BatchNorm and ReLU between two convolutions, none behind the last."""
    for inputs, outputs in pairwise(widths[:-1]):
        yield nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        yield nn.BatchNorm2d(outputs)
        yield nn.ReLU(inplace=True)
    yield nn.ConvTranspose2d(widths[-2], widths[-1], 4, stride=2, padding=1, bias=False)


def _dense(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, outputs),
    )


def network_input(pixels: Tensor, channels: int) -> Tensor:
    """Images in [-1, 1], in the colours that the network knows.

    Args:
        pixels: (B, 1 or 3, S, S) uint8.
        channels: 1 turns colour into luma, 3 repeats grey.
    Returns:
        (B, channels, S, S) float32.
    """
    if channels == 1:
        return colour.grey(pixels.float()) / (colour.WHITE / 2) - 1
    return images.normalise(pixels, "symmetric")


class Reconstruction(OneNetwork, ABC, learned="network"):
    """An entry whose network learns to give normal images back; its error is the map.

    A subclass says what network, what loss, and what error of a pixel. The score is the mean
    error of the image at the network's size, the map the same errors at the image's own.
    """

    network: nn.Module

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params, self.weights = seed, params, weights  # no weights are needed
        self.size: int = params["image_size"]
        if params["input_channels"] not in INPUT_CHANNELS:
            raise ValueError(f"input_channels is {params['input_channels']}; it can be 1 or 3")
        with determinism.seeded(seed, "network"):
            network = self.make_network(params)
        self.network = placed(network, self.device)

    @staticmethod
    @abstractmethod
    def make_network(params: Mapping[str, Any]) -> nn.Module:
        """The network, on the CPU, with random weights."""

    @abstractmethod
    def loss(self, clean: Tensor, draw: torch.Generator) -> Tensor:
        """What a training step goes down.

        Args:
            clean: (B, C, S, S) in [-1, 1].
            draw: for whatever is random, on the CPU.
        Returns:
            0-d float32.
        """

    @abstractmethod
    def errors(self, clean: Tensor) -> Tensor:
        """The error of each pixel and channel, higher = more anomalous; shapes as above."""

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Adam on the loss, epoch by epoch."""
        split = images.read_training_images(train_folder, self.size)
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self.params["learning_rate"])
        # BatchNorm over vectors has no variance of one image.
        schedule = Schedule.of(self.params, smallest_batch=2)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )

        def step(pixels: Tensor) -> Tensor:
            self.network.train()
            with autocast(self.device, self.params["precision"]):
                loss = self.loss(self._input(pixels), training.draw)
            return descend(loss, optimiser)

        training.run(step, {"network": self.network, "optimiser": optimiser})

    def _input(self, pixels: Tensor) -> Tensor:
        return network_input(pixels, self.params["input_channels"])

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The error, mean over the channels; score = its mean at the network's size."""
        self.network.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        error = self.errors(self._input(pixels)).mean(dim=1, keepdim=True)  # (1, 1, S, S)
        return maps.to_array(error, image.shape[:2]), float(error.mean())
