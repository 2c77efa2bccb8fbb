"""The demo pack: generated slices with exact lesion masks, in BMAD's layout, the same everywhere.

What makes it worth measuring on: anatomy differs by patient and depth, abnormal slices come from
the same patients as normal ones, lesions are brighter or darker with equal chance, and normal
slices hold bright spots of their own. So mean grey, standard deviation and foreground area know
next to nothing about the label, and a pixel's grey value little about the lesion. The drawing
itself is in `phantom.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.benchmarks.cache import make_folder_once
from harness.benchmarks.card import CARD_NAME, StatedCard, over, stated_by_spec
from harness.benchmarks.opening import open_pack
from harness.benchmarks.pack import Pack
from harness.benchmarks.phantom import Drawing, Head
from harness.benchmarks.specs.demo import SPEC
from harness.common.disclosure import Artefact, Visibility, may_leave

_VERSION = 1  # of the generator: raise it when a pixel changes, the golden hash with it
# Patients and slices per patient; in valid and test half of a patient's slices are abnormal.
_SPLITS = (("train", 32, 2), ("valid", 6, 4), ("test", 20, 4))


def demo_pack(
    cache: Path, *, seed: int | str = 0, name: str = "demo", visibility: Visibility = "open"
) -> Pack:
    """Generate the pack once per cache, and open it.

    64 normal training images of 32 patients; 12 + 12 validation images of 6; 40 + 40 test images
    of 20; 128x128, 8-bit grey.

    Args:
        cache: cache folder; the images lie under `demo/`.
        seed: 0 is the demo pack; any other, kept secret, makes images that nobody has seen.
        name: name of the pack.
        visibility: `hidden` to stand in for a maintainer's sealed pack.
    """
    identity = hashlib.sha256(f"{_VERSION}:{seed}:{name}:{visibility}".encode()).hexdigest()
    folder = make_folder_once(
        cache / "demo" / identity[:16], lambda target: _write(target, seed, name, visibility)
    )
    return open_pack(folder, cache)


@dataclass(frozen=True)
class DemoSlice:
    """One generated image."""

    split: str
    """`train`, `valid` or `test`."""
    patient: int
    """Number of the patient over the whole pack."""
    number: int
    """Number of the slice in the patient."""
    drawing: Drawing
    """Pixels and mask."""


def generate(seed: int | str = 0) -> Iterator[DemoSlice]:
    """All images of the pack, in the order of split, patient and slice."""
    patient = 0
    for split, patients, slices in _SPLITS:
        for _ in range(patients):
            head = Head(f"demo {_VERSION}, seed {seed}, patient {patient}")
            for number in range(slices):
                # Alternating over patients, so that depth says nothing about the label.
                is_anomalous = split != "train" and (number + patient) % 2 == 1
                depth = (2 * number + 1) / slices - 1  # -1 .. 1
                drawing = head.draw(number, depth, is_anomalous=is_anomalous)
                yield DemoSlice(split, patient, number, drawing)
            patient += 1


def _write(folder: Path, seed: int | str, name: str, visibility: Visibility) -> None:
    for image in generate(seed):
        pixels, mask = image.drawing.pixels, image.drawing.mask
        class_folder = folder / image.split / ("Ungood" if mask.any() else "good")
        file_name = f"p{image.patient:03d}_{image.number}.png"
        _save(pixels, class_folder / "img" / file_name)
        if mask.any():
            _save(mask.astype(np.uint8) * 255, class_folder / "label" / file_name)
    own = StatedCard(
        name=name,
        visibility=visibility,
        images_may_be_shown=may_leave(Artefact.PICTURES, visibility),
    )
    card = over(own, stated_by_spec(SPEC))
    (folder / CARD_NAME).write_text(card.as_toml(), encoding="utf-8")


def _save(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
