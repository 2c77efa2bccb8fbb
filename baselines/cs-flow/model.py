"""CS-Flow: one normalising flow over the features of an image at three sizes.

Rudolph et al., "Fully convolutional cross-scale-flows for image-based defect detection"
(2022), written from its description. Traps: each scale halves the last and the backbone's
stride is 32, so image sizes are multiples of 128; the log-determinant is a number per image,
a sum over the batch would weigh it by the batch size; a random EfficientNet-B5 gives features
near zero, which only `standardise` makes worth learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps, saved
from baselines.kit.backbones import Backbone
from baselines.kit.kept_features import kept
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.training import Schedule, Training
from baselines.kit.upsampling import doubled
from harness.contract import Checkpoint

# The end of the sixth stage (the 36th block): 304 channels.
LAYERS = {"efficientnet_b5": "features.6"}  # of any other, its stage of the same stride
STRIDE = 32
# The image, half of it, a quarter of it.
SCALES = 3
COARSEST_STRIDE = STRIDE * 2 ** (SCALES - 1)
LEAKY_SLOPE = 0.1
# No number leaves a block larger than this: a training that overshoots stays finite.
LARGEST = 1e6
# 0.636 is 2 / pi as the authors round it: with it the atan ends at the clamp.
TWO_OVER_PI = 0.636

Scales = list[Tensor]
"""One (B, C, h, w) per scale, the finest first; h and w halve from one to the next."""


class CrossScaleNet(nn.Module):
    """Scale and shift for one half of the channels from the other, with a look at the neighbours.

    One hidden layer per scale; each output adds what comes from its own scale, from the finer
    one (stride 2) and from the coarser one (bilinear, twice the size). A gate per scale,
    closed at first, makes every coupling start as the identity.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        kernel_size: int,
        region: Callable[[], torch.autocast],
    ) -> None:
        super().__init__()
        self._region = region

        def convolutions(count: int, start: int, end: int, stride: int = 1) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv2d(start, end, kernel_size, stride, padding=kernel_size // 2)
                for _ in range(count)
            )

        self.enter = convolutions(SCALES, inputs, hidden)
        self.stay = convolutions(SCALES, hidden, outputs)
        self.rise = convolutions(SCALES - 1, hidden, outputs)  # to the next finer scale
        self.sink = convolutions(SCALES - 1, hidden, outputs, stride=2)  # to the next coarser
        self.gates = nn.Parameter(torch.zeros(SCALES))

    def forward(self, scales: Scales) -> Scales:
        """(B, inputs, h, w) to (B, outputs, h, w) float32 per scale."""
        with self._region() if self.training else nullcontext():
            hidden = [
                functional.leaky_relu(enter(scale), LEAKY_SLOPE)
                for enter, scale in zip(self.enter, scales, strict=True)
            ]
            sums = [stay(scale) for stay, scale in zip(self.stay, hidden, strict=True)]
            for fine in range(SCALES - 1):
                larger = doubled(hidden[fine + 1], align_corners=False)
                sums[fine] = sums[fine] + self.rise[fine](larger)
                sums[fine + 1] = sums[fine + 1] + self.sink[fine](hidden[fine])
        return [gate * scale.float() for gate, scale in zip(self.gates, sums, strict=True)]


class CrossScaleCoupling(nn.Module):
    """Shuffle the channels; scale and shift the first half by the second, then the other way."""

    def __init__(
        self, channels: int, clamp: float, net: Callable[[int, int], CrossScaleNet]
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.halves = [channels // 2, channels - channels // 2]
        orders = torch.stack([torch.randperm(channels) for _ in range(SCALES)])
        self.register_buffer("orders", orders)  # (SCALES, C)
        first, second = self.halves
        self.from_second = net(second, 2 * first)
        self.from_first = net(first, 2 * second)

    orders: Tensor

    def forward(self, scales: Scales) -> tuple[Scales, Tensor]:
        """The scales transformed, and the log-determinant per image, (B,)."""
        shuffled = [scale[:, order] for scale, order in zip(scales, self.orders, strict=True)]
        pairs = [scale.split(self.halves, dim=1) for scale in shuffled]
        second = [pair[1] for pair in pairs]
        first, from_second = self._transform([pair[0] for pair in pairs], self.from_second(second))
        second, from_first = self._transform(second, self.from_first(first))
        joined = [
            torch.cat(pair, dim=1).clamp(-LARGEST, LARGEST)
            for pair in zip(first, second, strict=True)
        ]
        return joined, from_second + from_first

    def _transform(self, halves: Scales, coefficients: Scales) -> tuple[Scales, Tensor]:
        moved = []
        log_determinant = torch.zeros(len(halves[0]), device=halves[0].device)
        for half, both in zip(halves, coefficients, strict=True):
            raw, shift = both.chunk(2, dim=1)
            log_scale = self.clamp * TWO_OVER_PI * torch.atan(raw / self.clamp)
            moved.append(half * log_scale.exp() + shift)
            log_determinant = log_determinant + log_scale.sum(dim=(1, 2, 3))
        return moved, log_determinant


class CrossScaleFlow(nn.Module):
    """Coupling blocks, the last with a larger kernel."""

    def __init__(
        self, channels: int, params: Mapping[str, Any], region: Callable[[], torch.autocast]
    ) -> None:
        super().__init__()

        def coupling(kernel_size: int) -> CrossScaleCoupling:
            return CrossScaleCoupling(
                channels,
                params["clamp"],
                lambda inputs, outputs: CrossScaleNet(
                    inputs, outputs, params["hidden_channels"], kernel_size, region
                ),
            )

        kernel_sizes = [params["kernel_size"]] * (params["coupling_blocks"] - 1)
        self.blocks = nn.ModuleList(
            coupling(size) for size in [*kernel_sizes, params["last_kernel_size"]]
        )

    def forward(self, scales: Scales) -> tuple[Scales, Tensor]:
        """Latent scales, and the log-determinant per image, (B,)."""
        log_determinant = torch.zeros(len(scales[0]), device=scales[0].device)
        for block in self.blocks:
            scales, part = block(scales)
            log_determinant = log_determinant + part
        return scales, log_determinant


def flow_loss(latent: Scales, log_determinant: Tensor) -> Tensor:
    """Negative log-likelihood per latent number, without its constant; mean over the images."""
    flat = flattened(latent)  # (B, F)
    return (0.5 * flat.square().sum(dim=1) - log_determinant).mean() / flat.shape[1]


def flattened(scales: Scales) -> Tensor:
    """All numbers of an image in one row, (B, F)."""
    return torch.cat([scale.flatten(1) for scale in scales], dim=1)


class CsFlow:
    """The longer the latent vector of an image, the more anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        if self.size % COARSEST_STRIDE:
            raise ValueError(
                f"image_size is {self.size}; it must be a multiple of {COARSEST_STRIDE}"
            )
        self.maps: bool = params["native_map"]
        layer = LAYERS.get(params["backbone"], "layer4")
        self.backbone = placed(
            Backbone.of(params, [layer], folder=weights, seed=seed),
            self.device,
        )
        probe = self.backbone(torch.zeros(1, 3, STRIDE, STRIDE, device=self.device))
        channels = probe[0].shape[1]
        with determinism.seeded(seed, "flow"):
            self.flow = placed(CrossScaleFlow(channels, params, self._region), self.device)
        # Per scale and channel; they leave features alone unless `standardise` is on.
        self.means = torch.zeros(SCALES, channels, device=self.device)
        self.deviations = torch.ones(SCALES, channels, device=self.device)

    def _region(self) -> torch.autocast:
        return autocast(self.device, self.params["precision"])

    def extract(self, pixels: Tensor) -> Scales:
        """Frozen features of the image at its three sizes, from (B, 1 or 3, S, S) uint8."""
        picture = self.backbone.normalise(pixels)
        scales = []
        with torch.no_grad():
            for scale in range(SCALES):
                side = self.size // 2**scale
                smaller = functional.interpolate(picture, (side, side)) if scale else picture
                scales.extend(self.backbone(smaller))
        return scales

    def latent(self, features: Scales) -> tuple[Scales, Tensor]:
        """What the flow makes of features, and its log-determinant per image."""
        found: tuple[Scales, Tensor] = self.flow(
            [
                (scale.float() - mean[:, None, None]) / deviation[:, None, None]
                for scale, mean, deviation in zip(
                    features, self.means, self.deviations, strict=True
                )
            ]
        )
        return found

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Adam on the flow; the features are extracted once where they fit in memory."""
        split = images.read_training_images(train_folder, self.size)
        size: int = self.params["batch_size"]
        features = kept(self.extract, split, size, self.device, ram_mib=self.params["store_mib"])
        source = features or split

        def features_of(batch: Tensor) -> Scales:
            return features.layers(batch) if features else self.extract(batch)

        if self.params["standardise"]:
            batches = source.batches(size, self.device)
            self.means, self.deviations = standards(features_of(batch) for batch in batches)
        optimiser = torch.optim.Adam(
            self.flow.parameters(),
            lr=self.params["learning_rate"],
            betas=self.params["betas"],
            eps=self.params["epsilon"],
            weight_decay=self.params["weight_decay"],
            fused=is_fused(self.device),
        )

        def step(batch: Tensor) -> Tensor:
            self.flow.train()
            with self._region():
                given = features_of(batch)
            loss = flow_loss(*self.latent(given))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.flow.parameters(), self.params["gradient_norm"])
            optimiser.step()
            return loss.detach()

        schedule = Schedule.of(self.params)
        training = Training(
            source, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        training.run(step, {"flow": self.flow, "optimiser": optimiser})

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray | None, float]:
        """Half the mean square of all latent numbers; as a map, those of the finest scale."""
        self.flow.eval()
        pixels = images.from_array(image, self.size).to(self.device)
        latent, _ = self.latent(self.extract(pixels))
        score = float(flattened(latent).square().mean() / 2)
        if not self.maps:
            return None, score
        squares = latent[0].square().mean(dim=1, keepdim=True)  # (1, 1, h, w)
        anomaly_map = maps.resize(squares, (self.size, self.size))
        if self.params["map_sigma"]:
            anomaly_map = maps.gaussian_blur(anomaly_map, self.params["map_sigma"])
        return maps.to_array(anomaly_map, image.shape[:2]), score

    def save(self, folder: Path) -> None:
        """Write the flow and what its features are standardised with."""
        tensors = {f"flow.{name}": value for name, value in self.flow.state_dict().items()}
        standard = {"means": self.means, "deviations": self.deviations}
        saved.save_tensors(folder, {**tensors, **standard}, self.backbone.identity)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ValueError: it learned from another backbone.
        """
        tensors = saved.load_tensors(folder, self.device, self.backbone.identity)
        self.means, self.deviations = tensors.pop("means"), tensors.pop("deviations")
        self.flow.load_state_dict(
            {name.removeprefix("flow."): value for name, value in tensors.items()}
        )


def standards(batches: Iterable[Scales]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per scale and channel, each (SCALES, C) float32.

    A channel that never changes keeps its size.
    """
    sums: list[Any] = [[0, 0, 0] for _ in range(SCALES)]  # numbers, their sum, of their squares
    for scales in batches:
        for total, scale in zip(sums, scales, strict=True):
            values = scale.double().transpose(0, 1).flatten(1)  # (C, B * h * w)
            total[0] += values.shape[1]
            total[1] = total[1] + values.sum(dim=1)
            total[2] = total[2] + values.square().sum(dim=1)
    means = torch.stack([total / count for count, total, _ in sums])
    squares = torch.stack([total / count for count, _, total in sums])
    variances = (squares - means.square()).clamp(min=0)
    deviations = variances.sqrt()
    return means.float(), torch.where(deviations > 0, deviations, 1).float()
