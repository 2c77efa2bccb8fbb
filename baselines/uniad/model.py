"""UniAD: a transformer that may not copy reconstructs pretrained features from noisy ones.

You et al., "A unified model for multi-class anomaly detection" (2022), section 3.2, and their code.
Its three attentions are blind to a position's own neighbourhood, so that no feature can be handed
through; each decoder layer has queries of its own. Traps: the noise is as long as each feature, so
that it depends on the backbone's scale; the image score is the map's largest mean over a window, not
its maximum; the authors' evaluation turns an AUROC below 0.5 round.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.backbones import Backbone
from baselines.kit.precision import autocast, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.training import Schedule, Training
from harness.contract import Checkpoint

# Pixels to a side of a token, and of the window that the image score looks for.
STRIDE = 16


def neighbour_mask(grid: int, reach: int) -> Tensor:
    """What each position may not attend to.

    Args:
        grid: side G of the feature map.
        reach: side of the square around a position, odd; 0 hides nothing.
    Returns:
        (G * G, G * G) bool, row by row; True = hidden.
    """
    places = torch.arange(grid)
    is_near = (places[:, None] - places).abs() <= reach // 2  # (G, G)
    both = is_near[:, None, :, None] & is_near[None, :, None, :]  # (G, G, G, G)
    return both.reshape(grid**2, grid**2) & (reach > 0)


class FeedForward(nn.Module):
    """Two linear layers, added to what comes in, then LayerNorm."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(params["width"], params["feed_forward"]),
            nn.ReLU(),
            nn.Dropout(params["dropout"]),
            nn.Linear(params["feed_forward"], params["width"]),
            nn.Dropout(params["dropout"]),
        )
        self.norm = nn.LayerNorm(params["width"])

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) to the same."""
        normed: Tensor = self.norm(tokens + self.layers(tokens))
        return normed


class Attention(nn.Module):
    """Multi-head attention, added to the queries, then LayerNorm."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        width, heads, dropout = params["width"], params["heads"], params["dropout"]
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, seen: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) from queries and what they see, (B, T, D) each; places (T, D) mark both."""
        found, _ = self.attention(
            queries + places, seen + places, seen, attn_mask=mask, need_weights=False
        )
        normed: Tensor = self.norm(queries + self.dropout(found))
        return normed


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(params), FeedForward(params)

    def forward(self, tokens: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) to the same."""
        made: Tensor = self.feed_forward(self.attention(tokens, tokens, places, mask))
        return made


class DecoderLayer(nn.Module):
    """Learned queries look at the encoder's memory, then at what the layer before made."""

    def __init__(self, params: Mapping[str, Any], tokens: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, params["width"]))
        self.to_memory, self.to_previous = Attention(params), Attention(params)
        self.feed_forward = FeedForward(params)

    def forward(self, previous: Tensor, memory: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) from twice (B, T, D)."""
        queries = self.to_memory(self.queries.expand_as(memory), memory, places, mask)
        made: Tensor = self.feed_forward(self.to_previous(queries, previous, places, mask))
        return made


class Places(nn.Module):
    """Learned marks of the columns beside learned marks of the rows."""

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.rand(grid, width // 2))
        self.columns = nn.Parameter(torch.rand(grid, width // 2))

    def forward(self) -> Tensor:
        """(G * G, D), row by row."""
        grid = len(self.rows)
        columns, rows = self.columns[None], self.rows[:, None]
        marks = [marks.expand(grid, grid, -1) for marks in (columns, rows)]
        return torch.cat(marks, dim=2).flatten(0, 1)


class FeatureTransformer(nn.Module):
    """Features to features of the same shape.

    Args:
        channels: C of the features.
        grid: side G of the feature map.
        params: `width`, `heads`, `feed_forward`, `dropout`, `encoder_layers`, `decoder_layers`,
            `neighbourhood`.
    """

    mask: Tensor

    def __init__(self, channels: int, grid: int, params: Mapping[str, Any]) -> None:
        super().__init__()
        width = params["width"]
        self.grid = grid
        self.reduce, self.restore = nn.Linear(channels, width), nn.Linear(width, channels)
        self.places = Places(grid, width)
        self.encoder = _copies(EncoderLayer(params), params["encoder_layers"])
        self.decoder = _copies(DecoderLayer(params, grid**2), params["decoder_layers"])
        self.norm = nn.LayerNorm(width)
        mask = neighbour_mask(grid, params["neighbourhood"])
        self.register_buffer("mask", mask, persistent=False)
        self.apply(_initialise)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, G, G) from (B, C, G, G)."""
        places = self.places()
        memory = self.reduce(features.flatten(2).transpose(1, 2))  # (B, T, D)
        for layer in self.encoder:
            memory = layer(memory, places, self.mask)
        made = memory
        for layer in self.decoder:
            made = layer(made, memory, places, self.mask)
        restored: Tensor = self.restore(self.norm(made))
        return restored.transpose(1, 2).unflatten(2, (self.grid, self.grid))


def _copies(layer: nn.Module, count: int) -> nn.ModuleList:
    """Layers that begin alike, but for the linear layers that `_initialise` draws anew."""
    return nn.ModuleList(copy.deepcopy(layer) for _ in range(count))


def _initialise(module: nn.Module) -> None:
    """Xavier's, uniform; the attention's input projection is no module of its own: torch's stays."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def jitter(features: Tensor, scale: float, draw: torch.Generator) -> Tensor:
    """Features with Gaussian noise: at each position in proportion to the feature's length.

    Args:
        features: (B, C, G, G) float32.
        scale: standard deviation of the noise over length / C.
        draw: on the CPU.
    """
    lengths = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    noise = torch.randn(features.shape, generator=draw).to(features.device)
    return features + noise * (scale / features.shape[1]) * lengths


class UniAd(OneNetwork, learned="transformer", frozen="backbone"):
    """Where the reconstruction is far from the features, the image is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        self.grid = _checked_grid(params)
        self.backbone = placed(
            Backbone.of(params, params["layers"], folder=weights, seed=seed), self.device
        )
        with determinism.seeded(seed, "transformer"):
            transformer = FeatureTransformer(sum(self.backbone.channels()), self.grid, params)
        self.transformer = placed(transformer, self.device)

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> Tensor:
        """(B, C, G, G) float32: all layers brought to the tokens' grid, one behind the other."""
        features = self.backbone(self.backbone.normalise(pixels))
        grid = (self.grid, self.grid)
        return torch.cat(
            [maps.resize(layer.float(), grid, align_corners=True) for layer in features], dim=1
        )

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """AdamW with a stepped learning rate; the backbone stays as it is."""
        split = images.read_training_images(train_folder, self.size)
        optimiser = torch.optim.AdamW(
            self.transformer.parameters(),
            lr=self.params["learning_rate"],
            weight_decay=self.params["weight_decay"],
        )
        scheduler = torch.optim.lr_scheduler.MultiStepLR(
            optimiser, self.params["milestones"], self.params["milestone_factor"]
        )
        training = Training(
            split,
            [Schedule.of(self.params)],
            seed=self.seed,
            device=self.device,
            checkpoint=checkpoint,
        )

        def step(pixels: Tensor) -> Tensor:
            self.transformer.train()
            with autocast(self.device, self.params["precision"]):
                features = self.embed(pixels)
                noisy = jitter(features, self.params["jitter_scale"], training.draw)
                restored = self.transformer(noisy)
            loss = functional.mse_loss(restored.float(), features)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.transformer.parameters(), self.params["gradient_norm"])
            optimiser.step()
            return loss.detach()

        training.run(
            step,
            {"transformer": self.transformer, "optimiser": optimiser, "scheduler": scheduler},
            after_epoch=lambda _: scheduler.step(),
        )

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Length of the difference at each position; score = its largest mean over a window."""
        self.transformer.eval()
        features = self.embed(images.from_array(image, self.size).to(self.device))
        difference = self.transformer(features) - features
        lengths = torch.linalg.vector_norm(difference, dim=1, keepdim=True)  # (1, 1, G, G)
        heat = maps.resize(lengths, (self.size, self.size), align_corners=True)
        score = functional.avg_pool2d(heat, STRIDE, stride=1).amax()
        return maps.to_array(heat, image.shape[:2]), float(score)


def _checked_grid(params: Mapping[str, Any]) -> int:
    """Tokens to a side, where all that is asked for fits together."""
    size, reach = params["image_size"], params["neighbourhood"]
    if size % STRIDE:
        raise ValueError(f"image_size is {size}; it must be a multiple of {STRIDE}")
    grid: int = size // STRIDE
    if reach and reach % 2 == 0:
        raise ValueError(f"neighbourhood is {reach}; it must be odd, or 0 for none")
    if reach and grid // 2 <= reach // 2:
        raise ValueError(
            f"neighbourhood is {reach}; the token in the middle of {grid} x {grid} would see nothing"
        )
    if params["width"] % params["heads"] or params["width"] % 2:
        raise ValueError(f"width is {params['width']}; it must be even, and a multiple of heads")
    return grid
