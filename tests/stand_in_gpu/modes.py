"""The two modes of the stand-in: one on PyTorch's functions, one on its operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.stand_in_gpu.marks import EITHER, GPU, Marks, is_gpu, tensors_in, where

# Operators that may cross: their first tensor stays where it is.
COPIES = frozenset({"aten::copy_", "aten::_foreach_copy_", "aten::set_"})
# Not elementwise, but they take a number from the CPU all the same.
TAKES_NUMBER = frozenset(
    {"aten::masked_fill", "aten::masked_fill_", "aten::fill", "aten::fill_", "aten::index_put",
     "aten::index_put_", "aten::_index_put_impl_"}
)  # fmt: skip
INDEXED = frozenset(
    {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
)
# The second row is what inference mode leaves whole.
PRODUCTS = frozenset(
    {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::convolution",
     "aten::matmul", "aten::linear", "aten::conv2d", "aten::conv_transpose2d"}
)  # fmt: skip
SMALLEST_PRODUCT = 1024  # numbers of a result: the corners of a turned image are nobody's loss


class Notes(Protocol):
    """What the modes tell the stand-in, and ask it."""

    marks: Marks
    is_inside: bool

    def is_on_gpu(self, tensor: Tensor) -> bool: ...

    def inside(self, has_gpu: bool) -> Any: ...

    def note(self, what: str, culprit: Tensor | None = None) -> None: ...

    def note_product(self, what: str) -> None: ...


class Crossing(torch.autograd.Function):
    """A copy on the other side; its gradient comes back."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, marks: Marks, side: str) -> Tensor:
        ctx.marks, ctx.back = marks, marks.side(source)
        made = source.clone(memory_format=torch.preserve_format)
        marks.put(made, side)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        back = gradients[0].clone()
        ctx.marks.put(back, ctx.back)
        return back, None, None


class Functions(TorchFunctionMode):
    """Sees PyTorch's functions as a program calls them: where tensors are made, asked, moved."""

    def __init__(self, gpu: Notes) -> None:
        super().__init__()
        self._gpu = gpu
        self._getters: dict[Any, Callable[[Tensor], Any]] = {
            Tensor.device: lambda _: torch.device(GPU),
            Tensor.is_cuda: lambda _: True,
            Tensor.is_cpu: lambda _: False,
        }
        self._methods: dict[Any, Callable[..., Any]] = {
            Tensor.to: self._to,
            Tensor.cpu: lambda tensor, **more: self._moved(tensor.clone(**more), tensor, "cpu"),
            Tensor.cuda: lambda tensor, *_, **__: self._moved(tensor, tensor, GPU),
            Tensor.pin_memory: lambda tensor, *_, **__: tensor.clone(),  # it stays the CPU's
            Tensor.get_device: lambda t: 0 if gpu.is_on_gpu(t) else -1,
            Tensor.numpy: self._numpy,
            Tensor.__array__: lambda tensor, *of, **more: np.asarray(self._numpy(tensor), *of),
            Tensor.__deepcopy__: self._deepcopy,
            torch.mm: self._mm,
            torch.as_tensor: self._as_tensor,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        more = dict(kwargs or {})
        descriptor = getattr(func, "__self__", None)
        if descriptor in (Tensor.device, Tensor.is_cuda, Tensor.is_cpu):
            return (self._getters[descriptor] if self._gpu.is_on_gpu(args[0]) else func)(args[0])
        if (own := self._methods.get(func)) is not None:
            return own(*args, **more)
        return self._called(func, args, more)

    def _called(self, func: Any, args: Any, more: dict[str, Any]) -> Any:
        """Any other function: made where `device` says; else the operators know."""
        if "device" not in more or more["device"] is None:
            has_gpu = any(self._gpu.is_on_gpu(tensor) for tensor in tensors_in((args, more)))
            with self._gpu.inside(has_gpu):
                found = func(*args, **more)
            if func is Tensor.new_tensor and self._gpu.is_on_gpu(args[0]):
                self._mark(found, GPU)
            elif not any(True for _ in tensors_in((args, more))):
                self._mark(found, "cpu")  # in a method's own backward pass too
                self._note_origins(found)
            return found
        side = GPU if is_gpu(more["device"]) else "cpu"
        if side == GPU and more.get("generator") is not None:
            self._gpu.note(f"{_name(func)} draws on {GPU} from a generator of the CPU")
        found = func(*args, **{**more, "device": "cpu"})
        self._mark(found, side)
        if side == "cpu":
            self._note_origins(found)
        return found

    def _mark(self, found: Any, side: str) -> None:
        for tensor in tensors_in(found):
            self._gpu.marks.put(tensor, side)

    def _note_origins(self, found: Any) -> None:
        for tensor in tensors_in(found):
            if self._gpu.marks.side(tensor) == "cpu":
                self._gpu.marks.note_origin(tensor, where().partition(" <")[0])

    def _to(self, tensor: Tensor, *of: Any, **more: Any) -> Tensor:
        side, others = self._gpu.marks.side(tensor), list(of)
        if of and isinstance(of[0], Tensor):
            side, others[0] = self._gpu.marks.side(of[0]), of[0]
        elif isinstance(more.get("other"), Tensor):
            side = self._gpu.marks.side(more["other"])
        elif of and isinstance(of[0], str | int | torch.device):
            side, others[0] = (GPU if is_gpu(of[0]) else "cpu"), "cpu"
        elif more.get("device") is not None:
            side, more["device"] = (GPU if is_gpu(more["device"]) else "cpu"), "cpu"
        return self._moved(tensor.to(*others, **more), tensor, side)

    def _moved(self, made: Tensor, source: Tensor, side: str) -> Tensor:
        """`made` on the side where it belongs: a copy if it lies on the other."""
        if self._gpu.marks.side(source) == EITHER:
            self._gpu.marks.put(made, side)
            return made
        if self._gpu.marks.side(made) == side:
            return made
        moved: Tensor = Crossing.apply(made, self._gpu.marks, side)
        return moved

    def _numpy(self, tensor: Tensor, *of: Any, **more: Any) -> np.ndarray:
        if self._gpu.is_on_gpu(tensor):
            self._gpu.note(f"numpy() of a tensor on {GPU}")
        return tensor.numpy(*of, **more)

    def _deepcopy(self, tensor: Tensor, memo: dict[int, Any]) -> Tensor:
        made: Tensor = tensor.__deepcopy__(memo)
        self._gpu.marks.put(made, self._gpu.marks.side(tensor))
        return made

    def _mm(self, one: Tensor, other: Tensor, out_dtype: Any = None, **more: Any) -> Tensor:
        """CUDA adds half precision up in `out_dtype`; the CPU has no such product."""
        if out_dtype is None or not self._gpu.is_on_gpu(one):
            return torch.mm(one, other, **more)
        return torch.mm(one.to(out_dtype), other.to(out_dtype))

    def _as_tensor(self, data: Any, dtype: Any = None, device: Any = None) -> Tensor:
        made = torch.as_tensor(data, dtype=dtype)
        if device is not None:
            return self._moved(made, made, GPU if is_gpu(device) else "cpu")
        if not isinstance(data, Tensor):
            self._note_origins(made)
        return made


class Operators(TorchDispatchMode):
    """Sees every operator, those of the backward pass and inside PyTorch's functions too."""

    def __init__(self, gpu: Notes) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        more, marks = dict(kwargs or {}), self._gpu.marks
        given = list(tensors_in((args, more)))
        sides = {marks.side(tensor) for tensor in given}
        name = func.name().partition(".")[0]
        found = func(*args, **more)
        if name in COPIES:
            return found
        if GPU in sides:
            self._check(func, name, args, more)
        elif name in PRODUCTS and EITHER not in sides and found.numel() >= SMALLEST_PRODUCT:
            self._gpu.note_product(name)
        side = self._side_of_result(sides)
        for tensor in tensors_in(found) if side != "cpu" else ():
            marks.put(tensor, side)
        return found

    def _side_of_result(self, sides: set[str]) -> str:
        if GPU in sides:
            return GPU
        if not sides:
            # Inside the backward pass PyTorch makes zeros where a gradient is missing.
            is_backward = torch._C._current_graph_task_id() != -1
            return EITHER if is_backward or self._gpu.is_inside else "cpu"
        return EITHER if sides == {EITHER} else "cpu"

    def _check(self, func: Any, name: str, args: Any, more: Mapping[str, Any]) -> None:
        if any(isinstance(value, torch.Generator) for value in (*args, *more.values())):
            self._gpu.note(f"{name} draws on {GPU} from a generator of the CPU")
        checked: Iterable[Tensor] = tensors_in((args, more))
        if name in INDEXED:
            checked = [args[0], *tensors_in(args[2:])]
            if not self._gpu.is_on_gpu(args[0]):
                self._refuse(name, "indices on the GPU of a tensor on the CPU", args[0])
                return
        is_free = torch.Tag.pointwise in func.tags or name in TAKES_NUMBER
        is_free = is_free or name.startswith("aten::_foreach_")
        for tensor in checked:
            if self._gpu.marks.side(tensor) == "cpu" and not (is_free and tensor.ndim == 0):
                self._refuse(name, f"{GPU} and cpu, {list(tensor.shape)}", tensor)

    def _refuse(self, name: str, what: str, culprit: Tensor) -> None:
        self._gpu.note(f"{name} mixes {what}", culprit)


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", func))
