"""The words of the pages: titles and one-line explanations of benchmarks, metrics, tracks.

Anything unknown here is shown under its own name, so that a new benchmark or metric
appears on the site without an edit.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.records import Grid

SITE_TITLE = "BMAD leaderboard"
DEMO = "demo"

# The paper's own order of its six benchmarks.
SIX = ("brain", "liver", "resc", "oct2017", "rsna", "camelyon16")

BENCHMARK_TITLES = {
    "brain": "Brain MRI",
    "liver": "Liver CT",
    "resc": "RESC OCT",
    "oct2017": "OCT2017",
    "rsna": "RSNA X-ray",
    "camelyon16": "Camelyon16",
    DEMO: "Demonstration pack",
}


@dataclass(frozen=True)
class MetricWords:
    """How a metric is named and explained."""

    title: str
    """Full name."""
    short: str
    """Head of its column."""
    meaning: str
    """One sentence for a reader who stumbles."""


METRICS = {
    "image_auroc": MetricWords(
        "Image AUROC",
        "Image AUROC",
        "Chance that an anomalous test image scores above a normal one; 50 is guessing.",
    ),
    "pixel_auroc": MetricWords(
        "Pixel AUROC",
        "Pixel AUROC",
        "The same over all pixels of all test images together. Black background makes it"
        " easy: the grey value alone reaches 91 on brain MRI.",
    ),
    "pixel_pro": MetricWords(
        "PRO",
        "PRO",
        "Mean share of each lesion that is found, over false-positive rates up to 0.3; every"
        " lesion counts the same, whatever its size.",
    ),
    "dice_at_0.5": MetricWords(
        "Dice at 0.5",
        "Dice at 0.5",
        "Overlap of lesion and map where the run's maps, scaled to 0 to 1, are cut at 0.5:"
        " the paper's Table 3.",
    ),
    "dice_at_valid": MetricWords(
        "Dice at the validation threshold",
        "Dice at valid",
        "Overlap at the threshold that is best on the validation split.",
    ),
    "dice_max": MetricWords(
        "Best Dice (oracle)",
        "Dice, oracle",
        "Overlap at the best threshold of the test split itself: an upper bound that no"
        " method could have known.",
    ),
    "image_ap": MetricWords(
        "Image AP", "Image AP", "Average precision of the image scores, as a step sum."
    ),
    "image_f1_max": MetricWords(
        "Image F1, best", "Image F1", "Best F1 of the image scores over all thresholds."
    ),
    "pixel_ap": MetricWords(
        "Pixel AP", "Pixel AP", "Average precision over all pixels, as a step sum."
    ),
    "pixel_auroc_foreground": MetricWords(
        "Pixel AUROC, foreground", "Pixel AUROC fg", "Pixel AUROC without the black background."
    ),
    "pixel_pro_foreground": MetricWords(
        "PRO, foreground", "PRO fg", "PRO without the black background."
    ),
    "pixel_pro_per_image": MetricWords(
        "PRO, mean per image", "PRO per image", "Mean of each image's own PRO, as RD4AD's code."
    ),
    "pixel_pro_4": MetricWords(
        "PRO, 4-connected", "PRO 4", "PRO with regions joined over edges alone."
    ),
    "dice_per_image": MetricWords(
        "Dice, mean per image", "Dice per image", "Mean of the Dice of each anomalous image."
    ),
}

LOCALISATION_COLUMNS = ("image_auroc", "pixel_auroc", "pixel_pro")
DICE_COLUMNS = ("dice_at_0.5", "dice_at_valid", "dice_max")

TRACKS = {
    "trained-here": "trained here",
    "sealed": "sealed",
    "open": "open",
}
TRACK_MEANINGS = {
    "trained-here": "The harness built the image from a reviewed source folder and trained it"
    " itself. The ranked track on public data.",
    "sealed": "Any image, on a pack whose images were never published with labels. The ranked"
    " track for strangers' images.",
    "open": "Any image, on a public pack. It may have seen the test set, so it takes no rank.",
}
ISOLATIONS = {"container": "in a container", "none": "not isolated"}
GRIDS = {"native": "native", "paper": "256 × 256", None: "image"}
GRID_MEANINGS = {
    "native": "scored on the image as delivered: the headline",
    "paper": "scored on the paper's 256 × 256 grid: what differences to the paper use",
    None: "one score per image",
}


def benchmark_title(name: str) -> str:
    """What a reader calls the benchmark."""
    return BENCHMARK_TITLES.get(name, name)


def metric_words(metric_id: str) -> MetricWords:
    """The words for a metric; unknown ones are shown under their own name."""
    return METRICS.get(metric_id) or MetricWords(metric_id, metric_id, "")


def grid_title(grid: Grid | None) -> str:
    """What a reader calls the grid."""
    return GRIDS[grid]


def benchmark_order(name: str) -> tuple[int, str]:
    """Sort key: the six in the paper's order, then others by name, the demonstration last."""
    if name in SIX:
        return SIX.index(name), name
    return (len(SIX) + 1 if name == DEMO else len(SIX)), name
