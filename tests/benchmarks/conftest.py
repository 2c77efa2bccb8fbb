"""Tiny packs on disk, in every spelling and format, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image


@dataclass(frozen=True)
class Picture:
    """One image to be written, with its mask where it has one."""

    split: str
    is_anomalous: bool
    name: str
    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8] | None = None


def grey(seed: int, height: int = 12, width: int = 10) -> npt.NDArray[np.uint8]:
    """Deterministic grey values, [height, width]."""
    return np.random.Generator(np.random.PCG64(seed)).integers(
        0, 256, (height, width), dtype=np.uint8
    )


def square(height: int = 12, width: int = 10) -> npt.NDArray[np.uint8]:
    """A mask with one square lesion of value 255."""
    mask = np.zeros((height, width), np.uint8)
    mask[2:5, 3:7] = 255
    return mask


def pictures(*, masks: bool = True) -> list[Picture]:
    """3 training, 2 + 2 validation and 3 + 4 test images, all different; patients 00001 to 00014."""
    plan = [("train", False)] * 3 + [("valid", False)] * 2 + [("valid", True)] * 2
    plan += [("test", False)] * 3 + [("test", True)] * 4
    return [
        Picture(
            split,
            is_anomalous,
            f"{number:05d}_60",
            grey(number),
            np.roll(square(), number % 4, axis=0) if masks and is_anomalous else None,
        )
        for number, (split, is_anomalous) in enumerate(plan, start=1)
    ]


Spelling = Callable[[Picture], tuple[str, str]]
"""Gives the folders of an image and of its mask."""


def readme(picture: Picture) -> tuple[str, str]:
    """As BMAD's read-me shows the brain set; also this project's own form."""
    folder = f"{picture.split}/{'Ungood' if picture.is_anomalous else 'good'}"
    return f"{folder}/img", f"{folder}/label"


def write(root: Path, pictures: Iterable[Picture], spelling: Spelling = readme) -> Path:
    """Write pictures as PNG files; returns `root`."""
    for picture in pictures:
        image_folder, mask_folder = spelling(picture)
        save(root / image_folder / f"{picture.name}.png", picture.pixels)
        if picture.mask is not None:
            save(root / mask_folder / f"{picture.name}.png", picture.mask)
    return root


def save(path: Path, pixels: npt.NDArray[np.generic], **options: object) -> Path:
    """Write one array by Pillow, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A fresh cache folder."""
    return tmp_path / "cache"


@pytest.fixture
def pack_folder(tmp_path: Path) -> Path:
    """A valid pack with masks, in the read-me's spelling."""
    return write(tmp_path / "own", pictures())


def changed(picture: Picture, **values: object) -> Picture:
    """The picture with some fields replaced."""
    return replace(picture, **values)  # type: ignore[arg-type]
