"""`python -m harness.queue`: evaluate every submission that lacks a record for the packs of today.

list       where each submission stands, why, since when and until when
run        evaluate those that wait, one after the other; what fails holds up no other
check      are the submission files valid, pinned and no copies of one another? No engine
withdraw   take a submission off the ranks; its rows stay, with the reason
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import (
    EntryInvalid,
    UsageError,
)
from harness.common.foreign_text import one_line
from harness.console import cli, data_options
from harness.publishing.submission_check import check_files
from harness.running.submission_queue import queued_jobs, run_waiting

if TYPE_CHECKING:
    import argparse

    from harness.board.submission_states import SubmissionJob
    from harness.records.store import Store

EXAMPLES = """
  python -m harness.queue list --data-root /data/bmad --pack /data/sealed
  python -m harness.queue run --data-root /data/bmad --pack /data/sealed --device cuda:0 --dry-run
  python -m harness.queue run --data-root /data/bmad --pack /data/sealed --device cuda:0
  python -m harness.queue check
  python -m harness.queue withdraw my-method --reason "its authors found an error"
"""
VERBS = ("list", "run", "check", "withdraw")


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "queue",
        "Evaluate every submission that lacks a current record: one that was never run, or was run\n"
        "before its pin, its settings, the pack, the contract, the metric definitions or the\n"
        "harness changed. Exit code 0: done; 3, 4 or 5: the worst that happened; 1: a bug, told\n"
        "with its traceback; the rest of the queue was done all the same.",
        EXAMPLES,
    )
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("name", nargs="?", help="the submission (withdraw alone)")
    parser.add_argument("--reason", help="why it is withdrawn, one line")
    data_options.add(parser)
    parser.add_argument(
        "--seed", dest="seeds", type=int, nargs="+", default=[0], metavar="N",
        help="seeds (default: 0)",
    )  # fmt: skip
    cli.add_engine_options(parser)
    group = parser.add_argument_group("the queue")
    group.add_argument(
        "--submissions", type=Path, metavar="DIR", help="folder of the files (default: submissions)"
    )
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    group.add_argument(
        "--retry-failed", action="store_true", help="also those that failed by their own fault"
    )
    group.add_argument(
        "--most-scored", type=int, metavar="N",
        help="scored submissions that a team may have on one benchmark (default: 5)",
    )  # fmt: skip
    group.add_argument("--dry-run", action="store_true", help="say what would be run, run nothing")
    group.add_argument("--no-site", action="store_true", help="do not rebuild the site")
    group.add_argument(
        "--json", action="store_true", help="print the result as JSON; of list and run, the jobs"
    )
    return parser


def main(argv: Sequence[str] | None) -> int:
    """List, run, check or withdraw; returns the exit code."""
    from harness.common.paths import SUBMISSIONS

    options = build_parser().parse_args(argv)
    options.submissions = options.submissions or SUBMISSIONS
    wanted = 2 if options.verb == "withdraw" else 0
    if sum(map(bool, (options.name, options.reason))) != wanted:
        raise UsageError(
            "withdraw takes a name and --reason; the other verbs take neither",
            fix='python -m harness.queue withdraw NAME --reason "…"',
        )
    if options.verb == "withdraw":
        return _withdraw(options)
    if options.verb == "check":
        return _check(options)
    with cli.reporting() as reporter:
        return _list_or_run(options, reporter)


def _withdraw(options: argparse.Namespace) -> int:
    from harness.entries.submissions import withdraw

    path = options.submissions / f"{options.name}.toml"
    withdraw(path, options.reason)
    cli.say_either(
        f"withdrawn: {path}\nIts rows stay on the site, unranked, with the reason. Commit the file,\n"
        "make the comparison anew (python -m harness.compare) and build the site.",
        {"withdrawn": str(path), "reason": options.reason},
        is_json=options.json,
    )
    return 0


def _check(options: argparse.Namespace) -> int:
    """Every problem of every file on one line each."""
    problems = [one_line(problem, 4096) for problem in check_files(options.submissions)]
    count = len(list(options.submissions.glob("*.toml")))
    cli.say_either(
        "\n".join([*problems, f"{count} submissions, {len(problems)} problems"]),
        {"submissions": count, "problems": problems},
        is_json=options.json,
    )
    return EntryInvalid.exit_code if problems else 0


def _list_or_run(options: argparse.Namespace, reporter: cli.Reporter) -> int:
    from harness.benchmarks import check_cache, default_cache
    from harness.entries.submissions import open_all
    from harness.publishing.site_build import tell_site_problem
    from harness.records.store import Store

    cache = default_cache()
    check_cache(cache)
    packs = data_options.open_packs(options, cache, reporter)
    entries, invalid = open_all(options.submissions)
    for path, error in sorted(invalid.items()):
        reporter.event(f"passed over {path.name}: {error.on_one_line()}")
    store = Store(options.results)
    jobs = queued_jobs(options, entries, packs, store)
    if options.verb == "run":
        if not options.dry_run:
            store.check_writable()
            if not options.no_site:
                tell_site_problem(options.results, reporter)
        worst = run_waiting(options, entries, jobs, data_options.places(packs, options), reporter)
        jobs = queued_jobs(options, entries, packs, store)
    else:
        worst = 0
    if options.json:
        cli.say_json([asdict(job) for job in jobs])
    else:
        cli.say(table(jobs))
        for line in _scored(options, store):
            cli.say(line)
    return worst


def _scored(options: argparse.Namespace, store: Store) -> list[str]:
    """How many scored submissions each team has, of how many it may have."""
    from harness.benchmarks.known import known_releases
    from harness.board.submission_states import team_counts
    from harness.common.paths import PUBLISHED_RECORDS
    from harness.records.releases import under_known_names
    from harness.records.store import Store

    stored = [*store.records(), *store.history(), *Store(PUBLISHED_RECORDS).records()]
    counts = team_counts(under_known_names(stored, known_releases()))
    return [
        f"scored: {one_line(each.team)} has {each.scored} of {options.most_scored or each.most} submissions"
        f" on {each.benchmark}"
        for each in counts
    ]


def table(jobs: Sequence[SubmissionJob]) -> str:
    """One line per job, the open ones first, and how many scored submissions each team has."""
    if not jobs:
        return "there is no submission"
    order = ("running", "waiting", "held", "failed", "finished", "withdrawn")
    lines = []
    for state in order:
        of_state = [job for job in jobs if job.state == state]
        if of_state:
            lines.append(f"{state} ({len(of_state)})")
        for job in of_state:
            since = f" since {job.since}" if job.since else ""
            until = f", until {job.until} at the latest" if job.until else ""
            lines.append(
                f"  {job.name} ({one_line(job.team)}){since}{until}\n      {one_line(job.why, 1000)}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
