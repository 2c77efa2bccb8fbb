"""FrEIA's own flow with the weights of ours: the oracle of `baselines.kit.conditional_flow`."""

from __future__ import annotations

import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import AllInOneBlock
from torch import Tensor, nn

from baselines.kit.conditional_flow import ConditionalFlow


def as_freia(flow: ConditionalFlow) -> SequenceINN:
    """The same function, block by block."""
    blocks = SequenceINN(flow.channels)
    for number in range(len(flow.scales)):
        blocks.append(
            AllInOneBlock,
            cond=0,
            cond_shape=(flow.condition_dims,),
            subnet_constructor=lambda inputs, outputs: nn.Sequential(
                nn.Linear(inputs, 2 * inputs), nn.ReLU(), nn.Linear(2 * inputs, outputs)
            ),
            affine_clamping=flow.clamp,
            global_affine_type="SOFTPLUS",
            permute_soft=flow.rotates,
        )
        mixing = flow.mixing[number]
        if not flow.rotates:
            mixing = torch.eye(flow.channels, dtype=flow.scales.dtype)[mixing]
        blocks[number].w_perm.data = mixing.clone()
    blocks.to(flow.scales.dtype)
    for stacked, own in zip(flow.parameters(), _weights(blocks), strict=True):
        for values, weight in zip(stacked.data, own, strict=True):
            weight.data = values.reshape(weight.shape).clone()
    return blocks


def take_over(flow: ConditionalFlow, blocks: SequenceINN) -> None:
    """Give ours what FrEIA's has learned."""
    for stacked, own in zip(flow.parameters(), _weights(blocks), strict=True):
        stacked.data = torch.stack([weight.data.reshape(stacked.shape[1:]) for weight in own])


def gradients(blocks: SequenceINN) -> list[Tensor]:
    """As ours has them: stacked over the blocks."""
    return [torch.stack([weight.grad.squeeze(0) for weight in own]) for own in _weights(blocks)]


def _weights(blocks: SequenceINN) -> list[list[nn.Parameter]]:
    """In the order of our parameters, each by block."""
    return [
        [block.subnet[0].weight for block in blocks],
        [block.subnet[0].bias for block in blocks],
        [block.subnet[2].weight for block in blocks],
        [block.subnet[2].bias for block in blocks],
        [block.global_scale for block in blocks],
        [block.global_offset for block in blocks],
    ]
