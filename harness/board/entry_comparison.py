"""Compares the entries of one benchmark in every column, over the same patients and over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.common.errors import StoreUnusable
from harness.records.record import Grid, Track

if TYPE_CHECKING:
    from harness.board.comparison import Column, Comparison, Standing
    from harness.metrics import Resampled
    from harness.records.record import Record
    from harness.records.store import Store

ColumnKey = tuple[str, Grid | None]


ResampledRuns = dict[str, list[dict[ColumnKey, "Resampled"]]]


def compare_entries(records: Sequence[Record], store: Store, *, seed: int = 0) -> Comparison:
    """Rank the entries of one benchmark in every column.

    Args:
        records: finished runs of one benchmark.
        store: where their evidence lies.
        seed: seed of the bootstrap.
    Raises:
        StoreUnusable: the runs are of several pack versions, or an evidence file was changed.
        DataMissing: an evidence file is not there.
    """
    from harness import __version__
    from harness.board.comparison import Comparison
    from harness.metrics import METRICS_VERSION
    from harness.metrics.intervals import RESAMPLES
    from harness.metrics.ranks import SIGNIFICANCE
    from harness.records.source import source

    first = records[0]
    check_one_pack(records)
    tracks = sorted({record.track for record in records})
    columns = [
        column
        for track in tracks
        for column in _columns(track, [r for r in records if r.track == track], store, seed)
    ]
    units = max((metric.n for metric in first.metrics), default=0)
    return Comparison(
        benchmark=first.pack.benchmark,
        pack=first.pack.version,
        visibility=first.pack.visibility,
        metrics=METRICS_VERSION,
        harness=__version__,
        commit=source(METRICS_VERSION).commit,
        records=tuple(sorted(record.record_hash or "" for record in records)),
        unit="patient" if first.pack.patients is not None else "image",
        units=units,
        resamples=RESAMPLES,
        significance=SIGNIFICANCE,
        columns=tuple(columns),
    )


def check_one_pack(records: Sequence[Record]) -> None:
    """Runs that are compared saw the same images.

    Raises:
        StoreUnusable: they did not.
    """
    versions = sorted({record.pack.version for record in records})
    if len(versions) > 1:
        raise StoreUnusable(
            f"the runs on {records[0].pack.benchmark} are of different packs: {', '.join(versions)}",
            fix="run the older ones again with --replace",
        )


def _columns(track: Track, records: Sequence[Record], store: Store, seed: int) -> list[Column]:
    """Every metric and grid that some entry has, in the table's order."""
    from harness.board.comparison import Column

    runs = resampled_runs(records, store, seed)
    keys = list(dict.fromkeys(key for seeds in runs.values() for run in seeds for key in run))
    return [
        Column(
            track=track, metric=metric, grid=grid, standings=_standings(runs, (metric, grid), seed)
        )
        for metric, grid in keys
    ]


def resampled_runs(records: Sequence[Record], store: Store, seed: int) -> ResampledRuns:
    """By entry, one table of resampled metrics per seed."""
    from harness.metrics import Evidence, resample
    from harness.records.store import evidence_of

    runs: ResampledRuns = {}
    for record in records:
        evidence = Evidence.load(evidence_of(store.record_path(store.name_of(record)), record))
        table = {(row.id, row.grid): row for row in resample(evidence, seed=seed)}
        runs.setdefault(record.entry.name, []).append(table)
    return runs


def _standings(runs: ResampledRuns, key: ColumnKey, seed: int) -> tuple[Standing, ...]:
    """Entries that have the metric for every seed; the others are not compared in this column."""
    from harness.board.comparison import Standing
    from harness.metrics.ranks import standings

    whole = {name: tables for name, tables in runs.items() if all(key in table for table in tables)}
    spreads = {name: [table[key].spread for table in tables] for name, tables in whole.items()}
    drawn = {name: [table[key].rows for table in tables] for name, tables in whole.items()}
    return tuple(
        Standing(
            entry=row.entry,
            rank=row.rank,
            better=row.better,
            ties=row.ties,
            seeds=len(spreads[row.entry]),
            mean=row.mean,
            low=row.interval.low if row.interval else None,
            high=row.interval.high if row.interval else None,
            stability=row.stability,
        )
        for row in standings(spreads, drawn, seed=seed)
    )
