"""AE-U: an autoencoder that also foresees how wrong it will be at each pixel.

Mao et al., "Abnormality detection in chest X-ray images using uncertainty prediction
autoencoders" (2020), equations 1 and 2. An error where one was foreseen, as at edges, counts
little. Trap: the score leaves the log-variance out, which the loss adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from baselines.kit.autoencoders import Autoencoder, Reconstruction


class UncertainAutoencoder(Reconstruction, learned="network"):
    """Squared difference between an image and its reconstruction, over the variance foreseen."""

    @staticmethod
    def make_network(params: Mapping[str, Any]) -> Autoencoder:
        """Image to code to image and log-variance."""
        return Autoencoder(params, image_parts=2)

    def loss(self, clean: Tensor, draw: torch.Generator) -> Tensor:  # noqa: ARG002 - nothing is random
        """The negative log-likelihood of a Gaussian, but for its constants."""
        weighted, log_variance = self._weighted(clean)
        return (weighted + log_variance).mean()

    def errors(self, clean: Tensor) -> Tensor:
        """The squared error over the variance, of each pixel and channel."""
        return self._weighted(clean)[0]

    def _weighted(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        made, log_variance = self.network(clean).float().chunk(2, dim=1)
        return (-log_variance).exp() * (made - clean).square(), log_variance
