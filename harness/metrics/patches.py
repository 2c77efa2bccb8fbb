"""What an anomalous pixel counts for: the region weights of its patch, made once per ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from harness.metrics.truth import GridTruth

WEIGHT_ROWS = ("small", "medium", "large", "four", "foreground")
"""What the five region weights of an anomalous pixel are for: the thirds of the 8-connected
regions by size, the 4-connected regions, and the 8-connected ones within the foreground."""


@dataclass(frozen=True)
class Patches:
    """What an anomalous pixel counts for. A patch is what of a 4-connected region lies in the
    foreground (odd numbers) or in the background: all its pixels count the same."""

    of_run: NDArray[np.int32]
    """[R] patch of each run."""
    weights: NDArray[np.float64]
    """[U, 5] 1 / size of the patch's region, by `WEIGHT_ROWS`; 0 where a row is of others."""
    per_region: NDArray[np.float64]
    """[R] 1 / size of each run's 8-connected region."""

    @classmethod
    def of(cls, truth: GridTruth) -> Patches:
        """Patches of a grid."""
        eight, four = truth.run_regions
        shown = truth.run_is_foreground
        sizes8, sizes4 = truth.region_sizes
        of_run = (2 * four + shown).astype(np.int32)
        weights = np.zeros((2 * sizes4.size, len(WEIGHT_ROWS)))
        weights[of_run, truth.region_tertiles[eight]] = 1.0 / sizes8[eight]
        weights[of_run, 3] = 1.0 / sizes4[four]
        weights[of_run[shown], 4] = 1.0 / truth.foreground_sizes[eight[shown]]
        return cls(of_run, weights, 1.0 / sizes8[eight])
