"""STFPM: a student of the teacher's own form learns its feature pyramid on normal images.

Wang et al., "Student-teacher feature pyramid matching for anomaly detection" (2021). Trap:
the loss is a sum over the batch or a mean (`loss`), so that one learning rate means two
step sizes; batch size and learning rate belong together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from baselines.kit import determinism, images, maps
from baselines.kit.backbones import Backbone, FeatureMaps
from baselines.kit.precision import autocast, placed
from baselines.kit.saved import OneNetwork
from baselines.kit.settings import check_choice
from baselines.kit.training import Schedule, Training, descend
from harness.contract import Checkpoint

LOSSES = ("sum", "mean")


class FeaturePyramidMatching(OneNetwork, learned="student", frozen="teacher"):
    """Where the student's features differ from the teacher's, the image is anomalous."""

    def __init__(
        self, device: str, seed: int, params: Mapping[str, Any], weights: Path | None
    ) -> None:
        self.device = determinism.set_up(device, seed)
        self.seed, self.params = seed, params
        self.size: int = params["image_size"]
        check_choice(params, "loss", LOSSES)
        name, layers = params["backbone"], params["layers"]
        teacher = Backbone(name, layers, weights=params["weights"], folder=weights, seed=seed)
        # A seed of its own: a random teacher's would make the student its equal.
        own_seed = determinism.seed_for(seed, "student")
        student = FeatureMaps(name, layers, weights="random", folder=weights, seed=own_seed)
        self.teacher, self.student = placed(teacher, self.device), placed(student, self.device)

    def fit(self, train_folder: Path, checkpoint: Checkpoint) -> None:
        """Gradient descent with momentum on the student; the teacher stays as it is."""
        split = images.read_training_images(train_folder, self.size)
        optimiser = torch.optim.SGD(
            self.student.parameters(),
            lr=self.params["learning_rate"],
            momentum=self.params["momentum"],
            weight_decay=self.params["weight_decay"],
        )

        def step(pixels: Tensor) -> Tensor:
            self.student.train()
            with autocast(self.device, self.params["precision"]):
                teacher, student = self._both(pixels)
            loss = self._loss(teacher, student)
            return descend(loss, optimiser)

        schedule = Schedule.of(self.params)
        training = Training(
            split, [schedule], seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        training.run(step, {"student": self.student, "optimiser": optimiser})

    def _both(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The teacher's and the student's pyramid."""
        normalised = self.teacher.normalise(pixels)
        return self.teacher(normalised), self.student(normalised)

    def _loss(self, teacher: list[Tensor], student: list[Tensor]) -> Tensor:
        """Mean distance over the positions of a scale, added over the scales (equations 1 to 3)."""
        joined = torch.stack(
            [
                distances(theirs, ours).mean(dim=(1, 2, 3))
                for theirs, ours in zip(teacher, student, strict=True)
            ]
        )  # (scales, B)
        return joined.sum() if self.params["loss"] == "sum" else 2 * joined.sum(dim=0).mean()

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Product of the scales' distances; score = its maximum at the input's size."""
        self.student.eval()
        teacher, student = self._both(images.from_array(image, self.size).to(self.device))
        side = self.params["map_size"] or self.size
        scales = [
            maps.resize(distances(theirs, ours), (side, side))
            for theirs, ours in zip(teacher, student, strict=True)
        ]
        product = torch.stack(scales).prod(dim=0)  # (1, 1, side, side)
        full = maps.resize(product, (self.size, self.size))
        return maps.to_array(full, image.shape[:2]), float(full.amax())


def distances(teacher: Tensor, student: Tensor) -> Tensor:
    """Half the squared distance of the vectors brought to length 1, (B, 1, h, w), in [0, 2]."""
    difference = functional.normalize(teacher.float()) - functional.normalize(student.float())
    return 0.5 * difference.square().sum(dim=1, keepdim=True)
