"""Ground truth of one split, compiled once: labels, and masks as runs on both grids.

After this no mask or image is read again when an entry is scored. Traps: the
regions of the paper's grid are labelled there, for resizing may split, join or
lose them; a run is cut where the image's background begins, so that the
foreground metrics need no second look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.common.progress import CountProgress
from harness.metrics.archive import read_archive, write_archive
from harness.metrics.errors import TruthMismatch, WrongDtype, WrongKey, WrongShape
from harness.metrics.kernels.counting import Segments
from harness.metrics.kernels.grouping import AnomalousRuns
from harness.metrics.kernels.layout import (
    ANOMALOUS_BACKGROUND,
    ANOMALOUS_FOREGROUND,
    ANOMALOUS_KINDS,
    FOUR_ROW,
    FRONT_ROW,
    KINDS,
    NORMAL_KINDS,
    WEIGHT_ROWS,
)
from harness.metrics.kernels.regions import find_segments, label_with
from harness.metrics.kernels.resize import PAPER_SIDE, nearest_rows

FORMAT = "bmad-truth-1"


@dataclass(frozen=True)
class TruthImage:
    """One image of a split as a pack describes it; pixels are read on demand."""

    key: str
    """Stable private key, unique within the split."""
    is_anomalous: bool
    """Label of the image."""
    group: str
    """Patient, or the key itself where the pack knows no patients."""
    subclass: str | None
    """Kind of anomaly, where the pack knows it."""
    image: Callable[[], NDArray[np.uint8]]
    """Reads the image, uint8 [H, W] or [H, W, 3]."""
    mask: Callable[[], NDArray[np.bool_]] | None
    """Reads the mask, bool [H, W]; None: no pixel is anomalous."""


@dataclass(frozen=True)
class GridTruth:
    """Every mask of a split on one grid. n images, S segments, R runs, M regions."""

    shapes: NDArray[np.int32]
    """[n, 2] height and width of each image."""
    segment_offsets: NDArray[np.int64]
    """[n + 1] where each image's segments begin."""
    segment_lengths: NDArray[np.int32]
    """[S] pixels in the segment; segments follow each other in row-major order."""
    segment_kinds: NDArray[np.uint8]
    """[S] kind of the pixels (`harness.metrics.kernels.layout`)."""
    run_offsets: NDArray[np.int64]
    """[n + 1] where each image's runs (its anomalous segments) begin."""
    run_lengths: NDArray[np.int32]
    """[R] pixels in the run."""
    run_is_foreground: NDArray[np.bool_]
    """[R] whether the image is non-zero there."""
    run_regions: NDArray[np.int32]
    """[2, R] region of the run under 8- and under 4-connectivity, numbered over the split."""
    regions_lost: int
    """8-connected native regions with no pixel on this grid (0 on the native one)."""

    def segments(self, image: int) -> Segments:
        """One image's segments."""
        part = slice(self.segment_offsets[image], self.segment_offsets[image + 1])
        return Segments(self.segment_lengths[part], self.segment_kinds[part])

    def runs_of(self, image: int) -> slice:
        """Where one image's runs stand."""
        return slice(self.run_offsets[image], self.run_offsets[image + 1])

    @cached_property
    def kind_counts(self) -> NDArray[np.int64]:
        """[n, 4] pixels of each kind per image."""
        images = np.repeat(np.arange(len(self.shapes)), np.diff(self.segment_offsets))
        counts = np.zeros((len(self.shapes), KINDS), np.int64)
        np.add.at(counts, (images, self.segment_kinds), self.segment_lengths)
        return counts

    @cached_property
    def normal_counts(self) -> list[float]:
        """[n] normal pixels of each image."""
        counts: list[float] = (
            self.kind_counts[:, NORMAL_KINDS].sum(axis=1, dtype=np.float64).tolist()
        )
        return counts

    @cached_property
    def anomalous_offsets(self) -> NDArray[np.int64]:
        """[n + 1] where each image's pixels begin among all anomalous pixels in run order."""
        per_image = self.kind_counts[:, ANOMALOUS_KINDS].sum(axis=1)
        return np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64)

    @cached_property
    def region_sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pixels of each region, under 8- and under 4-connectivity."""
        eight, four = (
            np.bincount(regions, weights=self.run_lengths).astype(np.int64)
            for regions in self.run_regions
        )
        return eight, four

    @cached_property
    def foreground_sizes(self) -> NDArray[np.int64]:
        """Foreground pixels of each 8-connected region; 0 where it lies in the background."""
        return np.bincount(
            self.run_regions[0], weights=self.run_lengths * self.run_is_foreground
        ).astype(np.int64)

    @cached_property
    def region_tertiles(self) -> NDArray[np.uint8]:
        """Third of the split's 8-connected regions by size: 0 small, 1 medium, 2 large.

        The limits are the sizes of rank ceil(M/3) and ceil(2M/3); equal sizes stay together.
        """
        sizes = self.region_sizes[0]
        if sizes.size == 0:
            return np.zeros(0, np.uint8)
        ranked = np.sort(sizes)
        limits = [ranked[-(-sizes.size * share // 3) - 1] for share in (1, 2)]
        third: NDArray[np.uint8] = np.searchsorted(limits, sizes, side="left").astype(np.uint8)
        return third

    @cached_property
    def runs(self) -> AnomalousRuns:
        """What the anomalous pixels count. A patch is what of a 4-connected region lies in the
        foreground (odd numbers) or in the background: all its pixels count the same, 1 / size
        of the patch's region in each of `WEIGHT_ROWS`; 0 where a row is of other regions."""
        eight, four = self.run_regions
        shown = self.run_is_foreground
        sizes8, sizes4 = self.region_sizes
        patches = (2 * four + shown).astype(np.int32)
        weights = np.zeros((2 * sizes4.size, len(WEIGHT_ROWS)))
        weights[patches, self.region_tertiles[eight]] = 1.0 / sizes8[eight]
        weights[patches, FOUR_ROW] = 1.0 / sizes4[four]
        weights[patches[shown], FRONT_ROW] = 1.0 / self.foreground_sizes[eight[shown]]
        return AnomalousRuns(self.run_lengths, patches, weights)

    @cached_property
    def run_weights(self) -> NDArray[np.float64]:
        """[R] 1 / size of each run's 8-connected region."""
        return np.asarray(1.0 / self.region_sizes[0][self.run_regions[0]])


@dataclass(frozen=True)
class GroundTruth:
    """Labels of one split and, where the pack has masks, its pixels on both grids."""

    keys: tuple[str, ...]
    """Keys of the images, sorted; every other field follows this order."""
    is_anomalous: NDArray[np.bool_]
    """[n] labels."""
    groups: tuple[str, ...]
    """Patient of each image (its key where unknown)."""
    subclasses: tuple[str | None, ...]
    """Kind of anomaly of each image."""
    native: GridTruth | None
    """Masks at the images' own size; None for an image-level pack."""
    paper: GridTruth | None
    """Masks at 256x256; the same object as `native` where all images have that size."""
    pack_version: str = ""
    """Version id of the pack it was compiled from."""

    @classmethod
    def compile(
        cls,
        images: Sequence[TruthImage],
        *,
        has_masks: bool,
        pack_version: str = "",
        on_progress: CountProgress | None = None,
    ) -> GroundTruth:
        """Read every image and mask once.

        Args:
            images: the images of one split, in any order.
            has_masks: False for image-level packs: nothing is read then.
            pack_version: kept in the file.
            on_progress: called with the number of images done and their total.

        Raises:
            WrongKey: two images have one key.
            WrongShape, WrongDtype: an image or mask is not what `TruthImage` says.
        """
        ordered = sorted(images, key=lambda image: image.key)
        keys = tuple(image.key for image in ordered)
        if len(set(keys)) != len(keys):
            twice = next(a for a, b in pairwise(keys) if a == b)
            raise WrongKey("two images of the split have one key", where=twice)
        native = _compile_grids(ordered, on_progress) if has_masks else (None, None)
        truth = cls(
            keys=keys,
            is_anomalous=np.array([image.is_anomalous for image in ordered], np.bool_),
            groups=tuple(image.group for image in ordered),
            subclasses=tuple(image.subclass for image in ordered),
            native=native[0],
            paper=native[1],
            pack_version=pack_version,
        )
        truth.make_tables()
        return truth

    def make_tables(self) -> None:
        """Make now what every run on this truth needs, so that no run waits for it."""
        for grid in (self.native, self.paper):
            if grid is not None:
                _ = grid.runs, grid.run_weights, grid.anomalous_offsets, grid.normal_counts
        _ = self.index, self.digest

    @property
    def has_masks(self) -> bool:
        """Whether pixel metrics can be computed."""
        return self.native is not None

    @property
    def is_one_grid(self) -> bool:
        """Whether the native grid is the paper's."""
        return self.native is self.paper

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each key."""
        return {key: position for position, key in enumerate(self.keys)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that a metric depends on."""
        digest = hashlib.sha256()
        labels = (self.keys, self.groups, self.subclasses, self.is_anomalous.tolist())
        digest.update(repr(labels).encode())
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the truth to one .npz file, atomically."""
        header = {
            "format": FORMAT,
            "pack_version": self.pack_version,
            "keys": self.keys,
            "groups": self.groups,
            "subclasses": self.subclasses,
            "is_anomalous": self.is_anomalous.tolist(),
            "has_masks": self.has_masks,
            "is_one_grid": self.is_one_grid,
        }
        write_archive(path, header, self._arrays())

    @classmethod
    def load(cls, path: Path) -> GroundTruth | None:
        """Read a truth written by `save`.

        Returns:
            None where the file is damaged or of another format: compile it again.

        Raises:
            FileNotFoundError: there is no such file.
        """
        try:
            header, arrays = read_archive(path, format_name=FORMAT)
        except TruthMismatch:
            return None
        native = _grid_from(arrays, "native") if header["has_masks"] else None
        is_two = header["has_masks"] and not header["is_one_grid"]
        truth = cls(
            keys=tuple(header["keys"]),
            is_anomalous=np.array(header["is_anomalous"], np.bool_),
            groups=tuple(header["groups"]),
            subclasses=tuple(header["subclasses"]),
            native=native,
            paper=_grid_from(arrays, "paper") if is_two else native,
            pack_version=header["pack_version"],
        )
        truth.make_tables()
        return truth

    def _arrays(self) -> dict[str, NDArray[Any]]:
        grids = {} if self.native is None else {"native": self.native}
        if self.paper is not None and not self.is_one_grid:
            grids["paper"] = self.paper
        return {
            f"{grid}/{field.name}": np.asarray(getattr(truth, field.name))
            for grid, truth in grids.items()
            for field in fields(truth)
        }


def _grid_from(arrays: dict[str, Any], grid: str) -> GridTruth:
    parts = {field.name: arrays[f"{grid}/{field.name}"] for field in fields(GridTruth)}
    parts["regions_lost"] = int(parts["regions_lost"].item())
    return GridTruth(**parts)


def _compile_grids(
    images: Sequence[TruthImage], on_progress: CountProgress | None
) -> tuple[GridTruth, GridTruth]:
    native, paper = _GridBuilder(), _GridBuilder()
    for done, image in enumerate(images, start=1):
        kinds = _kinds(image)
        native.add(kinds)
        height, width = kinds.shape
        rows, columns = nearest_rows(height), nearest_rows(width)
        paper.add(np.ascontiguousarray(kinds[rows][:, columns]))
        paper.regions_lost += native.regions_without(rows, columns)
        if on_progress is not None:
            on_progress(done, len(images))
    compiled = native.build()
    is_one_grid = bool((compiled.shapes == PAPER_SIDE).all())
    return compiled, compiled if is_one_grid else paper.build()


def _kinds(image: TruthImage) -> NDArray[np.uint8]:
    """Kind of every pixel, uint8 [H, W]."""
    pixels = image.image()
    if pixels.dtype != np.uint8:
        raise WrongDtype(f"the image is {pixels.dtype}, not uint8", where=image.key)
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise WrongShape(f"the image has shape {pixels.shape}", where=image.key)
    foreground = pixels != 0 if pixels.ndim == 2 else (pixels != 0).any(axis=2)
    kinds: NDArray[np.uint8] = foreground.astype(np.uint8)
    if image.mask is not None:
        mask = image.mask()
        if mask.shape != kinds.shape:
            raise WrongShape(f"the mask is {mask.shape}, the image {kinds.shape}", where=image.key)
        kinds += (mask != 0).astype(np.uint8) * np.uint8(ANOMALOUS_BACKGROUND)
    return kinds


class _ImageRuns(NamedTuple):
    """The runs of one image; each int32 [R]."""

    rows: NDArray[np.int32]
    """Row."""
    starts: NDArray[np.int32]
    """First column."""
    lengths: NDArray[np.int32]
    """Pixels."""
    eight: NDArray[np.int32]
    """8-connected region, numbered over the split."""
    four: NDArray[np.int32]
    """4-connected region, numbered over the split."""


class _GridBuilder:
    """Collects images of one grid."""

    def __init__(self) -> None:
        self.regions_lost = 0
        self._shapes: list[tuple[int, int]] = []
        self._segments: list[Segments] = []
        self._runs: list[_ImageRuns] = []
        self._eight = self._four = 0
        self._eight_before = 0

    def add(self, kinds: NDArray[np.uint8]) -> None:
        """Add one image by the kinds of its pixels, uint8 [H, W]."""
        lengths, rows, starts = np.empty((3, kinds.size), np.int32)
        segment_kinds = np.empty(kinds.size, np.uint8)
        segments, runs = find_segments(kinds, lengths, segment_kinds, rows, starts)
        lengths, segment_kinds = lengths[:segments].copy(), segment_kinds[:segments].copy()
        rows, starts = rows[:runs].copy(), starts[:runs].copy()
        run_lengths = lengths[segment_kinds >= ANOMALOUS_BACKGROUND]
        eight, count8 = label_with(rows, starts, run_lengths, 8)
        four, count4 = label_with(rows, starts, run_lengths, 4)
        self._shapes.append((kinds.shape[0], kinds.shape[1]))
        self._segments.append(Segments(lengths, segment_kinds))
        labels = eight + np.int32(self._eight), four + np.int32(self._four)
        self._runs.append(_ImageRuns(rows, starts, run_lengths, *labels))
        self._eight_before = self._eight
        self._eight += count8
        self._four += count4

    def regions_without(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> int:
        """How many regions of the last image have no pixel at these rows and columns."""
        count = self._eight - self._eight_before
        if count == 0:
            return 0
        height, width = self._shapes[-1]
        is_row_kept = np.zeros(height, np.bool_)
        is_row_kept[rows] = True
        columns_before = np.zeros(width + 1, np.int64)
        columns_before[np.unique(columns) + 1] = 1
        columns_before = np.cumsum(columns_before)
        runs = self._runs[-1]
        kept = columns_before[runs.starts + runs.lengths] - columns_before[runs.starts]
        return int(count - np.unique(runs.eight[is_row_kept[runs.rows] & (kept > 0)]).size)

    def build(self) -> GridTruth:
        """The compiled grid."""
        segments, runs = self._segments, self._runs
        kinds = _joined([segment.kinds for segment in segments], np.uint8)
        regions = (_joined([run.eight for run in runs], np.int32),
                   _joined([run.four for run in runs], np.int32))  # fmt: skip
        return GridTruth(
            shapes=np.array(self._shapes, np.int32).reshape(-1, 2),
            segment_offsets=_offsets([segment.lengths.size for segment in segments]),
            segment_lengths=_joined([segment.lengths for segment in segments], np.int32),
            segment_kinds=kinds,
            run_offsets=_offsets([run.rows.size for run in runs]),
            run_lengths=_joined([run.lengths for run in runs], np.int32),
            run_is_foreground=kinds[kinds >= ANOMALOUS_BACKGROUND] == ANOMALOUS_FOREGROUND,
            run_regions=np.stack(regions),
            regions_lost=self.regions_lost,
        )


def _joined(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def _offsets(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
