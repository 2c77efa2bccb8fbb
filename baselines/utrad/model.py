"""UTRAD: a U-shaped transformer reconstructs pretrained features, and foresees its own error.

Chen et al., "UTRAD: anomaly detection and localization with U-Transformer" (2022). Traps: the
position maps are random and never learn, in the authors' code; one LayerNorm ends all
encoders and another all decoders; the grid of features must be a power of the window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps, patches
from baselines.kit.backbones import Backbone
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from baselines.kit.transformer_layers import DecoderLayer, EncoderLayer
from harness.contract import Checkpoint

# Side of an image over the side of the first layer's feature map, of a ResNet.
STRIDE = 4
# Standard deviation of the initial weights, as in DCGAN.
INITIAL_DEVIATION = 0.02
# Slope of the scale head's ReLUs below zero.
LEAK = 0.2
# Of the transformer's layers; the bottlenecks have GELU either way, as in the authors' code.
ACTIVATIONS = ("gelu", "relu")


class Level(nn.Module):
    """One level of the U: windows of tokens, each summed up on the way down and spelt out again.

    Args:
        params: the settings.
        encoder_norm: ends the encoders of all levels.
        decoder_norm: ends the decoders of all levels.
    """

    def __init__(
        self, params: Mapping[str, Any], encoder_norm: nn.LayerNorm, decoder_norm: nn.LayerNorm
    ) -> None:
        super().__init__()
        width, tokens = params["width"], params["window"] ** 2
        shape = {
            "d_model": width,
            "nhead": params["heads"],
            "dim_feedforward": params["feed_forward"],
            "dropout": params["dropout"],
            "activation": params["activation"],
            "batch_first": True,
        }
        depth = params["layers_per_level"]
        self.encoder = nn.TransformerEncoder(
            EncoderLayer(**shape), depth, encoder_norm, enable_nested_tensor=False
        )
        self.decoder = nn.TransformerDecoder(DecoderLayer(**shape), depth, decoder_norm)
        self.bottleneck = nn.Sequential(
            nn.Linear(width, params["bottleneck"]),
            nn.LayerNorm(params["bottleneck"]),
            nn.GELU(),
            nn.Linear(params["bottleneck"], width),
            nn.LayerNorm(width),
        )
        self.places = nn.Parameter(torch.randn(tokens, width), params["positions_learn"])
        self.queries = nn.Parameter(torch.randn(tokens, width))
        self.dropout = nn.Dropout(params["dropout"])

    def down(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Summaries (N, 1, D) and what the way up sees of the tokens (N, S*S, D), of those."""
        placed_windows = self.dropout(windows + self.places)
        empty = torch.zeros_like(windows[:, :1])
        encoded = self.encoder(torch.cat([empty, placed_windows], dim=1))
        return encoded[:, :1], self.bottleneck(encoded[:, 1:])

    def up(self, summaries: Tensor, skipped: Tensor) -> Tensor:
        """Tokens (N, S*S, D) from the summaries of their windows, and what `down` let through."""
        queries = self.queries.expand(len(skipped), -1, -1)
        tokens: Tensor = self.decoder(queries, torch.cat([summaries, skipped], dim=1))
        return tokens


class UTransformer(nn.Module):
    """Reconstruction of features, and the scale of the error to be expected at each position."""

    def __init__(self, channels: int, params: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.window = params["width"], params["window"]
        grid = self.window ** params["levels"]
        self.reduce = nn.Conv2d(channels, width, 1, bias=False)
        self.places = nn.Parameter(torch.randn(width, grid, grid), params["positions_learn"])
        self.dropout = nn.Dropout(params["dropout"])
        norms = nn.LayerNorm(width), nn.LayerNorm(width)
        self.levels = nn.ModuleList(Level(params, *norms) for _ in range(params["levels"]))
        self.restore = nn.Conv2d(width, channels, 1, bias=False)
        self.scale = _scale_head(width)
        self.apply(_initialise)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction (B, C, G, G) and scale (B, 1, G, G) of features (B, C, G, G)."""
        tokens = self.dropout(self.reduce(features) + self.places).permute(0, 2, 3, 1)
        skipped = []
        for level in self.levels:
            summaries, skip = level.down(to_windows(tokens, self.window))
            skipped.append(skip)
            parts = tokens.shape[1] // self.window
            tokens = summaries.reshape(-1, parts, parts, summaries.shape[2])
        for level in reversed(self.levels):
            windows = level.up(tokens.flatten(0, 2)[:, None], skipped.pop())
            tokens = from_windows(windows, tokens.shape[1], self.window)
        decoded = tokens.permute(0, 3, 1, 2)
        # The scale learns beside the reconstruction and must not pull at it.
        return self.restore(decoded), self.scale(decoded.detach())


def to_windows(tokens: Tensor, window: int) -> Tensor:
    """(B P P, S S, D): windows of S x S tokens of a grid (B, P S, P S, D), both row by row."""
    batch, side, _, width = tokens.shape
    parts = side // window
    split = tokens.reshape(batch, parts, window, parts, window, width)
    return split.transpose(2, 3).reshape(batch * parts**2, window**2, width)


def from_windows(windows: Tensor, parts: int, window: int) -> Tensor:
    """The way back: (B, P S, P S, D), with P windows to a side."""
    width = windows.shape[2]
    split = windows.reshape(-1, parts, parts, window, window, width)
    return split.transpose(2, 3).reshape(-1, parts * window, parts * window, width)


def _scale_head(width: int) -> nn.Sequential:
    widths = [width, width, width // 2, width // 4, width // 8]
    blocks = [
        nn.Sequential(
            nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(LEAK)
        )
        for before, after in itertools.pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.Conv2d(widths[-1], 1, 1, bias=False))


def _initialise(module: nn.Module) -> None:
    """DCGAN's way. The attention's input projection is no module of its own: torch's stays."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0, INITIAL_DEVIATION)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, INITIAL_DEVIATION)


class Utrad(OneNetwork, learned="transformer", frozen="backbone"):
    """Where features cannot be reconstructed as well as foreseen, the image is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        _check(params)
        self.backbone = placed(
            Backbone.of(params, params["layers"], folder=weights, seed=seed),
            self.device,
        )
        channels = self.embed(torch.zeros(1, 1, self.size, self.size, device=self.device)).shape[1]
        with determinism.seeded(seed, "transformer"):
            self.transformer = placed(UTransformer(channels, params), self.device)

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> Tensor:
        """(B, C, G, G): the backbone's layers on the first one's grid."""
        features = self.backbone(self.backbone.normalise(pixels))
        return patches.concatenate(features, "nearest")

    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Adam on both losses at once; the backbone stays as it is."""
        split = images.read_training_images(train, self.size)
        optimiser = torch.optim.Adam(
            self.transformer.parameters(),
            lr=self.params["learning_rate"],
            betas=self.params["betas"],
            fused=is_fused(self.device),
        )
        schedule = Schedule.of(self.params)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )

        def step(pixels: Tensor) -> Tensor:
            self.transformer.train()
            seen = turned(pixels, self.params["rotation"], self.params["padding"], training.draw)
            with autocast(self.device, self.params["precision"]):
                features = self.embed(seen)
                restored, scale = self.transformer(features)
            loss = self.loss(features.float(), restored.float(), scale.float())
            return descend(loss, optimiser)

        training.run(step, {"transformer": self.transformer, "optimiser": optimiser})

    @staticmethod
    def loss(features: Tensor, restored: Tensor, scale: Tensor) -> Tensor:
        """Mean square error of the reconstruction, and of the scale to the reconstruction's error.

        Args:
            features, restored: (B, C, G, G).
            scale: (B, 1, G, G).
        """
        error = error_of(features, restored).detach()
        return functional.mse_loss(restored, features) + functional.mse_loss(scale, error)

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The error over its foreseen scale, at several resolutions; score = the maximum."""
        self.transformer.eval()
        features = self.embed(images.from_array(image, self.size).to(self.device))
        restored, scale = self.transformer(features)
        ratio = error_of(features, restored) / scale.abs().clamp(min=self.params["scale_floor"])
        heat = maps.resize(self._pooled(ratio), (self.size, self.size))
        return maps.to_array(heat, image.shape[:2]), float(heat.amax())

    def _pooled(self, ratio: Tensor) -> Tensor:
        """(1, 1, G, G): the mean of the map as it is, and averaged over each level's windows."""
        window, grid = self.params["window"], ratio.shape[2:]
        pooled = [
            maps.resize(functional.avg_pool2d(ratio, window**level), grid)
            for level in range(self.params["levels"] + 1)
        ]
        return torch.stack(pooled).mean(dim=0)


def error_of(features: Tensor, restored: Tensor) -> Tensor:
    """(B, 1, G, G): length of the difference of two vectors per position."""
    return torch.linalg.vector_norm(restored - features, dim=1, keepdim=True)


def turned(pixels: Tensor, degrees: float, padding: int, draw: torch.Generator) -> Tensor:
    """Each image padded with black, turned by chance, and cropped by chance to its size.

    All in one step, by nearest neighbour, so that no grey level is made up.

    Args:
        pixels: (B, C, S, S) uint8.
        degrees: largest turn to either side.
        padding: pixels on every side; the crop moves by as many at most.
        draw: on the CPU.
    """
    if not degrees and not padding:
        return pixels
    count, size = len(pixels), pixels.shape[2]
    angles = (torch.rand(count, generator=draw) * 2 - 1) * math.radians(degrees)
    shifts = torch.randint(-padding, padding + 1, (count, 2, 1), generator=draw)
    cosine, sine = angles.cos(), angles.sin()
    turns = torch.stack([cosine, -sine, sine, cosine], dim=1).view(count, 2, 2)
    affine = torch.cat([turns, turns @ (shifts * 2 / size)], dim=2).to(pixels.device)
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels.float(), grid, mode="nearest", align_corners=False)


def _check(params: Mapping[str, Any]) -> None:
    check_choice(params, "activation", ACTIVATIONS)
    size = STRIDE * params["window"] ** params["levels"]
    if params["image_size"] != size:
        raise ValueError(
            f"image_size is {params['image_size']}; {params['levels']} levels of windows of "
            f"{params['window']} need {size}"
        )
    if params["width"] % params["heads"] or params["width"] % 8:
        raise ValueError(f"width is {params['width']}; it must be a multiple of heads and of 8")
