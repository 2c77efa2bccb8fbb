"""Compares the entries of one benchmark in every column, over the same patients and over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.common.errors import StoreUnusable
from harness.records.record import Grid, Track

if TYPE_CHECKING:
    from harness.board.comparison import Column, Comparison, Standing
    from harness.metrics import Resampled
    from harness.metrics.jackknife import Spread
    from harness.metrics.suites import SuiteResampled
    from harness.records.record import Record
    from harness.records.store import Store

ColumnKey = tuple[str, Grid | None, str | None]
"""Metric, grid, and of a suite the member (`MetricValue.member`)."""


ResampledRuns = dict[str, list[dict[ColumnKey, "Resampled | SuiteResampled"]]]


def compare_entries(records: Sequence[Record], store: Store, *, seed: int = 0) -> Comparison:
    """Rank the entries of one benchmark in every column.

    Args:
        records: finished runs of one benchmark, or suite, in one regime.
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
        benchmark=first.place,
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
    """Runs that are compared are of one regime and saw the same images.

    Raises:
        StoreUnusable: they are not, or did not.
    """
    places = sorted({record.place for record in records})
    if len(places) > 1:
        raise StoreUnusable(
            f"the runs are of different regimes, {', '.join(places)}: what they learned from differs,"
            " and a difference would not be the methods'",
            fix="compare runs of one of them",
        )
    versions = sorted({record.pack.version for record in records})
    if len(versions) > 1:
        raise StoreUnusable(
            f"the runs on {records[0].place} are of different packs: {', '.join(versions)}",
            fix="run the older ones again with --replace",
        )


def _columns(track: Track, records: Sequence[Record], store: Store, seed: int) -> list[Column]:
    """Every metric and grid that some entry has, in the table's order."""
    from harness.board.comparison import Column
    from harness.board.paired_differences import is_paired, paired_differences

    runs = resampled_runs(records, store, seed)
    keys = list(dict.fromkeys(key for seeds in runs.values() for run in seeds for key in run))
    return [
        Column(
            track=track,
            metric=key[0],
            grid=key[1],
            standings=_standings(runs, key, seed),
            member=key[2],
            differences=paired_differences(spreads_of(runs, key)) if is_paired(*key) else (),
        )
        for key in keys
    ]


def resampled_runs(records: Sequence[Record], store: Store, seed: int) -> ResampledRuns:
    """By entry, one table of resampled metrics per seed."""
    runs: ResampledRuns = {}
    for record in records:
        runs.setdefault(record.entry.name, []).append(_resampled(record, store, seed))
    return runs


def _resampled(
    record: Record, store: Store, seed: int
) -> dict[ColumnKey, Resampled | SuiteResampled]:
    from harness.metrics import resample
    from harness.metrics.suites import resample_suite
    from harness.records.store import evidence_of
    from harness.session.scoring import evidence_of_members

    evidence = evidence_of_members(
        evidence_of(store.record_path(store.name_of(record)), record), record
    )
    if record.is_of_suite:
        return {(row.id, row.grid, row.member): row for row in resample_suite(evidence, seed=seed)}
    (alone,) = evidence.values()
    return {(row.id, row.grid, None): row for row in resample(alone, seed=seed)}


def spreads_of(runs: ResampledRuns, key: ColumnKey) -> dict[str, list[Spread]]:
    """What moves a metric of each seed, of the entries that have it for every seed; the others are
    not compared in this column."""
    return {
        name: [table[key].spread for table in tables]
        for name, tables in runs.items()
        if all(key in table for table in tables)
    }


def _standings(runs: ResampledRuns, key: ColumnKey, seed: int) -> tuple[Standing, ...]:
    from harness.board.comparison import Standing
    from harness.metrics.ranks import standings

    spreads = spreads_of(runs, key)
    drawn = {name: [table[key].rows for table in runs[name]] for name in spreads}
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
