"""Comparisons: one file per benchmark with ranks, ties, stability and differences, as
`harness.compare` found them.

    results/comparisons/<benchmark>.json

Version 2 has the paired differences, which version 1 had not; both are read. Aggregates only.
Traps: a comparison speaks of the records that it names; as soon as a ranked record is added or
replaced it is out of date, and no rank of it may be shown. Of a hidden pack only ranks and ties
leave the machine (`without_numbers`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter

from harness.board.paired_differences import PairedDifference
from harness.common.disclosure import Artefact, Visibility, may_leave
from harness.common.errors import StoreUnusable
from harness.common.json_text import BadJson, parse_as
from harness.records.record import Grid, Record, Track

COMPARISONS_FOLDER = "comparisons"
# Probabilities are written with a few digits; their sum may be off by as much.
STABILITY_SLACK = 1e-3
TAIL = 0.025


@dataclass(frozen=True)
class Standing:
    """Where one entry stands in one column."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    entry: str
    """Name of the entry."""
    rank: int
    """1 + number of entries that are significantly better."""
    better: tuple[str, ...]
    """Entries that are significantly better."""
    ties: tuple[str, ...]
    """Entries that cannot be told from this one."""
    seeds: int
    """Number of seeds behind the mean."""
    mean: float | None
    """Mean over seeds, 0 to 1; None where it may not leave the machine."""
    low: float | None = None
    """Lower end of the 95 % interval of that mean, over patients or images."""
    high: float | None = None
    """Upper end of that interval."""
    stability: tuple[float, ...] = ()
    """Share of the joint resamples in which the entry takes place 1, 2, …; empty: not published."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: the rank is not 1 + the number of better entries, an entry is compared
                with itself, or the shares are not a distribution.
        """
        if self.rank != 1 + len(self.better):
            raise ValueError(f"{self.entry}: rank {self.rank} with {len(self.better)} better")
        if (
            self.entry in self.better
            or self.entry in self.ties
            or set(self.better) & set(self.ties)
        ):
            raise ValueError(f"{self.entry}: `better` and `ties` contradict each other")
        numbers = [*self.stability, *(v for v in (self.mean, self.low, self.high) if v is not None)]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"{self.entry}: a value is not finite")
        if self.stability and abs(math.fsum(self.stability) - 1) > STABILITY_SLACK:
            raise ValueError(f"{self.entry}: the shares of places do not sum to 1")

    @property
    def likely_places(self) -> tuple[int, int] | None:
        """First and last place of the middle 95 % of the resamples; None where not published."""
        if not self.stability:
            return None
        below = list(accumulate(self.stability))
        first = next((n for n, share in enumerate(below, start=1) if share > TAIL), len(below))
        last = next((n for n, share in enumerate(below, start=1) if share >= 1 - TAIL), len(below))
        return first, max(first, last)


@dataclass(frozen=True)
class Column:
    """All entries of one track in one metric on one grid."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    track: Track
    """Entries of different tracks are never ranked together."""
    metric: str
    """Name of the metric."""
    grid: Grid | None
    """`native`, `paper`, or None for image metrics."""
    standings: tuple[Standing, ...]
    """By rank, then by mean, then by name."""
    member: str | None = None
    """Of a suite: its member, or `mean`; None where it is over all images (`MetricValue.member`)."""
    differences: tuple[PairedDifference, ...] = ()
    """Of every pair of entries; empty in version 1, of a column whose pairs are not kept
    (`paired_differences.is_paired`), and where they may not leave the machine."""


@dataclass(frozen=True)
class ComparedRecords:
    """What was compared, by which code, over how many patients or images."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    benchmark: str
    """Name of the benchmark, with its regime where that is not one-class (`Record.place`): runs of
    two regimes learned from different images, and are never ranked together."""
    pack: str
    """Version of the pack."""
    visibility: Visibility
    """`hidden`: of ranked rows nothing but ranks and ties may be published, of others nothing."""
    metrics: str
    """Version of the metric definitions."""
    harness: str
    """Version of the harness that compared."""
    commit: str | None
    """Its git commit."""
    records: tuple[str, ...]
    """Hashes of the records that were compared, sorted."""
    unit: Literal["patient", "image"]
    """What was resampled, or left out in turn."""
    units: int
    """How many of them the test split has."""
    significance: float
    """Level of the tests, after Holm's correction over all pairs of a column."""

    def is_current(self, records: Iterable[Record]) -> bool:
        """Whether exactly these records were compared."""
        hashes = sorted(record.record_hash for record in records if record.record_hash)
        return tuple(hashes) == self.records


@dataclass(frozen=True)
class Comparison(ComparedRecords):
    """All columns of ranked rows of one benchmark, or suite, in one regime."""

    resamples: int
    """Number of joint resamples."""
    columns: tuple[Column, ...]
    """By track, metric and grid."""
    schema_version: Literal[1, 2] = 2
    """Version of this file's format."""

    def column(
        self, track: str, metric: str, grid: Grid | None, member: str | None = None
    ) -> Column | None:
        """The column, or None where nothing was compared."""
        for column in self.columns:
            found = (column.track, column.metric, column.grid, column.member)
            if found == (track, metric, grid, member):
                return column
        return None

    def standing(
        self, entry: str, track: str, metric: str, grid: Grid | None, member: str | None = None
    ) -> Standing | None:
        """Where an entry stands, or None where it was not compared."""
        column = self.column(track, metric, grid, member)
        for standing in column.standings if column else ():
            if standing.entry == entry:
                return standing
        return None


_FILE = TypeAdapter(Comparison)
Read = TypeVar("Read", bound=ComparedRecords)


def comparison_path(root: Path, benchmark: str) -> Path:
    """Where the comparison of a benchmark lies below a results folder."""
    return root / COMPARISONS_FOLDER / f"{benchmark}.json"


def comparison_bytes(comparison: Comparison) -> bytes:
    """The file of a comparison."""
    return _FILE.dump_json(comparison, indent=1) + b"\n"


def read_comparisons(root: Path) -> dict[str, Comparison]:
    """All comparisons below a results folder, by benchmark; none where it holds none.

    Raises:
        StoreUnusable: a file is not a comparison of this schema, or not of what its name says.
    """
    paths = sorted((root / COMPARISONS_FOLDER).glob("*.json"))
    return {path.stem: read_comparison(path) for path in paths}


def without_numbers(comparison: Comparison) -> Comparison:
    """What may be published of a hidden pack's comparison: ranks and ties alone."""
    if may_leave(Artefact.COMPARISON_NUMBERS, comparison.visibility):
        return comparison
    return replace(
        comparison,
        columns=tuple(
            replace(
                column,
                standings=tuple(bare(standing) for standing in column.standings),
                differences=(),
            )
            for column in comparison.columns
        ),
    )


def bare(standing: Standing) -> Standing:
    """A standing with its rank and ties alone."""
    return replace(standing, mean=None, low=None, high=None, stability=())


def read_comparison(path: Path) -> Comparison:
    """One comparison; its file is named after its benchmark.

    Raises:
        StoreUnusable: it is not a comparison of this schema, or of another benchmark.
    """
    return read_compared(_FILE, path, "comparison")


def read_compared(form: TypeAdapter[Read], path: Path, kind: str) -> Read:
    """A file of one benchmark that `harness.compare` wrote, named after that benchmark.

    Args:
        form: its schema.
        path: where it lies.
        kind: what it should be, for the error.
    Raises:
        StoreUnusable: it cannot be read, is nothing of this schema, or of another benchmark.
    """
    try:
        found = parse_as(form.validate_json, path.read_bytes())
    except OSError as error:
        raise StoreUnusable(
            f"the {kind} cannot be read: {error.strerror}", where=str(path)
        ) from error
    except BadJson as error:
        raise StoreUnusable(
            f"the file is not a {kind} of this schema: {error}",
            where=str(path),
            fix="make it anew with python -m harness.compare",
        ) from error
    if found.benchmark != path.stem:
        raise StoreUnusable(
            f"the file is named {path.stem} and compares the runs on {found.benchmark}",
            where=str(path),
            fix="make it anew with python -m harness.compare",
        )
    return found
