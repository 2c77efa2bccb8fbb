"""Images for the networks: decoded, resized, normalised; the training split held in memory.

One resize serves training and prediction: Pillow's bilinear filter with antialiasing on
8-bit pixels, the one behind torchvision's `Resize` in the methods' own code. It runs on
the CPU on every device, so all devices see the same pixels. The whole image is squashed to
a square and never cropped: a crop would lose lesions at the border.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from baselines.kit.weight_files import IMAGENET_DEVIATION, IMAGENET_MEAN

# Mean and standard deviation of pixels in [0, 1], one per channel each.
Spread = tuple[tuple[float, ...], tuple[float, ...]]
Normalisation = Literal["imagenet", "unit", "symmetric"]
# `symmetric` gives [-1, 1], the range of a tanh decoder. A backbone has its own: see
# `FeatureMaps.normalise`.
NORMALISATIONS: dict[Normalisation, Spread] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_DEVIATION),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
# Share of the free GPU memory that the training split may take.
GPU_SHARE = 0.25


@dataclass(frozen=True)
class TrainingImages:
    """The training split, decoded once."""

    pixels: Tensor
    """(N, C, S, S) uint8; C is 1 when every image is grey, else 3."""

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Tensor, device: torch.device) -> Tensor:
        """(B, C, S, S) uint8 on `device`, in the order of `indices` (1-D int64 on the CPU)."""
        return sent(self.pixels[sent(indices, self.pixels.device)], device)

    def batches(self, size: int, device: torch.device) -> Iterator[Tensor]:
        """All images once, in order, `size` at a time, as (B, C, S, S) uint8 on `device`."""
        for part in self.pixels.split(size):
            yield sent(part, device)

    def placed(self, device: torch.device) -> TrainingImages:
        """The same images on the GPU when they take a small share of its free memory."""
        if device.type != "cuda":
            return self
        free, _ = torch.cuda.mem_get_info(device)
        fits = self.pixels.nbytes <= GPU_SHARE * free
        return TrainingImages(self.pixels.to(device)) if fits else self


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; the copy to a GPU makes the CPU wait for nothing.

    A plain `.to(device)` from a CPU's pageable memory waits until the GPU has done all that it
    was told before: what the CPU prepares for the next step could not run beside this one.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # kept by torch until the copy is done
    return tensor.to(device, non_blocking=device.type != "cpu")


def read_training_images(folder: Path, size: int) -> TrainingImages:
    """Decode every image of a folder, in the order of the file names.

    Args:
        folder: flat folder of image files (`paths.train` of the hello frame).
        size: side S of the square that each is resized to.
    Raises:
        ValueError: the folder holds no file.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if not files:
        raise ValueError(f"no training image in {folder}")
    channels = 1 if all(_is_grey_file(path) for path in files) else 3
    pixels = np.empty((len(files), channels, size, size), np.uint8)

    def decode(index: int) -> None:
        with Image.open(files[index]) as image:
            pixels[index] = _square(image, size, channels)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(decode, range(len(files))):
            pass
    return TrainingImages(torch.from_numpy(pixels))


def from_array(image: np.ndarray, size: int) -> Tensor:
    """One image of the contract as (1, C, S, S) uint8, resized as the training images are.

    Args:
        image: uint8 [H, W] or [H, W, 3].
        size: side S of the square.
    """
    channels = 1 if image.ndim == 2 else 3
    return torch.from_numpy(_square(Image.fromarray(image), size, channels))[None]


def normalise(pixels: Tensor, how: Normalisation | Spread) -> Tensor:
    """Float32 (B, 3, S, S) from uint8 (B, C, S, S); grey is repeated over the three channels."""
    spread = NORMALISATIONS[how] if isinstance(how, str) else how
    mean, deviation = (_by_channel(tuple(values), pixels.device) for values in spread)
    normalised = (pixels.float() / 255 - mean) / deviation
    if pixels.device.type == "cuda":  # the layout of `precision.placed`
        return normalised.contiguous(memory_format=torch.channels_last)
    return normalised


def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(1, 3, 1, 1) float32."""
    if device.type == "cuda":
        return _on_a_gpu(values, device)
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


@cache
def _on_a_gpu(values: tuple[float, ...], device: torch.device) -> Tensor:
    """The same, copied once and not in every step: each such copy waits for the GPU."""
    with torch.inference_mode(mode=False):  # a training may use what a prediction asked for first
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _is_grey_file(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode == "L"


def _square(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """(C, S, S) uint8, C-contiguous."""
    image = image.convert("L" if channels == 1 else "RGB")
    resized = np.array(image.resize((size, size), Image.Resampling.BILINEAR))
    return resized[None] if channels == 1 else np.ascontiguousarray(resized.transpose(2, 0, 1))
