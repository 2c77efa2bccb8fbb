"""A stand-in for `cuda:0` where there is no GPU: it computes on the CPU and notes every mix of devices.

    with StandInGpu() as gpu:
        model = Model(device="cuda:0", ...)
        model.fit(folder, checkpoint)
    assert gpu.mixes == []

What is asked for on `cuda:0` lies on the CPU, and its storage is marked as the GPU's: views share
the mark, results inherit it, `.device` says `cuda:0`, so that a program takes the paths it takes on
a GPU. A mode on PyTorch's functions sees where tensors are made and moved; a mode on its operators
sees what is computed, in the backward pass too. CUDA's own rules hold: a tensor without dimensions
on the CPU goes with every elementwise operator, indices may lie on the CPU, a copy may cross.

Traps. A mix is noted and the program goes on, so that one run shows all of them. What PyTorch makes
inside its own functions (scratch tensors, gradients that are zero) may lie on either side. Numbers
are the CPU's; a kernel that CUDA lacks, its memory and its speed need a GPU (`make gpu-day`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import torch
from torch import Tensor

from baselines.kit import images, upsampling
from baselines.kit.replay import Replayed
from tests.stand_in_gpu.marks import GPU, Marks, Mix, is_gpu, tensors_in, where
from tests.stand_in_gpu.modes import Functions, Operators

KEPT_ON_A_DEVICE = (images._on_a_gpu, upsampling._kept_weights)
FREE_BYTES = 8 * 1024**3  # what the stand-in says is free


class StandInGpu:
    """The stand-in, as a context; enter it before the model is made."""

    def __init__(self) -> None:
        self.marks = Marks()
        self._mixes: dict[Mix, None] = {}
        self._products: dict[Mix, None] = {}
        self.is_inside = self._is_making = False
        self._stack = ExitStack()

    @property
    def mixes(self) -> list[Mix]:
        """What CUDA would refuse, each once, in order."""
        return list(self._mixes)

    @property
    def products_on_cpu(self) -> list[Mix]:
        """Convolutions and products of matrices that lay on the CPU alone: allowed, and slow."""
        return list(self._products)

    def is_on_gpu(self, tensor: Tensor) -> bool:
        """Whether a tensor lies on the stand-in."""
        return self.marks.side(tensor) == GPU

    @contextmanager
    def inside(self, has_gpu: bool) -> Iterator[None]:
        """While a function of PyTorch runs; what it makes for tensors of the GPU lies beside them."""
        before, self.is_inside = self.is_inside, has_gpu
        try:
            yield
        finally:
            self.is_inside = before

    @contextmanager
    def making(self) -> Iterator[None]:
        """While a model is made: networks are made on the CPU, and may ask themselves something there."""
        self._is_making = True
        try:
            yield
        finally:
            self._is_making = False

    def note(self, what: str, culprit: Tensor | None = None) -> None:
        """Add a mix."""
        made = self.marks.origin(culprit) if culprit is not None else ""
        self._mixes.setdefault(Mix(what, where(), made))

    def note_product(self, what: str) -> None:
        """Add a product that was computed on the CPU."""
        if not self._is_making:
            self._products.setdefault(Mix(f"{what} computes on the CPU", where()))

    def __enter__(self) -> Self:
        def load(*of: Any, map_location: Any = None, **more: Any) -> Any:
            found = real_load(*of, map_location="cpu", **more)
            if is_gpu(map_location):
                for tensor in tensors_in(found):
                    self.marks.put(tensor, GPU)
            return found

        def autocast(device_type: str, *of: Any, **more: Any) -> Any:
            return real_autocast("cpu" if device_type == "cuda" else device_type, *of, **more)

        def apply(node: Any, *gradients: Any) -> Any:
            with functions:  # PyTorch leaves the modes of functions before a backward pass
                return real_apply(node, *gradients)

        functions, nodes = Functions(self), torch.autograd.function.BackwardCFunction
        real_load, real_autocast, real_apply = torch.load, torch.autocast, nodes.apply
        free = (FREE_BYTES, FREE_BYTES)
        for owner, name, stand_in in (
            (torch, "load", load),
            (torch, "autocast", autocast),
            (nodes, "apply", apply),
            (torch.cuda, "mem_get_info", lambda *_: free),
            (torch.cuda, "is_bf16_supported", lambda *_, **__: True),
            (torch.cuda, "synchronize", lambda *_: None),
            (torch.cuda, "max_memory_allocated", lambda *_: 0),
            (torch.cuda, "max_memory_reserved", lambda *_: 0),
            # A replay does on the GPU what the step did when it was captured: the step, once more.
            (Replayed, "_captured", lambda replayed: SimpleNamespace(replay=replayed._step)),
        ):
            self._stack.enter_context(mock.patch.object(owner, name, stand_in))
        for kept in KEPT_ON_A_DEVICE:  # by another stand-in, whose marks are gone
            kept.cache_clear()
        self._stack.enter_context(Operators(self))
        self._stack.enter_context(functions)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
