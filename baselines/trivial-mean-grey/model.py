"""No method: the mean of an image's grey values (colour is brought to luma first)."""

from __future__ import annotations

from baselines.kit.trivial import Trivial


class MeanGrey(Trivial):
    """One number per image."""

    statistic = "mean-grey"
