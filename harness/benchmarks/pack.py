"""A pack in memory: its samples with labels, masks and patients; pixels are decoded on demand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.benchmarks.card import PackCard
from harness.benchmarks.pixels import (
    Mask,
    Pixels,
    UnreadableImage,
    in_mode,
    read_image,
    read_mask,
)
from harness.benchmarks.specs import BENCHMARKS
from harness.common.errors import PackInvalid


@dataclass(frozen=True)
class Sample:
    """One image of a pack. Everything but the pixels stays on the harness's side."""

    key: str
    """Stable private name: the path relative to the pack's root, with `/`."""
    split: str
    """`train`, `valid` or `test`."""
    is_anomalous: bool
    """The label."""
    group: str
    """Patient (volume, slide); the key itself where it is unknown."""
    subclass: str | None
    """Kind of anomaly, where the name tells."""
    image_path: Path
    """The image file."""
    mask_path: Path | None
    """The mask file of an abnormal image; None for normal images and image-level packs."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    pixel_sha256: str
    """Hash over the image as delivered (`pixels.pixel_hash`)."""


@dataclass(frozen=True)
class Pack:
    """The images of one benchmark on disk."""

    name: str
    """Name that it stands under: the card's, marked where it is no known release of that
    benchmark (`harness.records.releases`)."""
    version: str
    """`<card's name>-<12 hex>`, the first digits of the digest."""
    digest: str
    """`sha256:…` over splits, labels, pixels and masks."""
    patients: str
    """`sha256:…` over the same and each image's patient, or `none` (`version.patients_digest`)."""
    root: Path
    """Folder that holds the splits."""
    card: PackCard
    """Everything else that is known about it."""
    samples: tuple[Sample, ...]
    """All images, sorted by key."""
    has_masks: bool
    """Whether pixel metrics can be computed."""

    @property
    def base(self) -> str | None:
        """The known benchmark that it says it is, or is another cut of; None: neither."""
        return self.card.base or (self.card.name if self.card.name in BENCHMARKS else None)

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of `train`, `valid` or `test`, sorted by key; empty where it has none."""
        return tuple(sample for sample in self.samples if sample.split == name)

    def image(self, sample: Sample) -> Pixels:
        """Decode an image: uint8, C-contiguous, [H, W] or [H, W, 3] by the pack's mode.

        Raises:
            PackInvalid: the file has changed since the pack was opened.
        """
        try:
            return in_mode(read_image(sample.image_path), self.card.mode)
        except UnreadableImage as error:
            raise self._changed(sample.image_path, error) from error

    def mask(self, sample: Sample) -> Mask:
        """Decode a mask: bool [H, W], True where the native mask is > 0; all False for normals.

        Raises:
            PackInvalid: the file has changed since the pack was opened.
        """
        if sample.mask_path is None:
            return np.zeros((sample.height, sample.width), dtype=np.bool_)
        try:
            return read_mask(sample.mask_path)[0]
        except UnreadableImage as error:
            raise self._changed(sample.mask_path, error) from error

    def _changed(self, path: Path, error: UnreadableImage) -> PackInvalid:
        return PackInvalid(str(self.root), [f"{path.name} changed while in use: {error}"])
