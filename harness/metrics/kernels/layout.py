"""How the arrays of the metrics are laid out: kinds of pixel, and rows of region weights.

All of it is written into files (ground truth, evidence), so these numbers never change.
"""

from __future__ import annotations

NORMAL_BACKGROUND, NORMAL_FOREGROUND, ANOMALOUS_BACKGROUND, ANOMALOUS_FOREGROUND = range(4)
"""Kinds of pixel; background = every channel of the image is zero there. Odd ones are foreground."""

KINDS = 4
NORMAL_KINDS = slice(NORMAL_BACKGROUND, ANOMALOUS_BACKGROUND)
"""Rows of the normal kinds where pixels are counted by kind."""
ANOMALOUS_KINDS = slice(ANOMALOUS_BACKGROUND, KINDS)
"""Rows of the anomalous kinds."""

BACKGROUND, FOREGROUND = 0, 1
"""Sides: whether every channel of the image is zero, for pixels that are all normal."""

WEIGHT_ROWS = ("small", "medium", "large", "four", "foreground")
"""What the five region weights of an anomalous pixel are for: the thirds of the 8-connected
regions by size, the 4-connected regions, and the 8-connected ones within the foreground."""

WEIGHTS = 5
LARGE_ROW, FOUR_ROW, FRONT_ROW = 2, 3, 4
"""Where in `WEIGHT_ROWS` the last third is, the 4-connected regions, and the foreground."""
