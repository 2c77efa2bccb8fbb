"""A conditional normalising flow over vectors: FrEIA's coupling blocks, computed all in one.

FrEIA's `AllInOneBlock` as CFLOW sets it up: affine coupling with a soft clamp (Real-NVP), a learned
scale and offset, then a fixed permutation or rotation. Its blocks draw the initial values (FrEIA
is MIT); here all blocks' tensors are stacked, and their derivative is written out, for few and large
kernels: a permutation is a gather and no product, the weights' gradients of all blocks are one
batched product each, and an optimiser has six tensors. Traps: FrEIA draws its permutations from
numpy's global stream; there is no second derivative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from FrEIA.modules import AllInOneBlock
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# FrEIA's: what leaves the coupling network is a tenth; the global scale is
# 0.1 softplus(x, beta = 0.5).
SHARE, SCALE_SHARE, SCALE_BETA = 0.1, 0.1, 0.5


class ConditionalFlow(nn.Module):
    """Vectors to latent vectors of a standard normal distribution, given a condition each.

    Args:
        channels: C, numbers of a vector; the first half of them (the larger one where C is odd)
            passes a block unchanged and, with the condition, tells what is done to the other.
        condition_dims: D.
        blocks: K.
        clamp: largest absolute logarithm of a coupling's factor.
        rotates: a random rotation after each block, instead of a random permutation.
    """

    def __init__(
        self, channels: int, condition_dims: int, *, blocks: int, clamp: float, rotates: bool
    ) -> None:
        super().__init__()
        self.channels, self.condition_dims = channels, condition_dims
        self.clamp, self.rotates = clamp, rotates
        made = [_block(channels, condition_dims, clamp, rotates) for _ in range(blocks)]
        into, out = [block.subnet[0] for block in made], [block.subnet[2] for block in made]
        self.hidden_weights = _stacked([layer.weight for layer in into])  # (K, H, C1 + D)
        self.hidden_biases = _stacked([layer.bias for layer in into])  # (K, H)
        self.coupling_weights = _stacked([layer.weight for layer in out])  # (K, 2 C2, H)
        self.coupling_biases = _stacked([layer.bias for layer in out])  # (K, 2 C2)
        self.scales = _stacked([block.global_scale[0] for block in made])  # (K, C)
        self.offsets = _stacked([block.global_offset[0] for block in made])  # (K, C)
        mixing = torch.stack([block.w_perm.detach() for block in made])  # (K, C, C)
        if not rotates:
            mixing = mixing.argmax(dim=2)  # (K, C), where each number comes from
        self.mixing: Tensor
        self.unmixing: Tensor
        self.register_buffer("mixing", mixing)
        self.register_buffer("unmixing", mixing.mT if rotates else mixing.argsort(dim=1))

    def forward(
        self, vectors: Tensor, conditions: Tensor, products: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latent vectors and log-determinants of the Jacobian.

        Args:
            vectors: (N, C), float.
            conditions: (N, D).
            products: type of the numbers in the coupling networks; the vectors' own by default.

        Returns:
            (N, C) and (N,), of the vectors' type.
        """
        weights = (
            self.hidden_weights, self.hidden_biases, self.coupling_weights, self.coupling_biases,
        )  # fmt: skip
        scales = SCALE_SHARE * functional.softplus(self.scales, beta=SCALE_BETA)
        layout = _Layout(self.clamp, self.rotates, products or vectors.dtype)
        mixing = self.mixing, self.unmixing
        latent, coupled = _Chain.apply(
            vectors, conditions, *weights, scales, self.offsets, *mixing, layout
        )
        return latent, coupled + scales.log().sum()


def _block(channels: int, condition_dims: int, clamp: float, rotates: bool) -> AllInOneBlock:
    """A block with its initial values, whose coupling network has one hidden layer."""
    return AllInOneBlock(
        [(channels,)],
        [(condition_dims,)],
        subnet_constructor=lambda inputs, outputs: nn.Sequential(
            nn.Linear(inputs, 2 * inputs), nn.ReLU(), nn.Linear(2 * inputs, outputs)
        ),
        affine_clamping=clamp,
        global_affine_type="SOFTPLUS",
        permute_soft=rotates,
    )


def _stacked(tensors: Sequence[Tensor]) -> nn.Parameter:
    return nn.Parameter(torch.stack([tensor.detach() for tensor in tensors]))


@dataclass(frozen=True)
class _Layout:
    """What of a chain is no tensor."""

    clamp: float
    """Largest absolute logarithm of a coupling's factor."""
    rotates: bool
    """Rotations between blocks, not permutations."""
    products: torch.dtype
    """Of the numbers in the coupling networks."""

    def mixed(self, vectors: Tensor, mixing: Tensor, out: Tensor | None = None) -> Tensor:
        """Permuted by where each number comes from, or rotated by a matrix."""
        if self.rotates:
            return torch.mm(vectors, mixing.t(), out=out)
        return torch.index_select(vectors, 1, mixing, out=out)

    def mix_into(self, state: Tensor, vectors: Tensor, mixing: Tensor, active: int) -> None:
        """The same into the first columns of a state (N, C + C2), the last C2 numbers first."""
        passive = vectors.shape[1] - active
        if self.rotates:
            torch.mm(vectors, mixing[passive:].t(), out=state[:, :active])
            torch.mm(vectors, mixing[:passive].t(), out=state[:, active : active + passive])
        else:
            turned = mixing.roll(active)
            torch.index_select(vectors, 1, turned, out=state[:, : active + passive])


class _Chain(torch.autograd.Function):
    """All blocks, and the sums of the logarithms of their couplings' factors.

    One block, with a vector's halves `x1`, `x2`, condition `c`, network `f`, factors `e`:
    `t = tanh(0.1 f_1(x1, c))`, `e = exp(clamp t)`, `z = [x1, z2]` with
    `z2 = x2 e + 0.1 f_2(x1, c)`, `x' = mixed(scale z + offset)`. A block's state is one row
    `[x2, x1, z2]` for each vector, so that `z` lies there without a copy of `x1`.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - torch gives tensors by position
        ctx: Any,
        vectors: Tensor,
        conditions: Tensor,
        hidden_weights: Tensor,
        hidden_biases: Tensor,
        coupling_weights: Tensor,
        coupling_biases: Tensor,
        scales: Tensor,
        offsets: Tensor,
        mixing: Tensor,
        unmixing: Tensor,
        layout: _Layout,
    ) -> tuple[Tensor, Tensor]:
        w1, b1, w2, b2 = (
            each.to(layout.products)
            for each in (hidden_weights, hidden_biases, coupling_weights, coupling_biases * SHARE)
        )
        (blocks, channels), count = scales.shape, len(vectors)
        active = channels // 2
        first = channels - active
        # Without a gradient, one block's tensors are kept at a time.
        is_kept = any(ctx.needs_input_grad)
        kept = blocks if is_kept else 1
        joined = w1.new_empty(kept, count, w1.shape[2])
        joined[:, :, first:] = conditions
        hidden = w1.new_empty(kept, count, w1.shape[1])
        factors = vectors.new_empty(kept, count, active)
        states = vectors.new_empty(kept, count, channels + active)
        tanhs = vectors.new_empty(blocks, count, active)
        states[0, :, :active], states[0, :, active:channels] = vectors.split((first, active), 1)[
            ::-1
        ]
        for block in range(blocks):
            at = block if is_kept else 0
            state = states[at]
            joined[at, :, :first] = state[:, active:channels]
            # One kernel on a GPU: the bias and the ReLU end cuBLASLt's product.
            torch._addmm_activation(b1[block], joined[at], w1[block].t(), out=hidden[at])
            told = torch.addmm(b2[block], hidden[at], w2[block].t(), alpha=SHARE).to(vectors.dtype)
            tanh = torch.tanh(told[:, :active], out=tanhs[block])
            factor = torch.pow(math.exp(layout.clamp), tanh, out=factors[at])
            torch.addcmul(told[:, active:], state[:, :active], factor, out=state[:, channels:])
            moved = torch.addcmul(offsets[block], state[:, active:], scales[block])
            if block < blocks - 1:
                following = states[block + 1 if is_kept else 0]
                layout.mix_into(following, moved, mixing[block], active)
            else:
                vectors = layout.mixed(moved, mixing[block])
        if is_kept:
            ctx.layout = layout
            ctx.types = hidden_weights.dtype
            ctx.save_for_backward(w1, w2, scales, unmixing, joined, hidden, factors, states, tanhs)
        return vectors, layout.clamp * tanhs.sum(dim=(0, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, log_gradient: Tensor) -> tuple[Tensor | None, ...]:
        layout: _Layout = ctx.layout
        w1, w2, scales, unmixing, joined, hidden, factors, states, tanhs = ctx.saved_tensors
        active, channels = tanhs.shape[2], scales.shape[1]
        first = channels - active
        coupled = states[:, :, active:]  # (K, N, C)
        mixed = torch.empty_like(coupled, memory_format=torch.contiguous_format)
        of_hidden = torch.empty_like(hidden)
        of_told = hidden.new_empty(*hidden.shape[:2], 2, active)
        grown = scales[:, None, first:] * factors  # what x2 is multiplied by
        pushed = grown * states[:, :, :active]
        constant, slope = _of_told(layout, scales[:, first:], pushed, tanhs, log_gradient)
        for block in reversed(range(len(scales))):
            layout.mixed(gradient, unmixing[block], out=mixed[block])
            passive, driven = mixed[block].split((first, active), dim=1)
            gradient = torch.empty_like(mixed[block])
            torch.mul(driven, grown[block], out=gradient[:, first:])
            torch.addcmul(constant[block], driven[:, None], slope[block], out=of_told[block])
            torch.mm(of_told[block].flatten(1), w2[block], out=of_hidden[block])
            torch.ops.aten.threshold_backward.grad_input(
                of_hidden[block], hidden[block], 0, grad_input=of_hidden[block]
            )
            told = of_hidden[block] @ w1[block, :, :first]
            torch.addcmul(told, passive, scales[block, :first], out=gradient[:, :first])
        own, of_told = ctx.types, of_told.flatten(2)
        return (
            gradient if ctx.needs_input_grad[0] else None,
            None,
            torch.bmm(of_hidden.transpose(1, 2), joined).to(own),
            of_hidden.sum(dim=1, dtype=own),
            torch.bmm(of_told.transpose(1, 2), hidden).to(own),
            of_told.sum(dim=1, dtype=own),
            (mixed * coupled).sum(dim=1),
            mixed.sum(dim=1),
            None,
            None,
            None,
        )


def _of_told(
    layout: _Layout, scales: Tensor, pushed: Tensor, tanhs: Tensor, log_gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """How the gradient of what the coupling networks say follows from that of `scale z2`.

    Args:
        scales: (K, C2), of the coupled half.
        pushed: (K, N, C2), `scale e x2`.
        tanhs: (K, N, C2).
        log_gradient: (N,), of the log-determinants.

    Returns:
        (K, N, 2, C2) each: a part that is there anyway, and what the gradient is multiplied by; of
        the factor's logarithm, then of the offset.
    """
    constant = tanhs.new_zeros(*tanhs.shape[:2], 2, tanhs.shape[2])
    slope = torch.empty_like(constant)
    share = SHARE * layout.clamp
    backward = torch.ops.aten.tanh_backward.grad_input
    backward(share * log_gradient[:, None], tanhs, grad_input=constant[:, :, 0])
    backward(share * pushed, tanhs, grad_input=slope[:, :, 0])
    slope[:, :, 1] = SHARE * scales[:, None]
    return constant, slope
