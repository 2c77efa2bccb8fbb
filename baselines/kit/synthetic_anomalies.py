"""Synthetic anomalies: textures pasted into normal images where Perlin noise is high.

DRAEM's way (Zavrtanik et al. 2021, section 3.3). Textures come from noise, from other training
images, or from a folder of images such as DTD; nothing is downloaded. All draws are numpy's,
and textures are painted by Pillow, on the CPU, so that every device gets the same anomalies; masks
and pasting are computed for the whole batch on the device. Traps: a generator may not outlive an
epoch (see `training`), so nothing here keeps one; nothing may make the CPU wait for a GPU, or
painting no longer goes on beside the GPU's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from baselines.kit import images
from baselines.kit.images import TrainingImages
from baselines.kit.perlin import MaskDraw, NoiseDraw, masks_of, noise_of

Texture = npt.NDArray[np.uint8]
"""[S, S, 3]."""

AUGMENTATIONS_EACH = 3
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


# --- textures ----------------------------------------------------------------------------


class Textures(Protocol):
    """A source of textures."""

    def draw(self, random: np.random.Generator) -> Texture:
        """One of them, uint8 [S, S, 3]."""
        ...


@dataclass(frozen=True)
class NoiseTextures:
    """Perlin noise from black to white, the same in all channels."""

    size: int
    """Side of a texture."""

    def draw(self, random: np.random.Generator) -> Texture:
        """Noise of a random fineness."""
        noise = noise_of([NoiseDraw.of(random)], self.size, torch.device("cpu"))[0].numpy()
        grey = (127.5 * (1 + noise)).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)


@dataclass(frozen=True)
class ImageTextures:
    """The training images themselves."""

    split: TrainingImages
    """All of them."""

    def draw(self, random: np.random.Generator) -> Texture:
        """Any training image."""
        pixels = self.split.pixels[int(random.integers(len(self.split)))]  # (C, S, S)
        return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy()


@dataclass(frozen=True)
class FolderTextures:
    """Image files, decoded when they are drawn."""

    files: tuple[Path, ...]
    """Any number of them."""
    size: int
    """Side of a texture."""

    def draw(self, random: np.random.Generator) -> Texture:
        """Any image of the folder, squashed to a square."""
        with Image.open(self.files[int(random.integers(len(self.files)))]) as image:
            pixels = images.from_array(np.asarray(image.convert("RGB")), self.size)
        return pixels[0].permute(1, 2, 0).contiguous().numpy()


def textures_of(kind: str, size: int, split: TrainingImages, folder: Path | None) -> Textures:
    """The source of a kind.

    Args:
        kind: `perlin`, `training`, or `folder`.
        size: side of a texture.
        split: the training images.
        folder: where the images of `folder` lie, at any depth.
    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ValueError: another kind.
    """
    if kind == "perlin":
        return NoiseTextures(size)
    if kind == "training":
        return ImageTextures(split)
    if kind != "folder":
        raise ValueError(f"textures is {kind!r}; it can be perlin, training or folder")
    found = sorted(folder.rglob("*")) if folder is not None else []
    files = tuple(path for path in found if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(
            f"no texture in {folder}; fix: put images there (DTD, for example), "
            "or --set textures=training"
        )
    return FolderTextures(files, size)


# --- augmentations: each takes and gives a Pillow image in RGB ---------------------------

Augmentation = Callable[[Image.Image, np.random.Generator], Image.Image]


def _gamma(image: Image.Image, random: np.random.Generator) -> Image.Image:
    powers = random.uniform(0.5, 2.0, 3)
    table = [round(255 * (level / 255) ** power) for power in powers for level in range(256)]
    return image.point(table)


def _brightness(image: Image.Image, random: np.random.Generator) -> Image.Image:
    factor, offset = random.uniform(0.8, 1.2), random.uniform(-30, 30)
    table = [min(255, max(0, round(factor * level + offset))) for level in range(256)]
    return image.point(table * 3)


def _sharpness(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(random.uniform(0.1, 1.9))


def _hue_and_saturation(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Up to 50 of 255 either way: hue goes round, saturation ends at its limits."""
    hue, saturation = random.integers(-50, 51, 2)
    shifted = np.array(image.convert("HSV"), dtype=np.int16)
    shifted[..., 0] = (shifted[..., 0] + hue) % 256
    shifted[..., 1] = (shifted[..., 1] + saturation).clip(0, 255)
    return Image.fromarray(shifted.astype(np.uint8), "HSV").convert("RGB")


def _solarise(image: Image.Image, random: np.random.Generator) -> Image.Image:
    threshold = int(random.integers(32, 129))
    return ImageOps.solarize(image, threshold) if random.random() < 0.5 else image


def _posterise(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return ImageOps.posterize(image, int(random.integers(1, 9)))


def _invert(image: Image.Image, random: np.random.Generator) -> Image.Image:  # noqa: ARG001
    return ImageOps.invert(image)


def _autocontrast(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return ImageOps.autocontrast(image, cutoff=int(random.integers(0, 21)))


def _equalise(image: Image.Image, random: np.random.Generator) -> Image.Image:  # noqa: ARG001
    return ImageOps.equalize(image)


def _turn(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return image.rotate(random.uniform(-45, 45), Image.Resampling.BILINEAR)


AUGMENTATIONS: tuple[Augmentation, ...] = (
    _gamma,
    _brightness,
    _sharpness,
    _hue_and_saturation,
    _solarise,
    _posterise,
    _invert,
    _autocontrast,
    _equalise,
    _turn,
)


def augmented(texture: Texture, random: np.random.Generator) -> Texture:
    """Three different augmentations of the ten, in random order."""
    image = Image.fromarray(texture)
    for index in random.choice(len(AUGMENTATIONS), AUGMENTATIONS_EACH, replace=False):
        image = AUGMENTATIONS[index](image, random)
    return np.array(image)


# --- images ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Anomaly:
    """What is drawn and painted of one anomaly."""

    index: int
    """Its image's place in the batch."""
    mask: MaskDraw
    """Where it shall be."""
    texture: npt.NDArray[np.uint8]
    """[S, S, 3], or [S, S, 1] where it is grey."""
    opacity: float
    """The texture's share in its pixels."""


@dataclass(frozen=True)
class AnomalyMaker:
    """Spoils a share of the images of a batch."""

    textures: Textures
    """What is pasted."""
    share: float
    """Probability that an image gets an anomaly (its mask may still be empty)."""
    opacity: tuple[float, float]
    """Range of the texture's share in the pixels of an anomaly; the rest is the image."""
    is_grey: bool
    """Whether textures lose their colour: in grey images colour alone would give them away."""

    def spoil(self, batch: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images with anomalies, and where these are.

        Args:
            batch: (B, 3, S, S) in [0, 1].
            random: gives every draw.
        Returns:
            (B, 3, S, S) in [0, 1] and bool (B, 1, S, S); `batch` itself stays as it is.
        """
        drawn = self.draw(len(batch), random)
        if not drawn:
            return batch.clone(), torch.zeros_like(batch[:, :1], dtype=torch.bool)
        return pasted(batch, drawn)

    def draw(self, count: int, random: np.random.Generator) -> list[Anomaly]:
        """The anomalies of a batch of so many images, on the CPU."""
        drawn: list[Anomaly] = []
        for index in range(count):
            if random.random() >= self.share:
                continue
            mask, texture = MaskDraw.of(random), self.texture(random)
            drawn.append(Anomaly(index, mask, texture, random.uniform(*self.opacity)))
        return drawn

    def texture(self, random: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Uint8 [S, S, 3], or [S, S, 1] where textures are grey."""
        texture = augmented(self.textures.draw(random), random)
        if self.is_grey:
            return np.array(Image.fromarray(texture).convert("L"))[..., None]
        return texture


def pasted(batch: Tensor, drawn: Sequence[Anomaly]) -> tuple[Tensor, Tensor]:
    """The batch (B, 3, S, S) with the anomalies in it, and where: bool (B, 1, S, S)."""

    def on_device(values: npt.ArrayLike) -> Tensor:
        return images.sent(torch.from_numpy(np.asarray(values)), batch.device)

    # From [images, spoilt images] each place of the batch takes its own: a gather, which is
    # deterministic on a GPU without the sorting that writing to places would take.
    order = np.arange(len(batch))
    order[[anomaly.index for anomaly in drawn]] = len(batch) + np.arange(len(drawn))
    places = on_device(order)
    originals = batch.index_select(0, on_device([anomaly.index for anomaly in drawn]))
    textures = on_device(np.stack([anomaly.texture for anomaly in drawn]))
    textures = textures.permute(0, 3, 1, 2).to(batch.dtype) / 255  # (N, 1 or 3, S, S)
    shares = [(anomaly.opacity, 1 - anomaly.opacity) for anomaly in drawn]
    opacity, rest = on_device(shares).to(batch.dtype).view(-1, 2, 1, 1, 1).unbind(1)
    masks = masks_of([anomaly.mask for anomaly in drawn], batch.shape[-1], batch.device)
    spoilt = torch.where(masks, opacity * textures + rest * originals, originals)
    nowhere = torch.zeros_like(batch[:, :1], dtype=torch.bool)
    return (
        torch.cat([batch, spoilt]).index_select(0, places),
        torch.cat([nowhere, masks]).index_select(0, places),
    )
