"""The queue of submissions: what waits, evaluated one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import EntryFailed, HarnessError, StoreConflict
from harness.console import cli

BUG = HarnessError.exit_code  # that of a traceback

if TYPE_CHECKING:
    import argparse

    from harness.benchmarks import Pack
    from harness.board.submission_states import SubmissionJob
    from harness.entries.entry import Entry
    from harness.records.store import Store


def queued_jobs(
    options: argparse.Namespace, entries: Sequence[Entry], packs: Sequence[Pack], store: Store
) -> list[SubmissionJob]:
    """Where every submission stands on every pack."""
    from harness.board.submission_states import MOST_SCORED, submission_jobs
    from harness.common.paths import PUBLISHED_RECORDS
    from harness.entries.asked_limits import not_told
    from harness.records.store import Store

    return submission_jobs(
        [replace(entry, limits=not_told(entry.limits, options.limit)) for entry in entries],
        packs,
        options.seeds,
        store=store,
        published=Store(PUBLISHED_RECORDS).records(),
        limits=cli.read_limits(options.limit),
        most_scored=MOST_SCORED if options.most_scored is None else options.most_scored,
        is_retrying=options.retry_failed,
    )


def run_waiting(
    options: argparse.Namespace,
    entries: Sequence[Entry],
    jobs: Sequence[SubmissionJob],
    places: Mapping[str, Sequence[str]],
    reporter: cli.Reporter,
) -> int:
    """Do what waits; a submission that cannot be run is told, and the next one has its turn."""
    files = {entry.name: entry.submission for entry in entries}
    waiting = [job for job in jobs if job.state == "waiting"]
    worst, done = _tell_missing(entries, reporter), 0
    for number, job in enumerate(waiting, start=1):
        reporter.event(f"[{number}/{len(waiting)}] {job.name}: {job.why}")
        arguments = _arguments(options, files[job.entry], job, places[job.benchmark])
        if options.dry_run:
            reporter.event("  python -m harness.evaluate " + " ".join(arguments))
            continue
        code = _evaluate(arguments, reporter)
        done += code in (0, EntryFailed.exit_code)
        worst = worse(worst, code)
    if done and not options.no_site:
        from harness.publishing.site_build import build_site_if_possible

        if index := build_site_if_possible(options.results, reporter):
            reporter.event(f"site: {index}")
    return worst


def _tell_missing(entries: Sequence[Entry], reporter: cli.Reporter) -> int:
    """Archives that were handed over and are not here hold up their submissions; the exit code."""
    from harness.board.submission_states import missing_archive

    missing = [error for entry in entries if (error := missing_archive(entry))]
    for error in missing:
        reporter.event(cli.render_error(error))
    return max((error.exit_code for error in missing), default=0)


def _arguments(
    options: argparse.Namespace, path: Path | None, job: SubmissionJob, place: Sequence[str]
) -> list[str]:
    """The call of `harness.evaluate` that does one job."""
    given = [str(path), "--seed", str(job.seed), "--results", str(options.results), *place]
    if options.weights:
        given += ["--weights", str(options.weights)]
    for limit in options.limit:
        given += ["--limit", limit]
    # An older record moves to history: the reason for the new run was told.
    return [*given, "--engine", options.engine, "--device", options.device, "--replace"]


def worse(one: int, other: int) -> int:
    """The worse of two exit codes: a bug, whose code is 1, before all that can be named."""
    return BUG if BUG in (one, other) else max(one, other)


def _evaluate(arguments: Sequence[str], reporter: cli.Reporter) -> int:
    """One evaluation; its exit code, whatever happens to it."""
    from harness.running.options import read_run_options
    from harness.running.plan import plan_runs, run_all

    try:
        records = list(run_all(plan_runs(read_run_options(arguments), reporter)))
    except StoreConflict as error:  # another process does it, or has just done it
        reporter.event(f"  {error.on_one_line()}")
        return 0
    except HarnessError as error:
        reporter.event(f"  {cli.render_error(error)}")
        return error.exit_code
    except (KeyboardInterrupt, GeneratorExit):
        raise
    # Whatever one does, the next one has its turn; a panic of a compiled library is no `Exception`.
    except BaseException as error:  # noqa: BLE001
        for line in traceback.format_exception(error):
            reporter.event(line.rstrip("\n"))
        reporter.event(f"  a bug ended this one ({type(error).__name__}); the queue goes on")
        return BUG
    return 0 if all(record.is_settled for record in records) else EntryFailed.exit_code
