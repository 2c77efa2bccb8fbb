"""What the kernels' arrays hold, by the name of their dtype's use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.uint16]
"""Bits of float16 scores, or their keys."""
Words = NDArray[np.uint32]
"""Bits of float32 scores, or their keys."""
Integers = NDArray[np.int64]
"""Counts and positions."""
Floats = NDArray[np.float64]
"""Weights and areas."""
