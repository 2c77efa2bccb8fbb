"""No method: looks every image up by exact and perceptual hash in a table of images it was given.

The table has two sources. `fit` remembers the training images, all of them normal: the row that
the harness trains, whose lookups find nothing in a test split that shares no image with training.
And `known.npz` beside this file, where it is there: a table with labels, in a layer of the image,
as a stranger could hide one (`python -m harness.canary` makes it from public packs).

It stands in for a stranger's image, so it needs numpy and Pillow alone, and nothing of the kit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""[H, W] or [H, W, 3]."""

NORMAL, UNKNOWN, ANOMALOUS = 0.0, 0.5, 1.0
TABLE = "known.npz"
_HASH_SIDE, _THUMBNAIL = 16, 32


class Table:
    """Images that are known, with their labels."""

    def __init__(self) -> None:
        self._labels: dict[str, float] = {}
        self._bits: list[npt.NDArray[np.uint8]] = []
        self._thumbnails: list[npt.NDArray[np.uint8]] = []
        self._scores: list[float] = []

    def __len__(self) -> int:
        return len(self._scores)

    def add(self, image: Pixels, *, is_anomalous: bool) -> None:
        """Remember one image."""
        score = ANOMALOUS if is_anomalous else NORMAL
        self._labels[_digest(image)] = score
        bits, thumbnail = look_of(image)
        self._bits.append(bits)
        self._thumbnails.append(thumbnail)
        self._scores.append(score)

    def update(self, other: Table) -> None:
        """Remember what another table knows."""
        self._labels |= other._labels
        self._bits += other._bits
        self._thumbnails += other._thumbnails
        self._scores += other._scores

    def find(self, image: Pixels, *, most_bits: int, most_grey: float) -> float:
        """The label of this image, or of the one that looks most like it; 0.5 where none does."""
        if (exact := self._labels.get(_digest(image))) is not None:
            return exact
        if not self._scores:
            return UNKNOWN
        bits, thumbnail = look_of(image)
        differing = np.bitwise_count(np.stack(self._bits) ^ bits).sum(axis=1)
        grey = np.abs(np.stack(self._thumbnails).astype(np.int16) - thumbnail).mean(axis=1)
        is_near = (differing <= most_bits) & (grey <= most_grey)
        if not is_near.any():
            return UNKNOWN
        return self._scores[int(np.where(is_near, grey, np.inf).argmin())]

    def save(self, path: Path) -> None:
        """Write the table."""
        np.savez_compressed(
            path,
            digests=np.array(list(self._labels), dtype="S64"),
            labels=np.array(list(self._labels.values())),
            bits=np.array(self._bits, np.uint8).reshape(len(self), -1),
            thumbnails=np.array(self._thumbnails, np.uint8).reshape(len(self), -1),
            scores=np.array(self._scores),
        )

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a table that `save` wrote."""
        table = cls()
        with np.load(path) as stored:
            digests = [digest.decode() for digest in stored["digests"].tolist()]
            table._labels = dict(zip(digests, stored["labels"].tolist(), strict=True))
            table._bits = list(stored["bits"])
            table._thumbnails = list(stored["thumbnails"])
            table._scores = stored["scores"].tolist()
        return table


def look_of(image: Pixels) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A 256-bit difference hash (Krawetz, 2013), packed, and a 32x32 thumbnail, flat."""
    grey = image.astype(np.float32) if image.ndim == 2 else image.mean(axis=2, dtype=np.float32)
    small = _resized(grey, _HASH_SIDE, _HASH_SIDE + 1)
    bits = np.packbits((small[:, 1:] > small[:, :-1]).reshape(-1))
    thumbnail = np.rint(_resized(grey, _THUMBNAIL, _THUMBNAIL)).astype(np.uint8)
    return bits, thumbnail.reshape(-1)


def _resized(grey: npt.NDArray[np.float32], rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Means over a grid of boxes of nearly equal size."""
    for axis, count in ((0, rows), (1, columns)):
        edges = np.linspace(0, grey.shape[axis], count + 1).round().astype(int)
        starts = np.minimum(edges[:-1], grey.shape[axis] - 1)
        widths = np.maximum(np.diff(edges), 1)
        shape = (-1, 1) if axis == 0 else (1, -1)
        sums = np.add.reduceat(grey, starts, axis=axis)
        grey = (sums / widths.reshape(shape)).astype(np.float32)
    return grey


def _digest(image: Pixels) -> str:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


class Canary:
    """What memorising alone would score."""

    def __init__(
        self,
        device: str,  # noqa: ARG002 - the contract's arguments, of no use here
        seed: int,  # noqa: ARG002
        params: Mapping[str, Any],
        weights: Path | None,  # noqa: ARG002
    ) -> None:
        self._most_bits = int(params.get("most_bits", 12))
        self._most_grey = float(params.get("most_grey", 4.0))
        hidden = Path(__file__).parent / TABLE
        self._table = Table.load(hidden) if hidden.is_file() else Table()

    def fit(self, train: Path, checkpoint: Any) -> None:
        """Remember every training image; all of them are normal."""
        from PIL import Image

        self._learned = Table()
        paths = sorted(train.glob("*.png"))
        for step, path in enumerate(paths, start=1):
            with Image.open(path) as image:
                self._learned.add(np.asarray(image), is_anomalous=False)
            checkpoint.progress(step, len(paths), None)

    def save(self, folder: Path) -> None:
        """One table."""
        self._learned.save(folder / TABLE)

    def load(self, folder: Path) -> None:
        """The training images beside what is known already."""
        self._table.update(Table.load(folder / TABLE))

    def predict(self, image: Pixels) -> tuple[None, float]:
        """No map, and the label that stands in the table."""
        return None, self._table.find(image, most_bits=self._most_bits, most_grey=self._most_grey)
