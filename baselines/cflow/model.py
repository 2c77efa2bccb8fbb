"""CFLOW: conditional normalising flows give the likelihood of each feature vector at its place.

Gudovskiy et al., "CFLOW-AD: real-time unsupervised anomaly detection with localization via
conditional normalizing flows" (2022). One flow (decoder) per layer of a frozen backbone; its
coupling blocks are FrEIA's. Traps: the published code measures likelihoods against the
largest one in the test set, so that an image's score depends on the other images; here the
training images give that reference. FrEIA draws its permutations from numpy's global stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import AllInOneBlock
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from baselines.kit import determinism, images, maps, saved
from baselines.kit.backbones import Backbone
from baselines.kit.images import TrainingImages
from baselines.kit.precision import autocast, placed
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

# The cosine ends at this share of the learning rate, the warm-up starts at that one.
LAST_SHARE, FIRST_SHARE = 0.001, 0.1


class CouplingNet(nn.Sequential):
    """Scale and shift for one half of the vectors from the other half and the position."""

    def __init__(self, inputs: int, outputs: int, region: Callable[[], torch.autocast]) -> None:
        super().__init__(nn.Linear(inputs, 2 * inputs), nn.ReLU(), nn.Linear(2 * inputs, outputs))
        self._region = region

    def forward(self, half: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs) float32; what follows it must not lose digits."""
        with self._region() if self.training else nullcontext():
            return super().forward(half).float()


def build_decoder(
    channels: int, params: Mapping[str, Any], region: Callable[[], torch.autocast]
) -> SequenceINN:
    """A flow over vectors of so many channels, conditioned on the position code."""
    decoder = SequenceINN(channels)
    for _ in range(params["coupling_blocks"]):
        decoder.append(
            AllInOneBlock,
            cond=0,
            cond_shape=(params["condition_dims"],),
            subnet_constructor=lambda inputs, outputs: CouplingNet(inputs, outputs, region),
            affine_clamping=params["clamp"],
            global_affine_type="SOFTPLUS",
            permute_soft=params["soft_permutation"],
        )
    return decoder


def position_code(dims: int, height: int, width: int) -> Tensor:
    """Sines and cosines of column (first half of the dims) and row (second half).

    Returns:
        (height * width, dims) float32, row by row.
    """
    frequencies = torch.exp(torch.arange(0, dims // 2, 2) * (-math.log(1e4) / (dims // 2)))

    def waves(places: int) -> Tensor:  # (places, dims / 2), sine and cosine in turn
        angles = torch.arange(places)[:, None] * frequencies
        return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)

    columns = waves(width)[None].expand(height, -1, -1)
    rows = waves(height)[:, None].expand(-1, width, -1)
    return torch.cat([columns, rows], dim=2).flatten(0, 1)


def set_padding(network: nn.Module, mode: str) -> None:
    """Have every convolution go on beyond the border with `zeros` or, by `reflect`, a mirror."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = mode


def fibres_of(features: Tensor) -> Tensor:
    """(B, C, h, w) to one vector per place, (B * h * w, C)."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def log_likelihood(decoder: SequenceINN, fibres: Tensor, condition: Tensor) -> Tensor:
    """Log-likelihood per dimension of (N, C) vectors at their places, (N,)."""
    latent, log_determinant = decoder(fibres, [condition])
    channels = fibres.shape[1]
    normal = -0.5 * (channels * math.log(2 * math.pi) + latent.square().sum(dim=1))
    likelihood: Tensor = (normal + log_determinant) / channels
    return likelihood


def learning_rate_share(params: Mapping[str, Any], steps_per_epoch: int) -> Callable[[int], float]:
    """Share of the learning rate at each step: a cosine over meta epochs, after a warm-up.

    A meta epoch is `sub_epochs` epochs; the cosine falls at its border, the warm-up rises
    with each step.

    Raises:
        ValueError: an unknown schedule.
    """
    check_choice(params, "learning_rate_schedule", ("constant", "cosine"))
    if params["learning_rate_schedule"] == "constant":
        return lambda _: 1.0
    steps = steps_per_epoch * params["sub_epochs"]
    meta_epochs = params["epochs"] / params["sub_epochs"]
    warm = params["warmup_meta_epochs"]

    def cosine(meta_epoch: int) -> float:
        fall = (1 + math.cos(math.pi * meta_epoch / meta_epochs)) / 2
        return LAST_SHARE + (1 - LAST_SHARE) * fall

    def share(step: int) -> float:
        if step < warm * steps:
            return FIRST_SHARE + step / (warm * steps) * (cosine(warm) - FIRST_SHARE)
        return cosine(step // steps)

    return share


class Cflow:
    """Where a feature vector is less likely than the likeliest normal one, it is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        if params["condition_dims"] % 4:
            raise ValueError(
                f"condition_dims is {params['condition_dims']}; it must be a multiple of 4"
            )
        check_choice(params, "reference", ("training", "image"))
        check_choice(params, "padding", ("zeros", "reflect"))
        backbone = Backbone.of(params, params["layers"], folder=weights, seed=seed)
        if params["padding"] != "zeros" and backbone.timm_network is not None:
            raise ValueError(
                f"padding is {params['padding']}, and {params['backbone']} is of timm, whose"
                " convolutions pad by themselves; it can be zeros there"
            )
        set_padding(backbone, params["padding"])
        self.backbone = placed(backbone, self.device)
        probe = self.backbone(torch.zeros(1, 3, self.size, self.size, device=self.device))
        self.conditions = [
            position_code(params["condition_dims"], *layer.shape[-2:]).to(self.device)
            for layer in probe
        ]
        with determinism.seeded(seed, "decoders"):
            self.decoders = nn.ModuleList(
                build_decoder(layer.shape[1], params, self._region) for layer in probe
            ).to(self.device)
        # The largest log-likelihood of normal fibres per layer: above it nothing is anomalous.
        self.reference = torch.zeros(len(probe), device=self.device)

    def _region(self) -> torch.autocast:
        return autocast(self.device, self.params["precision"])

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Adam on mini-batches of fibres (feature vectors at their places), layer by layer."""
        split = images.read_training_images(train_folder, self.size)
        schedule = Schedule.of(self.params)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        optimiser = torch.optim.Adam(self.decoders.parameters(), lr=self.params["learning_rate"])
        rates = LambdaLR(
            optimiser, learning_rate_share(self.params, schedule.batches_per_pass(len(split)))
        )

        def step(pixels: Tensor) -> Tensor:
            self.decoders.train()
            losses = []
            with self._region():
                layers = self._layers(pixels)
            for decoder, fibres, condition in layers:
                order = torch.randperm(len(fibres), generator=training.draw)
                for chosen in self._fibre_batches(order.to(self.device)):
                    loss = self._loss(decoder, fibres[chosen], condition[chosen % len(condition)])
                    losses.append(descend(loss, optimiser))
            rates.step()
            return torch.stack(losses).mean()

        training.run(
            step,
            {"decoders": self.decoders, "optimiser": optimiser, "rates": rates},
            before_checkpoint=lambda: self.measure_reference(split),
        )
        if not self.params["checkpoint_every_epochs"]:
            self.measure_reference(split)

    def _fibre_batches(self, order: Tensor) -> Iterator[Tensor]:
        """Batches of equal size; what is left over waits for the next images."""
        size = min(self.params["fibre_batch_size"], len(order))
        yield from order[: len(order) // size * size].split(size)

    @staticmethod
    def _loss(decoder: SequenceINN, fibres: Tensor, condition: Tensor) -> Tensor:
        return -functional.logsigmoid(log_likelihood(decoder, fibres, condition)).mean()

    def _layers(self, pixels: Tensor) -> Iterator[tuple[SequenceINN, Tensor, Tensor]]:
        """Per layer its decoder, fibres (B * h * w, C) and position code (h * w, D)."""
        with torch.no_grad():
            features = self.backbone(self.backbone.normalise(pixels))
        fibres = [fibres_of(layer.float()) for layer in features]
        return zip(self.decoders, fibres, self.conditions, strict=True)

    def likelihoods(self, pixels: Tensor) -> list[Tensor]:
        """Log-likelihood per dimension of every place, (B, 1, h, w) per layer, in float32."""
        found = []
        for decoder, fibres, condition in self._layers(pixels):
            count = len(fibres) // len(condition)
            values = log_likelihood(decoder, fibres, condition.repeat(count, 1))
            side = math.isqrt(len(condition))
            found.append(values.view(count, 1, side, side))
        return found

    @torch.inference_mode()
    def measure_reference(self, split: TrainingImages) -> None:
        """Take the largest log-likelihood per layer over all training images as reference."""
        self.decoders.eval()
        largest = [
            torch.stack([layer.amax() for layer in self.likelihoods(pixels)])
            for pixels in split.batches(self.params["batch_size"], self.device)
        ]
        self.reference = torch.stack(largest).amax(dim=0).clone()

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Sum over layers of 1 - likelihood / reference, from 0 to the number of layers."""
        self.decoders.eval()
        likelihoods = self.likelihoods(images.from_array(image, self.size).to(self.device))
        anomaly_map = torch.zeros(1, 1, self.size, self.size, device=self.device)
        for layer, reference in zip(likelihoods, self._references(likelihoods), strict=True):
            # 1 - exp(x) near x = 0 keeps its digits as -expm1(x).
            deficit = -torch.expm1((layer - reference).clamp(max=0))
            anomaly_map += maps.resize(deficit, (self.size, self.size), align_corners=True)
        return maps.to_array(anomaly_map, image.shape[:2]), float(anomaly_map.amax())

    def _references(self, likelihoods: list[Tensor]) -> Tensor:
        if self.params["reference"] == "training":
            return self.reference
        return torch.stack([layer.amax() for layer in likelihoods])

    def save(self, folder: Path) -> None:
        """Write the decoders and the reference."""
        tensors = {f"decoders.{name}": value for name, value in self.decoders.state_dict().items()}
        saved.save_tensors(folder, {**tensors, "reference": self.reference}, self.backbone.identity)

    def load(self, folder: Path) -> None:
        """Read the decoders and the reference.

        Raises:
            ValueError: they learned from another backbone.
        """
        tensors = saved.load_tensors(folder, self.device, self.backbone.identity)
        self.reference = tensors.pop("reference")
        self.decoders.load_state_dict(
            {name.removeprefix("decoders."): value for name, value in tensors.items()}
        )
