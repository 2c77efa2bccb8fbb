"""The words of the pages: titles and one-line explanations of benchmarks, metrics, tracks.

Anything unknown here is shown under its own name, so that a new benchmark or metric
appears on the site without an edit. Longer explanations are in `guide.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.board.site_data import is_trivial
from harness.records.regime import MARK
from harness.records.releases import claimed_name

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
    "dice_at_0.6": MetricWords("Dice at 0.6", "Dice at 0.6", "The same, cut at 0.6."),
    "dice_at_0.7": MetricWords("Dice at 0.7", "Dice at 0.7", "The same, cut at 0.7."),
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
    "dice_at_fpr": MetricWords(
        "Dice at 5 % false alarms",
        "Dice at 5 % FPR",
        "Overlap at the threshold above which 5 % of the normal validation pixels lie: it takes no"
        " anomalous image to set.",
    ),
    "iou_max": MetricWords(
        "Best IoU (oracle)",
        "IoU, oracle",
        "Intersection over union at the best threshold of the test split itself. It ranks as the"
        " best Dice D does, for it is D / (2 - D).",
    ),
    "pro_05": MetricWords(
        "PRO to 0.05",
        "PRO 0.05",
        "PRO over false-positive rates up to 0.05: strict where all are near 100 at 0.3.",
    ),
    "aupimo": MetricWords(
        "AUPIMO",
        "AUPIMO",
        "Mean over anomalous images of the share of the lesion that is found while hardly a pixel"
        " of a normal image is: one of 100,000 to one of 10,000.",
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
    "region_overlap_small": MetricWords(
        "PRO, small lesions", "PRO small", "PRO over the smallest third of the lesions."
    ),
    "region_overlap_medium": MetricWords(
        "PRO, medium lesions", "PRO medium", "PRO over the middle third of the lesions by size."
    ),
    "region_overlap_large": MetricWords(
        "PRO, large lesions", "PRO large", "PRO over the largest third of the lesions."
    ),
    "pooled_image_auroc": MetricWords(
        "Image AUROC, pooled",
        "Image AUROC, pooled",
        "Over a suite: an abnormal image of any benchmark against a normal one of any, each pair of"
        " benchmarks counted the same.",
    ),
    "pooled_image_auroc_across": MetricWords(
        "Image AUROC, across benchmarks",
        "Image AUROC, across",
        "The same where the two images are of different benchmarks: does a score mean the same"
        " everywhere?",
    ),
    "pooled_pixel_auroc": MetricWords(
        "Pixel AUROC, pooled",
        "Pixel AUROC, pooled",
        "The pooled AUROC of pixels, over the benchmarks with masks.",
    ),
    "pooled_pixel_auroc_across": MetricWords(
        "Pixel AUROC, across benchmarks",
        "Pixel AUROC, across",
        "The same where the two pixels are of different benchmarks.",
    ),
}

LOCALISATION_COLUMNS = ("image_auroc", "pixel_auroc", "pixel_pro")
DICE_COLUMNS = ("dice_at_0.5", "dice_at_valid", "dice_max")
# What a benchmark's own table shows, where some entry has it.
BENCHMARK_COLUMNS = (
    "image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_auroc_foreground", "pixel_ap",
    "pixel_pro", "pixel_pro_foreground", "pro_05", "aupimo", "dice_at_0.5", "dice_at_valid",
    "dice_at_fpr", "dice_max", "iou_max",
)  # fmt: skip

INDEPENDENT = (
    "an image whose patient is not known counts as a patient of its own, as the pack's maker states"
)
NOT_COMPARABLE = "not comparable with the paper"

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
ISOLATIONS = {"container": "in a container", "same user": "same user", "none": "not isolated"}
ISOLATION_MEANINGS = {
    "container": "No network, processes and memory of its own, a read-only root, no capability, a"
    " filter of system calls, and memory, processes and /tmp bounded.",
    "same user": "The same without the filter, or without a bound. Such a row ranks where its source"
    " was reviewed, on open packs alone.",
    "none": "The network, the namespaces, the root or the capabilities were open: a plain process.",
}

FAMILIES = (
    "reconstruction",
    "one-class",
    "teacher-student",
    "memory bank",
    "flow",
    "other",
    "trivial",
)
PRETRAINING = {
    "none": "none",
    "imagenet": "ImageNet",
    "medical": "medical",
    "other": "other, named",
}

LABELS = {
    "none": "no labels",
    "normal": "normal images",
    "abnormal": "abnormal images",
    "foreign": "other data's labels",
    "unknown": "labels unknown",
}
"""What a method had learned from before its runs (`harness.records.supervision.Labels`)."""
CONTAMINATIONS = {
    "none": "saw nothing of it",
    "images": "saw its images",
    "labels": "saw its labels",
    "unknown": "not known",
}
"""What its pretraining had seen of a benchmark."""

# The families by which the paper orders the methods of its tables.
PAPER_FAMILIES = {
    "fanogan": "reconstruction", "ganomaly": "reconstruction", "draem": "reconstruction",
    "utrad": "reconstruction", "deepsvdd": "one-class", "cutpaste": "one-class",
    "simplenet": "one-class", "mkd": "teacher-student", "rd4ad": "teacher-student",
    "stfpm": "teacher-student", "padim": "memory bank", "patchcore": "memory bank",
    "cfa": "memory bank", "cflow": "flow", "csflow": "flow",
}  # fmt: skip

# The methods of the board: those that the paper compares, and those that came after.
METHOD_GROUPS = {"bmad": "BMAD’s fifteen", "since": "Methods since BMAD"}
NO_METHOD = "Trivial baselines and look-ups"


def method_group(title: str, metadata: Mapping[str, object]) -> str:
    """Key of the group that a method belongs to, by its name; empty for what is no method.

    Args:
        title: the method's name, as its authors write it.
        metadata: what its entry declares; a trivial baseline is no method.
    """
    if is_trivial(metadata):
        return ""
    return "bmad" if method_key(title) in PAPER_FAMILIES else "since"


def method_key(title: str) -> str:
    """What two spellings of a method's name have in common: letters and digits, lower case."""
    return "".join(letter for letter in title.casefold() if letter.isalnum())


def benchmark_title(name: str) -> str:
    """What a reader calls the benchmark; a pack that is no known release of one, with its mark."""
    said = claimed_name(name)
    return BENCHMARK_TITLES.get(said, said) + name.removeprefix(said).replace(MARK, f" {MARK}")


def metric_words(metric_id: str) -> MetricWords:
    """The words for a metric; unknown ones are shown under their own name."""
    if metric_id in METRICS:
        return METRICS[metric_id]
    whole, colon, subclass = metric_id.partition(":")
    if colon and whole in METRICS:
        told = METRICS[whole]
        return MetricWords(
            f"{told.title}, {subclass}",
            f"{told.short}, {subclass}",
            f"{told.title} of the normal images against the anomalous ones of {subclass} alone.",
        )
    return MetricWords(metric_id, metric_id, "")


def benchmark_order(name: str) -> tuple[int, str]:
    """Sort key: the six in the paper's order, then others by name, the demonstration last."""
    if name in SIX:
        return SIX.index(name), name
    return (len(SIX) + 1 if name == DEMO else len(SIX)), name


def family(declared: object) -> str:
    """The family that an entry declares, where it is a known one, else `other`."""
    return declared if isinstance(declared, str) and declared in FAMILIES else "other"


def family_place(declared: object) -> int:
    """Number of the family's colour."""
    return FAMILIES.index(family(declared))


def pretraining(declared: object) -> str:
    """Key of the pretraining filter: what an entry declares may say more than its kind."""
    if not isinstance(declared, str) or not declared:
        return "none"
    first = declared.casefold().replace("(", " ").replace(",", " ").split()[:1]
    return first[0] if first and first[0] in PRETRAINING else "other"
