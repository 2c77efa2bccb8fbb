"""The invented methods of the example, and what decides their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.records.record import content_hash

Samples = NDArray[np.float64]
NAMES = (
    "Heron", "Kestrel-AD", "Alder Flow", "Otter", "Birchbark", "NightJar", "Saltmarsh++", "Plover",
    "Lichen", "Wren-S", "Wren-L", "Ironwood", "Curlew", "Tern", "Dogwood Memory", "Sedge", "Moth",
    "Fieldfare", "Hazel-KD", "Bittern", "Rowan", "Siskin", "Teal", "Yarrow", "Dunlin", "Gannet",
    "Juniper", "Knot", "Linnet", "Mistle", "Nuthatch", "Osprey", "Pipit", "Quail", "Redstart",
    "A Rather Long Method Name for Unsupervised Localisation",
)  # fmt: skip
FAMILIES = ("memory bank", "teacher-student", "reconstruction", "flow", "one-class")
NOTHING = {
    "shots_normal": 0, "shots_abnormal": 0, "foreign_labels": (),
    "contamination": {"default": "none"},
}  # fmt: skip
SUPERVISION: dict[str, dict[str, Any] | None] = {
    "Plover": NOTHING | {"shots_normal": 4, "shots_abnormal": 4},
    "Otter": NOTHING | {"foreign_labels": ("VisA:test", "MVTec AD:test")},
    "Saltmarsh++": NOTHING | {"contamination": {"default": "none", "brain": "images"}},
    "Birchbark": NOTHING | {"contamination": {"default": "unknown"}},
    "Wren-S": None,
    "Canary": NOTHING | {
        "shots_normal": "all", "shots_abnormal": "all", "contamination": {"default": "labels"},
    },
}  # fmt: skip
"""What some of them had learned from; all others from nothing."""
PRETRAINING = ("ImageNet", "none", "ImageNet", "medical (RadImageNet)")


@dataclass(frozen=True)
class Method:
    """One invented entry."""

    name: str
    """Name on the board."""
    title: str
    """Name of the method."""
    quality: float
    """0 to 1; decides its numbers."""
    has_maps: bool
    """Whether it answers with maps."""
    seconds: float
    """Median seconds per image."""
    gpu_mib: float
    """Peak GPU memory."""
    metadata: dict[str, Any]
    """What it declares of itself."""
    track: str = "trained-here"
    """How it was made."""
    is_same_user: bool = False
    """It ran where memory and processes were not bounded."""

    @property
    def supervision(self) -> dict[str, Any] | None:
        """What it had learned from, as it declares it."""
        return SUPERVISION.get(self.title, NOTHING)

    @property
    def is_trivial(self) -> bool:
        """Whether it looks at one number, or looks images up: it has no regime."""
        return bool(self.metadata["family"] == "trivial")

    @property
    def trains(self) -> bool:
        """Whether it has a training curve."""
        return self.metadata["family"] not in ("memory bank", "trivial")


def generator(*parts: object) -> np.random.Generator:
    """Random numbers that depend on these parts alone."""
    return np.random.default_rng(int(content_hash(list(map(str, parts)))[7:23], 16))


def methods() -> Iterator[Method]:
    """All of them: the field from the best down, the trivial ones, the canary."""
    for place, title in enumerate(NAMES):
        draw = generator("method", title)
        family = FAMILIES[place % len(FAMILIES)]
        yield Method(
            name=title.lower().replace("++", "-pp").replace(" ", "-")[:40],
            title=title,
            quality=float(0.97 - 0.4 * (place / len(NAMES)) ** 1.3 + draw.normal(0, 0.01)),
            has_maps=family != "one-class",
            seconds=float(10 ** draw.uniform(-2.3, 0.3)),
            gpu_mib=float(10 ** draw.uniform(2.7, 4.4)),
            track="open" if place % 12 == 7 else "trained-here",
            is_same_user=place % 12 == 6,
            metadata={
                "family": family,
                "pretraining": PRETRAINING[place % len(PRETRAINING)],
                "authors": ["An Invented Author", "Another One"],
                "paper": "https://example.org/made-up",
                "code": "https://example.org/made-up/code",
                "licence": "Apache-2.0",
                "description": "An invented method, for looking at the pages.",
                "deviations": [{"what": "Everything is made up.", "why": "This is an example."}],
                "withdrawn": "its authors found an error" if title == "Knot" else "",
            },
        )
    for name, title, quality in (
        ("trivial-mean-grey", "Mean grey", 0.62),
        ("trivial-deviation", "Standard deviation", 0.6),
        ("trivial-foreground", "Foreground area", 0.58),
        ("canary", "Canary", 0.999),
    ):
        yield Method(
            name, title, quality, has_maps=True, seconds=0.002, gpu_mib=0.0,
            track="open" if name == "canary" else "trained-here",
            metadata={"family": "trivial", "pretraining": "none"},
        )  # fmt: skip
