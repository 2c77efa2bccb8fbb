"""Ways of counting one and the same answers, as published code of this field has them.

Each way takes a run's maps and masks and gives those that are counted in its place. Image
scores are the largest value of the counted map throughout, so that a way that changes the map
changes them too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from harness.metrics import GroundTruth, RunScorer, TruthImage
from harness.metrics.kernels.resize import PAPER_SIDE, nearest_rows, to_paper_grid

CROPPED = 224
METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pixel_pro", "dice_at_0.5", "dice_max")


@dataclass(frozen=True)
class Answers:
    """What a method answered on a test split, and the truth."""

    maps: np.ndarray
    """(N, H, W) float32."""
    masks: np.ndarray
    """(N, H, W) uint8: 255 where anomalous; between 0 and 255 where a way of counting says so."""
    is_anomalous: np.ndarray
    """(N,) bool: what each image is called, whatever its mask holds."""


def at_paper_size(answers: Answers) -> Answers:
    """At 256x256: maps bilinearly, masks by the nearest pixel, as the harness's paper grid."""
    rows, columns = (nearest_rows(side) for side in answers.masks.shape[1:])
    return Answers(
        np.stack([to_paper_grid(each) for each in answers.maps]),
        np.stack([mask[rows][:, columns] for mask in answers.masks]),
        answers.is_anomalous,
    )


def masks_bilinear(answers: Answers, least: int) -> Answers:
    """At 256x256, masks resized bilinearly; what reaches `least` of 255 counts as anomalous."""
    size = (PAPER_SIDE, PAPER_SIDE)
    masks = [
        np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR))
        for mask in answers.masks
    ]
    counted = (np.stack(masks) >= least).astype(np.uint8) * 255
    return Answers(at_paper_size(answers).maps, counted, answers.is_anomalous)


def core_alone(answers: Answers) -> Answers:
    """The inner half of each image's anomalous area alone, as where the rest is below 255.

    A stand-in for masks that hold several labels as grey values: what lies deepest counts.
    """
    masks = np.zeros_like(answers.masks)
    for counted, mask in zip(masks, answers.masks, strict=True):
        depth = distance_transform_edt(mask)
        if mask.any():
            counted[depth > np.median(depth[mask > 0])] = 255
    return Answers(answers.maps, masks, answers.is_anomalous)


def centre_crop(answers: Answers) -> Answers:
    """The middle 224x224 of 256x256: what lies outside is not seen, and not asked for."""
    whole, start = at_paper_size(answers), (PAPER_SIDE - CROPPED) // 2
    middle = slice(start, start + CROPPED)
    return Answers(
        whole.maps[:, middle, middle], whole.masks[:, middle, middle], whole.is_anomalous
    )


def scaled_per_image(answers: Answers) -> Answers:
    """Each map from 0 to 1 by its own least and largest value."""
    low, high = (extreme(answers.maps, axis=(1, 2), keepdims=True) for extreme in (np.min, np.max))
    scaled = (answers.maps - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return Answers(scaled.astype(np.float32), answers.masks, answers.is_anomalous)


REFERENCE = "native size, mask above 0, raw maps"
WAYS: dict[str, Callable[[Answers], Answers]] = {
    REFERENCE: lambda answers: answers,
    "at 256x256": at_paper_size,
    "at 256x256, bilinear masks, 255 alone counts": partial(masks_bilinear, least=255),
    "at 256x256, bilinear masks, from a tenth of 255": partial(masks_bilinear, least=26),
    "the inner half of each mask alone": core_alone,
    "centre crop of 224 in 256": centre_crop,
    "each map from 0 to 1": scaled_per_image,
}


def measured(answers: Answers) -> dict[str, float]:
    """The harness's own metrics of the answers, without intervals; undefined ones left out."""
    images = np.ones(answers.maps.shape[1:], np.uint8)  # no metric here asks for the foreground
    keys = [f"{number:05}" for number in range(len(answers.maps))]
    truth = GroundTruth.compile(
        [
            TruthImage(key, bool(label), key, None, lambda: images, lambda mask=mask: mask > 0)
            for key, label, mask in zip(keys, answers.is_anomalous, answers.masks, strict=True)
        ],
        has_masks=True,
    )
    with tempfile.TemporaryDirectory() as spool:
        scorer = RunScorer(
            truth, None, spool=Path(spool), maps=True, intervals=False, grids=("native",)
        )
        for key, anomaly_map in zip(keys, answers.maps, strict=True):
            scorer.add("test", key, float(anomaly_map.max()), anomaly_map)
        found = scorer.finish().metrics
    return {each.id: each.value for each in found if each.id in METRICS and each.value is not None}
