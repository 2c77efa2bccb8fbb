"""Reading NIfTI volumes: header checks that need no decompression, and slices as they are stored.

Traps: a slice is `[:, :, z]` of the stored array, never reoriented, because the benchmarks were
cut that way; a truncated `.nii.gz` opens without complaint, so its trailer is compared with what
the header promises; scaling turns a whole int16 volume into float64 at four times its size, so it
is applied to one slice at a time.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Unusable
from harness.benchmarks.problems import Problem

NIFTI = (".nii", ".nii.gz")
# What nibabel and the decompressors raise for damaged files.
_DAMAGED = (OSError, EOFError, ValueError, TypeError, zlib.error, struct.error)

# A gzip's trailer holds the length modulo this; that of a truncated file is any number.
_GZIP_LENGTHS = 1 << 32
_SLACK_BYTES = 1 << 20  # padding after the voxels is allowed

VolumeSlice = npt.NDArray[Any]


class Volume:
    """One opened volume [x, y, z].

    Args:
        file: a NIfTI file.

    Raises:
        Unusable: it is damaged, truncated, or not three-dimensional.
    """

    def __init__(self, file: RawFile) -> None:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError

        self.file = file
        self._damaged = (*_DAMAGED, ImageFileError, HeaderDataError)
        try:
            image: Any = nibabel.load(file.path)
            self._proxy = image.dataobj
            self.shape: tuple[int, ...] = tuple(image.shape)
            self.axes = "".join(nibabel.aff2axcodes(image.affine))  # type: ignore[no-untyped-call]
            self._check_length()
        except self._damaged as error:
            raise self._unusable(error) from error
        if len(self.shape) != 3:
            shown = "x".join(map(str, self.shape))
            raise Unusable(Problem("shape", f"{file.relative}: {shown}, not a volume"))

    def block(self, first: int, end: int) -> VolumeSlice:
        """Slices [x, y, first:end], scaled, in the file's own type where no scaling is asked."""
        try:
            return np.asarray(self._proxy[:, :, first:end])
        except self._damaged as error:
            raise self._unusable(error) from error

    def stored(self) -> VolumeSlice:
        """The whole volume as stored, before scaling (see `scaled`)."""
        try:
            return np.asanyarray(self._proxy.get_unscaled())
        except self._damaged as error:
            raise self._unusable(error) from error

    def scaled(self, stored: VolumeSlice) -> VolumeSlice:
        """A part of `stored()` with the file's slope and intercept."""
        from nibabel.volumeutils import apply_read_scaling

        return np.asarray(apply_read_scaling(stored, self._proxy.slope, self._proxy.inter))

    def check_shape(self, shape: tuple[int | None, ...]) -> None:
        """Refuse other sizes; None stands for any.

        Raises:
            Unusable: the volume has another shape.
        """
        if any(want not in (None, have) for want, have in zip(shape, self.shape, strict=True)):
            expected = "x".join("*" if side is None else str(side) for side in shape)
            found = "x".join(map(str, self.shape))
            raise Unusable(
                Problem("shape", f"{self.file.relative}: {found} voxels, expected {expected}")
            )

    def _check_length(self) -> None:
        """Compare the length that the header promises with the file's, or a gzip's trailer."""
        voxels = int(np.prod([int(side) for side in self.shape]))
        promised = int(self._proxy.offset) + voxels * self._proxy.dtype.itemsize
        path = self.file.path
        found = _unpacked_bytes(path) if path.name.lower().endswith(".gz") else path.stat().st_size
        if not promised % _GZIP_LENGTHS <= found <= promised % _GZIP_LENGTHS + _SLACK_BYTES:
            raise EOFError(f"truncated or damaged: {found} of {promised} bytes")

    def _unusable(self, error: BaseException) -> Unusable:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Unusable(Problem("damaged", f"{self.file.relative}: {reason}"))


def check_labels(volume: Volume, labels: VolumeSlice, known: Iterable[int]) -> None:
    """Refuse labels that the benchmark does not know.

    Raises:
        Unusable: some voxel has another value.
    """
    allowed = sorted(known)
    is_known = np.zeros(labels.shape, np.bool_)
    for value in allowed:  # a few comparisons cost a fraction of sorting a slice
        is_known |= labels == value
    if not is_known.all():
        unknown = np.unique(labels[~is_known])[:5]
        shown = ", ".join(f"{value:g}" for value in unknown)
        raise Unusable(
            Problem(
                "labels",
                f"{volume.file.relative}: label {shown}, known are {', '.join(map(str, allowed))}",
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
