"""AE: an autoencoder of normal images gives back what it knows; what is left over is anomalous.

The plain floor of Cai et al., "MedIAnomaly: a comparative study of anomaly detection in medical
images" (2025). Trap: a code that is too long copies anomalies too (`code_size`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from baselines.kit.autoencoders import Autoencoder, Reconstruction


class PlainAutoencoder(Reconstruction, learned="network"):
    """Squared difference between an image and its reconstruction."""

    @staticmethod
    def make_network(params: Mapping[str, Any]) -> Autoencoder:
        """Image to code to image."""
        return Autoencoder(params)

    def loss(self, clean: Tensor, draw: torch.Generator) -> Tensor:  # noqa: ARG002 - nothing is random
        """The mean squared error."""
        return self.errors(clean).mean()

    def errors(self, clean: Tensor) -> Tensor:
        """The squared error of each pixel and channel."""
        return (self.network(clean).float() - clean).square()
