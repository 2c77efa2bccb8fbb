"""The one table of metrics: what each is, what it needs, and how it is read off the statistics.

A metric is a function over `Statistics` and a line in `METRICS`. The same function
gives the value (one row), what it is with each unit left out, and under every resample
(a row each), so it works on arrays [B] and leaves NaN where a row has no value. Why a value is
undefined for the whole run is said by the first of `needs` that is not met.

This module imports no numba: names and definitions are cheap to list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.needs import (
    Need,
    both_foreground_classes,
    both_image_classes,
    both_pixel_classes,
    needs_fpr_threshold,
    needs_normal_images,
    needs_strict_area,
    needs_valid_threshold,
    regions_of,
    varied_maps,
)

METRICS_VERSION = "3"
"""Raised whenever a definition changes the value or the interval of any metric."""

Rows = NDArray[np.float64]
Level = Literal["image", "pixel", "region"]
Direction = Literal["higher", "lower"]
Bearer = Literal[
    "images", "pixels", "foreground", "small", "medium", "large", "normal images"
]  # fmt: skip
"""What a metric counts: labels of images, of pixels, of foreground pixels, a third of the regions
against normal pixels, or anomalous pixels against those of normal images. As few units hold both
kinds as hold the scarcer."""


class Freedom(NamedTuple):
    """Degrees of freedom of Student's t, per unit that truly bears a value (`harness.metrics.jackknife`).

    All pixels of a patient err together: what a few bad patients cost is more skewed there, and the
    lower end of an interval needs a longer tail. Chosen by simulation (`make bench-intervals`).
    """

    below: float
    """For the lower end of the interval."""
    difference: float
    """For a difference of two entries, both ways."""


RANKED = Freedom(1.5, 4.0)  # scores of images
SWEPT = Freedom(0.6, 2.5)  # all pixels, over all thresholds
REGIONS = Freedom(0.7, 4.0)  # regions, over thresholds
VALIDATED = Freedom(0.7, 1.5)  # at the threshold that is best on the validation split
FIXED = Freedom(0.9, 1.5)  # at other fixed thresholds, and means over images
FEW_ALARMS = Freedom(0.35, 1.5)  # what hangs on the few highest normal pixels


@dataclass(frozen=True)
class Sweep:
    """What one pass over the scores from high to low gives. Every array is float64 [B]."""

    auroc: Rows
    """Share of (anomalous, normal) pairs in the right order, ties counted as half."""
    average_precision: Rows
    """Sum of precision x recall step over the distinct scores, no interpolation."""
    dice_max: Rows
    """Largest 2 TP / (2 TP + FP + FN) over all thresholds: best Dice, F1-max."""
    region_overlap: Mapping[str, Rows]
    """Normalised area under region overlap against FPR, for `all`, `small`, `medium`, `large`
    (8-connected) and `four` (4-connected); `all` alone for the foreground. `strict`: as `all`,
    to a lower rate; NaN where older evidence does not hold it."""


@dataclass(frozen=True)
class PixelStatistics:
    """One grid."""

    everywhere: Sweep
    """Over all pixels."""
    foreground: Sweep
    """Over the pixels where some channel of the image is not zero."""
    dice_at: Mapping[str, Rows]
    """Dice at the named thresholds: shares of the run's range, `valid` and `fpr`."""
    image_overlap: Rows
    """Mean over anomalous images of the image's own PRO."""
    image_dice: Rows
    """Mean over anomalous images of the image's Dice at half of the run's range."""
    aupimo: Rows
    """Mean over anomalous images of the area under recall against the false-positive rate of
    normal images; NaN where older evidence does not hold it."""


@dataclass(frozen=True)
class Statistics:
    """What metrics are functions of; every array has one entry per row [B]."""

    images: Sweep | None
    """Over the image scores (`region_overlap` is empty); for a metric per subclass, over
    all normal images and the anomalous ones of the subclass. None for pixel metrics."""
    pixels: PixelStatistics | None
    """One grid; None for image metrics."""


@dataclass(frozen=True)
class Metric:
    """One line of the table."""

    id: str
    """Name in records, files and pages; a final `*` stands for each subclass of anomaly that
    the pack knows."""
    level: Level
    """What is counted."""
    direction: Direction
    """Which way is better."""
    definition: str
    """One sentence for readers."""
    function: Callable[[Statistics], Rows]
    """Reads the metric off the statistics."""
    needs: tuple[Need, ...]
    """What must be there; the first that is not gives the reason."""
    borne_by: Bearer = "pixels"
    """What must be held by enough units, each kind of it, for the metric to have an interval."""
    freedom: Freedom = SWEPT
    """How far its interval reaches."""
    range_share: float | None = None
    """Share of the run's score range at which the function asks for `dice_at`."""
    interval_remark: str = ""
    """What a reader must know of its intervals, where they hold the true value clearly less often
    than they say in some design of `make bench-intervals`."""

    @property
    def explained(self) -> str:
        """The definition, and what a reader must know of its intervals."""
        return f"{self.definition} {self.interval_remark}".rstrip()

    @property
    def is_per_subclass(self) -> bool:
        """Whether there is one value per subclass of anomaly."""
        return self.id.endswith("*")


def _pixels(statistics: Statistics) -> PixelStatistics:
    if statistics.pixels is None:
        raise ValueError("a pixel metric was asked of image statistics")
    return statistics.pixels


def _images(statistics: Statistics) -> Sweep:
    if statistics.images is None:
        raise ValueError("an image metric was asked of pixel statistics")
    return statistics.images


def _dice_at(name: str) -> Callable[[Statistics], Rows]:
    def function(statistics: Statistics) -> Rows:
        pixels = _pixels(statistics)
        return pixels.dice_at.get(name, np.full_like(pixels.image_dice, np.nan))

    return function


def _overlap(kind: str) -> Callable[[Statistics], Rows]:
    return lambda statistics: _pixels(statistics).everywhere.region_overlap[kind]


def _iou_of(dice: Rows) -> Rows:
    """Intersection over union of a Dice; it grows with it, so the best of one is that of the other."""
    return np.asarray(dice / (2 - dice))


_IMAGES = (both_image_classes,)
_PIXELS = (both_pixel_classes,)
_DICE = (both_pixel_classes, varied_maps)
_FOREGROUND = (both_pixel_classes, both_foreground_classes)

# One metric each: id, level, direction, definition, function, needs.
_TABLE = (
    Metric(
        "image_auroc", "image", "higher",
        "Area under the ROC curve of the image scores, ties counted as half.",
        lambda s: _images(s).auroc, _IMAGES, borne_by="images", freedom=RANKED,
    ),
    Metric(
        "image_ap", "image", "higher",
        "Average precision of the image scores: step sum, ties grouped, no interpolation.",
        lambda s: _images(s).average_precision, _IMAGES, borne_by="images", freedom=RANKED,
    ),
    Metric(
        "image_f1_max", "image", "higher",
        "Largest F1 of the image scores over all thresholds.",
        lambda s: _images(s).dice_max, _IMAGES, borne_by="images", freedom=RANKED,
    ),
    Metric(
        "pixel_auroc", "pixel", "higher",
        "Area under the ROC curve over every pixel of every test image, pooled.",
        lambda s: _pixels(s).everywhere.auroc, _PIXELS,
    ),
    Metric(
        "pixel_ap", "pixel", "higher",
        "Average precision over every pixel of every test image, pooled.",
        lambda s: _pixels(s).everywhere.average_precision, _PIXELS,
    ),
    Metric(
        "pixel_pro", "region", "higher",
        "Mean over ground-truth regions (8-connected) of the share above the threshold, against "
        "the false-positive rate over all normal pixels; area to FPR 0.3, divided by 0.3.",
        _overlap("all"), _PIXELS, freedom=REGIONS,
    ),
    Metric(
        "dice_at_0.5", "pixel", "higher",
        "Dice of all pixels at half of the run's score range (the paper's Table 3).",
        _dice_at("0.5"), _DICE, range_share=0.5, freedom=FIXED,
    ),
    Metric(
        "dice_at_0.6", "pixel", "higher",
        "Dice of all pixels at 0.6 of the run's score range.",
        _dice_at("0.6"), _DICE, range_share=0.6, freedom=FIXED,
    ),
    Metric(
        "dice_at_0.7", "pixel", "higher",
        "Dice of all pixels at 0.7 of the run's score range.",
        _dice_at("0.7"), _DICE, range_share=0.7, freedom=FIXED,
    ),
    Metric(
        "dice_at_valid", "pixel", "higher",
        "Dice of all test pixels at the threshold that is best on the validation split.",
        _dice_at("valid"), (both_pixel_classes, needs_valid_threshold, varied_maps),
        freedom=VALIDATED,
    ),
    Metric(
        "dice_max", "pixel", "higher",
        "Best Dice over all thresholds of the test split itself: an oracle, no method's result.",
        lambda s: _pixels(s).everywhere.dice_max, _DICE,
    ),
    Metric(
        "dice_at_fpr", "pixel", "higher",
        "Dice of all test pixels at the threshold above which 5 % of the normal validation pixels "
        "lie.",
        _dice_at("fpr"), (both_pixel_classes, needs_fpr_threshold, varied_maps), freedom=FIXED,
    ),
    Metric(
        "iou_max", "pixel", "higher",
        "Best intersection over union over all thresholds of the test split itself: "
        "D / (2 - D) of the best Dice D, an oracle like it.",
        lambda s: _iou_of(_pixels(s).everywhere.dice_max), _DICE,
    ),
    Metric(
        "pro_05", "region", "higher",
        "pixel_pro to FPR 0.05, divided by 0.05.",
        _overlap("strict"), (both_pixel_classes, needs_strict_area), freedom=REGIONS,
    ),
    Metric(
        "aupimo", "pixel", "higher",
        "Mean over anomalous images of the area under the image's recall against the "
        "false-positive rate over normal images, on a log scale from 1e-5 to 1e-4, normalised.",
        lambda s: _pixels(s).aupimo, (both_pixel_classes, needs_normal_images),
        borne_by="normal images", freedom=FEW_ALARMS,
        interval_remark="Its intervals, nominally of 95 %, held the true value in 89 to 99 % of simulated "
        "runs, by design: it hangs on the few patients whose normal pixels are the highest.",
    ),
    Metric(
        "pixel_auroc_foreground", "pixel", "higher",
        "pixel_auroc over the pixels where some channel of the image is not zero.",
        lambda s: _pixels(s).foreground.auroc, _FOREGROUND, borne_by="foreground",
    ),
    Metric(
        "pixel_pro_foreground", "region", "higher",
        "pixel_pro over the pixels where some channel of the image is not zero; "
        "a region is what of it lies there.",
        lambda s: _pixels(s).foreground.region_overlap["all"], _FOREGROUND,
        borne_by="foreground", freedom=REGIONS,
    ),
    Metric(
        "pixel_pro_per_image", "region", "higher",
        "Mean over anomalous images of the image's own PRO, against its own normal pixels.",
        lambda s: _pixels(s).image_overlap, _PIXELS, freedom=FIXED,
    ),
    Metric(
        "dice_per_image", "pixel", "higher",
        "Mean over anomalous images of the image's Dice at half of the run's score range.",
        lambda s: _pixels(s).image_dice, _DICE, freedom=FIXED,
    ),
    Metric(
        "pixel_pro_4", "region", "higher",
        "pixel_pro with regions of 4-connectivity.",
        _overlap("four"), _PIXELS, freedom=REGIONS,
    ),
    Metric(
        "region_overlap_small", "region", "higher",
        "pixel_pro over the third of the regions that is smallest.",
        _overlap("small"), (both_pixel_classes, regions_of(0)),
        borne_by="small", freedom=REGIONS,
    ),
    Metric(
        "region_overlap_medium", "region", "higher",
        "pixel_pro over the middle third of the regions by size.",
        _overlap("medium"), (both_pixel_classes, regions_of(1)),
        borne_by="medium", freedom=REGIONS,
    ),
    Metric(
        "region_overlap_large", "region", "higher",
        "pixel_pro over the third of the regions that is largest.",
        _overlap("large"), (both_pixel_classes, regions_of(2)),
        borne_by="large", freedom=REGIONS,
    ),
    Metric(
        "image_auroc:*", "image", "higher",
        "image_auroc of all normal images against the anomalous ones of one subclass.",
        lambda s: _images(s).auroc, _IMAGES, borne_by="images", freedom=RANKED,
    ),
)  # fmt: skip

METRICS: Mapping[str, Metric] = {metric.id: metric for metric in _TABLE}
"""Every metric by its id, in the order of the records."""


def find_metric(metric_id: str) -> Metric:
    """The line of a metric id as it stands in a record, `image_auroc:CNV` included.

    Raises:
        KeyError: there is no such metric.
    """
    name, colon, _ = metric_id.partition(":")
    return METRICS[f"{name}:*" if colon else name]
