"""CFLOW: conditional normalising flows give the likelihood of each feature vector at its place.

Gudovskiy et al., "CFLOW-AD: real-time unsupervised anomaly detection with localization via
conditional normalizing flows" (2022). One flow (decoder) per layer of a frozen backbone. Traps: the
published code measures likelihoods against the largest one in the test set, so that an image's
score depends on the other images; here the training images give that reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from baselines.kit import determinism, images, maps, saved
from baselines.kit.backbones import Backbone
from baselines.kit.conditional_flow import ConditionalFlow
from baselines.kit.images import TrainingImages
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.replay import Replayed
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training
from harness.contract import Checkpoint

# The cosine ends at this share of the learning rate, the warm-up starts at that one.
LAST_SHARE, FIRST_SHARE = 0.001, 0.1


def build_decoder(channels: int, params: Mapping[str, Any]) -> ConditionalFlow:
    """A flow over vectors of so many channels, conditioned on the position code."""
    return ConditionalFlow(
        channels,
        params["condition_dims"],
        blocks=params["coupling_blocks"],
        clamp=params["clamp"],
        rotates=params["soft_permutation"],
    )


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


def log_likelihood(
    decoder: ConditionalFlow, fibres: Tensor, condition: Tensor, products: torch.dtype | None = None
) -> Tensor:
    """Log-likelihood per dimension of (N, C) vectors at their places, (N,)."""
    latent, log_determinant = decoder(fibres, condition, products)
    channels = fibres.shape[1]
    normal = -0.5 * (channels * math.log(2 * math.pi) + latent.square().sum(dim=1))
    likelihood: Tensor = (normal + log_determinant) / channels
    return likelihood


def equal_parts(order: Tensor, size: int) -> Sequence[Tensor]:
    """Parts of one size; what is left over waits for the next images."""
    return order[: len(order) // size * size].split(size)


class FibreStep:
    """The optimiser's steps on fibre batches of one layer, all of one size.

    Args:
        decoder: the layer's.
        size: fibres of a batch.
        optimiser: moves what has a gradient.
        products: type of the numbers in the coupling networks.
    """

    def __init__(
        self,
        decoder: ConditionalFlow,
        size: int,
        optimiser: torch.optim.Optimizer,
        products: torch.dtype,
    ) -> None:
        self._decoder, self._optimiser, self._products = decoder, optimiser, products
        self._weights = list(decoder.parameters())
        place = self._weights[0].device
        # What a replay reads and leaves behind lies where it lay at the capture.
        self._fibres = torch.zeros(size, decoder.channels, device=place)
        self._condition = torch.zeros(size, decoder.condition_dims, device=place)
        self._loss = torch.zeros((), device=place)
        self._gradients: Sequence[Tensor] = ()
        self._replayed = Replayed(self.differentiate, place)

    def __call__(self, fibres: Tensor, chosen: Tensor, condition: Tensor, places: Tensor) -> Tensor:
        """One step on rows of (F, C) fibres and of (P, D) position codes; its loss, detached."""
        torch.index_select(fibres, 0, chosen, out=self._fibres)
        torch.index_select(condition, 0, places, out=self._condition)
        self._replayed()
        for weight, gradient in zip(self._weights, self._gradients, strict=True):
            weight.grad = gradient
        self._optimiser.step()
        for weight in self._weights:
            weight.grad = None  # the other layers' steps leave this one's weights alone
        return self._loss.clone()

    def differentiate(self) -> None:
        """Loss and gradients of the present batch."""
        likelihood = log_likelihood(self._decoder, self._fibres, self._condition, self._products)
        loss = -functional.logsigmoid(likelihood).mean()
        self._gradients = torch.autograd.grad(loss, self._weights)
        self._loss.copy_(loss.detach())


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
                build_decoder(layer.shape[1], params) for layer in probe
            ).to(self.device)
        # The largest log-likelihood of normal fibres per layer: above it nothing is anomalous.
        self.reference = torch.zeros(len(probe), device=self.device)

    def _region(self) -> torch.autocast:
        return autocast(self.device, self.params["precision"])

    def _products(self) -> torch.dtype:
        """What the coupling networks compute in while they learn."""
        with self._region():
            is_mixed = torch.is_autocast_enabled(self.device.type)
        return torch.get_autocast_dtype(self.device.type) if is_mixed else torch.float32

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Adam on mini-batches of fibres (feature vectors at their places), layer by layer."""
        split = images.read_training_images(train_folder, self.size)
        schedule = Schedule.of(self.params)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        # Fused: a kernel or two for all weights, which are many to so few fibres.
        optimiser = torch.optim.Adam(
            self.decoders.parameters(), lr=self.params["learning_rate"], fused=is_fused(self.device)
        )
        rates = LambdaLR(
            optimiser, learning_rate_share(self.params, schedule.batches_per_pass(len(split)))
        )
        products = self._products()
        steps: dict[tuple[int, int], FibreStep] = {}  # by layer and size of the batch

        def step(pixels: Tensor) -> Tensor:
            losses = []
            with self._region():
                layers = self._layers(pixels)
            for number, (decoder, fibres, condition) in enumerate(layers):
                order = torch.randperm(len(fibres), generator=training.draw).to(self.device)
                size = min(self.params["fibre_batch_size"], len(order))
                if (number, size) not in steps:
                    steps[number, size] = FibreStep(decoder, size, optimiser, products)
                descend = steps[number, size]
                chosen, places = equal_parts(order, size), equal_parts(order % len(condition), size)
                for rows in zip(chosen, places, strict=True):
                    losses.append(descend(fibres, rows[0], condition, rows[1]))
            rates.step()
            return torch.stack(losses).mean()

        training.run(
            step,
            {"decoders": self.decoders, "optimiser": optimiser, "rates": rates},
            before_checkpoint=lambda: self.measure_reference(split),
        )
        if not self.params["checkpoint_every_epochs"]:
            self.measure_reference(split)

    def _layers(self, pixels: Tensor) -> Iterator[tuple[ConditionalFlow, Tensor, Tensor]]:
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
        largest = [
            torch.stack([layer.amax() for layer in self.likelihoods(pixels)])
            for pixels in split.batches(self.params["batch_size"], self.device)
        ]
        self.reference = torch.stack(largest).amax(dim=0).clone()

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Sum over layers of 1 - likelihood / reference, from 0 to the number of layers."""
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
