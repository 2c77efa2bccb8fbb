"""What the site is made of, as plain frozen data: rows, and what lies beside the records.

Everything here was computed elsewhere (`statistics`, `comparisons`, `curves`, `gallery`,
`standings`); the pages only format it. Nothing here imports numpy or an image library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from harness.board.change_log import ChangeLog
from harness.board.comparison import Comparison
from harness.board.few_shot_curves import FewShotCurve
from harness.board.local_comparison import LocalComparison
from harness.board.rows import Row
from harness.board.siblings import SiblingDifference
from harness.board.suite_rows import WholeRow
from harness.records.record import Grid, Record

CurveKind = Literal["roc", "precision_recall", "pro"]
Role = Literal["best", "median", "worst", "false alarm", "same", "hard"]
"""What a picture was chosen for; the rules stand in `harness.board.gallery`."""


@dataclass(frozen=True)
class BandedCurve:
    """One curve of a run with its confidence band; all numbers are shares from 0 to 1."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: CurveKind
    """ROC: false- against true-positive rate; PRO: the same rate against region overlap;
    precision-recall: recall against precision."""
    grid: Grid | None
    """None: image scores; `native`: pixels."""
    x: tuple[float, ...]
    """Ascending; every point lies on the exact curve."""
    y: tuple[float, ...]
    """As many."""
    band_x: tuple[float, ...] = ()
    """Where the band is known; empty without one."""
    low: tuple[float, ...] = ()
    """Lower edge of the pointwise 95 % band over patients or images."""
    high: tuple[float, ...] = ()
    """Upper edge."""


@dataclass(frozen=True)
class RunCurves:
    """The curves of one run: `seed-<n>.curves.json` beside its record."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    run_key: str
    """Run key of the record."""
    evidence: str
    """Hash of the evidence that they were made from: the one that the record names."""
    unit: Literal["patient", "image"]
    """What was resampled for the bands."""
    units: int
    """How many of them."""
    curves: tuple[BandedCurve, ...]
    """Of the image scores, then of the pixels."""
    schema_version: Literal[1] = 1
    """Version of this file's format."""


@dataclass(frozen=True)
class Picture:
    """One test image as a run answered it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    role: Role
    """Why it was chosen."""
    image: str
    """Public id of the image: the same in every run on the pack version, and no file name."""
    is_anomalous: bool
    """Label."""
    subclass: str | None
    """Kind of anomaly, where the pack knows it."""
    score: float
    """The run's image score."""
    beyond: float | None
    """Share of the other class on the wrong side of this score: of the normal test images that
    score higher than a lesion, of the lesion images that score lower than a normal one."""
    localisation: float | None
    """AUROC of the map within this image; None without a lesion or a map."""
    size: tuple[int, int]
    """Height and width of the files in pixels."""
    shown: str
    """File of the image."""
    truth: str | None
    """File of the image with the contour of its lesion; None without a mask."""
    map: str | None
    """File of the heat map with the same contour; None for a run without maps."""
    lesion: float | None = None
    """Share of the image's pixels in its lesion mask, 0 to 1; None without a mask."""
    is_called: bool | None = None
    """Whether the run calls the image anomalous: its score is at or above the card's `threshold`;
    None without a threshold."""
    found: float | None = None
    """Share of the lesion's pixels at or above the card's `map_threshold`; None without a lesion, a
    map or a threshold."""
    outlined: str | None = None
    """File of the image with hits, misses and false alarms by pixel as outlines that differ in dash
    and colour; None without a mask, a map or a threshold."""


@dataclass(frozen=True)
class GalleryCard:
    """The pictures of one run: `seed-<n>.gallery/gallery.json` beside its record."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    run_key: str
    """Run key of the record."""
    low: float | None
    """Smallest value of the run's maps: the dark end of the colour scale."""
    high: float | None
    """Largest value of the run's maps: the bright end."""
    chosen_by: Literal["map", "score"]
    """Whether best, median and worst go by the map within the image, or by the image score."""
    drawn: int
    """Number of anomalous images among which the median was found."""
    pictures: tuple[Picture, ...]
    """By role, in the order of `Role`."""
    schema_version: Literal[1, 2] = 2
    """Version of this file's format; 1 has none of the fields that follow, nor those of a picture
    with a default."""
    threshold: float | None = None
    """Image score from which the run calls an image anomalous; None without both classes."""
    threshold_from: Literal["validation", "test"] | None = None
    """The split on whose images `threshold` was chosen; None without one."""
    map_threshold: float | None = None
    """Map value of the best Dice on the validation split, the one behind `dice_at_valid`; None
    without one."""
    is_local: bool = False
    """Pictures of a pack whose images may not be shown: watermarked, for the machine that they were
    made on, never published."""


@dataclass(frozen=True)
class Gallery:
    """The pictures of one run, where they lie."""

    card: GalleryCard
    """What they show."""
    files: Mapping[str, bytes] | Path
    """Content by file name, or the folder that holds the files."""

    def content(self, name: str) -> bytes:
        """The bytes of a picture's file.

        Raises:
            OSError, KeyError: it is not there.
        """
        if isinstance(self.files, Path):
            return (self.files / name).read_bytes()
        return self.files[name]


@dataclass(frozen=True)
class BenchmarkCard:
    """What a reader should know of a benchmark, as published."""

    name: str
    """Name of the benchmark."""
    title: str
    """One line."""
    modality: str
    """How the images were acquired."""
    has_masks: bool
    """Whether lesions are marked in pixels."""
    table1: tuple[int, int, int] | None
    """Images in train, valid and test by the paper's Table 1."""
    licence: str
    """Licence of the images."""
    citation: str
    """What to cite."""
    source: str
    """Where the images come from."""
    access: str
    """What one needs to get them."""
    may_show_images: bool
    """Whether a published site may show the images."""
    show_evidence: str
    """Why, or why not."""
    known_leaks: tuple[str, ...]
    """Facts that make scores too good."""
    remarks: tuple[str, ...]
    """Other facts."""


@dataclass(frozen=True)
class Reported:
    """One value as the paper reports it."""

    table: str
    """`Table 2` or `Table 3`."""
    method: str
    """Name of the method in the paper."""
    benchmark: str
    """Name of the benchmark."""
    metric: str
    """Name of the metric."""
    mean: float | None
    """Mean over the paper's runs, 0 to 1; None where the paper says NA."""
    std: float | None
    """Standard deviation as reported, 0 to 1."""
    place: int | None = None
    """1, 2 or 3 among the paper's methods in this column; ties share a place."""


@dataclass(frozen=True)
class HardImage:
    """An image that many entries get wrong."""

    picture: Picture
    """The picture as the first of these runs shows it."""
    run_key: str
    """That run."""
    entries: tuple[str, ...]
    """Names of the entries that have it among their hardest."""
    of: int
    """Number of entries with pictures."""


@dataclass(frozen=True)
class Alarms:
    """How many methods call one image anomalous."""

    called: int
    """Those that call it so."""
    of: int
    """Those that show it and say what they call it."""


@dataclass(frozen=True)
class Waiting:
    """A submission that has no record yet."""

    name: str
    """Name of the entry."""
    title: str
    """The method's name."""
    since: str
    """Date of the submission; empty where it gives none."""
    metadata: Mapping[str, object]
    """What the entry declares of itself."""
    until: str = ""
    """Date after which it waits longer than it should; empty without a date to count from."""


@dataclass(frozen=True)
class TypicalTime:
    """What the methods of one place take for an image, on one kind of device."""

    seconds: float
    """Median over the rows of their median seconds per image."""
    rows: int
    """How many rows that are, trivial baselines not counted."""


@dataclass(frozen=True)
class TeamCount:
    """How many scored submissions a team has on a benchmark."""

    team: str
    """Name of the team, as its submissions write it."""
    benchmark: str
    """Name of the benchmark."""
    scored: int
    """Submissions with a finished run."""
    most: int
    """How many it may have: many near-identical entries could read labels off their numbers."""


@dataclass(frozen=True)
class Overall:
    """Where one entry stands over all columns of a table."""

    average_rank: float
    """Mean of its ranks over the columns."""
    columns: int
    """How many columns."""


@dataclass(frozen=True)
class PackLeak:
    """Something that is in two splits of a pack."""

    kind: str
    """What: `identical images`, `patients` and so on."""
    splits: tuple[str, str]
    """Which splits."""
    count: int
    """How many."""
    images: int
    """Images of the later split that are concerned."""


@dataclass(frozen=True)
class TrivialAuroc:
    """How far one number per image tells the label."""

    statistic: str
    """Which number."""
    auroc: float | None
    """Image AUROC; None where undefined."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end."""


@dataclass(frozen=True)
class VerifiedPack:
    """The data card of an open pack, as `harness.pack verify` wrote it."""

    version: str
    """Version id of the pack that was looked at."""
    expected: tuple[tuple[str, bool], ...]
    """Origin of published counts, and whether the pack has them."""
    leaks: tuple[PackLeak, ...]
    """What was found in two splits."""
    trivial: tuple[TrivialAuroc, ...]
    """Every trivial statistic."""
    problems: tuple[str, ...]
    """What contradicts the pack's own claims."""
    markdown: str
    """The whole card for readers."""
    json: str
    """The whole card for programs."""


@dataclass(frozen=True)
class OtherRegimes:
    """What was run beside one model for each benchmark on images as they are."""

    rows: tuple[WholeRow, ...] = ()
    """As they may leave the machine, with a suite's parts."""
    records: tuple[Record, ...] = ()
    """The records behind them."""
    siblings: Mapping[tuple[str, str, str, str], tuple[SiblingDifference, ...]] = field(
        default_factory=dict
    )
    """By key of a unified row, its differences to one-class; none of a hidden pack."""
    few_shot: tuple[FewShotCurve, ...] = ()
    """By benchmark, metric and method."""

    @property
    def parts(self) -> tuple[Row, ...]:
        """Every row, and every part of a suite's, in one list."""
        return tuple(row for whole in self.rows for _, row in whole.parts)


@dataclass(frozen=True)
class Material:
    """Everything that one site is made of."""

    rows: tuple[Row, ...] = ()
    """Summaries over seeds, as they may leave the machine."""
    records: tuple[Record, ...] = ()
    """The records behind them; only those of open packs are copied."""
    stored: Mapping[str, Record] = field(default_factory=dict)
    """By run key, a record as it was written, where it is shown under another name today."""
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    """By benchmark; those of hidden packs without their numbers."""
    local: Mapping[str, LocalComparison] = field(default_factory=dict)
    """By benchmark, the differences of one's own rows where some take no rank; of open packs alone."""
    outdated: tuple[str, ...] = ()
    """Benchmarks whose comparison was made of other records: not shown."""
    curves: Mapping[str, RunCurves] = field(default_factory=dict)
    """By run key."""
    galleries: Mapping[str, Gallery] = field(default_factory=dict)
    """By run key; of each row the lowest seed's alone."""
    hardest: Mapping[str, tuple[HardImage, ...]] = field(default_factory=dict)
    """By benchmark, the hardest first."""
    alarms: Mapping[str, Mapping[str, Alarms]] = field(default_factory=dict)
    """By benchmark and image, of those that are the same for every method."""
    overall: Mapping[tuple[str, str, str], Overall] = field(default_factory=dict)
    """By (view, entry, track); only entries that are ranked in every column of the view."""
    not_above_trivial: Mapping[tuple[str, str, str, str], str] = field(default_factory=dict)
    """By (place, entry, track, metric), in every regime: title of a trivial entry that does as well."""
    typical_times: Mapping[tuple[str, tuple[str, ...]], TypicalTime] = field(default_factory=dict)
    """By place and devices, in every regime; only where there are several rows."""
    waiting: tuple[Waiting, ...] = ()
    """Submissions without a record."""
    regimes: OtherRegimes = OtherRegimes()
    """Unified, few-shot, declared zero-shot, and what was delivered at another size."""
    teams: tuple[TeamCount, ...] = ()
    """Scored submissions by team and benchmark."""
    cards: Mapping[str, BenchmarkCard] = field(default_factory=dict)
    """By benchmark."""
    verified: Mapping[str, VerifiedPack] = field(default_factory=dict)
    """By pack; of open packs alone."""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """By metric, its exact definition in one sentence."""
    log: ChangeLog = field(default_factory=ChangeLog)
    """What came, changed and went among the published rows."""
    paper: tuple[Reported, ...] | None = None
    """The paper's values; None reads those of the project."""
    is_made_up: bool = False
    """Example data: every page says so."""
    has_local_pictures: bool = False
    """Some galleries show images that may not be published: every page says so."""


def is_trivial(metadata: Mapping[str, object]) -> bool:
    """Whether an entry looks at a number such as the mean grey: what any method must beat."""
    return metadata.get("family") == "trivial"


def is_canary(name: str, metadata: Mapping[str, object]) -> bool:
    """Whether an entry looks its images up: what memorising alone would score."""
    return is_trivial(metadata) and name.startswith("canary")
