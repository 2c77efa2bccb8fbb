"""Summaries over seeds: one row per entry and benchmark, for the terminal and the site.

Two spreads are kept apart: the standard deviation over seeds is of the method's own
randomness, the interval of each run is of the choice of test images. Traps: a mean is
never taken over what is left when a seed failed, and never over runs of different code,
parameters, images or metric definitions; `public_rows.published` must stand between the rows of a
hidden pack and anything that leaves the machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.board.comparison import Comparison, Standing
from harness.board.echo_times import EchoTimes
from harness.board.tracks import has_extra_map, why_unranked
from harness.common.disclosure import Visibility, strictest
from harness.common.statuses import Status
from harness.records.isolation import IsolationLevel
from harness.records.parts import OutcomePart, weights_in_key
from harness.records.record import Grid, MetricValue, Record, Track
from harness.records.regime import ONE_CLASS, Regime
from harness.records.releases import claimed_name
from harness.records.supervision import NOT_SAID, Contamination, Labels, Supervision

MARKED_PLACES = 3
NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class SeedValue:
    """One metric of one run."""

    seed: int
    """Seed of the run."""
    value: float | None
    """The metric, 0 to 1; None when undefined or when the run failed."""
    low: float | None
    """Lower end of the 95 % interval over images or patients."""
    high: float | None
    """Upper end of that interval."""
    n: int
    """Units behind the interval; 0 for a failed run."""
    reason: str | None
    """Why the value is undefined, or a remark on it."""
    step: float | None = None
    """Precision to which the value was rounded before; None where it is exact."""


@dataclass(frozen=True)
class MetricSummary:
    """One metric on one grid, over the seeds of a row."""

    id: str
    """Name of the metric."""
    grid: Grid | None
    """`native`, `paper`, or None for image metrics."""
    mean: float | None
    """Mean over seeds, 0 to 1; None with a reason."""
    std: float | None
    """Sample standard deviation over seeds; None with a reason."""
    reason: str | None
    """Why there is no mean."""
    std_reason: str | None
    """Why there is no standard deviation."""
    seeds: tuple[SeedValue, ...]
    """The runs behind it, by seed; empty for hidden packs once published."""
    standing: Standing | None = None
    """Rank, ties and stability, where a comparison of exactly these records was made."""
    step: float | None = None
    """Precision to which a hidden pack's values were rounded; None where they are exact."""
    place: int | None = None
    """1, 2 or 3 among the means of the ranked rows of this column; ties share a place."""

    @property
    def rank(self) -> int | None:
        """1 + number of significantly better entries, where a comparison was made."""
        return None if self.standing is None else self.standing.rank


@dataclass(frozen=True)
class Failure:
    """A run without a result: it ended by the entry's fault, or is not applicable."""

    seed: int
    """Seed of the run."""
    status: Status
    """How it ended."""
    detail: str
    """The frame, image number or limit; empty for hidden packs once published."""
    sentence: str
    """What that means, with its cause where one is known; the bare status's for hidden packs."""
    remedy: str
    """The first thing to try."""
    log: tuple[str, ...] = ()
    """The last lines of the entry's log; empty for hidden packs."""
    log_path: str = ""
    """The whole log, from the results folder of whoever ran it; empty for hidden packs."""


@dataclass(frozen=True)
class Row:
    """One entry on one benchmark, in one track and isolation: what a table shows."""

    benchmark: str
    """Name of the benchmark, or of the suite."""
    regime: Regime
    """What the entry could learn from; of a few-shot row without the images that were drawn."""
    entry: str
    """Name of the entry on the board."""
    title: str
    """The method's name as its authors write it."""
    track: Track
    """How the entry was made."""
    isolation: IsolationLevel
    """What stood between the entry and the machine."""
    lacks: tuple[str, ...]
    """In words, what of a container did not hold in its runs; empty where nothing was measured."""
    visibility: Visibility
    """`hidden`: only rounded aggregates may be published."""
    ranked: bool
    """Whether the row may take a rank."""
    unranked_reason: str | None
    """Why not."""
    are_patients_independent: bool
    """The pack's maker states that every image of whose patient nothing tells is of a patient of
    its own: intervals count it so."""
    seeds: tuple[int, ...]
    """Seeds that were run, failed ones included."""
    failures: tuple[Failure, ...]
    """The runs that failed."""
    not_applicable: tuple[Failure, ...]
    """The runs that cannot be done with this method: no failures, and no values."""
    metrics: tuple[MetricSummary, ...]
    """All metrics, in the order of the records."""
    maps: bool
    """Whether the entry answers with anomaly maps."""
    has_extra_map: bool
    """The map is the method's natural one, asked for by `native_map`; its paper gives none."""
    weights: str | None
    """The parameter `weights` of the entry, where it has one."""
    weight_files: tuple[str, ...]
    """Pretrained files that the runs could read, each with its digest."""
    metadata: Mapping[str, Any]
    """What the entry declares of itself (paper, code, licence, family and so on)."""
    supervision: Supervision | None
    """What the entry had learned from before its runs, as it declares it; None: it says nothing."""
    identities: tuple[str, ...]
    """Identity of the entry; more than one means that the seeds ran different code."""
    packs: tuple[str, ...]
    """Version of the pack; more than one means that the seeds saw different images."""
    commits: tuple[str, ...]
    """Commits of the harness."""
    devices: tuple[str, ...]
    """Devices of the runs."""
    audits: tuple[str, ...]
    """Verdicts of the audits over the runs, `passed` among them; empty where none was audited."""
    marks: tuple[str, ...]
    """What qualifies the whole row, as its runs were marked; empty for hidden packs once published."""
    seconds_per_image: float | None
    """Mean over seeds of the median seconds per test image."""
    seconds_less_echo: float | None
    """The same less the pipe's own share (`harness.board.echo_times`); None where that was not measured."""
    seconds_std: float | None
    """Sample standard deviation over seeds of that median."""
    train_seconds: float | None
    """Mean over seeds of the train session."""
    peak_gpu_mib: float | None
    """Largest peak of GPU memory over seeds, in MiB."""
    peak_ram_mib: float | None
    """Largest peak of RAM over seeds, in MiB."""

    @property
    def place(self) -> str:
        """Benchmark and regime, as in the results: rows of two places are never set side by side
        as if they were of one."""
        return self.regime.place(self.benchmark)

    @property
    def labels(self) -> Labels:
        """What labels it had learned from, in one word."""
        return (self.supervision or NOT_SAID).labels

    @property
    def contamination(self) -> Contamination:
        """What its pretraining had seen of this benchmark."""
        return (self.supervision or NOT_SAID).of_pack(claimed_name(self.benchmark))

    @property
    def without_result(self) -> tuple[Failure, ...]:
        """The runs that left no value: those that failed, and those that cannot be done."""
        return (*self.failures, *self.not_applicable)

    @property
    def audit_marks(self) -> tuple[str, ...]:
        """The verdicts that a reader must know of: all but `passed`."""
        return tuple(verdict for verdict in self.audits if verdict != "passed")

    def metric(self, metric_id: str, grid: Grid | None) -> MetricSummary | None:
        """The summary of that metric and grid, or None when no run holds it."""
        for metric in self.metrics:
            if metric.id == metric_id and metric.grid == grid:
                return metric
        return None


def summarise(
    records: Iterable[Record], *, comparisons: Mapping[str, Comparison] | None = None
) -> tuple[Row, ...]:
    """One row per entry, benchmark and regime (and track, and isolation), exact.

    Args:
        records: any records; a record that stands twice counts once, and runs that ended
            by the infrastructure's fault or were cancelled are left out.
        comparisons: by benchmark and regime (`Record.place`), from `harness.compare`; one that was made of other records
            than these counts for nothing, and without one no row has a rank.
    Returns:
        Rows sorted by benchmark, regime, entry, track and isolation. The rows of hidden packs are
        exact as well: pass them through `published` before they leave the machine.
    """
    groups = _groups(records)
    current = {
        place: comparison
        for place, comparison in (comparisons or {}).items()
        if comparison.is_current(_ranked(groups).get(place, ()))
    }
    echo = EchoTimes(record for group in groups for record in group)
    return with_places(_with_standings(_row(group, echo), current) for group in groups)


def with_withdrawals(records: Iterable[Record], withdrawn: Mapping[str, str]) -> list[Record]:
    """The records with the reason of each entry that was withdrawn since, for rows and ranks.

    Their hashes stay those of the stored files: such a record is shown and never written.
    """
    return [
        record
        if record.entry.name not in withdrawn
        else record.model_copy(
            update={
                "entry": record.entry.model_copy(
                    update={
                        "metadata": record.entry.metadata
                        | {"withdrawn": withdrawn[record.entry.name]}
                    }
                )
            }
        )
        for record in records
    ]


def ranked_records(records: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """The records of rows that may take a rank, by benchmark and regime: what `harness.compare`
    compares."""
    return _ranked(_groups(records))


def _groups(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each row by seed, rows by benchmark, regime, entry, track and isolation."""
    groups: dict[tuple[str, str, str, str], dict[str, Record]] = {}
    for record in records:
        if record.is_publishable:
            key = (
                record.place,
                record.entry.name,
                record.track,
                record.machine.isolation,
            )
            groups.setdefault(key, {})[record.run_key] = record
    return [
        sorted(group.values(), key=lambda record: (record.seed, record.run_key))
        for _, group in sorted(groups.items())
    ]


def _ranked(groups: Iterable[Sequence[Record]]) -> dict[str, tuple[Record, ...]]:
    ranked: dict[str, tuple[Record, ...]] = {}
    for group in groups:
        if not _unranked_reasons(group):
            place = group[0].place
            ranked[place] = ranked.get(place, ()) + tuple(group)
    return ranked


def with_places(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Mark the three highest means of each column, among ranked rows of one track.

    A place is about the shown mean alone; whether a lead is real is what a rank says.
    All metrics of the board are better when higher.
    """
    rows = tuple(rows)
    columns: dict[tuple[object, ...], list[float]] = {}
    for row in rows:
        for metric in row.metrics:
            if row.ranked and metric.mean is not None:
                columns.setdefault(_column(row, metric), []).append(metric.mean)
    return tuple(
        replace(
            row,
            metrics=tuple(
                replace(
                    metric,
                    place=place(metric.mean, columns.get(_column(row, metric), []))
                    if row.ranked
                    else None,
                )
                for metric in row.metrics
            ),
        )
        for row in rows
    )


def place(value: float | None, values: Sequence[float]) -> int | None:
    """1 + the number of higher values, where that is at most 3; ties share a place."""
    if value is None:
        return None
    found = 1 + sum(other > value for other in values)
    return found if found <= MARKED_PLACES else None


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, and sample standard deviation (n - 1), of the values; None where undefined."""
    if not values:
        return None, None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), deviation


def _row(records: Sequence[Record], echo: EchoTimes) -> Row:
    """One row from the runs of one group, sorted by seed."""
    first = records[0]
    reasons = _unranked_reasons(records)
    medians = [
        record.seconds_per_image for record in records if record.is_ok and record.seconds_per_image
    ]
    trains = [record.times.train for record in records if record.is_ok and record.times.train]
    seconds, seconds_std = mean_and_deviation(medians)
    weights = first.entry.params.get("weights")
    return Row(
        benchmark=first.pack.benchmark,
        regime=(first.regime or ONE_CLASS).without_draw(),
        entry=first.entry.name,
        title=first.entry.title,
        track=first.track,
        isolation=first.machine.isolation,
        lacks=_distinct(each for record in records for each in record.machine.lacks),
        visibility=strictest(record.pack.visibility for record in records),
        ranked=not reasons,
        unranked_reason=", ".join(reasons) or None,
        are_patients_independent=any(r.pack.patients_stated == "independent" for r in records),
        seeds=tuple(sorted({record.seed for record in records})),
        failures=tuple(
            _failure(record.seed, record.outcome) for record in records if not record.is_settled
        ),
        not_applicable=tuple(
            _failure(record.seed, record.outcome)
            for record in records
            if record.is_settled and not record.is_ok
        ),
        marks=_distinct(mark.value for record in records for mark in record.marks),
        metrics=_summaries(records),
        maps=any(record.entry.maps for record in records),
        has_extra_map=any(has_extra_map(record.entry.params) for record in records),
        weights=weights if isinstance(weights, str) else None,
        metadata=first.entry.metadata,
        supervision=first.entry.supervision,
        identities=_distinct(record.entry.identity for record in records),
        weight_files=_distinct(each.shown for record in records for each in record.weights or ()),
        packs=_distinct(record.pack.version for record in records),
        commits=_distinct(record.source.commit or "not in git" for record in records),
        devices=_distinct(record.machine.device for record in records),
        audits=_distinct(record.audit.verdict for record in records if record.audit),
        seconds_per_image=seconds,
        seconds_less_echo=echo.less_echo(records),
        seconds_std=seconds_std,
        train_seconds=mean_and_deviation(trains)[0],
        peak_gpu_mib=max(
            (r.cost.peak_gpu_mib for r in records if r.cost.peak_gpu_mib), default=None
        ),
        peak_ram_mib=max(
            (r.cost.peak_ram_mib for r in records if r.cost.peak_ram_mib), default=None
        ),
    )


def _failure(seed: int, outcome: OutcomePart) -> Failure:
    return Failure(
        seed,
        outcome.status,
        outcome.detail,
        sentence=outcome.sentence,
        remedy=outcome.remedy,
        log=tuple(outcome.log.lines) if outcome.log else (),
        log_path=outcome.log.path if outcome.log else "",
    )


def _unranked_reasons(records: Sequence[Record]) -> list[str]:
    """Every reason for which the row takes no rank; empty when it may take one."""
    reasons = [reason for record in records for reason in why_unranked(record)]
    if any(not record.is_settled for record in records):
        reasons.append("a run failed")
    elif any(not record.is_ok for record in records):
        reasons.append(NOT_APPLICABLE)
    if withdrawn := records[0].entry.metadata.get("withdrawn"):
        reasons.append(f"withdrawn: {withdrawn}")
    if mixture := _mixture(records):
        reasons.append(mixture)
    return list(dict.fromkeys(reasons))


def _mixture(records: Sequence[Record]) -> str | None:
    """Why no mean may be taken over these runs, or None when they are of one kind."""
    aspects: dict[str, Callable[[Record], object]] = {
        "code": lambda record: record.entry.identity,
        "parameters": lambda record: (record.entry.preset, sorted(record.entry.params.items())),
        "pretrained weights": lambda record: weights_in_key(record.weights),
        "images": lambda record: record.pack.version,
        "metric versions": lambda record: record.metrics_version,
    }
    mixed = [
        name for name, aspect in aspects.items() if len({repr(aspect(r)) for r in records}) > 1
    ]
    if mixed:
        return "the seeds ran with different " + " and ".join(mixed)
    if len({record.seed for record in records}) < len(records):
        return "a seed was run more than once"
    return None


def _summaries(records: Sequence[Record]) -> tuple[MetricSummary, ...]:
    keys = dict.fromkeys(
        (metric.id, metric.grid)
        for record in records
        for metric in record.metrics
        if metric.member is None
    )
    mixture = _mixture(records)
    return tuple(_summary(metric_id, grid, records, mixture) for metric_id, grid in keys)


def _summary(
    metric_id: str, grid: Grid | None, records: Sequence[Record], mixture: str | None
) -> MetricSummary:
    seeds = tuple(_seed_value(record, record.metric(metric_id, grid)) for record in records)
    reason = mixture or _missing(records, seeds)
    values = [seed.value for seed in seeds if seed.value is not None]
    mean, std = mean_and_deviation(values) if reason is None else (None, None)
    std_reason = None
    if std is None:
        std_reason = reason or "one seed"
    return MetricSummary(metric_id, grid, mean, std, reason, std_reason, seeds)


def _seed_value(record: Record, metric: MetricValue | None) -> SeedValue:
    if not record.is_ok:
        status = record.outcome.status.value
        reason = NOT_APPLICABLE if record.is_settled else f"the run failed: {status}"
        return SeedValue(record.seed, None, None, None, 0, reason)
    if metric is None:
        return SeedValue(record.seed, None, None, None, 0, "not in the record")
    return SeedValue(
        record.seed, metric.value, metric.low, metric.high, metric.n, metric.reason, metric.step
    )


def _missing(records: Sequence[Record], seeds: Sequence[SeedValue]) -> str | None:
    """Why a mean over these seeds would hide something, or None."""
    failed = [record for record in records if not record.is_settled]
    if failed:
        count = f"{len(failed)} of {len(records)} runs" if len(records) > 1 else "the run"
        return f"{count} failed: {', '.join(_distinct(r.outcome.status.value for r in failed))}"
    undefined = [seed for seed in seeds if seed.value is None]
    if not undefined:
        return None
    reasons = "; ".join(_distinct(seed.reason or "undefined" for seed in undefined))
    if len(undefined) == len(seeds):
        return reasons
    return f"undefined for seed {', '.join(str(seed.seed) for seed in undefined)}: {reasons}"


def _with_standings(row: Row, comparisons: Mapping[str, Comparison]) -> Row:
    comparison = comparisons.get(row.place)
    if comparison is None or not row.ranked:
        return row
    return replace(
        row,
        metrics=tuple(
            replace(
                metric,
                standing=comparison.standing(row.entry, row.track, metric.id, metric.grid),
            )
            for metric in row.metrics
        ),
    )


def _column(row: Row, metric: MetricSummary) -> tuple[object, ...]:
    return (row.place, row.track, metric.id, metric.grid)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
