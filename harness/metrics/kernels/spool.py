"""Room for what a run must remember: memory up to a limit, then files in the spool folder.

Files are unlinked as soon as they are open, so that nothing is left behind,
whatever happens. Arrays come untouched: neither memory nor disk is used before
something is written to them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import StoreUnusable

_CHUNK = 4 << 20


class Spool:
    """Hands out arrays, from memory while the limit allows.

    Args:
        folder: where to spill; made when first needed.
        memory_limit_bytes: total of the arrays that may be held in memory.
    """

    def __init__(self, folder: Path, memory_limit_bytes: int) -> None:
        self._folder = folder
        self._left_bytes = memory_limit_bytes
        self.is_spilling = False
        """Whether some array lies on disk."""

    def array(self, size: int, dtype: type[np.generic]) -> NDArray[Any]:
        """An uninitialised array [size].

        Raises:
            StoreUnusable: the spool folder cannot be written.
        """
        needed = size * np.dtype(dtype).itemsize
        if needed <= self._left_bytes:
            self._left_bytes -= needed
            return np.empty(size, dtype)
        self.is_spilling = True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder, prefix="scores-") as file:
                file.truncate(needed)
                return np.asarray(np.memmap(file, dtype, "r+", shape=(size,)))
        except OSError as error:
            raise StoreUnusable(
                f"the maps' scores could not be spilled to disk: {error.strerror}",
                where=str(self._folder),
                fix="free space there or give another spool folder",
            ) from error


class Pool:
    """A growing store of small uint16 arrays in large chunks of a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._chunk: NDArray[np.uint16] = np.zeros(0, np.uint16)
        self._used = 0

    def keep(self, values: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """A copy of `values` that lives in the pool."""
        if self._used + values.size > self._chunk.size:
            self._chunk = self._spool.array(max(_CHUNK, values.size), np.uint16)
            self._used = 0
        kept = self._chunk[self._used : self._used + values.size]
        kept[:] = values
        self._used += values.size
        return kept
