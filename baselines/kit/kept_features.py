"""Features of a frozen backbone, computed once and kept for all passes that follow.

For methods whose training images are the same in every pass. They are kept on the GPU where they
take a share of its free memory at most, else in as much RAM as the method allows, else not at all:
then a step computes its own. Trap: the same numbers but for rounding, as images share their
batches with others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from baselines.kit.images import TrainingImages, sent

# Share of the free GPU memory that features may take: a training's own needs are far smaller.
SHARE = 0.75

Compute = Callable[[Tensor], Sequence[Tensor]]
"""(B, C, S, S) uint8 to float32 layers (B, C_l, h_l, w_l), on the device."""


@dataclass(frozen=True)
class KeptFeatures:
    """Takes the training images' place in a `Training`."""

    rows: Tensor
    """(N, D) float32, on the device or in RAM: an image's layers end to end."""
    shapes: tuple[torch.Size, ...]
    """(C_l, h_l, w_l) of each layer."""

    def __len__(self) -> int:
        return len(self.rows)

    def placed(self, device: torch.device) -> KeptFeatures:  # noqa: ARG002 - they lie where they fit
        """As they are."""
        return self

    def batch(self, indices: Tensor, device: torch.device) -> Tensor:
        """(B, D) on `device`, in the order of `indices` (1-D int64 on the CPU)."""
        return sent(self.rows.index_select(0, sent(indices, self.rows.device)), device)

    def batches(self, size: int, device: torch.device) -> Iterator[Tensor]:
        """All once, in order, `size` at a time, as (B, D) on `device`."""
        for part in self.rows.split(size):
            yield sent(part, device)

    def layers(self, rows: Tensor) -> list[Tensor]:
        """(B, C_l, h_l, w_l) of a batch (B, D)."""
        parts = rows.split([prod(shape) for shape in self.shapes], dim=1)
        return [part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]


def kept(
    compute: Compute,
    images: TrainingImages,
    batch_size: int,
    device: torch.device,
    *,
    ram_mib: float = 0,
) -> KeptFeatures | None:
    """The features of all images, in their order; None where they do not fit.

    Args:
        batch_size: images that are computed at a time.
        device: of the backbone.
        ram_mib: RAM that they may take where they do not fit on a GPU.
    """
    rows: Tensor | None = None
    shapes: tuple[torch.Size, ...] = ()
    for number, pixels in enumerate(images.batches(batch_size, device)):
        with torch.no_grad():
            layers = compute(pixels)
        if rows is None:
            shapes = tuple(layer.shape[1:] for layer in layers)
            width = sum(map(prod, shapes))
            place = _place(4 * width * len(images), device, ram_mib)
            if place is None:
                return None
            # Filled in place: twice the memory of a large data set would not fit.
            rows = torch.empty(len(images), width, device=place)
        part = rows.narrow(0, number * batch_size, len(pixels))
        part.copy_(torch.cat([layer.flatten(1) for layer in layers], dim=1))
    return None if rows is None else KeptFeatures(rows, shapes)


def _place(size: int, device: torch.device, ram_mib: float) -> torch.device | None:
    """Where so many bytes may lie."""
    if size <= SHARE * free_bytes(device):
        return device
    return torch.device("cpu") if size <= ram_mib * 1024**2 else None


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU; of a CPU none, whose RAM a method allows by itself."""
    if device.type != "cuda":
        return 0
    return torch.cuda.mem_get_info(device)[0]
