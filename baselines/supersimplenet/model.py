"""SuperSimpleNet: features with and without noise told apart, per place and per image.

Rolih, Fučka, Skočaj, "SuperSimpleNet: unifying unsupervised and supervised learning for fast and
reliable surface defect detection" (2024). Network and loss are anomalib's. Traps: the Perlin noise
has up to 32 cells a side, so that a coarser feature grid has no noise to be masked by; noise of 0.015
is lost in bfloat16, so that the frozen backbone alone may compute in it; a sigmoid in float32 is 1
from 17 on, and equal scores have no order: answers are logits.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from baselines.kit.anomalib_model import AnomalibModel

# Cells a side of the finest Perlin noise.
FINEST_NOISE = 32


class SuperSimpleNet(AnomalibModel):
    """What the two heads take for noise is anomalous."""

    part, network, loss = "supersimplenet", "SupersimplenetModel", "SSNLoss"
    arguments = ("backbone", "layers", "perlin_threshold", "adapt_cls_features")
    is_mixed_beyond_backbone = False

    def make(self, weights: Path | None) -> nn.Module:
        """As anomalib has it; no gradient goes from the score's head to the map's.

        Raises:
            WeightsNotFound: the weights folder does not hold the backbone.
            ValueError: the feature grid is coarser than the finest noise.
        """
        model = super().make(weights)
        grid = 2 * -(-self.size // min(model.feature_extractor.feature_extractor.reductions))
        if grid < FINEST_NOISE:
            raise ValueError(
                f"image_size is {self.size}: a feature grid of {grid} a side, and the noise needs "
                f"{FINEST_NOISE}; raise it, or take an earlier layer"
            )
        return model

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: ARG002
        """AdamW, the adaptor slower than the heads and with torch's own weight decay."""
        rates = self.params
        adaptor = {
            "params": list(self.model.adaptor.parameters()),
            "lr": rates["adaptor_learning_rate"],
        }
        heads = {
            "params": list(self.model.segdec.parameters()),
            "lr": rates["learning_rate"],
            "weight_decay": rates["weight_decay"],
        }
        return torch.optim.AdamW([adaptor, heads])

    def rates(
        self, optimiser: torch.optim.Optimizer, epochs: int, steps_per_epoch: int
    ) -> LRScheduler:
        """Times 0.4 after 80 and after 90 per cent of the epochs (section III-E)."""
        milestones = [int(share * epochs) * steps_per_epoch for share in (0.8, 0.9)]
        return MultiStepLR(optimiser, milestones, gamma=0.4)

    def loss_of(self, pixels: Tensor) -> Tensor:
        """Focal loss of map and score, and truncated L1 of the map, on the batch and its copy."""
        is_anomalous = torch.zeros(len(pixels), device=pixels.device)
        anomaly_map, score, masks, labels = self.forward(pixels, labels=is_anomalous)
        loss: Tensor = self.criterion(anomaly_map, score, masks, labels)
        return loss

    def infer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits: the map at the image's size, blurred (sigma 4), and the score."""
        model = self.model
        features = model.feature_extractor(self.normalised(pixels))
        adapted = model.adaptor(features)
        seen = adapted if model.adapt_cls_features else features
        anomaly_map, score = model.segdec(seg_features=adapted, cls_features=seen)
        return model.anomaly_map_generator(anomaly_map, final_size=pixels.shape[-2:]), score

    def answer(self, found: tuple[Tensor, Tensor]) -> tuple[Tensor, float]:
        """Map (1, 1, S, S) and the score of the classification head."""
        return found[0], float(found[1])
