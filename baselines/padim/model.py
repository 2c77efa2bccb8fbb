"""PaDiM: a Gaussian per image position over the features of normal images.

Defard et al., "PaDiM: a patch distribution modeling framework for anomaly detection and
localization" (2021). The fit streams: sums instead of all embeddings, which would take up
to 182 GB on the paper's data. Trap: with WideResNet-50 features the sums of all positions
take 7.6 GB and the model 3.8 GB, so that the sums are made of as many positions at a time as
`memory_mib` leaves room for, in as many passes over the images. Shrinkage: Ledoit and Wolf, "A
well-conditioned estimator for large-dimensional covariance matrices" (2004).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.kit import determinism, images, maps, patches, saved
from baselines.kit.backbones import Backbone
from baselines.kit.precision import placed
from baselines.kit.settings import check_choice
from harness.contract import Checkpoint, NotApplicable

# Positions in one matrix product or inversion: the same in every pass, so that no digit depends
# on how many passes there are.
BLOCK = 16
# Float64 copies of a block's matrices that its inversion holds at once.
BLOCK_COPIES = 6
MIB = 1024**2
SHRINKAGES = ("none", "ledoit-wolf")


class Padim:
    """Mahalanobis distance to the Gaussian of the same position."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.params = params
        check_choice(params, "shrinkage", SHRINKAGES)
        self.size: int = params["image_size"]
        backbone = Backbone.of(params, params["layers"], folder=weights, seed=seed)
        self.backbone = placed(backbone, self.device)
        self.channels = self._choose_channels(seed)  # (C,), ascending
        self.mean = torch.empty(0)  # (C, P)
        self.inverse = torch.empty(0)  # (P, C, C)

    @property
    def _channels_parameter(self) -> str:
        """The parameter that says how many channels of this backbone are kept."""
        known = f"channels_{self.params['backbone']}"
        return known if known in self.params else "channels_other"

    def _choose_channels(self, seed: int) -> Tensor:
        """A random subset of the channels: as good as PCA, and free (section IV-A)."""
        wanted: int = self.params[self._channels_parameter]
        with torch.inference_mode():
            probe = torch.zeros(1, 3, self.size, self.size, device=self.device)
            total = sum(layer.shape[1] for layer in self.backbone(probe))
        order = torch.randperm(total, generator=determinism.generator(seed, "channels"))
        return order[: min(wanted, total)].sort().values.to(self.device)

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, C, h, w) from (B, 1 or 3, S, S) uint8: the chosen channels on layer 1's grid."""
        chosen, first = [], 0
        for layer in self.backbone(self.backbone.normalise(pixels)):
            last = first + layer.shape[1]
            inside = (self.channels >= first) & (self.channels < last)
            chosen.append(layer[:, self.channels[inside] - first])
            first = last
        return patches.concatenate(chosen, "nearest")

    @torch.inference_mode()
    def fit(self, train: Path, checkpoint: Checkpoint) -> None:
        """Mean and inverse covariance of every position, in as few passes as memory allows.

        Raises:
            NotApplicable: fewer than 2 images.
            ValueError: `memory_mib` does not hold the model itself.
        """
        split = images.read_training_images(train, self.size)
        if len(split) < 2:
            raise NotApplicable("PaDiM needs at least 2 training images for a covariance")
        size: int = self.params["batch_size"]
        positions = self.embed(next(split.batches(1, self.device)))[0, 0].numel()
        channels = len(self.channels)
        passes = self._passes(positions)
        self.mean = torch.empty(channels, positions, device=self.device)
        self.inverse = torch.empty(positions, channels, channels, device=self.device)
        step, steps = 0, len(passes) * -(-len(split) // size)
        for part in passes:
            sums = GaussianSums(shrinks=self.params["shrinkage"] == "ledoit-wolf")
            for pixels in split.batches(size, self.device):
                sums.add(self.embed(pixels).flatten(2)[:, :, part])
                step += 1
                checkpoint.progress(step, steps, None)
            sums.finish(self.mean[:, part], self.inverse[part], self.params["regularisation"])

    def _passes(self, positions: int) -> list[slice]:
        """The positions, in parts whose sums fit beside the model into `memory_mib`."""
        channels = len(self.channels)
        model = 4 * positions * channels * (channels + 1)
        matrix = 8 * channels**2
        room = self.params["memory_mib"] * MIB - model - BLOCK_COPIES * BLOCK * matrix
        blocks = room // (BLOCK * matrix)
        if blocks < 1:
            least = (model + (BLOCK_COPIES + 1) * BLOCK * matrix) // MIB + 1
            raise ValueError(
                f"memory_mib is {self.params['memory_mib']}, and the model of {positions} "
                f"positions with {channels} channels needs at least {least}: raise it, or "
                f"take fewer channels (--set {self._channels_parameter}=…)"
            )
        most = blocks * BLOCK
        return [slice(start, min(start + most, positions)) for start in range(0, positions, most)]

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Distance per position, brought to the image's size and smoothed; score = its maximum."""
        embedding = self.embed(images.from_array(image, self.size).to(self.device))
        delta = (embedding.flatten(2)[0] - self.mean).T[:, None]  # (P, 1, C)
        squares = torch.bmm(torch.bmm(delta, self.inverse), delta.transpose(1, 2))
        distances = squares.clamp(min=0).sqrt().view(1, 1, *embedding.shape[2:])
        full = maps.resize(distances, (self.size, self.size))
        smooth = maps.gaussian_blur(full, border=self.params["blur_border"])
        return maps.to_array(smooth, image.shape[:2]), float(smooth.amax())

    def save(self, folder: Path) -> None:
        """Write the Gaussians."""
        tensors = {"mean": self.mean, "inverse": self.inverse, "channels": self.channels}
        saved.save_tensors(folder, tensors, self.backbone.identity)

    def load(self, folder: Path) -> None:
        """Read the Gaussians.

        Raises:
            ValueError: they belong to another backbone.
        """
        tensors = saved.load_tensors(folder, self.device, self.backbone.identity)
        self.mean, self.inverse = tensors["mean"], tensors["inverse"]
        self.channels = tensors["channels"]


class GaussianSums:
    """Sum and sum of outer products per position, in float64; batches in any sizes.

    Args:
        shrinks: covariances are Ledoit and Wolf's; takes two more sums.
    """

    def __init__(self, *, shrinks: bool = False) -> None:
        self.count = 0
        self.shrinks = shrinks
        self.sum = torch.empty(0)  # (P, C)
        self.outer = torch.empty(0)  # (P, C, C)
        self.cubes = torch.empty(0)  # (P, C): of a vector's squared length times the vector
        self.fourths = torch.empty(0)  # (P,): of its length's fourth power

    def add(self, embeddings: Tensor) -> None:
        """Count a batch (B, C, P) in."""
        _, channels, positions = embeddings.shape
        if not self.count:
            self.sum = embeddings.new_zeros(positions, channels, dtype=torch.float64)
            self.outer = embeddings.new_zeros(positions, channels, channels, dtype=torch.float64)
            self.cubes, self.fourths = torch.zeros_like(self.sum), self.sum.new_zeros(positions)
        self.count += len(embeddings)
        for part in _blocks(positions):
            vectors = embeddings[:, :, part].permute(2, 0, 1).double()  # (block, B, C)
            self.sum[part] += vectors.sum(dim=1)
            self.outer[part].baddbmm_(vectors.transpose(1, 2), vectors)
            if self.shrinks:
                squares = vectors.square().sum(dim=2)  # (block, B)
                self.cubes[part] += torch.bmm(squares[:, None], vectors)[:, 0]
                self.fourths[part] += squares.square().sum(dim=1)

    def finish(self, mean: Tensor, inverse: Tensor, regularisation: float) -> None:
        """Fill in means (C, P) and inverse covariances (P, C, C), float32.

        Args:
            mean: written to.
            inverse: written to.
            regularisation: on the covariance's diagonal.
        """
        diagonal = regularisation * torch.eye(len(mean), dtype=torch.float64, device=mean.device)
        for part in _blocks(len(self.sum)):
            means = self.sum[part] / self.count  # (block, C)
            spread = self.outer[part] - self.count * means[:, :, None] * means[:, None, :]
            if self.shrinks:
                covariance = self._shrunken(part, means, spread).add_(diagonal)
            else:
                covariance = spread.div_(self.count - 1).add_(diagonal)
            inverse[part] = torch.linalg.inv(covariance).float()
            mean[:, part] = means.T.float()

    def _shrunken(self, part: slice, means: Tensor, spread: Tensor) -> Tensor:
        """Ledoit and Wolf's covariances of some positions, with their own scaling by 1 / n.

        Their words (lemmas 3.2 to 3.4): m the mean variance, d2 the distance of the sample
        covariance S from m times the identity, b2 what of it is the sample's error.

        Args:
            part: the positions.
            means: (block, C).
            spread: (block, C, C), the centred sums of outer products; overwritten.
        """
        dims = means.shape[1]
        sample = spread.div_(self.count)
        m = sample.diagonal(dim1=1, dim2=2).mean(dim=1)  # (block,)
        total = sample.square().sum(dim=(1, 2))
        d2 = total - dims * m.square()
        b2 = (self._fourth_moments(part, means) - total).div(self.count).clamp(min=0)
        share = torch.where(d2 > 0, (b2 / d2).clamp(max=1), 0.0)[:, None, None]
        identity = torch.eye(dims, dtype=sample.dtype, device=sample.device)
        return (1 - share) * sample + share * m[:, None, None] * identity

    def _fourth_moments(self, part: slice, means: Tensor) -> Tensor:
        """Mean of the fourth power of a vector's distance from its mean (block,), from the sums."""
        outer, cubes = self.outer[part], self.cubes[part]
        squared = means.square().sum(dim=1)  # of the mean's length
        lengths = outer.diagonal(dim1=1, dim2=2).sum(dim=1)
        along = torch.bmm(torch.bmm(means[:, None], outer), means[:, :, None])[:, 0, 0]
        fourths = (
            self.fourths[part]
            - 4 * (cubes * means).sum(dim=1)
            + 4 * along
            + 2 * squared * lengths
            - 3 * self.count * squared.square()
        )
        return fourths / self.count


def _blocks(positions: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, positions, BLOCK)]
