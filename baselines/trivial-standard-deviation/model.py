"""No method: the standard deviation of an image's grey values (colour is brought to luma first)."""

from __future__ import annotations

from baselines.kit.trivial import Trivial


class StandardDeviation(Trivial):
    """One number per image."""

    statistic = "standard-deviation"
