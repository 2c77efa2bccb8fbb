"""RD4AD: a student decodes a frozen teacher's features from a narrow embedding of them.

Deng and Li, "Anomaly detection via reverse distillation from one-class embedding" (2022).
Bottleneck and decoder are anomalib's; teacher, training loop and maps are the kit's.
Trap: image sizes must be multiples of 32, or decoder and teacher disagree in size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.anomalib_parts import load_part
from baselines.kit.backbones import Backbone
from baselines.kit.precision import autocast, is_fused, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

# The scales that the one-class embedding fuses; the bottleneck is built for these three.
LAYERS = ("layer1", "layer2", "layer3")
# The networks that anomalib has a mirrored decoder of, and the widths of the narrowest.
MIRRORED = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2")
RESNET18_WIDTHS = (64, 128, 256)

bottleneck_part = load_part("models/image/reverse_distillation/components/bottleneck.py")
decoder_part = load_part("models/components/backbone/resnet_decoder.py")


class Student(nn.Module):
    """One-class bottleneck embedding and the decoder that mirrors the teacher.

    Of a teacher that is no ResNet the student is ResNet-18's: a 1x1 convolution brings each of
    the teacher's maps to its widths, and another one what it decodes to the teacher's.

    Args:
        architecture: the teacher's network.
        widths: channels of the teacher's three maps.
        is_wide: the bottleneck of a wide teacher is as wide as it, as in the authors' code;
            anomalib's is half as wide.
    """

    def __init__(self, architecture: str, widths: Sequence[int], *, is_wide: bool) -> None:
        super().__init__()
        mirrored = architecture if architecture in MIRRORED else "resnet18"
        width = 128 if is_wide and mirrored.startswith("wide_") else 64
        self.bottleneck = bottleneck_part.get_bottleneck_layer(mirrored, width_per_group=width)
        self.decoder = decoder_part.get_decoder(mirrored)
        pairs = () if mirrored == architecture else list(zip(widths, RESNET18_WIDTHS, strict=True))
        self.entrance = nn.ModuleList(nn.Conv2d(theirs, ours, 1) for theirs, ours in pairs)
        self.exit = nn.ModuleList(nn.Conv2d(ours, theirs, 1) for theirs, ours in pairs)

    def forward(self, teacher: list[Tensor]) -> list[Tensor]:
        """The teacher's three feature maps, decoded; same shapes, same order."""
        if not self.entrance:
            decoded: list[Tensor] = self.decoder(self.bottleneck(teacher))
            return decoded
        entering = [layer(one) for layer, one in zip(self.entrance, teacher, strict=True)]
        leaving = self.decoder(self.bottleneck(entering))
        return [layer(one) for layer, one in zip(self.exit, leaving, strict=True)]


class ReverseDistillation(OneNetwork, learned="student", frozen="teacher"):
    """Where the student cannot follow the teacher, the image is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        if self.size % 32:
            raise ValueError(f"image_size is {self.size}; it must be a multiple of 32")
        self.teacher = placed(
            Backbone.of(params, LAYERS, folder=weights, seed=seed),
            self.device,
        )
        with determinism.seeded(seed, "student"):
            student = Student(
                self.teacher.architecture,
                self.teacher.channels(),
                is_wide=params["wide_bottleneck"],
            )
        self.student = placed(student, self.device)

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Adam on bottleneck and decoder; the teacher stays as it is."""
        split = images.read_training_images(train_folder, self.size)
        optimiser = torch.optim.Adam(
            self.student.parameters(),
            lr=self.params["learning_rate"],
            betas=self.params["betas"],
            fused=is_fused(self.device),
        )

        def step(pixels: Tensor) -> Tensor:
            self.student.train()
            with autocast(self.device, self.params["precision"]):
                teacher = self._teach(pixels)
                student = self.student(teacher)
            loss = distance(teacher, student)
            return descend(loss, optimiser)

        schedule = Schedule.of(self.params)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        training.run(step, {"student": self.student, "optimiser": optimiser})

    def _teach(self, pixels: Tensor) -> list[Tensor]:
        with torch.no_grad():
            features: list[Tensor] = self.teacher(self.teacher.normalise(pixels))
        return features

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Cosine distance per scale, joined at the input's size and smoothed; score = maximum."""
        self.student.eval()
        teacher = self._teach(images.from_array(image, self.size).to(self.device))
        scales = [
            maps.resize(
                1 - functional.cosine_similarity(theirs, ours)[:, None],
                (self.size, self.size),
                align_corners=True,
            )
            for theirs, ours in zip(teacher, self.student(teacher), strict=True)
        ]
        stacked = torch.stack(scales)  # (3, 1, 1, S, S)
        joined = stacked.sum(dim=0) if self.params["map_mode"] == "add" else stacked.prod(dim=0)
        smooth = maps.gaussian_blur(joined, border=self.params["blur_border"])
        return maps.to_array(smooth, image.shape[:2]), float(smooth.amax())


def distance(teacher: list[Tensor], student: list[Tensor]) -> Tensor:
    """One minus the cosine of each scale flattened to one vector, added over the scales."""
    losses = [
        (
            1 - functional.cosine_similarity(theirs.float().flatten(1), ours.float().flatten(1))
        ).mean()
        for theirs, ours in zip(teacher, student, strict=True)
    ]
    return torch.stack(losses).sum()
