"""No method: the share of an image's pixels that are not black."""

from __future__ import annotations

from baselines.kit.trivial import Trivial


class ForegroundArea(Trivial):
    """One number per image."""

    statistic = "foreground-area"
