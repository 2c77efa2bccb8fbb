"""Trained tensors to disk and back: one file, read without running any code from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

FILE_NAME = "model.pt"


def save_tensors(folder: Path, tensors: Mapping[str, Tensor], backbone: str = "none") -> None:
    """Write `tensors`, and the identity of the backbone that they belong to.

    Args:
        folder: `paths.model` of the hello frame, or what `serve` hands to `save`.
        tensors: on any device.
        backbone: `Backbone.identity` (the backbone itself is not written), or `none`.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    torch.save({"backbone": backbone, "tensors": state}, folder / FILE_NAME)


def load_tensors(folder: Path, device: torch.device, backbone: str = "none") -> dict[str, Tensor]:
    """The tensors on `device`.

    Args:
        backbone: as in `save_tensors`; features of another network would mean nothing.
    Raises:
        ValueError: they belong to another backbone.
    """
    state = torch.load(folder / FILE_NAME, map_location=device, weights_only=True)
    if state["backbone"] != backbone:
        raise ValueError(
            f"the model was trained on the backbone {state['backbone']}, this one is {backbone}"
        )
    tensors: dict[str, Tensor] = state["tensors"]
    return tensors


class OneNetwork:
    """`save` and `load` of a method that learns one network, on one frozen backbone or on none.

    A subclass names the attributes: `class Method(OneNetwork, learned="student", frozen="teacher")`.
    """

    device: torch.device
    _learned: str
    _frozen: str

    def __init_subclass__(cls, *, learned: str, frozen: str = "") -> None:
        super().__init_subclass__()
        cls._learned, cls._frozen = learned, frozen

    @property
    def _identity(self) -> str:
        identity: str = getattr(self, self._frozen).identity if self._frozen else "none"
        return identity

    def save(self, folder: Path) -> None:
        """Write what was learned; the backbone itself is not written."""
        save_tensors(folder, getattr(self, self._learned).state_dict(), self._identity)

    def load(self, folder: Path) -> None:
        """Read what was learned.

        Raises:
            ValueError: it was learned on another backbone.
        """
        tensors = load_tensors(folder, self.device, self._identity)
        getattr(self, self._learned).load_state_dict(tensors)
