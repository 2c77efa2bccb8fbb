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

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

GPU, EITHER = "cuda:0", "either"
FREE_BYTES = 8 * 1024**3  # what the stand-in says is free
SHORT_TRACE = 4  # frames of the program that a message names
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
PRODUCTS = frozenset(
    {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::convolution"}
)  # fmt: skip
SMALLEST_PRODUCT = 1024  # numbers of a result: the corners of a turned image are nobody's loss


@dataclass(frozen=True)
class Mix:
    """One thing that a GPU would refuse, or that a GPU was meant for."""

    what: str
    """The operator, and what is wrong."""
    where: str
    """`file:line`, from the innermost out, of the program that called it."""
    made: str = ""
    """Where the tensor on the CPU was made, where that was seen."""

    def __str__(self) -> str:
        made = f"; the tensor on the CPU was made at {self.made}" if self.made else ""
        return f"{self.what} at {self.where}{made}"


class Marks:
    """Which storages lie on the GPU; one that is gone is forgotten."""

    def __init__(self) -> None:
        self._sides: dict[int, tuple[StorageWeakRef, str]] = {}
        self._made: dict[int, tuple[StorageWeakRef, str]] = {}
        self._limit = 4096

    def side(self, tensor: Tensor) -> str:
        """`cuda:0`, `either`, or `cpu`."""
        found = self._sides.get(_storage(tensor)._cdata)
        return found[1] if found else "cpu"

    def put(self, tensor: Tensor, side: str) -> None:
        """Note on which side it lies, with all that shares its storage."""
        storage = _storage(tensor)
        if side == "cpu":
            self._sides.pop(storage._cdata, None)
            return
        # The weak reference also keeps the number from being given to another storage.
        self._sides[storage._cdata] = (StorageWeakRef(storage), side)
        if len(self._sides) > self._limit:
            self._sides = _living(self._sides)
            self._limit = max(4096, 2 * len(self._sides))

    def note_origin(self, tensor: Tensor, where: str) -> None:
        """Note where one on the CPU was made."""
        storage = _storage(tensor)
        self._made[storage._cdata] = (StorageWeakRef(storage), where)
        if len(self._made) > 4096:
            self._made = _living(self._made)

    def origin(self, tensor: Tensor) -> str:
        """Where it was made; empty where nobody saw it."""
        found = self._made.get(_storage(tensor)._cdata)
        return found[1] if found else ""


def _living(
    kept: Mapping[int, tuple[StorageWeakRef, str]],
) -> dict[int, tuple[StorageWeakRef, str]]:
    return {number: item for number, item in kept.items() if not item[0].expired()}


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results, in lists, tuples and dictionaries however nested."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, list | tuple):
        for value in values:
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, list | tuple | dict):
                yield from _tensors(value)


def _is_gpu(device: Any) -> bool:
    """Whether an argument `device` names a GPU."""
    if isinstance(device, int) and not isinstance(device, bool):
        return True
    return isinstance(device, str | torch.device) and torch.device(device).type == "cuda"


def _program_frames() -> Iterator[FrameType]:
    """The frames outside PyTorch and this file, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and "/torch/" not in name and not name.startswith("<"):
            yield frame
        frame = frame.f_back


def _where() -> str:
    found = []
    for frame in _program_frames():
        folder, _, file = frame.f_code.co_filename.rpartition("/")
        found.append(f"{folder.rpartition('/')[2]}/{file}:{frame.f_lineno}")
        if len(found) == SHORT_TRACE:
            break
    return " < ".join(found)


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
        self._mixes.setdefault(Mix(what, _where(), made))

    def note_product(self, what: str) -> None:
        """Add a product that was computed on the CPU."""
        if not self._is_making:
            self._products.setdefault(Mix(f"{what} computes on the CPU", _where()))

    def __enter__(self) -> Self:
        def load(*of: Any, map_location: Any = None, **more: Any) -> Any:
            found = real_load(*of, map_location="cpu", **more)
            if _is_gpu(map_location):
                for tensor in _tensors(found):
                    self.marks.put(tensor, GPU)
            return found

        def autocast(device_type: str, *of: Any, **more: Any) -> Any:
            return real_autocast("cpu" if device_type == "cuda" else device_type, *of, **more)

        def apply(node: Any, *gradients: Any) -> Any:
            with functions:  # PyTorch leaves the modes of functions before a backward pass
                return real_apply(node, *gradients)

        functions, nodes = _Functions(self), torch.autograd.function.BackwardCFunction
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
        ):
            self._stack.enter_context(mock.patch.object(owner, name, stand_in))
        self._stack.enter_context(_Operators(self))
        self._stack.enter_context(functions)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


class _Crossing(torch.autograd.Function):
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


class _Functions(TorchFunctionMode):
    """Sees PyTorch's functions as a program calls them: where tensors are made, asked, moved."""

    def __init__(self, gpu: StandInGpu) -> None:
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
            has_gpu = any(self._gpu.is_on_gpu(tensor) for tensor in _tensors((args, more)))
            with self._gpu.inside(has_gpu):
                found = func(*args, **more)
            if func is Tensor.new_tensor and self._gpu.is_on_gpu(args[0]):
                self._mark(found, GPU)
            elif not any(True for _ in _tensors((args, more))):
                self._mark(found, "cpu")  # in a method's own backward pass too
                self._note_origins(found)
            return found
        side = GPU if _is_gpu(more["device"]) else "cpu"
        if side == GPU and more.get("generator") is not None:
            self._gpu.note(f"{_name(func)} draws on {GPU} from a generator of the CPU")
        found = func(*args, **{**more, "device": "cpu"})
        self._mark(found, side)
        if side == "cpu":
            self._note_origins(found)
        return found

    def _mark(self, found: Any, side: str) -> None:
        for tensor in _tensors(found):
            self._gpu.marks.put(tensor, side)

    def _note_origins(self, found: Any) -> None:
        for tensor in _tensors(found):
            if self._gpu.marks.side(tensor) == "cpu":
                self._gpu.marks.note_origin(tensor, _where().partition(" <")[0])

    def _to(self, tensor: Tensor, *of: Any, **more: Any) -> Tensor:
        side, others = self._gpu.marks.side(tensor), list(of)
        if of and isinstance(of[0], Tensor):
            side, others[0] = self._gpu.marks.side(of[0]), of[0]
        elif isinstance(more.get("other"), Tensor):
            side = self._gpu.marks.side(more["other"])
        elif of and isinstance(of[0], str | int | torch.device):
            side, others[0] = (GPU if _is_gpu(of[0]) else "cpu"), "cpu"
        elif more.get("device") is not None:
            side, more["device"] = (GPU if _is_gpu(more["device"]) else "cpu"), "cpu"
        return self._moved(tensor.to(*others, **more), tensor, side)

    def _moved(self, made: Tensor, source: Tensor, side: str) -> Tensor:
        """`made` on the side where it belongs: a copy if it lies on the other."""
        if self._gpu.marks.side(source) == EITHER:
            self._gpu.marks.put(made, side)
            return made
        if self._gpu.marks.side(made) == side:
            return made
        moved: Tensor = _Crossing.apply(made, self._gpu.marks, side)
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
            return self._moved(made, made, GPU if _is_gpu(device) else "cpu")
        if not isinstance(data, Tensor):
            self._note_origins(made)
        return made


class _Operators(TorchDispatchMode):
    """Sees every operator, those of the backward pass and inside PyTorch's functions too."""

    def __init__(self, gpu: StandInGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        more, marks = dict(kwargs or {}), self._gpu.marks
        given = list(_tensors((args, more)))
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
        for tensor in _tensors(found) if side != "cpu" else ():
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
        checked: Iterable[Tensor] = _tensors((args, more))
        if name in INDEXED:
            checked = [args[0], *_tensors(args[2:])]
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
