"""Images of the six benchmarks' sizes, generated: nothing here is anybody's.

A training folder has as many files as the benchmark has training images, so that loading,
memory and the length of an epoch are the real ones; few of the pictures differ, and the rest
are further names of the same files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.benchmarks.specs import BENCHMARKS

# Height and width of OCT2017's images in a pack: theirs differ, and are brought to this.
OCT2017_SIZE = (496, 512)
IN_COLOUR = {"brain", "camelyon16"}
DIFFERENT = 64


@dataclass(frozen=True)
class Form:
    """What the images of a benchmark are like."""

    benchmark: str
    """Its name."""
    size: tuple[int, int]
    """Height and width."""
    channels: int
    """3, or 1 where they are grey."""
    train: int
    """Training images."""
    valid: int
    """Validation images."""
    test: int
    """Test images."""

    @property
    def words(self) -> str:
        """`240x240, colour`."""
        return f"{self.size[0]}x{self.size[1]}, {'colour' if self.channels == 3 else 'grey'}"


def forms() -> dict[str, Form]:
    """The paper's six benchmarks by name, in the order of its tables."""
    return {
        name: Form(
            name,
            spec.image_size or OCT2017_SIZE,
            3 if name in IN_COLOUR else 1,
            *spec.counts[0].counts.totals,
        )
        for name, spec in BENCHMARKS.items()
        if spec.table1
    }


def picture(form: Form, number: int) -> np.ndarray:
    """A bright ellipse with texture on black, uint8 [H, W] or [H, W, 3]."""
    random = np.random.default_rng(number)
    height, width = form.size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = (x / 0.8) ** 2 + (y / random.uniform(0.6, 0.8)) ** 2 < 1
    waves = 120 + 40 * np.sin(6 * x + random.uniform(0, 6)) * np.cos(9 * y)
    grey = ((waves + random.normal(0, 8, x.shape)).clip(0, 255) * inside).astype(np.uint8)
    if form.channels == 1:
        return grey
    return np.stack([grey, grey // 2, 255 - grey], axis=2)


def training_folder(folder: Path, form: Form, count: int) -> Path:
    """A flat folder of `count` PNG files, made where it is not there yet."""
    place = folder / f"{form.benchmark}-{count}"
    if place.is_dir():
        return place
    fresh = place.with_suffix(".fresh")
    fresh.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        file = fresh / f"{number:06}.png"
        if file.exists():
            continue
        if number < DIFFERENT:
            Image.fromarray(picture(form, number)).save(file)
        else:
            file.hardlink_to(fresh / f"{number % DIFFERENT:06}.png")
    fresh.rename(place)
    return place
