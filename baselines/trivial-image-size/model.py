"""No method: the number of an image's pixels."""

from __future__ import annotations

from baselines.kit.trivial import Trivial


class ImageSize(Trivial):
    """One number per image."""

    statistic = "image-size"
