"""A recorded run once more, and every answer and metric of both compared."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import UsageError
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.records.record import MetricValue, Record

METRIC_TOLERANCE = 1e-3
"""Largest difference of a metric (0 to 1) between two runs on a GPU."""


@dataclass(frozen=True)
class Compared:
    """One thing of the two runs."""

    name: str
    """`status`, `answers`, or a metric with its grid."""
    recorded: str | float | None
    """In the record."""
    again: str | float | None
    """In the new run."""
    is_same: bool
    """Whether they count as the same."""


def run_again(
    record: Record, options: argparse.Namespace, workspace: Path, reporter: cli.Reporter
) -> Record:
    """The run of a record once more, with a results folder of its own.

    Args:
        record: of a finished run.
        options: of `harness.rerun`.
        workspace: an empty folder, for what comes out of git and what the run leaves.
        reporter: told what happens.
    Raises:
        UsageError: what is here now is not what ran then, and what differs.
    """
    from harness.running.options import read_run_options
    from harness.running.plan import plan_runs
    from harness.running.recorded_entry import find_recorded
    from harness.running.run import execute

    results = workspace / "results"
    entry = options.entry or find_recorded(record, workspace / "entry")
    reporter.event(f"running {entry} again")
    asked = read_run_options(evaluate_call(record, entry, options, results))
    plan = plan_runs(asked, reporter)
    (request,) = plan.requests
    if request.key.hash != record.run_key:
        difference = request.key.difference(record)
        raise UsageError(
            f"what is here now is not what ran then: {difference}",
            where=str(options.record),
            fix=f"check out the harness at {record.source.commit or record.source.version},"
            " and name the same pack (--data-root DIR, --pack DIR) and entry (--entry PATH)",
        )
    _check_sif(record, request.program.sif, options)
    # A training of this very run that was interrupted is not gone on from either.
    return execute(request, replace(plan.place, trainings=results))


def _check_sif(record: Record, sif: str | None, options: argparse.Namespace) -> None:
    """See that the very file runs that ran then, where it was one; the run key is of what it was made of.

    Raises:
        UsageError: it is another, and the call does not take one.
    """
    if record.entry.sif in (None, sif) or options.any_sif:
        return
    raise UsageError(
        f"the SIF that ran then was {record.entry.sif}, and here it is {sif}",
        where=str(options.record),
        fix="bring its folder of BMAD_CACHE/apptainer/images here; or take the one here, which is made"
        " of the same but not of the same bytes, with --any-sif",
    )


def evaluate_call(
    record: Record, source: str, options: argparse.Namespace, results: Path
) -> list[str]:
    """The command line of `evaluate` that this run was, or could have been."""
    from harness.records.regime import ONE_CLASS
    from harness.records.releases import claimed_name

    entry, is_cpu = record.entry, record.machine.device == "cpu"
    call = [source, "--as", entry.name, "--seed", str(record.seed)]
    call += ["--preset", entry.preset, "--results", str(results), "--no-site"]
    call += ["--engine", record.machine.engine_name]
    call += ["--device", options.device or ("cpu" if is_cpu else "cuda:0")]
    call += ["--no-audit", "--no-keep-model", "--retrain"]
    for name, value in entry.overrides.items():
        call += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    for name, limit in record.limits.items():
        call += ["--limit", f"{name}={limit}"]
    regime = record.regime or ONE_CLASS
    call += regime.options
    if regime.suite is not None:
        call += ["--suite", str(options.suite or regime.suite)]
    elif not options.pack:
        call += ["--benchmark", claimed_name(record.pack.benchmark)]
    call += ["--pack", *map(str, options.pack)] if options.pack else []
    if options.data_root:
        call += ["--data-root", str(options.data_root)]
    if record.pack.accepted:
        call += ["--accept", *record.pack.accepted]
    if options.weights:
        call += ["--weights", str(options.weights)]
    return call


def compare_records(record: Record, again: Record) -> list[Compared]:
    """Status, answers and every metric of the two runs."""
    status, now = record.outcome.status, again.outcome.status
    compared = [Compared("status", status, now, status is now)]
    is_cpu = record.machine.device == "cpu"
    has_intervals = record.metrics_version == again.metrics_version
    if record.answers is not None and is_cpu:
        same = record.answers == again.answers
        compared.append(Compared("answers", record.answers, again.answers, same))
    for metric in record.metrics:
        other = again.metric(metric.id, metric.grid, metric.member)
        name = f"{metric.id} ({metric.where})"
        value = other.value if other else None
        same = other is not None and _is_same(
            metric, other, is_cpu=is_cpu, has_intervals=has_intervals
        )
        compared.append(Compared(name, metric.value, value, same))
    return compared


def _is_same(one: MetricValue, other: MetricValue, *, is_cpu: bool, has_intervals: bool) -> bool:
    """Value and interval to the last digit; a public record's to its step; else the tolerance.

    Intervals of other metric definitions say nothing of the run.
    """
    from harness.board.public_rows import to_step

    if one.step is not None:
        return to_step(other.value, one.step) == one.value
    pairs = [(one.value, other.value)]
    if has_intervals:
        pairs += [(one.low, other.low), (one.high, other.high)]
    if is_cpu:
        return all(a == b for a, b in pairs)
    return all(
        a == b or (a is not None and b is not None and abs(a - b) <= METRIC_TOLERANCE)
        for a, b in pairs
    )
