"""The baselines that take a backbone of one's own, and settings that run in minutes on one core."""

from __future__ import annotations

from harness.common.paths import BASELINES
from harness.entries.entry import Entry
from harness.entries.opening import open_folder

# Of every method that has the parameter.
SHORTENED: dict[str, object] = {"image_size": 128, "epochs": 6, "checkpoint_every_epochs": 3}
# Of single methods: their own sizes where there is no training, and shorter ones elsewhere; smaller
# batches where those of the paper leave a few epochs two steps each.
SETTINGS: dict[str, dict[str, object]] = {
    "padim": {"image_size": 224},
    "patchcore": {"image_size": 224, "cpu_max_patches": 10000},
    "cfa": {"epochs": 4, "checkpoint_every_epochs": 2},
    "stfpm": {"batch_size": 8, "epochs": 8, "checkpoint_every_epochs": 4},
    "rd4ad": {"batch_size": 8, "epochs": 4, "checkpoint_every_epochs": 2},
    "supersimplenet": {"batch_size": 8},
    "recontrast": {
        "batch_size": 8,
        "epochs": 4,
        "steps_per_epoch": 20,
        "checkpoint_every_epochs": 2,
    },
    "uniad": {"learning_rate": 0.001},
    "simplenet": {"passes_per_epoch": 1, "pooled_dims": 256},
    # Batches of 64 vectors are made for a GPU; larger ones, and larger steps.
    "cflow": {"coupling_blocks": 4, "fibre_batch_size": 1024, "learning_rate": 0.001},
    "cs-flow": {
        "native_map": True,
        "batch_size": 16,
        "hidden_channels": 128,
        "learning_rate": 0.001,
        "epochs": 8,
        "checkpoint_every_epochs": 4,
    },
    "cutpaste": {
        "native_map": True,
        "batch_size": 16,
        "epochs": 4,
        "steps_per_epoch": 4,
        "checkpoint_every_epochs": 2,
        "frozen_epochs": 2,
    },
    "utrad": {
        "image_size": 64,
        "levels": 2,
        "width": 128,
        "heads": 4,
        "feed_forward": 256,
        "layers_per_level": 1,
        "epochs": 30,
        "checkpoint_every_epochs": 15,
        "learning_rate": 0.001,
    },
}
# Several backbones are named in their table, and one's own is not among what they take.
RESNETS_ALONE = {
    "fastflow": "anomalib builds its network on the backbones that it lists, and on no other"
}


def exchangeable() -> list[Entry]:
    """The baselines that `--set backbone=…` can give a backbone of one's own."""
    found = [open_folder(table.parent) for table in sorted(BASELINES.glob("*/entry.toml"))]
    return [
        entry
        for entry in found
        if len(entry.table.backbones) > 1
        and "backbone" in entry.document["params"]
        and entry.name not in RESNETS_ALONE
    ]


def shortened(entry: Entry) -> dict[str, object]:
    """What is set, beside backbone and weights, for a run of minutes."""
    params = entry.document["params"]
    general = {name: value for name, value in SHORTENED.items() if name in params}
    return {**general, **SETTINGS.get(entry.name, {})}


def as_text(settings: dict[str, object]) -> dict[str, str]:
    """Settings as `--set` takes them."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }
