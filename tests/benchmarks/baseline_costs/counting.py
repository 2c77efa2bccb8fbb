"""Counts torch's operations as a GPU would run them: products, bytes, kernels, replays.

Counted on a CPU, with what a GPU does otherwise switched on (`as_on_a_gpu`). Bytes are what all
operations but products read and write: of a gather what it takes, of an operation in place what it
leaves, too. Trap: an operation over a list of tensors counts as one kernel, and is a few.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from baselines.kit import kept_features, transformer_layers, upsampling
from baselines.kit.replay import Replayed
from harness.campaigns.throughput import StepWork

FOREACH = "_default_to_fused_or_foreach"
aten = torch.ops.aten
# Formulas by operation; a product that ends in a bias and a ReLU is one kernel on a GPU.
FLOPS = {**flop_registry, aten._addmm_activation: flop_registry[aten.addmm]}
# They move no data and launch nothing.
FREE = {
    "detach",
    "empty",
    "empty_like",
    "new_empty",
    "new_empty_strided",
    "empty_strided",
    "_local_scalar_dense",
    "_unsafe_view",
}
# Of their first tensor they read as much as they give.
GATHERS = {"index", "index_select", "gather", "embedding"}


class Counting(TorchDispatchMode):
    """Inside, every operation of torch is counted; those within `replaying` as one launch."""

    replay: str | None = None
    """Of a CUDA graph: `begins`, `goes on`, or none."""

    def __init__(self) -> None:
        super().__init__()
        self.work = dict.fromkeys(StepWork.model_fields, 0.0)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in FLOPS:
            with self:  # in inference mode operations arrive whole
                whole = func.decompose(*args, **kwargs)
            if whole is not NotImplemented:
                return whole
        found = func(*args, **kwargs)
        self._count(func, args, kwargs, found)
        return found

    def _count(self, func: Any, args: Any, kwargs: Any, found: Any) -> None:
        if func.is_view or func._overloadpacket.__name__ in FREE:
            return
        self._launched()
        count = FLOPS.get(func._overloadpacket)
        if count is None:
            self.work["bytes"] += _bytes(func, args, kwargs, found)
            return
        flops = count(*args, **kwargs, out_val=found)
        is_half = args[0].dtype in (torch.bfloat16, torch.float16)
        self.work["bfloat16_flops" if is_half else "float32_flops"] += flops

    def _launched(self) -> None:
        if Counting.replay is None:
            self.work["launches"] += 1
            return
        if Counting.replay == "begins":
            self.work["launches"] += 1
            Counting.replay = "goes on"
        self.work["replayed"] += 1


def _bytes(func: Any, args: Any, kwargs: Mapping[str, Any], found: Any) -> int:
    """Read and written by one operation."""
    given = {argument.name: value for argument, value in zip(func._schema.arguments, args)}  # noqa: B905 - defaults are left out
    given |= kwargs
    read, left = 0, 0
    for argument in func._schema.arguments:
        size = _size(given.get(argument.name))
        is_written = argument.alias_info is not None and argument.alias_info.is_write
        # A fused optimiser writes gradients only where it has a loss's scale to take out.
        is_written &= argument.name != "grads"
        read += 0 if is_written and argument.is_out else size
        left += size if is_written else 0
    made = _size(found)
    if func._overloadpacket.__name__ in GATHERS:
        read += made - min(_size(args[0]), read)
    return read + (made or left)


def _size(found: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(found) if isinstance(leaf, Tensor))


@contextmanager
def replaying() -> Iterator[None]:
    """Inside, operations are one replay of a CUDA graph."""
    Counting.replay = "begins"
    try:
        yield
    finally:
        Counting.replay = None


@contextmanager
def as_on_a_gpu(module: ModuleType) -> Iterator[None]:
    """Inside, a method of this module computes as on a GPU, as far as counting sees.

    In a GPU's precision and layout; optimisers many tensors at a time; attention and dropout as
    one kernel each, a Transformer's layer not; and what the kit replays there as a replay.
    """
    changes = _changes()
    own = {"autocast": _in_bfloat16, "is_fused": lambda _device: True, "placed": _channels_last}
    changes += [(module, name, value) for name, value in own.items() if hasattr(module, name)]
    # A Transformer's layer can run as one operation, which hides its products.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    before = [getattr(place, name) for place, name, _ in changes]
    for place, name, value in changes:
        setattr(place, name, value)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for (place, name, _), value in zip(changes, before, strict=True):
            setattr(place, name, value)


def _in_bfloat16(_device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed")


def _channels_last(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    return module.to(device, memory_format=torch.channels_last)


def _changes() -> list[tuple[Any, str, Any]]:
    attend = functional.scaled_dot_product_attention
    call = Replayed.__call__

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return torch.native_dropout(x, p, True)[0] if training and p else x

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **more: Any,
    ) -> Tensor:
        return attend(
            query, key, value, attn_mask, is_causal=is_causal, **more
        )  # a CPU's one kernel has no dropout

    def replayed(step: Replayed) -> None:
        with replaying():
            call(step)

    return [
        *(
            (sys.modules[f"torch.optim.{name}"], FOREACH, lambda *_of, **_more: (False, True))
            for name in ("adam", "sgd")
        ),
        (kept_features, "free_bytes", lambda _device: sys.maxsize),
        (upsampling, "is_deterministic", lambda _device: False),
        (transformer_layers, "draws_by_place", lambda _device: False),
        (functional, "dropout", dropout),
        (functional, "scaled_dot_product_attention", attention),
        (Replayed, "__call__", replayed),
    ]
