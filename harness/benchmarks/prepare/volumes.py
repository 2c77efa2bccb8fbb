"""Reading NIfTI volumes: header checks that need no decompression, slices as they are stored, and a
label volume laid on its image.

Traps: a slice is `[:, :, z]` of the stored array, never reoriented, because the benchmarks were
cut that way; a label volume may be stored in another orientation than its image, so it is turned
onto it by both affines, and refused where it lies elsewhere; a truncated `.nii.gz` opens without
complaint, so its trailer is compared with what the header promises; scaling turns a whole int16
volume into float64 at four times its size, so it is applied to one slice at a time.
"""

from __future__ import annotations

import copy
import gzip
import logging
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Placed, Unusable
from harness.benchmarks.problems import Problem
from harness.benchmarks.stored import UnreadableImage, decoding, without_warnings

logging.getLogger("nibabel.global").disabled = True  # it tells stderr of every odd header

NIFTI = (".nii", ".nii.gz")
GRID_TOLERANCE = 0.1
"""So far, in voxels of the image, a label's voxel may lie from the image's that it is laid on."""

# A gzip's trailer holds the length modulo this; that of a truncated file is any number.
_GZIP_LENGTHS = 1 << 32
_MOST_GZIP_RATIO = 1032  # deflate's limit: a header that promises more is damaged
_FARTHEST_MM = 1e6  # of a voxel's place or side; its inverse is the smallest side
_FLAT = 1e-3  # volume that three unit directions span; 1 where they are square to each other
_SLACK_BYTES = 1 << 20  # padding after the voxels is allowed

VolumeSlice = npt.NDArray[Any]


class Volume:
    """One opened volume [x, y, z].

    Args:
        file: a NIfTI file.

    Raises:
        Unusable: it is damaged, truncated, not three-dimensional, not of plain numbers, or its
            affine gives no axes.
    """

    def __init__(self, file: RawFile) -> None:
        import nibabel

        self.file = file
        self.is_turned = False
        """Whether it is given in another orientation than it is stored in."""
        self._order, self._flips = (0, 1, 2), (1, 1, 1)
        with self._reading():
            image: Any = nibabel.load(file.path)
            self._proxy = image.dataobj
            self.shape: tuple[int, ...] = tuple(int(side) for side in image.shape)
            self.affine: npt.NDArray[np.float64] = np.array(image.affine, np.float64)
            self._check_length()
        if len(self.shape) != 3:
            shown = "x".join(map(str, self.shape))
            raise Unusable(
                Problem("shape", f"{file.relative}: {shown}, not a volume of three axes")
            )
        if self._proxy.dtype.kind not in "biuf":
            raise Unusable(
                Problem(
                    "voxels",
                    f"{file.relative}: voxels of {_voxels(self._proxy.dtype)}, expected one whole or"
                    " floating-point number each: export it as grey values or labels",
                )
            )
        if not _has_axes(self.affine):
            raise Unusable(
                Problem(
                    "orientation",
                    f"{file.relative}: its affine gives no axes ({self.affine[:3].tolist()}), expected"
                    " three directions: set sform or qform, or download it again",
                )
            )
        self.axes = "".join(map(str, nibabel.aff2axcodes(self.affine)))  # type: ignore[no-untyped-call]

    def block(self, first: int, end: int) -> VolumeSlice:
        """Slices [x, y, first:end], scaled, in the file's own type where no scaling is asked."""
        if self.is_turned:
            return self.scaled(self.stored()[:, :, first:end])
        with self._reading():
            return np.asarray(self._proxy[:, :, first:end])

    def stored(self) -> VolumeSlice:
        """The whole volume before scaling (see `scaled`)."""
        with self._reading():
            values = np.asanyarray(self._proxy.get_unscaled())
        x, y, z = (slice(None, None, step) for step in self._flips)
        turned: VolumeSlice = values.transpose(self._order)[x, y, z]
        return turned

    def scaled(self, stored: VolumeSlice) -> VolumeSlice:
        """A part of `stored()` with the file's slope and intercept."""
        from nibabel.volumeutils import apply_read_scaling

        with self._reading():
            return np.asarray(apply_read_scaling(stored, self._proxy.slope, self._proxy.inter))

    def laid_on(self, image: Volume) -> Volume:
        """This label volume in its image's orientation, voxel on voxel.

        Args:
            image: what the labels were drawn on.

        Returns:
            The same where it lies so already, else one that gives its axes permuted and flipped
            (`is_turned`).

        Raises:
            Unusable: some voxel lies more than `GRID_TOLERANCE` voxels from the image's, or the
                shapes differ: nothing but a resampling could lay it there.
        """
        if sorted(self.shape) != sorted(image.shape):
            raise self._elsewhere(image, "has another shape")
        to_image = np.linalg.inv(image.affine) @ self.affine
        turn = np.rint(to_image[:3, :3])
        is_permutation = (np.abs(turn).sum(axis=0) == 1).all() and (
            np.abs(turn).sum(axis=1) == 1
        ).all()
        if not is_permutation:
            raise self._elsewhere(image, "is rotated, sheared or of other voxel sizes")
        order = tuple(int(axis) for axis in np.abs(turn).argmax(axis=1))
        flips = tuple(int(step) for step in turn.sum(axis=1))
        shape = tuple(self.shape[axis] for axis in order)
        if shape != image.shape:
            raise self._elsewhere(image, "has another shape along the image's axes")
        begin = [0 if step == 1 else side - 1 for step, side in zip(flips, shape, strict=True)]
        corners = np.array([*product(*((0, side - 1) for side in self.shape))], np.float64)
        found = corners @ to_image[:3, :3].T + to_image[:3, 3]
        distance = float(np.abs(found - (corners @ turn.T + begin)).max())
        if not distance <= GRID_TOLERANCE:
            raise self._elsewhere(image, f"lies {distance:.3g} voxels from it")
        if order == (0, 1, 2) and flips == (1, 1, 1):
            return self
        turned = copy.copy(self)
        turned.shape, turned.affine, turned.axes = image.shape, image.affine, image.axes
        turned.is_turned, turned._order, turned._flips = True, order, flips  # type: ignore[assignment]
        return turned

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Refuse other sizes; None stands for any.

        Raises:
            Unusable: the volume has another shape.
        """
        if any(want not in (None, have) for want, have in zip(shape, self.shape, strict=True)):
            expected = "x".join("*" if side is None else str(side) for side in shape)
            raise Unusable(
                Problem(
                    "shape",
                    f"{self.file.relative}: {_by(self.shape)} voxels, expected {expected}",
                )
            )

    def _check_length(self) -> None:
        """Compare the length that the header promises with the file's, or a gzip's trailer."""
        voxels = 1
        for side in self.shape:
            voxels *= side
        promised = int(self._proxy.offset) + voxels * self._proxy.dtype.itemsize
        path = self.file.path
        size = path.stat().st_size
        is_packed = path.name.lower().endswith(".gz")
        found = _unpacked_bytes(path) if is_packed else size
        is_possible = voxels > 0 and promised <= (size * _MOST_GZIP_RATIO if is_packed else size)
        lowest = promised % _GZIP_LENGTHS if is_packed else promised
        if not is_possible or not lowest <= found <= lowest + _SLACK_BYTES:
            raise UnreadableImage(
                f"truncated or damaged: {found} bytes, expected {promised}; download it again"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Around nibabel's calls: whatever it raises names the file."""
        try:
            with decoding("a whole NIfTI volume"), without_warnings():
                yield
        except UnreadableImage as error:
            raise Unusable(Problem("damaged", f"{self.file.relative}: {error}")) from error

    def _elsewhere(self, image: Volume, what: str) -> Unusable:
        return Unusable(
            Problem(
                "orientation",
                f"{self.file.relative}: the label volume {what}: {_by(self.shape)} voxels, {self.axes};"
                f" expected the grid of {image.file.relative}, {_by(image.shape)} voxels,"
                f" {image.axes}, within {GRID_TOLERANCE} voxels, or that grid flipped: resample the"
                " labels onto the image (nearest neighbour), or download both again",
            )
        )


TURNED: dict[bool, tuple[tuple[str, int], ...]] = {False: (), True: (("label_turned", 1),)}
"""What an item's details say of its label volume."""


def turned_remark(placed: Iterable[Placed]) -> tuple[str, ...]:
    """What the card says of label volumes that were turned onto their images."""
    count = len({place.item.case for place in placed if TURNED[True][0] in place.item.details})
    if not count:
        return ()
    which = f"{count} label volumes were" if count > 1 else "1 label volume was"
    return (
        f"{which} stored in another orientation than the image: turned onto it by both affines",
    )


def _has_axes(affine: npt.NDArray[np.float64]) -> bool:
    """Whether it is finite and three directions are far from lying in a plane."""
    if not (np.abs(affine) < _FARTHEST_MM).all():  # NaN is not smaller either
        return False
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if (sides < 1 / _FARTHEST_MM).any():
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / sides)) > _FLAT)


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _voxels(kind: np.dtype[Any]) -> str:
    return "/".join(kind.names) if kind.names else str(kind)


def check_labels(volume: Volume, labels: VolumeSlice, known: Iterable[int]) -> None:
    """Refuse labels that the benchmark does not know, shown to their last digit.

    Raises:
        Unusable: some voxel has another value.
    """
    allowed = sorted(known)
    is_known = np.zeros(labels.shape, np.bool_)
    for value in allowed:  # a few comparisons cost a fraction of sorting a slice
        is_known |= labels == value
    if not is_known.all():
        unknown = np.unique(labels[~is_known])[:5]
        shown = ", ".join(str(value).removesuffix(".0") for value in unknown)
        raise Unusable(
            Problem(
                "labels",
                f"{volume.file.relative}: label {shown}, known are {', '.join(map(str, allowed))}:"
                " another label set, or labels that were interpolated; download the original",
            )
        )


def _unpacked_bytes(path: Path) -> int:
    """Length that a gzip file's trailer states, modulo 2**32; its head is checked too."""
    with gzip.open(path) as stream:
        stream.read(1)
    with path.open("rb") as raw:
        raw.seek(-4, 2)
        length: int = struct.unpack("<I", raw.read(4))[0]
        return length
