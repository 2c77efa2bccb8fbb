"""Dinomaly: a decoder of linear attention gives back a frozen DINOv2's tokens, less than it could.

Guo et al., "Dinomaly: The Less Is More Philosophy in Multi-Class Unsupervised Anomaly Detection"
(CVPR 2025), with anomalib's network and loss. Traps: linear attention divides by a sum that can
underflow to 0, and one such token makes the whole training NaN (`attention_epsilon`); the loss
weakens the gradients of more points the longer it trains, so the number of steps belongs
to what a resumed training takes up.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from baselines.kit.anomalib_parts import library
from baselines.kit.token_reconstruction import TokenReconstruction


class Dinomaly(TokenReconstruction):
    """Noisy bottleneck, linear attention, loose reconstruction."""

    part, network = "dinomaly", "DinomalyModel"
    arguments = ()
    learned_parts = ("bottleneck", "decoder")
    reconstruction = "get_encoder_decoder_outputs"

    def made_with(self) -> dict[str, Any]:
        """anomalib's names of the parameters."""
        return {
            **super().made_with(),
            "bottleneck_dropout": self.params["dropout"],
            "use_context_recentering": self.params["context_recentering"],
        }

    def make(self, weights: Path | None) -> nn.Module:
        """As the others, its attention guarded and its loss as the parameters say."""
        made = super().make(weights)
        guarded = library("models.image.dinomaly.components.layers").LinearAttention
        for module in made.modules():
            if isinstance(module, guarded):
                epsilon: float = self.params["attention_epsilon"]
                module.forward = partial(linear_attention, module, epsilon=epsilon)  # type: ignore[method-assign]
        loss = library("models.image.dinomaly.components.loss").CosineHardMiningLoss
        made.loss_fn = loss(
            p_final=self.params["mined_share"],
            p_schedule_steps=self.params["mining_steps"],
            factor=self.params["mined_factor"],
        )
        return made

    def loss_of(self, pixels: Tensor) -> Tensor:
        """1 - cosine of each group's flattened map; points that fit already pull less."""
        encoded, decoded = self.reconstruct(pixels)
        loss: Tensor = self.model.loss_fn(encoded, decoded, global_step=self.steps_done)  # type: ignore[operator]
        return loss


def linear_attention(attention: nn.Module, x: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """anomalib's `LinearAttention.forward`, its denominator kept from 0 (Dinomaly's README).

    Args:
        attention: the module whose projections are used.
        x: (B, N, D) tokens.
        epsilon: added to the sum of the weights, in float32.
    Returns:
        (B, N, D) tokens, and the (B, heads, D/heads, D/heads) product of keys and values.
    """
    batch, count, width = x.shape
    heads: Any = attention.num_heads
    queries, keys, values = (
        attention.qkv(x).reshape(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)  # type: ignore[operator]
    )
    queries, keys = functional.elu(queries) + 1, functional.elu(keys) + 1
    product = keys.transpose(-2, -1) @ values
    total = (queries * keys.sum(dim=-2, keepdim=True)).sum(dim=-1, keepdim=True)
    attended = (queries @ product) / (total + epsilon)
    mixed = attended.transpose(1, 2).reshape(batch, count, width)
    return attention.proj_drop(attention.proj(mixed)), product  # type: ignore[operator]
