"""Nearest neighbours in a bank of vectors, exact, in blocks of bounded memory.

Distances come from |q|^2 + |b|^2 - 2 q.b in float32: equal vectors may come out slightly
above 0 (about 1e-3 of the vectors' norm), and never below.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A fixed number, not a share of the free memory: results must not depend on the machine.
BLOCK_BYTES = 256 * 1024**2
COPY_BYTES = 4 * 1024**2


class MemoryBank:
    """The vectors that normal images left behind.

    Args:
        vectors: (M, D) float32.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors
        self._norms = squared_norms(vectors)  # (M,)

    def __len__(self) -> int:
        return len(self.vectors)

    def nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The `count` nearest vectors of each query, nearest first.

        Args:
            queries: (N, D) float32 on the bank's device.
            count: at most the size of the bank.
        Returns:
            Euclidean distances (N, count) float32 and indices (N, count) int64.
        """
        rows = max(count, BLOCK_BYTES // (4 * len(queries)))
        found: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(self), rows):
            squares = self._squared_distances(queries, slice(start, start + rows))
            values, indices = squares.topk(min(count, squares.shape[1]), largest=False)
            found.append((values, indices + start))
        values = torch.cat([part for part, _ in found], dim=1)
        indices = torch.cat([part for _, part in found], dim=1)
        best, order = values.topk(count, largest=False)
        return best.clamp(min=0).sqrt(), indices.gather(1, order)

    def _squared_distances(self, queries: Tensor, rows: slice) -> Tensor:
        products = queries @ self.vectors[rows].T  # (N, rows)
        norms = queries.square().sum(dim=1, keepdim=True)
        return products.mul_(-2).add_(norms).add_(self._norms[rows])


def squared_norms(vectors: Tensor) -> Tensor:
    """(M,) float32; a squared copy of the largest banks would take 12 GB more."""
    return torch.cat([part.float().square().sum(dim=1) for part in row_blocks(vectors)])


def row_blocks(vectors: Tensor) -> tuple[Tensor, ...]:
    """Views of some rows (M, D) each, whose float32 copies take `COPY_BYTES`."""
    return vectors.split(max(1, COPY_BYTES // (4 * max(1, vectors.shape[1]))))
