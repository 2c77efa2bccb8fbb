"""What the measurements on real images share: a pack's splits at one size, what is kept, a page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.benchmarks import Pack
from tests.benchmarks.protocol_ways import Answers

SIDE = 240  # of BMAD's Brain, so that 256 is another size than the native one


@dataclass(frozen=True)
class Split:
    """Images of a pack at 240x240."""

    images: list[np.ndarray]
    """Each uint8 [240, 240], or with three channels."""
    masks: np.ndarray
    """(N, 240, 240) uint8, 0 or 255."""
    is_anomalous: np.ndarray
    """(N,) bool."""

    @classmethod
    def of(cls, pack: Pack, name: str, step: int = 1) -> Split:
        """Every `step`th image of one split of a pack."""
        samples = pack.split(name)[::step]
        masks = [
            _brought(pack.mask(each).astype(np.uint8) * 255, Image.Resampling.NEAREST)
            if name != "train"
            else np.zeros((SIDE, SIDE), np.uint8)
            for each in samples
        ]
        images = [_brought(pack.image(each), Image.Resampling.BILINEAR) for each in samples]
        return cls(images, np.stack(masks), np.array([each.is_anomalous for each in samples]))

    def save(self, folder: Path) -> None:
        """The images as a training folder holds them."""
        for number, image in enumerate(self.images):
            Image.fromarray(image).save(folder / f"{number:05}.png")

    def answered(self, model: Any) -> Answers:
        """A model's maps of all of it."""
        maps = np.stack([model.predict(image)[0] for image in self.images])
        return Answers(maps, self.masks, self.is_anomalous)


class Kept:
    """Measurements by name in one JSON file, each written as soon as it is there."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[str, Any] = (
            json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        )

    def add(self, name: str, measurement: Any) -> None:
        """Keep one more; NaN is refused (ValueError)."""
        self.found[name] = measurement
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(json.dumps(self.found, indent=1, allow_nan=False), encoding="utf-8")
        fresh.replace(self.file)


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two marks of a page, which stay."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")


def _brought(pixels: np.ndarray, how: Image.Resampling) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize((SIDE, SIDE), how))
