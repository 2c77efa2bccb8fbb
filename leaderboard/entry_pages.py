"""One page per entry: who, how to rerun, every number with its interval, every failure.

Trap: of a hidden pack only the (published) row is shown; its records are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import Record
from harness.statistics import MetricSummary, Row, SeedValue
from leaderboard import formats, words
from leaderboard.commands import rerun_command
from leaderboard.downloads import record_path, row_key
from leaderboard.paper import Reported, by_cell, difference, method_key

NA = "NA"


@dataclass(frozen=True)
class Fact:
    """One line of a list of facts."""

    label: str
    """What it is."""
    text: str
    """Its value."""
    link: str | None = None
    """Address, where the value is a link that may be followed."""
    note: str = ""
    """A remark behind it."""


@dataclass(frozen=True)
class SeedCell:
    """One metric of one run."""

    text: str
    """Percent, or NA."""
    small: str
    """The interval, or the reason."""


@dataclass(frozen=True)
class MetricLine:
    """One metric on one grid, over all seeds."""

    title: str
    """Name of the metric."""
    meaning: str
    """What it is."""
    grid: str
    """Grid in words."""
    grid_meaning: str
    """What the grid is for."""
    mean: str
    """Mean over seeds in percent, or NA."""
    mean_note: str
    """Why it is NA."""
    std: str
    """Standard deviation over seeds, or why there is none."""
    reported: str
    """The paper's value, where it has one and the grid is the paper's."""
    difference: str
    """Measured minus reported, in points."""
    units: str
    """Number of resampled units behind the intervals."""
    seeds: tuple[SeedCell, ...]
    """One per run."""


@dataclass(frozen=True)
class RunLine:
    """One run: how it ended, what it cost, on what machine."""

    seed: int
    """Seed of the run."""
    status: str
    """How it ended."""
    cells: tuple[str, ...]
    """One per name in `RUN_COLUMNS`."""
    record: str
    """Address of the record, from the entry's page."""


@dataclass(frozen=True)
class FailureLine:
    """A failed run with what to do about it."""

    seed: int
    """Seed of the run."""
    status: str
    """How it ended."""
    sentence: str
    """What that means."""
    detail: str
    """What the harness saw."""
    remedy: str
    """The first thing to try."""


@dataclass(frozen=True)
class Section:
    """An entry on one benchmark, in one track and isolation."""

    key: str
    """Anchor on the page."""
    title: str
    """Title of the benchmark."""
    is_demo: bool
    """It is the demonstration pack."""
    is_hidden: bool
    """Only rounded aggregates are shown."""
    summary: str
    """Track, isolation, seeds, in one line."""
    remarks: tuple[str, ...]
    """Why it has no rank, and warnings."""
    command: str
    """How to rerun it; empty for hidden packs."""
    seeds: tuple[str, ...]
    """Heads of the per-run columns."""
    has_reported: bool
    """The paper has numbers for this method here."""
    metrics: tuple[MetricLine, ...]
    """All metrics, all grids."""
    failures: tuple[FailureLine, ...]
    """Failed runs."""
    runs: tuple[RunLine, ...]
    """All runs; empty for hidden packs."""
    facts: tuple[Fact, ...]
    """Pack, identity, harness."""
    params: tuple[Fact, ...]
    """Hyper-parameters; the note marks those set by hand."""


@dataclass(frozen=True)
class EntryPage:
    """All of one entry."""

    path: str
    """File of the page, from the site's root."""
    name: str
    """Name on the board."""
    title: str
    """The method's name."""
    description: str
    """What the entry says of itself; may be empty."""
    facts: tuple[Fact, ...]
    """Who, paper, code, licence."""
    deviations: tuple[tuple[str, str], ...]
    """Where it differs from its paper, and why."""
    sections: tuple[Section, ...]
    """One per benchmark, track and isolation."""


RUN_COLUMNS = (
    "s / image, median", "90 %", "99 %", "start-up", "training", "whole run", "peak RAM",
    "peak GPU memory", "checkpoint", "maps", "machine", "started (UTC)",
)  # fmt: skip


def entry_pages(
    rows: Sequence[Row],
    records: Sequence[Record],
    paper: Sequence[Reported],
    default_limits: Mapping[str, float | int],
) -> tuple[EntryPage, ...]:
    """One page for every entry of the rows, by name.

    Args:
        rows: published rows.
        records: records that may be published in full, sorted; none of a hidden pack.
        paper: the paper's values.
        default_limits: limits that a command to rerun need not name.
    """
    reported = by_cell(paper)
    runs: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        runs.setdefault(row_key(record), []).append(record)
    by_name: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: words.benchmark_order(row.benchmark)):
        by_name.setdefault(row.entry, []).append(row)
    return tuple(
        _page(
            [
                _section(row, runs.get(_key(row), []), reported, default_limits)
                for row in by_name[name]
            ],
            by_name[name][0],
        )
        for name in sorted(by_name)
    )


def _key(row: Row) -> tuple[str, str, str, str]:
    return (row.benchmark, row.entry, row.track, row.isolation)


def _page(sections: Sequence[Section], first: Row) -> EntryPage:
    return EntryPage(
        path=f"entries/{formats.file_stem(first.entry)}.html",
        name=formats.plain(first.entry),
        title=formats.plain(first.title),
        description=formats.plain(first.metadata.get("description", "")),
        facts=_declared(first.metadata),
        deviations=_deviations(first.metadata),
        sections=tuple(sections),
    )


def _declared(metadata: Mapping[str, object]) -> tuple[Fact, ...]:
    """What the entry declares of itself; links only where they are http or https."""
    labels = {
        "authors": "Authors", "paper": "Paper", "code": "Code", "licence": "Licence",
        "family": "Family", "pretraining": "Pretraining", "backbones": "Backbones",
        "external_data": "Other data", "submitted": "Submitted", "withdrawn": "Withdrawn",
    }  # fmt: skip
    return tuple(
        Fact(label, formats.plain(metadata[key]), formats.safe_link(metadata[key]))
        for key, label in labels.items()
        if metadata.get(key)
    )


def _deviations(metadata: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    listed = metadata.get("deviations")
    if not isinstance(listed, (list, tuple)):
        return ()
    return tuple(
        (formats.plain(item.get("what", "")), formats.plain(item.get("why", "")))
        for item in listed
        if isinstance(item, Mapping)
    )


def _section(
    row: Row,
    records: Sequence[Record],
    reported: Mapping[tuple[str, str, str], Reported],
    default_limits: Mapping[str, float | int],
) -> Section:
    lines = tuple(_metric_line(row, metric, reported) for metric in row.metrics)
    is_hidden = row.visibility == "hidden"
    return Section(
        key=formats.file_stem(row.benchmark) + f"-{row.track}-{row.isolation}",
        title=words.benchmark_title(formats.plain(row.benchmark)),
        is_demo=row.benchmark == words.DEMO,
        is_hidden=is_hidden,
        summary=_summary(row),
        remarks=_remarks(row, records),
        command=rerun_command(records, default_limits) if records else "",
        seeds=() if is_hidden else tuple(f"seed {record.seed}" for record in records),
        has_reported=any(line.reported for line in lines),
        metrics=lines,
        failures=tuple(
            FailureLine(
                failure.seed,
                failure.status.value,
                failure.status.entry.sentence,
                formats.plain(failure.detail),
                failure.status.entry.remedy,
            )
            for failure in row.failures
        ),
        runs=tuple(_run_line(record) for record in records),
        facts=_facts(row, records),
        params=_params(records),
    )


def _summary(row: Row) -> str:
    count = len(row.seeds)
    seeds = f"{count} seed{'s' if count != 1 else ''}"
    return f"{words.TRACKS[row.track]} · {words.ISOLATIONS[row.isolation]} · {seeds}"


def _remarks(row: Row, records: Sequence[Record]) -> tuple[str, ...]:
    remarks = [f"Unranked: {row.unranked_reason}."] if row.unranked_reason else []
    for warning in dict.fromkeys(text for record in records for text in record.warnings):
        seeds = [record.seed for record in records if warning in record.warnings]
        where = "" if len(seeds) == len(records) else f" (seed {formats.joined(seeds)})"
        remarks.append(f"{warning}{where}")
    return tuple(formats.plain(remark) for remark in remarks)


def _metric_line(
    row: Row, metric: MetricSummary, reported: Mapping[tuple[str, str, str], Reported]
) -> MetricLine:
    told = words.metric_words(metric.id)
    value = reported.get((method_key(row.title), row.benchmark, metric.id))
    in_paper = None if value is None or metric.grid == "native" else value.mean
    points = None if in_paper is None else difference(row, metric.id, reported)
    return MetricLine(
        title=told.title,
        meaning=told.meaning,
        grid=words.grid_title(metric.grid),
        grid_meaning=words.GRID_MEANINGS[metric.grid],
        mean=NA if metric.mean is None else formats.percent(metric.mean, metric.step),
        mean_note=metric.reason or "",
        std=_deviation(metric),
        reported="" if in_paper is None else formats.percent(in_paper),
        difference="" if points is None else formats.signed_points(points),
        units=formats.joined(dict.fromkeys(seed.n for seed in metric.seeds if seed.n)),
        seeds=tuple(_seed_cell(seed) for seed in metric.seeds),
    )


def _deviation(metric: MetricSummary) -> str:
    if metric.std is not None:
        return formats.percent(metric.std, metric.step)
    return "" if metric.mean is None else metric.std_reason or ""


def _seed_cell(seed: SeedValue) -> SeedCell:
    if seed.value is None:
        return SeedCell(NA, seed.reason or "")
    interval = ""
    if seed.low is not None and seed.high is not None:
        interval = f"[{formats.percent(seed.low)}, {formats.percent(seed.high)}]"
    return SeedCell(formats.percent(seed.value), " ".join(filter(None, (interval, seed.reason))))


def _run_line(record: Record) -> RunLine:
    times, cost = record.times, record.cost
    latency = times.latency
    return RunLine(
        seed=record.seed,
        status=record.outcome.status.value,
        cells=(
            *(
                formats.seconds(value) if value is not None else NA
                for value in (
                    (latency.median, latency.p90, latency.p99) if latency else (None,) * 3
                )
            ),
            NA if times.start_up is None else formats.duration(times.start_up),
            "none" if times.train is None else formats.duration(times.train),
            formats.duration(times.total),
            NA if cost.peak_ram_mib is None else formats.memory(cost.peak_ram_mib),
            NA if cost.peak_gpu_mib is None else formats.memory(cost.peak_gpu_mib),
            _checkpoint(record),
            _maps(record),
            _machine(record),
            formats.plain(times.started),
        ),
        record="../" + record_path(record),
    )


def _checkpoint(record: Record) -> str:
    if record.training is None:
        return "none"
    kept = record.training.kept
    state = "last state" if kept is None else f"step {kept}"
    return f"{state}, {formats.plain(record.training.stop_reason)}"


def _maps(record: Record) -> str:
    if record.maps is None:
        return "none"
    levels = "" if record.maps.levels is None else f", {record.maps.levels:,} levels"
    return f"{record.maps.dtype}{levels}"


def _machine(record: Record) -> str:
    machine = record.machine
    device = machine.cpu if machine.device == "cpu" else machine.device
    driver = f", driver {machine.driver}" if machine.driver else ""
    return formats.plain(f"{device}{driver}, {machine.threads} threads, {machine.engine}")


def _facts(row: Row, records: Sequence[Record]) -> tuple[Fact, ...]:
    facts = [Fact("Identity", formats.plain(identity)) for identity in row.identities]
    digests = dict.fromkeys(r.entry.image_digest for r in records if r.entry.image_digest)
    facts += [Fact("Image digest", formats.plain(digest)) for digest in digests]
    facts += [Fact("Pack version", formats.plain(version)) for version in row.packs]
    if records:
        facts.append(Fact("Images", _counts(records[0])))
    facts += [Fact("Harness commit", formats.plain(commit)) for commit in row.commits]
    facts += [
        Fact("Metric definitions", formats.plain(version))
        for version in dict.fromkeys(record.source.metrics for record in records)
    ]
    return tuple(facts)


def _counts(record: Record) -> str:
    pack = record.pack
    text = (
        f"{pack.train} training (all normal), {pack.valid} validation,"
        f" {pack.test_normal + pack.test_anomalous} test"
        f" ({pack.test_normal} normal, {pack.test_anomalous} anomalous)"
    )
    if pack.patients is not None:
        text += f", {pack.patients} test patients"
    if pack.regions is not None:
        lost = f", {pack.regions_lost} of them lost on the paper grid" if pack.regions_lost else ""
        text += f", {pack.regions} lesions{lost}"
    return text


def _params(records: Sequence[Record]) -> tuple[Fact, ...]:
    if not records:
        return ()
    entry = records[0].entry
    return tuple(
        Fact(name, formats.plain(value), note="set by hand" if name in entry.overrides else "")
        for name, value in sorted(entry.params.items())
    )
