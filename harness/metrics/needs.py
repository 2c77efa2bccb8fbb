"""What of a run there is to score, and what a metric needs of it: each need gives the reason.

This module imports no numba, as `harness.metrics.table`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LEAST_AUPIMO_PIXELS = 100_000
"""Of fewer pixels of normal images than this, a false-positive rate of 1e-5 is less than one."""
OLDER_EVIDENCE = "the evidence is of an older harness, which did not keep what this takes"


@dataclass(frozen=True)
class Facts:
    """What is there to be scored, for the reasons of undefined values."""

    normal_images: int
    """Normal test images."""
    anomalous_images: int
    """Anomalous test images."""
    has_masks: bool
    """Whether the pack has masks."""
    has_maps: bool
    """Whether the entry gave maps."""
    normal_pixels: int = 0
    """Normal pixels of the grid."""
    anomalous_pixels: int = 0
    """Anomalous pixels of the grid."""
    foreground_normal_pixels: int = 0
    """Normal pixels where the image is not zero."""
    foreground_anomalous_pixels: int = 0
    """Anomalous pixels where the image is not zero."""
    regions_by_size: tuple[int, int, int] = (0, 0, 0)
    """8-connected regions in each third by size."""
    is_constant: bool = False
    """Whether every pixel of the run has one value."""
    no_valid_threshold: str | None = None
    """Why the validation split gives no threshold of best Dice; None if it does."""
    no_fpr_threshold: str | None = None
    """Why the validation split gives no threshold of a false-positive rate; None if it does."""
    has_strict_area: bool = True
    """Whether the evidence holds PRO to the lower rate."""
    pixels_of_normal_images: int | None = 0
    """Pixels of normal images; None where older evidence does not tell."""


Need = Callable[[Facts], str | None]


def both_image_classes(facts: Facts) -> str | None:
    """Normal and anomalous images."""
    if facts.normal_images and facts.anomalous_images:
        return None
    return "only one class among the test images"


def both_pixel_classes(facts: Facts) -> str | None:
    """Maps, masks, and normal and anomalous pixels."""
    if not facts.has_masks:
        return "the pack has no masks"
    if not facts.has_maps:
        return "the method gives no anomaly maps"
    if facts.normal_pixels and facts.anomalous_pixels:
        return None
    return "only one class among the test pixels"


def both_foreground_classes(facts: Facts) -> str | None:
    """Normal and anomalous pixels where the image is not zero."""
    if facts.foreground_normal_pixels and facts.foreground_anomalous_pixels:
        return None
    return "only one class among the foreground pixels"


def varied_maps(facts: Facts) -> str | None:
    """At least two different scores."""
    return "the maps are constant over the run" if facts.is_constant else None


def needs_valid_threshold(facts: Facts) -> str | None:
    """A validation split from which a threshold follows."""
    return facts.no_valid_threshold


def needs_fpr_threshold(facts: Facts) -> str | None:
    """Normal validation pixels from which a threshold follows."""
    return facts.no_fpr_threshold


def needs_strict_area(facts: Facts) -> str | None:
    """Evidence that holds PRO to the lower rate."""
    return None if facts.has_strict_area else OLDER_EVIDENCE


def needs_normal_images(facts: Facts) -> str | None:
    """Enough pixels of normal images for the lowest false-positive rate."""
    pixels = facts.pixels_of_normal_images
    if pixels is None:
        return OLDER_EVIDENCE
    if pixels == 0:
        return "no test image is normal"
    if pixels < LEAST_AUPIMO_PIXELS:
        return (
            f"the normal images have {pixels:,} pixels: too few for a false-positive rate of 1e-5"
        )
    return None


def regions_of(third: int) -> Need:
    """At least one region in this third by size."""

    def need(facts: Facts) -> str | None:
        if facts.regions_by_size[third]:
            return None
        return "no region falls into this third, for too many have one size"

    return need
