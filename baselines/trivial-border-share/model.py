"""No method: the share of an image's outer frame (a sixteenth of each side) that is pure black or white."""

from __future__ import annotations

from baselines.kit.trivial import Trivial


class BorderShare(Trivial):
    """One number per image."""

    statistic = "border-share"
