"""The anomaly maps of a run in one file, for exact recomputation of float32 runs.

    results/<benchmark>/<entry>/seed-<n>.maps.zip     <split>/<image's private key>.npy

Written while the maps pass through (`--keep-maps`); member times are fixed, so equal maps
in an equal order give equal bytes. Private: keys and maps of a hidden pack stay on the
maintainer's machine.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import StoreUnusable

EPOCH = (1980, 1, 1, 0, 0, 0)
# float32 noise hardly shrinks; the fastest level halves smooth maps at little cost.
COMPRESSION_LEVEL = 1


@dataclass(frozen=True)
class KeptMap:
    """One map as it was sent."""

    split: str
    """`valid` or `test`."""
    key: str
    """Private key of the image."""
    anomaly_map: NDArray[np.floating[Any]]
    """float16 or float32 [H, W]."""


class MapKeeper:
    """Writes maps one at a time; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(
            path, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL
        )

    def add(self, split: str, key: str, anomaly_map: NDArray[np.floating[Any]] | None) -> None:
        """Keep one map; nothing where the entry gave none."""
        if anomaly_map is None:
            return
        member = zipfile.ZipInfo(f"{split}/{key}.npy", EPOCH)
        member.compress_type = zipfile.ZIP_DEFLATED
        with self._zip.open(member, "w", force_zip64=True) as handle:
            np.lib.format.write_array(handle, np.asarray(anomaly_map), allow_pickle=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._zip.close()


def read_maps(path: Path) -> Iterator[KeptMap]:
    """All maps of a file, one at a time.

    Raises:
        StoreUnusable: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                split, _, key = member.removesuffix(".npy").partition("/")
                with archive.open(member) as handle:
                    yield KeptMap(split, key, np.lib.format.read_array(handle, allow_pickle=False))
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise StoreUnusable(
            f"the kept maps cannot be read: {error}",
            where=str(path),
            fix="remove the file, or run the entry again with --keep-maps",
        ) from error
