"""GANomaly: an anomalous image's code changes on the way through decoder and second encoder.

Akcay et al., "GANomaly: semi-supervised anomaly detection via adversarial training" (2018).
The networks are written here: anomalib's file cannot be loaded without the whole library.
Traps: images whose side is no power of two are padded to the next one, with the grey of
zero; the discriminator may win for good, and then begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

VARIANTS = ("official", "anomalib")
# Official: a discriminator whose loss falls below has won, and its weights are drawn anew.
VICTORY = 1e-5
SMALLEST_SIZE = 32  # the encoder's pyramid must reach 4x4, and the map's blur 17 pixels
# Border of the encoders' first convolution: anomalib's 4 looks like a slip for DCGAN's 1.
FIRST_PADDING = {"official": 1, "anomalib": 4}


def encoder(size: int, outputs: int, width: int, padding: int) -> nn.Sequential:
    """(B, 3, S, S) to (B, outputs, 1, 1): halved down to 4x4, doubling the channels.

    Args:
        size: the side S, a power of two.
        outputs: length of the code, 1 for a discriminator.
        width: channels after the first convolution.
        padding: border of the first convolution.
    """
    layers = [nn.Conv2d(3, width, 4, 2, padding, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    side = size // 2
    while side > 4:
        layers += [
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        width, side = 2 * width, side // 2
    return nn.Sequential(*layers, nn.Conv2d(width, outputs, 4, bias=False))


def decoder(size: int, code_size: int, width: int) -> nn.Sequential:
    """(B, code size, 1, 1) to (B, 3, S, S) in [-1, 1]: the encoder mirrored."""
    channels = width * size // 8
    layers = [
        nn.ConvTranspose2d(code_size, channels, 4, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    while channels > width:
        layers += [
            nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
        ]
        channels //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


class Generator(nn.Module):
    """Encoder, decoder, and the encoder that reads the image made."""

    def __init__(self, size: int, code_size: int, width: int, padding: int) -> None:
        super().__init__()
        self.encoder = encoder(size, code_size, width, padding)
        self.decoder = decoder(size, code_size, width)
        self.second_encoder = encoder(size, code_size, width, padding)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The image made (B, 3, S, S), the code (B, Z), and the code of the image made (B, Z)."""
        code = self.encoder(pixels)
        made = self.decoder(code)
        return made, code.flatten(1), self.second_encoder(made).flatten(1)


class Discriminator(nn.Module):
    """Tells real images from made ones; its last features are compared, too."""

    def __init__(self, size: int, width: int, padding: int) -> None:
        super().__init__()
        layers = encoder(size, 1, width, padding)
        self.features, self.classifier = layers[:-1], layers[-1]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B,), high for real; features (B, C, 4, 4)."""
        features = self.features(pixels)
        return self.classifier(features).flatten(), features


def draw_weights(network: nn.Module) -> None:
    """DCGAN's start: convolutions N(0, 0.02), BatchNorm N(1, 0.02) and no shift."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


class Ganomaly(OneNetwork, learned="generator"):
    """Distance between the codes of an image and of its reconstruction."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params, self.weights = seed, params, weights  # no weights are needed
        self.maps: bool = params["native_map"]
        self.size: int = params["image_size"]
        if self.size < SMALLEST_SIZE:
            raise ValueError(f"image_size is {self.size}; it must be {SMALLEST_SIZE} or more")
        check_choice(params, "variant", VARIANTS)
        check_choice(params, "normalisation", images.NORMALISATIONS)
        self.variant: str = params["variant"]
        self.padded_size = 2 ** (self.size - 1).bit_length()
        width, padding = params["width"], FIRST_PADDING[self.variant]
        with determinism.seeded(seed, "networks"):
            self.generator = Generator(self.padded_size, params["code_size"], width, padding)
            self.discriminator = Discriminator(self.padded_size, width, padding)
            # anomalib calls its start on the outermost modules alone, where it does nothing.
            if self.variant == "official":
                draw_weights(self.generator)
                draw_weights(self.discriminator)
        self.generator = placed(self.generator, self.device)
        self.discriminator = placed(self.discriminator, self.device)

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Each batch: one step of the generator, then one of the discriminator."""
        split = images.read_training_images(train_folder, self.size)
        generator_optimiser = self._adam(self.generator)
        discriminator_optimiser = self._adam(self.discriminator)

        def step(pixels: Tensor) -> Tensor:
            self.generator.train()
            self.discriminator.train()
            real = self._input(pixels)
            loss, made, real_logits = self._generator_loss(real)
            descend(loss, generator_optimiser, only=self.generator)
            verdict = self._discriminator_loss(real_logits, made)
            descend(verdict, discriminator_optimiser, only=self.discriminator)
            if self.variant == "official" and float(verdict.detach()) < VICTORY:
                draw_weights(self.discriminator)
            return loss.detach()

        training = Training(
            split,
            [Schedule.of(self.params)],
            seed=self.seed,
            device=self.device,
            checkpoint=checkpoint,
        )
        state = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator optimiser": generator_optimiser,
            "discriminator optimiser": discriminator_optimiser,
        }
        training.run(step, state)

    def _generator_loss(self, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss; the images made, without a graph; the discriminator's logits of the real."""
        with autocast(self.device, self.params["precision"]):
            made, code, second_code = self.generator(real)
            real_logits, real_features = self.discriminator(real)
            made_logits, made_features = self.discriminator(made)
        made, code, second_code = made.float(), code.float(), second_code.float()
        if self.variant == "official":
            adversarial = functional.mse_loss(made_features.float(), real_features.detach().float())
            latent = functional.mse_loss(second_code, code)
        else:
            opinions = (made_logits.float().sigmoid(), real_logits.detach().float().sigmoid())
            adversarial = functional.mse_loss(*opinions)
            latent = functional.smooth_l1_loss(second_code, code)
        loss = (
            self.params["adversarial_weight"] * adversarial
            + self.params["image_weight"] * functional.l1_loss(made, real)
            + self.params["code_weight"] * latent
        )
        return loss, made.detach(), real_logits

    def _discriminator_loss(self, real_logits: Tensor, made: Tensor) -> Tensor:
        """Cross-entropy from logits, which keeps its slope where a sigmoid rounds to 0 or 1."""
        with autocast(self.device, self.params["precision"]):
            made_logits, _ = self.discriminator(made)
        losses = [
            functional.binary_cross_entropy_with_logits(
                logits.float(), torch.full_like(logits, truth, dtype=torch.float32)
            )
            for logits, truth in ((real_logits, 1.0), (made_logits, 0.0))
        ]
        return torch.stack(losses).mean()

    def _input(self, pixels: Tensor) -> Tensor:
        """Normalised and padded to a power of two, the larger half of the border first."""
        real = images.normalise(pixels, self.params["normalisation"])
        border = self.padded_size - self.size
        first, last = border - border // 2, border // 2
        return functional.pad(real, (first, last, first, last))

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            network.parameters(),
            lr=self.params["learning_rate"],
            betas=self.params["betas"],
            fused=is_fused(self.device),
        )

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray | None, float]:
        """Mean squared difference of the codes; the map, if wanted, is |x - x'|, smoothed."""
        self.generator.eval()
        real = self._input(images.from_array(image, self.size).to(self.device))
        made, code, second_code = self.generator(real)
        score = float((code - second_code).square().mean())
        if not self.maps:
            return None, score
        border = self.padded_size - self.size
        first = border - border // 2
        inside = slice(first, first + self.size)
        smooth = maps.gaussian_blur(maps.residual(real, made)[..., inside, inside])
        return maps.to_array(smooth, image.shape[:2]), score
