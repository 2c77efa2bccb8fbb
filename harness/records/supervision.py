"""What a method had learned from before a run: labels, and the benchmarks' own images.

What a run gives an entry is the run's regime, and the harness knows it. What it brings along only its
author knows: he declares it, in a fixed form, so that rows can be told apart by it. Two published
ways of counting are the reason: a «4-shot» method that used four normal images and four abnormal
ones, and a «zero-shot» one that was trained on the labelled test splits of other benchmarks.
Trap: nothing here is measured; `unknown` is an answer, and what it says of nobody is not `none`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from harness.records.parts import Part

UNKNOWN: Literal["unknown"] = "unknown"
EVERY_OTHER = "default"
"""In the table of contamination: every pack that is not named there."""
_DATASET_SPLIT = re.compile(r"[^:\s][^:]{0,98}:[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_PACK = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MOST_NAMED = 50


class Contamination(StrEnum):
    """What of a pack the pretraining saw, the least first; `unknown` is no less than `images`."""

    NONE = "none"
    IMAGES = "images"
    UNKNOWN = "unknown"
    LABELS = "labels"


class Labels(StrEnum):
    """What labels a method had learned from, in one word: what rows are filtered by."""

    NONE = "none"
    NORMAL = "normal"
    """Normal images of the benchmarks alone."""
    ABNORMAL = "abnormal"
    """Abnormal images of the benchmarks too."""
    FOREIGN = "foreign"
    """Labels of other data, and none of the benchmarks' abnormal images."""
    UNKNOWN = "unknown"


def _not_a_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, all or unknown")  # noqa: TRY004 - pydantic's
    return value


Shots = Annotated[
    Annotated[int, Field(ge=0, le=10**9)] | Literal["all", "unknown"], BeforeValidator(_not_a_truth)
]
"""A number of images of a benchmark, `all` of its split, or `unknown`."""


class Supervision(Part):
    """`[supervision]` of an entry.toml or a submission file; what is not said is `unknown`."""

    shots_normal: Shots = UNKNOWN
    """Normal images of a benchmark that it had learned from, or was tuned on, before it came."""
    shots_abnormal: Shots = UNKNOWN
    """Abnormal ones, with or without their masks."""
    foreign_labels: tuple[str, ...] | Literal["unknown"] = UNKNOWN
    """Other labelled anomaly data that it learned from, each as `data set:split`; empty = none."""
    contamination: dict[str, Contamination] = Field(default_factory=dict)
    """By pack, what of it the pretraining of the method or of its backbone saw; `default` = every
    other pack."""

    @field_validator("foreign_labels")
    @classmethod
    def _name_their_splits(cls, told: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if isinstance(told, str):
            return told
        if len(told) > MOST_NAMED:
            raise ValueError(f"at most {MOST_NAMED} are named")
        if wrong := [each for each in told if not _DATASET_SPLIT.fullmatch(each)]:
            raise ValueError(f"{wrong[0]!r} does not read as 'data set:split', such as 'VisA:test'")
        return told

    @field_validator("contamination")
    @classmethod
    def _of_packs(cls, told: dict[str, Contamination]) -> dict[str, Contamination]:
        if len(told) > MOST_NAMED:
            raise ValueError(f"at most {MOST_NAMED} packs are named")
        if wrong := [name for name in told if not _PACK.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is no name of a pack")
        return told

    def of_pack(self, benchmark: str) -> Contamination:
        """What the pretraining saw of a pack, by the name that it claims (no mark of a release)."""
        every_other = self.contamination.get(EVERY_OTHER, Contamination.UNKNOWN)
        return self.contamination.get(benchmark, every_other)

    @property
    def labels(self) -> Labels:
        """In one word; what would be worse to leave unsaid comes first."""
        if self.shots_abnormal not in (0, UNKNOWN):
            return Labels.ABNORMAL
        if self.foreign_labels and self.foreign_labels != UNKNOWN:
            return Labels.FOREIGN
        if UNKNOWN in (self.shots_abnormal, self.foreign_labels, self.shots_normal):
            return Labels.UNKNOWN
        return Labels.NORMAL if self.shots_normal else Labels.NONE

    @property
    def told(self) -> str:
        """In one line, for a terminal, a table and a page."""
        foreign = self.foreign_labels
        listed = foreign if isinstance(foreign, str) else ", ".join(foreign) or "none"
        return (
            f"shots: {self.shots_normal} normal, {self.shots_abnormal} abnormal; foreign labels:"
            f" {listed}; its pretraining saw of the packs: {self._seen}"
        )

    @property
    def _seen(self) -> str:
        others = self.contamination.get(EVERY_OTHER, Contamination.UNKNOWN).value
        named = [
            f"{what.value} of {pack}"
            for pack, what in self.contamination.items()
            if pack != EVERY_OTHER
        ]
        return ", ".join([*named, f"{others} of the others"]) if named else others


NOT_SAID = Supervision()
"""Of an entry that declares nothing, and of every record of an older harness."""


def worst(found: Mapping[str, Contamination] | list[Contamination]) -> Contamination:
    """The one that a reader must know of; `unknown` where nothing is given."""
    order = list(Contamination)
    values = list(found.values()) if isinstance(found, Mapping) else found
    return max(values, key=order.index, default=Contamination.UNKNOWN)
