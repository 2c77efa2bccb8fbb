"""What a benchmark's file must say, and the records that go between it and the machinery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from harness.benchmarks.card import Variant
from harness.benchmarks.pixels import Mask, Pixels
from harness.benchmarks.prepare.raw import Listing, RawFile
from harness.benchmarks.problems import Problem

Split = Literal["train", "valid", "test"]
Detail = str | int | float
SPLIT_ORDER: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Options:
    """What is asked for. The salt is a secret: it is shown nowhere, and workers never get it."""

    raw: tuple[Path, ...]
    """Folders of the download."""
    variant: Variant = "paper"
    """Rule of the split."""
    salt: str | None = field(default=None, repr=False)
    """Secret of a `resplit`."""
    modality: str = "flair"
    """Brain: `flair`, `t1`, `t1ce` or `t2`."""
    slices: tuple[int, int] = (60, 100)
    """Brain: first slice and the one after the last."""
    window: str | tuple[float, float] = "code"
    """Liver: `code`, `paper-text`, or the two ends in HU."""
    is_processed: bool = True
    """Liver: whether all but the liver is blackened and the liver equalised."""
    lits_volumes: tuple[int, ...] = tuple(range(11))
    """Liver: numbers of the LiTS volumes."""
    volume_slices: int = 128
    """RESC: slices of every volume."""
    valid_rule: Literal["released", "paper-text"] = "released"
    """RSNA: sizes of the validation split."""
    nih_mapping: Path | None = None
    """RSNA: the file that says which patient an image is of."""
    xml: Path | None = None
    """Camelyon16: folder of annotations, for an audit of the labels."""
    name: str = ""
    """Folder: name of the pack."""
    patient_rule: str = ""
    """Folder: regular expression on file names with the group `patient`."""
    shares: tuple[float, float] = (0.1, 0.3)
    """Folder: shares of the normal images' patients that go to valid and to test."""
    size: tuple[int, int] | None = None
    """Folder: width and height of every image; None takes them as they are."""
    is_hidden: bool = False
    """Folder: whether the pack is sealed."""
    is_independent: bool = False
    """Folder: whether the maker states that every image is of a patient of its own."""
    accepted: tuple[str, ...] = ()
    """Reasons that are no errors here (`acceptance.ACCEPTABLE`), sorted."""

    def rank_salt(self, benchmark: str) -> str:
        """The public salt of a benchmark, or the secret one of a `resplit`."""
        if self.variant == "resplit":
            if self.salt is None:
                raise ValueError("a resplit without its salt")
            return self.salt
        return f"bmad-{benchmark}-v1"

    def for_workers(self) -> Options:
        """The same without the secret."""
        return replace(self, salt=None)


@dataclass(frozen=True)
class Item:
    """One image that a case can give."""

    key: str
    """Stable name of the source, such as `00003_60`; unique in the benchmark."""
    case: str
    """Key of its case."""
    is_anomalous: bool
    """Label."""
    group: str | None
    """Patient (volume, slide); None where nothing tells."""
    subclass: str | None = None
    """Kind of anomaly."""
    pool: str = ""
    """Where it stands in the source: the part of it, the collection."""
    at: tuple[int, ...] = ()
    """Where it lies in the case's files: a slice, a position."""
    details: tuple[tuple[str, Detail], ...] = ()
    """What else the manifest should hold."""


@dataclass(frozen=True)
class Case:
    """What a worker reads as a whole: a volume, a slide, or one image."""

    key: str
    """Stable name; unique in the benchmark."""
    stratum: str
    """Cases of all strata are taken in turn where only some are wanted."""
    files: Mapping[str, RawFile]
    """Raw files by what they are, such as `flair` and `seg`."""
    items: tuple[Item, ...] | None = None
    """Its images, where file names and tables tell; None: the case must be opened first."""


@dataclass(frozen=True)
class Survey:
    """What lies in the raw folders, by names and tables alone."""

    cases: tuple[Case, ...]
    """Sorted by key."""
    problems: tuple[Problem, ...] = ()
    """Everything that is missing, doubled or unknown."""
    remarks: tuple[str, ...] = ()
    """What a reader of the pack should know of this download."""
    listing: Listing | None = None
    """All files of the download, where those that no case uses are to be counted."""
    tables: tuple[str, ...] = ()
    """Names of the tables among them that were read."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Files that are not used, by reason, where the survey tells."""
    accepted: tuple[str, ...] = ()
    """Reasons that were met and are accepted."""


@dataclass(frozen=True)
class Placed:
    """An image and where it goes."""

    item: Item
    """Which."""
    split: Split
    """`train`, `valid` or `test`."""
    name: str
    """File name without ending; unique in its split and class."""


@dataclass(frozen=True)
class Assigned:
    """The split of all images."""

    placed: tuple[Placed, ...]
    """Images that are in the pack."""
    problems: tuple[Problem, ...] = ()
    """What contradicts the rule."""
    remarks: tuple[str, ...] = ()
    """What was left out, and why."""


@dataclass(frozen=True)
class RawPicture:
    """One image as the pack holds it."""

    key: str
    """Key of its item."""
    pixels: Pixels
    """uint8 [H, W] or [H, W, 3]."""
    mask: Mask | None = None
    """bool [H, W] of an abnormal image where the benchmark has masks."""


@dataclass(frozen=True)
class About:
    """What the pack's card says of this way of preparing, beyond the benchmark's spec."""

    suffix: str = ""
    """Appended to the pack's name where the images are not the benchmark's own."""
    modality: str | None = None
    """Where it is another one than the spec's."""
    is_disjoint: bool = False
    """Whether the `paper` variant too has no patient in two splits."""
    known_leaks: tuple[str, ...] = ()
    """Facts that make scores too good."""
    remarks: tuple[str, ...] = ()
    """Other facts."""


def split_named(name: str) -> Split:
    """The split of that name.

    Raises:
        ValueError: there is none.
    """
    for split in SPLIT_ORDER:
        if split == name:
            return split
    raise ValueError(f"{name!r} is no split")


class Unusable(Exception):
    """A raw file or case cannot be used.

    Args:
        problems: every reason.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = problems


class Recipe(Protocol):
    """A benchmark's file: these names at its top level."""

    VERSION: int
    """Raised when pixels or splits change."""
    GROUP_UNIT: str
    """`patient`, `volume` or `slide`: what `Item.group` is."""

    def survey(self, options: Options, /) -> Survey:
        """Sort the raw files into cases; nothing but tables is opened."""
        ...

    def index(self, case: Case, options: Options, /) -> tuple[Item, ...]:
        """The images of a case that must be opened.

        Raises:
            Unusable: a file is damaged, or not what it should be.
        """
        ...

    def assign(self, items: Sequence[Item], options: Options, /) -> Assigned:
        """The split; `items` are sorted by key."""
        ...

    def render(
        self, case: Case, placed: Sequence[Placed], options: Options, /
    ) -> Iterator[RawPicture]:
        """The pixels of a case's images, in the order of `placed`.

        Raises:
            Unusable: a file is damaged, or not what it should be.
        """
        ...

    def totals(self, items: Sequence[Item], /) -> Mapping[str, int]:
        """Numbers of the source that are known: `expected.py` holds what they should be."""
        ...

    def about(self, options: Options, /) -> About:
        """What the card says."""
        ...
