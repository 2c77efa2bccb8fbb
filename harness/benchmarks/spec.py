"""What a benchmark is, before any image is read: counts, names, patients, licence, known leaks.

Trap: a spec describes the benchmark as published. A folder on disk may differ from it;
what was really found stands in the pack's card (`card.py`), never here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SPLITS = ("train", "valid", "test")
GROUP_UNITS = ("patient", "volume", "slide")

SplitPair = Literal["train+valid", "train+test", "valid+test"]


@dataclass(frozen=True)
class SplitCounts:
    """Images per split and class; train is normal only."""

    train: int
    """Normal training images."""
    valid_normal: int
    """Normal validation images."""
    valid_anomalous: int
    """Anomalous validation images."""
    test_normal: int
    """Normal test images."""
    test_anomalous: int
    """Anomalous test images."""

    @property
    def totals(self) -> tuple[int, int, int]:
        """Images in train, valid and test."""
        return (
            self.train,
            self.valid_normal + self.valid_anomalous,
            self.test_normal + self.test_anomalous,
        )


@dataclass(frozen=True)
class KnownCounts:
    """Counts that somebody published or that a rule gives."""

    origin: str
    """Where the counts come from."""
    counts: SplitCounts
    """The counts."""


@dataclass(frozen=True)
class NameReading:
    """What a file name says about its image."""

    group: str | None = None
    """Patient, volume or slide; None where no rule matched."""
    unit: str | None = None
    """Which of `GROUP_UNITS` `group` is."""
    subclass: str | None = None
    """Kind of anomaly; None where the name does not say."""

    def under(self, stated: NameReading | None) -> NameReading:
        """What is stated elsewhere, and the name's word where nothing is."""
        if stated is None:
            return self
        own = self if stated.group is None else stated
        return NameReading(own.group, own.unit, stated.subclass or self.subclass)


@dataclass(frozen=True)
class BenchmarkSpec:
    """One benchmark as published. Every file in `harness/benchmarks/specs/` exports one as `SPEC`."""

    name: str
    """Name used on the command line, in records and on the site."""
    title: str
    """One line for readers."""
    modality: str
    """How the images were acquired."""
    folders: tuple[str, ...]
    """Folder names under which it is found, normalised by `folder_key`."""
    has_masks: bool
    """Whether abnormal images come with a pixel mask."""
    image_size: tuple[int, int] | None
    """Height and width where all images share one, else None."""
    table1: tuple[int, int, int] | None
    """Images in train, valid and test by Table 1 of the paper; None outside the paper."""
    counts: tuple[KnownCounts, ...] = ()
    """Known counts per split and class, the expected ones first."""
    generated: tuple[str, ...] = ()
    """Digests of its packs where they are generated here: known releases without a list."""
    name_rules: tuple[str, ...] = ()
    """Regular expressions tried in turn on a file name without extension. The first that matches
    from start to end counts: its group `patient` (or `volume`, `slide`, where that is all a name
    tells) says whose image it is, its group `subclass` what kind; both are optional."""
    subclasses: tuple[str, ...] = ()
    """Names that `subclass` may give for abnormal images."""
    shared_images: tuple[SplitPair, ...] = ()
    """Pairs of splits known to share identical images in the release."""
    licence: str = ""
    """Licence of the images."""
    citation: str = ""
    """What to cite."""
    source: str = ""
    """Where the images come from (URL)."""
    access: str = ""
    """What a user needs before the download: registration, size."""
    registration: str = ""
    """Whether an account or an agreement is needed, and which."""
    download: str = ""
    """Size of the download."""
    geography: str = ""
    """Where the patients come from, as far as it is known."""
    may_show_images: bool = False
    """Whether a published site may show the images."""
    show_evidence: str = "nobody has shown that the terms allow it"
    """Why the images may, or may not, be shown."""
    known_leaks: tuple[str, ...] = ()
    """Facts that make scores too good, one sentence each."""
    remarks: tuple[str, ...] = ()
    """Other facts that a reader of the scores needs, one sentence each."""

    def matches_folder(self, name: str) -> bool:
        """Whether a folder of this name is known to hold this benchmark."""
        return folder_key(name) in self.folders


def folder_key(name: str) -> str:
    """A folder's name in the form that `BenchmarkSpec.folders` uses.

    Case, `-`, blanks and the `_AD` that BMAD's archives append make no difference.
    """
    key = re.sub(r"[-\s]+", "_", name.strip().lower())
    return key.removesuffix("_ad")


def read_name(stem: str, rules: Sequence[str]) -> NameReading:
    """Patient (volume, slide) and subclass of a file name without extension, by the first rule that matches."""
    for rule in rules:
        found = re.fullmatch(rule, stem)
        if found is not None:
            groups = found.groupdict()
            unit = next((unit for unit in GROUP_UNITS if groups.get(unit)), None)
            return NameReading(groups[unit] if unit else None, unit, groups.get("subclass"))
    return NameReading()
