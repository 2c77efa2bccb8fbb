"""torch's Transformer layers with fewer passes over the tokens: same weights, same arithmetic.

`nn.MultiheadAttention` turns its tokens round (batch and sequence), copies the projections apart
and puts their gradients together from three tensors full of zeros; here one product gives all
projections, and attention reads them where they lie. Traps: no masks, and no weights to look at.
Source: Vaswani et al., "Attention is all you need" (2017), section 3.2; norms after each part.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(attention: nn.MultiheadAttention, queries: Tensor, memory: Tensor) -> Tensor:
    """What each query gathers from the memory; as `attention(queries, memory, memory)`.

    Args:
        attention: its weights, heads and dropout; `batch_first`, with biases.
        queries: (N, L, D) float; the very same object as the memory: one product for both.
        memory: (N, S, D) float.

    Returns:
        (N, L, D).
    """
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    width, heads = attention.embed_dim, attention.num_heads
    if queries is memory:
        joined = functional.linear(queries, weight, bias).unflatten(2, (3, heads, -1))
        query, key, value = joined.unbind(dim=2)  # (N, L, heads, D / heads) each
    else:
        query = functional.linear(queries, weight[:width], bias[:width]).unflatten(2, (heads, -1))
        joined = functional.linear(memory, weight[width:], bias[width:])
        key, value = joined.unflatten(2, (2, heads, -1)).unbind(dim=2)
    gathered = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        dropout_p=attention.dropout if attention.training else 0.0,
    )
    if draws_by_place(queries.device):
        # It lies in memory as the attention's own does: dropout draws in that order.
        turned: Tensor = attention.out_proj(gathered.permute(2, 0, 1, 3).flatten(2))
        return turned.transpose(0, 1)
    whole: Tensor = attention.out_proj(gathered.transpose(1, 2).flatten(2))
    return whole


def draws_by_place(device: torch.device) -> bool:
    """Whether dropout there is to draw what torch's own layers draw: on a CPU.

    It costs a copy of all tokens, and one of their gradients. A GPU's fused attention leaves tokens
    where the projection reads them, and its dropout draws by a counter of its own either way.
    """
    return device.type == "cpu"


class EncoderLayer(nn.TransformerEncoderLayer):
    """Self-attention, then a network of two layers; batches first, norms after each."""

    def forward(self, src: Tensor, *_masks: Any, **_more: Any) -> Tensor:
        """(N, L, D) to (N, L, D)."""
        src = self.norm1(src + self.dropout1(attend(self.self_attn, src, src)))
        inner = self.dropout(self.activation(self.linear1(src)))
        out: Tensor = self.norm2(src + self.dropout2(self.linear2(inner)))
        return out


class DecoderLayer(nn.TransformerDecoderLayer):
    """Self-attention, attention to a memory, then a network; batches first, norms after each."""

    def forward(self, tgt: Tensor, memory: Tensor, *_masks: Any, **_more: Any) -> Tensor:
        """(N, L, D) and what it looks at, (N, S, D), to (N, L, D)."""
        tgt = self.norm1(tgt + self.dropout1(attend(self.self_attn, tgt, tgt)))
        tgt = self.norm2(tgt + self.dropout2(attend(self.multihead_attn, tgt, memory)))
        inner = self.dropout(self.activation(self.linear1(tgt)))
        out: Tensor = self.norm3(tgt + self.dropout3(self.linear2(inner)))
        return out
