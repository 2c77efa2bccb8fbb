"""DAE: a U-Net takes coarse noise off normal images, and takes off anomalies as well.

Kascenas et al., "Denoising autoencoders for unsupervised anomaly detection in brain MRI" (2022),
as Cai et al. train it in "MedIAnomaly" (2025). Trap: that code subtracts 1 from every noisy image
while testing on clean ones; see `noise_shift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import maps
from baselines.kit.autoencoders import Reconstruction

# Added to a filter's standard deviation where it divides.
EPSILON = 1e-5


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and deviation 1 (Qiao et al. 2019)."""

    def forward(self, pixels: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centred.flatten(1).std(dim=1).view(-1, 1, 1, 1)
        weight = centred / (deviation + EPSILON)
        return functional.conv2d(pixels, weight, self.bias)


def groups_of(channels: int) -> int:
    """Groups for GroupNorm: the (upper) middle one of the divisors."""
    divisors = [number for number in range(1, channels + 1) if channels % number == 0]
    return divisors[len(divisors) // 2]


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Twice: a convolution with mirrored border, swish, GroupNorm."""
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [
            nn.ReflectionPad2d(1),
            StandardisedConv2d(before, outputs, 3),
            nn.SiLU(),
            nn.GroupNorm(groups_of(outputs), outputs),
        ]
    return nn.Sequential(*layers)


class Up(nn.Module):
    """A level on the way up: enlarged, joined with what was skipped, and a block."""

    def __init__(self, deep: int, shallow: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(deep, shallow, 2, stride=2)
        self.block = block(deep, shallow)

    def forward(self, pixels: Tensor, skipped: Tensor) -> Tensor:
        """(B, shallow, 2 S, 2 S) from (B, deep, S, S) and (B, shallow, 2 S, 2 S)."""
        made: Tensor = self.block(torch.cat([self.enlarge(pixels), skipped], dim=1))
        return made


class UNet(nn.Module):
    """A U-Net that doubles its channels at every level.

    Args:
        channels: of the image, in and out.
        depth: number of levels.
        width: channels of the first.
    """

    def __init__(self, channels: int, depth: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.down = nn.ModuleList(block(*pair) for pair in pairwise([channels, *widths]))
        self.up = nn.ModuleList(Up(*pair) for pair in pairwise(reversed(widths)))
        self.last = nn.Conv2d(width, channels, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, S, S) to the same, without bounds; S a multiple of 2 ** (depth - 1)."""
        skipped = []
        for level, down in enumerate(self.down):
            pixels = down(functional.avg_pool2d(pixels, 2) if level else pixels)
            skipped.append(pixels)
        skipped.pop()
        for up in self.up:
            pixels = up(pixels, skipped.pop())
        made: Tensor = self.last(pixels)
        return made


def coarse_noise(
    shape: torch.Size, resolution: int, deviation: float, draw: torch.Generator
) -> Tensor:
    """Gaussian noise of a coarse grid, enlarged, and moved round the image by chance.

    Args:
        shape: (B, C, S, S).
        resolution: side of the grid.
        deviation: standard deviation of the grid's values.
        draw: on the CPU.
    """
    grid = deviation * torch.randn(*shape[:2], resolution, resolution, generator=draw)
    enlarged = maps.resize(grid, (shape[2], shape[3]), align_corners=True)
    rows, columns = torch.randint(shape[2], (2,), generator=draw).tolist()
    return enlarged.roll((rows, columns), dims=(2, 3))  # one way for the whole batch


class DenoisingAutoencoder(Reconstruction, learned="network"):
    """Squared difference between an image and what the U-Net makes of it."""

    @staticmethod
    def make_network(params: Mapping[str, Any]) -> UNet:
        """The U-Net.

        Raises:
            ValueError: the size cannot be halved as often as there are levels below the first.
        """
        size, depth = params["image_size"], params["depth"]
        if size % 2 ** (depth - 1):
            raise ValueError(
                f"image_size is {size}; {depth} levels need a multiple of {2 ** (depth - 1)}"
            )
        return UNet(params["input_channels"], depth, params["width"])

    def loss(self, clean: Tensor, draw: torch.Generator) -> Tensor:
        """The mean squared error of the image made from the noisy one to the clean one."""
        return (self.network(self.noisy(clean, draw)).float() - clean).square().mean()

    def noisy(self, clean: Tensor, draw: torch.Generator) -> Tensor:
        """Images in [-1, 1] with noise, whose deviation counts in grey levels of [0, 1]."""
        params = self.params
        noise = coarse_noise(
            clean.shape, params["noise_resolution"], params["noise_deviation"], draw
        ).to(clean.device)
        if params["noise_in_foreground"]:
            noise = noise * (clean > clean.amin(dim=(1, 2, 3), keepdim=True))
        return clean + 2 * noise + params["noise_shift"]

    def errors(self, clean: Tensor) -> Tensor:
        """The squared error of each pixel and channel."""
        return (self.network(clean).float() - clean).square()
