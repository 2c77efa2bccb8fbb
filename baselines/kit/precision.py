"""Mixed precision, memory layout, fused optimisers: faster on a GPU, nothing at all on a CPU.

bfloat16 has float32's range, so no loss needs scaling. Trap: log-determinants, structural
similarity and gradient penalties need float32: leave the region, or `.float()`, for them.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)
PRECISIONS = ("mixed", "float32")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A region whose convolutions and matrix products run in bfloat16 where that pays.

    Args:
        device: the model's.
        precision: `mixed` (bfloat16 on a GPU that computes in it, float32 elsewhere) or
            `float32`.
    Raises:
        ValueError: another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; it can be {' or '.join(PRECISIONS)}")
    is_mixed = (
        precision == "mixed"
        and device.type == "cuda"
        and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return torch.autocast(device.type, torch.bfloat16, enabled=is_mixed)


def placed(module: Module, device: torch.device) -> Module:
    """The module on `device`, its convolutions in channels-last order on a GPU."""
    if device.type == "cuda":
        return module.to(device, memory_format=torch.channels_last)
    return module.to(device)


def is_fused(device: torch.device) -> bool:
    """Whether Adam and AdamW take their fused form (`fused=…`): on a GPU.

    There a step reads and writes parameters, gradients and moments once, 28 bytes a parameter,
    and not once an operation. On a CPU it would round otherwise, which Adam enlarges: a
    convolution's bias before a BatchNorm has no gradient but rounding, and moves by the learning
    rate whatever its size.
    """
    return device.type == "cuda"
