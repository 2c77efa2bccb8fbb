"""CFA: features are drawn to memorised centroids, and anomalous ones stay away from them.

Lee, Lee and Song, "CFA: coupled-hypersphere-based feature adaptation for target-oriented
anomaly localization" (2022), written from its description. A frozen backbone's patch
features pass through a learned 1x1 convolution with coordinates (the descriptor); the memory
holds their mean over the training images at every place, before anything is learned. Traps:
with the authors' radius of 1e-5 the repulsion from hard negatives can never be positive; the
distances of a batch to the memory (4 GB at 32 images of 256 pixels) are searched in blocks,
and only the nearest few are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps, patches, saved
from baselines.kit.backbones import Backbone
from baselines.kit.images import TrainingImages
from baselines.kit.memory_bank import MemoryBank
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

# The paper's margin between attraction and repulsion, and its scale of the loss.
MARGIN, LOSS_SCALE = 0.1, 1000


class LeakyEnds:
    """What a ResNet's layers end in, through a leaky ReLU instead of their last ReLU.

    The authors' copy of the network gives its layers so. Each layer still passes on what its
    own ReLU leaves: the weights were trained with that.
    """

    def __init__(self, backbone: Backbone) -> None:
        if backbone.timm_network is not None:
            raise ValueError(
                f"activation is leaky_relu, which is for ResNets of torchvision;"
                f" {backbone.name} is of timm: it can be relu there"
            )
        self._layers = backbone.layers
        self._sums: dict[str, Tensor] = {}
        for layer in backbone.layers:
            last_block = list(backbone.stages[layer].children())[-1]
            activation = last_block.get_submodule("relu")
            activation.inplace = False  # or it would overwrite what is caught
            activation.register_forward_pre_hook(partial(self._catch, layer))

    def _catch(self, layer: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        self._sums[layer] = inputs[0]  # a block calls its ReLU more than once; the last stays

    def features(self) -> list[Tensor]:
        """Of the images that the backbone saw last, one (B, C, h, w) per layer."""
        return [functional.leaky_relu(self._sums[layer]) for layer in self._layers]


class Descriptor(nn.Module):
    """1x1 convolution that also sees where it is: row and column, each from -1 to 1."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels + 2, outputs, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, outputs, h, w)."""
        batch, _, height, width = features.shape
        rows = torch.linspace(-1, 1, height, device=features.device).view(1, 1, height, 1)
        columns = torch.linspace(-1, 1, width, device=features.device).view(1, 1, 1, width)
        places = [axis.expand(batch, 1, height, width) for axis in (rows, columns)]
        adapted: Tensor = self.convolution(torch.cat([features, *places], dim=1))
        return adapted


class NearestSquares(torch.autograd.Function):
    """Squared distances to the nearest vectors of a bank, with the gradient to the queries.

    Neither direction holds more than the chosen few per query: d|q - b|^2 = 2 (q - b) dq.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, bank: MemoryBank, count: int) -> Tensor:
        """(N, D) queries to (N, count), the nearest first, never below 0."""
        distances, chosen = bank.nearest(queries, count)
        ctx.save_for_backward(queries, chosen)
        ctx.vectors = bank.vectors
        return distances.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """2 (q sum of g - sum of g b), g the gradient of each distance."""
        queries, chosen = ctx.saved_tensors
        drawn = functional.embedding_bag(
            chosen, ctx.vectors, per_sample_weights=gradient, mode="sum"
        )
        return 2 * (gradient.sum(dim=1, keepdim=True) * queries - drawn), None, None


class HypersphereLoss(nn.Module):
    """Attraction to the nearest centroids, repulsion from those just behind them.

    Args:
        attracting: K, how many centroids draw a feature into their sphere.
        repelling: J, how many more push it out of theirs.
        radius: of the spheres.
        learns_radius: whether the radius is trained along.
    """

    def __init__(
        self, attracting: int, repelling: int, radius: float, *, learns_radius: bool
    ) -> None:
        super().__init__()
        self.attracting, self.repelling = attracting, repelling
        self.radius = nn.Parameter(torch.tensor(radius), requires_grad=learns_radius)

    def forward(self, squares: Tensor) -> Tensor:
        """Mean over (N, K + J) squared distances, the nearest first; 0-d."""
        sphere = self.radius.square()
        near, far = squares[:, : self.attracting], squares[:, self.repelling :]
        attraction = (near - sphere).clamp(min=0).mean()
        repulsion = (sphere - far - MARGIN).clamp(min=0).mean()
        return LOSS_SCALE * (attraction + repulsion)


class CoupledHyperspheres:
    """The nearer an adapted feature is to one centroid alone, the more normal."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        check_choice(params, "centroid_mean", ("images", "batches"))
        check_choice(params, "activation", ("relu", "leaky_relu"))
        backbone = Backbone.of(params, params["layers"], folder=weights, seed=seed)
        self.ends = LeakyEnds(backbone) if params["activation"] == "leaky_relu" else None
        self.backbone = placed(backbone, self.device)
        probe = torch.zeros(1, 1, self.size, self.size, dtype=torch.uint8, device=self.device)
        _, channels, *grid = self.embed(probe).shape
        self._check_counts(grid[0] * grid[1])
        with determinism.seeded(seed, "descriptor"):
            descriptor = Descriptor(channels, channels // params["channel_reduction"])
            self.descriptor = placed(descriptor, self.device)
        self.bank = MemoryBank(torch.empty(0, 0))

    def _check_counts(self, places: int) -> None:
        """There must be as many centroids as the loss and the score look at."""
        params = self.params
        centroids = places // params["places_per_centroid"]
        needed = params["attracting"] + params["repelling"]
        if not 0 < needed <= centroids:
            raise ValueError(
                f"attracting + repelling is {needed}; "
                f"it must be from 1 to {centroids}, the number of centroids"
            )

    def embed(self, pixels: Tensor) -> Tensor:
        """Patch features (B, C, h, w) of the frozen backbone."""
        with torch.no_grad():
            features = self.backbone(self.backbone.normalise(pixels))
            if self.ends:
                features = self.ends.features()
        return patches.mean_patches(features)

    def adapt(self, pixels: Tensor) -> Tensor:
        """Adapted features, (B, D, h, w) float32, from (B, 1 or 3, S, S) uint8."""
        adapted: Tensor = self.descriptor(self.embed(pixels))
        return adapted.float()

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Memorise the centroids, then draw the features to them with AdamW."""
        split = images.read_training_images(train_folder, self.size)
        self.bank = MemoryBank(self.memorise(split))
        training = Training(
            split,
            [Schedule.of(self.params)],
            seed=self.seed,
            device=self.device,
            checkpoint=checkpoint,
        )
        loss_of = HypersphereLoss(
            self.params["attracting"],
            self.params["repelling"],
            self.params["radius"],
            learns_radius=self.params["learn_radius"],
        ).to(self.device)
        learned = [*self.descriptor.parameters(), *loss_of.parameters()]
        optimiser = torch.optim.AdamW(
            [parameter for parameter in learned if parameter.requires_grad],
            lr=self.params["learning_rate"],
            weight_decay=self.params["weight_decay"],
            amsgrad=True,
            fused=is_fused(self.device),
        )

        def step(pixels: Tensor) -> Tensor:
            with autocast(self.device, self.params["precision"]):
                adapted = self.adapt(pixels)
            loss: Tensor = loss_of(self.squares(adapted))
            return descend(loss, optimiser)

        training.run(step, {"descriptor": self.descriptor, "loss": loss_of, "optimiser": optimiser})

    def squares(self, adapted: Tensor) -> Tensor:
        """Squared distances of all places to their nearest centroids, (B * h * w, K + J)."""
        vectors = adapted.permute(0, 2, 3, 1).flatten(0, 2)
        count = self.params["attracting"] + self.params["repelling"]
        nearest: Tensor = NearestSquares.apply(vectors, self.bank, count)
        return nearest

    @torch.no_grad()
    def memorise(self, split: TrainingImages) -> Tensor:
        """The centroids (M, D): mean adapted features of every place, perhaps clustered."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        weight = 0
        for pixels in split.batches(self.params["batch_size"], self.device):
            adapted = self.adapt(pixels).double()
            share = len(pixels) if self.params["centroid_mean"] == "images" else 1
            total = total + adapted.mean(dim=0) * share
            weight += share
        centroids = (total / weight).flatten(1).T.float().contiguous()  # (h * w, D)
        if self.params["places_per_centroid"] == 1:
            return centroids
        return self._clustered(centroids)

    def _clustered(self, centroids: Tensor) -> Tensor:
        from sklearn.cluster import KMeans

        clusters = KMeans(
            len(centroids) // self.params["places_per_centroid"],
            n_init=1,
            random_state=determinism.seed_for(self.seed, "clusters") % 2**32,
        ).fit(centroids.cpu().numpy())
        return torch.from_numpy(clusters.cluster_centers_).float().to(self.device)

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Distance to the nearest centroid, less where the next ones are as near; smoothed."""
        adapted = self.adapt(images.from_array(image, self.size).to(self.device))
        vectors = adapted[0].flatten(1).T  # (h * w, D)
        distances, _ = self.bank.nearest(vectors, self.params["attracting"])
        certainty = functional.softmin(distances, dim=1)[:, 0]
        anomaly_map = (certainty * distances[:, 0]).view(1, 1, *adapted.shape[-2:])
        smooth = maps.gaussian_blur(
            maps.resize(anomaly_map, (self.size, self.size)), border=self.params["blur_border"]
        )
        return maps.to_array(smooth, image.shape[:2]), float(smooth.amax())

    def save(self, folder: Path) -> None:
        """Write the descriptor and the centroids."""
        tensors = {**self.descriptor.state_dict(), "centroids": self.bank.vectors}
        saved.save_tensors(folder, tensors, self.backbone.identity)

    def load(self, folder: Path) -> None:
        """Read the descriptor and the centroids.

        Raises:
            ValueError: they belong to another backbone.
        """
        tensors = saved.load_tensors(folder, self.device, self.backbone.identity)
        self.bank = MemoryBank(tensors.pop("centroids"))
        self.descriptor.load_state_dict(tensors)
