"""What the stand-in remembers: which storages lie on the GPU, where tensors were made, what was mixed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

GPU, EITHER = "cuda:0", "either"
SHORT_TRACE = 4  # frames of the program that a message names
HERE = __file__.rpartition("/")[0]


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


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results, in lists, tuples and dictionaries however nested."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value)
    elif isinstance(values, list | tuple):
        for value in values:
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, list | tuple | dict):
                yield from tensors_in(value)


def is_gpu(device: Any) -> bool:
    """Whether an argument `device` names a GPU."""
    if isinstance(device, int) and not isinstance(device, bool):
        return True
    return isinstance(device, str | torch.device) and torch.device(device).type == "cuda"


def _program_frames() -> Iterator[FrameType]:
    """The frames outside PyTorch and this package, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.rpartition("/")[0] != HERE and "/torch/" not in name and not name.startswith("<"):
            yield frame
        frame = frame.f_back


def where() -> str:
    """`folder/file:line` of the program's frames, the innermost first."""
    found = []
    for frame in _program_frames():
        folder, _, file = frame.f_code.co_filename.rpartition("/")
        found.append(f"{folder.rpartition('/')[2]}/{file}:{frame.f_lineno}")
        if len(found) == SHORT_TRACE:
            break
    return " < ".join(found)
