"""What a run over a suite of packs has beside its members' own metrics: names and definitions.

This module imports no numba, as `harness.metrics.table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.metrics.table import Direction, Level

MEAN = "mean"
"""Stands for a member where a value is the unweighted mean over the members."""
LEAST_PATIENTS = 10
"""Units that every member must have for an interval of a mean or a pooled value."""


@dataclass(frozen=True)
class SuiteMetric:
    """One pooled metric of a suite."""

    id: str
    """Name in records, files and pages."""
    level: Level
    """What is counted."""
    definition: str
    """One sentence for readers."""
    is_across: bool
    """Whether pairs within one member are left out."""
    direction: Direction = "higher"
    """Which way is better."""


_TABLE = (
    SuiteMetric(
        "pooled_image_auroc", "image",
        "Mean over ordered pairs of members, each with itself included, of the share of pairs of an "
        "abnormal image of the one and a normal image of the other that stand in the right order.",
        is_across=False,
    ),
    SuiteMetric(
        "pooled_image_auroc_across", "image",
        "The same over pairs of two different members alone: whether a score means the same in both.",
        is_across=True,
    ),
    SuiteMetric(
        "pooled_pixel_auroc", "pixel",
        "pooled_image_auroc of pixels, over the members with masks.",
        is_across=False,
    ),
    SuiteMetric(
        "pooled_pixel_auroc_across", "pixel",
        "pooled_image_auroc_across of pixels, over the members with masks.",
        is_across=True,
    ),
)  # fmt: skip

SUITE_METRICS: Mapping[str, SuiteMetric] = {metric.id: metric for metric in _TABLE}
"""Every pooled metric by its id, in the order of the records."""
