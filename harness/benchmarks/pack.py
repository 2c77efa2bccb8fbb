"""A pack in memory: its samples with labels, masks and patients; pixels are decoded on demand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.benchmarks.card import PackCard
from harness.benchmarks.pixels import (
    Mask,
    Pixels,
    in_mode,
    read_image,
    read_mask,
)
from harness.benchmarks.specs import BENCHMARKS
from harness.benchmarks.stored import UnreadableImage
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
    doubts: tuple[str, ...] = ()
    """What makes its masks implausible, one sentence each; the card has them among its remarks."""

    @property
    def base(self) -> str | None:
        """The known benchmark that it says it is, or is another cut of; None: neither."""
        return self.card.base or (self.card.name if self.card.name in BENCHMARKS else None)

    @property
    def settings_name(self) -> str:
        """The benchmark by whose settings it is run."""
        return self.base or self.card.name

    @property
    def members(self) -> tuple[Pack, ...]:
        """The packs that it is made of, each with a ground truth of its own: itself alone."""
        return (self,)

    @property
    def training_mark(self) -> str:
        """What its training material is known by: equal marks are equal files for an entry."""
        return self.version

    def origin(self, sample: Sample) -> MemberSample:
        """The pack that a sample is of, and its own sample there."""
        return MemberSample(self, sample)

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


@dataclass(frozen=True)
class MemberSample:
    """Where a sample comes from."""

    pack: Pack
    """The pack on disk."""
    sample: Sample
    """Its own sample, with its own key and size."""
