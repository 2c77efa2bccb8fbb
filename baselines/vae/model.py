"""VAE: an autoencoder whose codes of normal images follow a normal distribution.

As Cai et al. use it in "MedIAnomaly: a comparative study of anomaly detection in medical images"
(2025). Trap: its code draws the code of a test image, too; here it is the code's mean, for a
score may not depend on chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from baselines.kit.autoencoders import Autoencoder, Reconstruction


class VariationalAutoencoder(Reconstruction, learned="network"):
    """Squared difference between an image and the reconstruction from its code's mean."""

    @staticmethod
    def make_network(params: Mapping[str, Any]) -> Autoencoder:
        """Image to mean and log-variance of the code, code to image."""
        return Autoencoder(params, code_parts=2)

    def loss(self, clean: Tensor, draw: torch.Generator) -> Tensor:
        """Mean squared error from a drawn code, and the weighted divergence of the code."""
        mean, log_variance = self.network.encode(clean).float().chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=draw).to(mean.device)
        made = self.network.decode(mean + noise * (log_variance / 2).exp()).float()
        error = (made - clean).square().mean()
        return error + self.params["divergence_weight"] * divergence(mean, log_variance)

    def errors(self, clean: Tensor) -> Tensor:
        """The squared error of each pixel and channel, from the code's mean."""
        mean, _ = self.network.encode(clean).chunk(2, dim=1)
        return (self.network.decode(mean).float() - clean).square()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, variance) from N(0, 1), mean over the numbers.

    Args:
        mean, log_variance: (B, Z).
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
