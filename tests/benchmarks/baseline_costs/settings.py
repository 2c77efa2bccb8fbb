"""The settings under which a baseline is measured: preset `bmad` at full size, weights random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.entries.entry import Entry

# Random weights cost what pretrained ones do, and nothing is downloaded. They might diverge under
# rates that suit pretrained ones, so hardly anything is learned, at the same cost. CutPaste's
# backbone is frozen in the first 20 of 256 steps: what the others cost is measured.
RATES = (
    "learning_rate", "pretraining_learning_rate", "adaptor_learning_rate",
    "discriminator_learning_rate",
)  # fmt: skip
LAID_OVER = {"weights": "random", "frozen_epochs": 0, **dict.fromkeys(RATES, 1e-9)}
# Parameters that decide what a step, an image or a pass costs. What is measured under other
# values of these says nothing; how long a training lasts (epochs) is no part of it.
COSTLY = (
    "image_size", "backbone", "layers", "precision", "native_map",
    "fibre_batch_size", "steps_per_epoch", "passes_per_epoch",
    "width", "reconstruction_width", "segmentation_width", "hidden", "hidden_channels",
    "coupling_blocks", "condition_dims", "code_size", "dimensions", "pooled_dims", "descriptor",
    "projection_dims", "coreset_ratio", "channels_resnet18", "max_patches", "cpu_max_patches",
    "anomalies", "textures", "cloner", "wide_bottleneck", "levels", "layers_per_level",
    "feed_forward", "bottleneck", "window", "heads", "places_per_centroid", "critic_steps",
)  # fmt: skip


def full_size(entry: Entry, benchmark: str, **changes: Any) -> dict[str, Any]:
    """Hyper-parameters of the preset `bmad` for a benchmark, and changes where they exist."""
    params = dict(entry.settings(benchmark, preset="bmad").params)
    return params | {
        name: value for name, value in {**LAID_OVER, **changes}.items() if name in params
    }


def batched(params: Mapping[str, Any], most: int | None) -> dict[str, Any]:
    """The same with batches of at most so many images, in every phase."""
    changes = {
        name: min(value, most)
        for name, value in params.items()
        if name in ("batch_size", "pretraining_batch_size") and most
    }
    return {**params, **changes}


def costly(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters whose values decide a cost; batches of other sizes cost little else an image."""
    return {name: params[name] for name in COSTLY if name in params}
