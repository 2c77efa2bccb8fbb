"""FastFlow: the likelihood of a backbone's feature maps by two-dimensional normalising flows.

Yu et al., "FastFlow: unsupervised anomaly detection and localization via 2D normalizing flows"
(2021). Network and loss are anomalib's. Trap: log-determinants need float32, so that the frozen
backbone alone may compute in bfloat16.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from baselines.kit.anomalib_model import AnomalibModel

# The coarsest of the three feature maps; a LayerNorm is made for the size of each.
STRIDE = 16


class FastFlow(AnomalibModel):
    """Where the features are unlikely under the flow of normal ones, the image is anomalous."""

    part, network, loss = "fastflow", "FastflowModel", "FastflowLoss"
    arguments = ("input_size", "backbone", "flow_steps", "conv3x3_only", "hidden_ratio")
    is_mixed_beyond_backbone = False

    def make(self, weights: Path | None) -> nn.Module:
        """As anomalib has it.

        Raises:
            WeightsNotFound: the weights folder does not hold the backbone.
            ValueError: the image's size is no multiple of 16.
        """
        if self.size % STRIDE:
            raise ValueError(f"image_size is {self.size}; it must be a multiple of {STRIDE}")
        return super().make(weights)

    def optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam with the paper's weight decay (section 4.2)."""
        return torch.optim.Adam(
            parameters, lr=self.params["learning_rate"], weight_decay=self.params["weight_decay"]
        )
