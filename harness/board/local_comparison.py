"""Comparisons of rows that take no rank: how they differ, for the one who ran them.

    results/comparisons/local/<benchmark>.json

Every row of a results folder that has a value for all its seeds is in it, ranked or not, beside the
reason for which it takes no rank: on a demonstration pack, outside a container, with random weights.
It holds differences and no ranks. Traps: nothing of it is ever published (the check of a pull
request knows no such file), and a site shows it with the rows marked as unranked; rows of different
tracks are compared, which a reader must be told; suites are left to `harness.compare A B`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, TypeAdapter

from harness.board.comparison import COMPARISONS_FOLDER, ComparedRecords, read_compared
from harness.board.paired_differences import PairedDifference
from harness.board.rows import Row, summarise
from harness.common.disclosure import strictest
from harness.records.record import Grid, Record, Track

if TYPE_CHECKING:
    from harness.board.entry_comparison import ResampledRuns
    from harness.metrics.jackknife import Spread
    from harness.records.store import Store

LOCAL_FOLDER = "local"


@dataclass(frozen=True)
class LocalRow:
    """One row that was compared."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    key: str
    """Its name in this file: the entry's, with track and isolation where it has two rows."""
    entry: str
    """Name of the entry."""
    track: Track
    """How it was made."""
    isolation: str
    """What stood between it and the machine."""
    seeds: int
    """Number of seeds behind its means."""
    unranked: str | None
    """Why it takes no rank; None where it may."""


@dataclass(frozen=True)
class LocalMean:
    """One row in one metric."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    row: str
    """Key of the row."""
    mean: float
    """Mean over seeds, 0 to 1."""
    low: float | None
    """Lower end of its 95 % interval over patients or images; None where too few bear it."""
    high: float | None
    """Upper end."""


@dataclass(frozen=True)
class LocalColumn:
    """All rows in one metric."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    metric: str
    """Name of the metric."""
    grid: Grid | None
    """`native`, or None for image metrics."""
    means: tuple[LocalMean, ...]
    """By key of the row; rows that have the metric for every seed."""
    differences: tuple[PairedDifference, ...]
    """Of every pair of them."""


@dataclass(frozen=True)
class LocalComparison(ComparedRecords):
    """All rows of one benchmark in one results folder; of a hidden pack a site shows nothing of it."""

    rows: tuple[LocalRow, ...]
    """By key."""
    columns: tuple[LocalColumn, ...]
    """In the order of the records."""
    kind: Literal["local"] = "local"
    """Tells it from a comparison that ranks."""
    schema_version: Literal[1] = 1
    """Version of this file's format."""


_FILE = TypeAdapter(LocalComparison)


def local_path(root: Path, benchmark: str) -> Path:
    """Where the local comparison of a benchmark lies below a results folder."""
    return root / COMPARISONS_FOLDER / LOCAL_FOLDER / f"{benchmark}.json"


def local_bytes(comparison: LocalComparison) -> bytes:
    """The file of a local comparison."""
    return _FILE.dump_json(comparison, indent=1) + b"\n"


def read_local(root: Path) -> dict[str, LocalComparison]:
    """All local comparisons below a results folder, by benchmark; none where it holds none.

    Raises:
        StoreUnusable: a file is none of this schema, or not of what its name says.
    """
    paths = sorted((root / COMPARISONS_FOLDER / LOCAL_FOLDER).glob("*.json"))
    return {path.stem: read_compared(_FILE, path, "local comparison") for path in paths}


def local_groups(records: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """What is compared locally, by benchmark and regime: the runs of all rows with a result.

    Only where there are two rows, and one of them takes no rank: the others have their comparison.
    Of several pack versions the one that most rows ran on, else the last by name.
    """
    found: dict[str, dict[str, list[tuple[Row, list[Record]]]]] = {}
    for runs in _by_row(record for record in records if not record.is_of_suite).values():
        (row,) = summarise(runs)
        # A mean that none is taken over, such as one of different code, is None in every metric.
        if not row.without_result and any(metric.mean is not None for metric in row.metrics):
            found.setdefault(row.place, {}).setdefault(row.packs[0], []).append((row, runs))
    groups = {}
    for place, packs in sorted(found.items()):
        _, rows = max(packs.items(), key=lambda item: (len(item[1]), item[0]))
        if len(rows) > 1 and not all(row.ranked for row, _ in rows):
            groups[place] = tuple(record for _, runs in rows for record in runs)
    return groups


def compare_locally(records: Sequence[Record], store: Store) -> LocalComparison:
    """How the rows of one benchmark differ, whether they take a rank or not.

    Args:
        records: one of `local_groups`.
        store: where their evidence lies.
    Raises:
        StoreUnusable: an evidence file was changed.
        DataMissing: an evidence file is not there.
    """
    from harness import __version__
    from harness.board.entry_comparison import resampled_runs
    from harness.metrics import METRICS_VERSION
    from harness.metrics.ranks import SIGNIFICANCE
    from harness.records.source import source

    first = records[0]
    by_row = named_rows(records)
    runs = {
        key: next(iter(resampled_runs(group, store, 0).values())) for key, group in by_row.items()
    }
    return LocalComparison(
        benchmark=first.place,
        pack=first.pack.version,
        visibility=strictest(record.pack.visibility for record in records),
        metrics=METRICS_VERSION,
        harness=__version__,
        commit=source(METRICS_VERSION).commit,
        records=tuple(sorted(record.record_hash or "" for record in records)),
        unit="patient" if first.pack.patients is not None else "image",
        units=max((metric.n for metric in first.metrics), default=0),
        significance=SIGNIFICANCE,
        rows=tuple(local_row(key, group) for key, group in by_row.items()),
        columns=_columns(runs),
    )


def named_rows(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The runs of each row of one benchmark by its name in the file, in order of the names."""
    rows = _by_row(records)
    count = Counter(entry for _, entry, _, _ in rows)
    names = {key: key[1] if count[key[1]] == 1 else "/".join(key[1:]) for key in rows}
    return {names[key]: rows[key] for key in sorted(rows, key=lambda key: names[key])}


def _by_row(records: Iterable[Record]) -> Mapping[tuple[str, str, str, str], list[Record]]:
    groups: dict[tuple[str, str, str, str], dict[str, Record]] = {}
    for record in records:
        if record.is_publishable:
            key = (record.place, record.entry.name, record.track, record.machine.isolation)
            groups.setdefault(key, {})[record.run_key] = record
    return {key: list(group.values()) for key, group in groups.items()}


def local_row(key: str, records: Sequence[Record]) -> LocalRow:
    """One row of the file."""
    (row,) = summarise(records)
    return LocalRow(
        key, row.entry, row.track, row.isolation, len(row.seeds), unranked=row.unranked_reason
    )


def _columns(runs: ResampledRuns) -> tuple[LocalColumn, ...]:
    from harness.board.entry_comparison import spreads_of
    from harness.board.paired_differences import is_paired

    keys = dict.fromkeys(key for seeds in runs.values() for run in seeds for key in run)
    return tuple(
        local_column(key[0], key[1], spreads_of(runs, key)) for key in keys if is_paired(*key)
    )


def local_column(
    metric: str, grid: Grid | None, seeds: Mapping[str, Sequence[Spread]]
) -> LocalColumn:
    """One metric of all rows.

    Args:
        metric: its name.
        grid: `native`, or None for image metrics.
        seeds: by key of the row, the metric of each seed and what moves it.
    """
    from harness.board.paired_differences import paired_differences
    from harness.metrics.jackknife import interval_of, mean_of_seeds

    means = []
    for name, spreads in sorted(seeds.items()):
        mean = mean_of_seeds(spreads)
        ends = interval_of(mean)
        means.append(
            LocalMean(name, mean.value, ends.low if ends else None, ends.high if ends else None)
        )
    return LocalColumn(metric, grid, tuple(means), paired_differences(seeds))
