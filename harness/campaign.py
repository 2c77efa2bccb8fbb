"""`python -m harness.campaign plan|run|status|resume`: a whole grid of runs by one command.

Everything that a campaign knows lies in the results folder: a run that has a record is not
done again, so a campaign that was killed is resumed by the same command, and several may
work on one folder in turn. Faults of entries are records and stop nothing; faults of the
machine are tried again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console import cli, data_options

if TYPE_CHECKING:
    import argparse

    from harness.campaigns.faults import Ended
    from harness.campaigns.host import Host
    from harness.campaigns.plan import CampaignPlan

EXAMPLES = """
  python -m harness.campaign plan table2 --data-root /data/bmad --device cuda
      the paper's fifteen methods x six benchmarks x five seeds: what is left, and what it takes
  python -m harness.campaign run table2 --data-root /data/bmad --device cuda
      one run at a time on every idle GPU; Ctrl-C at will, and `resume` goes on
  python -m harness.campaign run --entries 'baselines/*' --leave-out template 'trivial-*' \\
      --benchmark demo --seed 0 1 --engine process
  python -m harness.campaign run table2 --data-root /data/bmad --device cuda --on ray
      the same on every GPU of a Ray cluster; docs/cluster.md says what a node needs
  python -m harness.campaign status table2 --data-root /data/bmad
  python -m harness.campaign run few-shot --data-root /data/bmad --shots 1 4 --benchmark brain
  python -m harness.campaign run unified --data-root /data/bmad --suite unified-3
  python -m harness.campaign run my-grid.toml --data-root /data/bmad
"""
ACTIONS = ("plan", "run", "status", "resume")


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "campaign",
        "Plan, run, resume or look at a grid of runs: entries x benchmarks x seeds x settings.\n"
        "A finished run is never repeated; an entry's fault stops nothing; faults of this\n"
        "machine are tried again.",
        EXAMPLES,
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument(
        "campaign", nargs="?", help="one that ships (table2, unified, few-shot), or a TOML file"
    )
    group = parser.add_argument_group("the grid (changes what the campaign says)")
    group.add_argument("--entries", nargs="+", metavar="ENTRY", help="paths may hold wildcards")
    group.add_argument("--leave-out", nargs="+", metavar="NAME", help="names of entries")
    group.add_argument("--seed", dest="seeds", type=int, nargs="+", metavar="N")
    group.add_argument("--preset", help="preset of every entry")
    group.add_argument(
        "--regime", dest="regimes", nargs="+", metavar="NAME",
        help="one-class, one-class-256, few-shot, unified (default: one-class)",
    )  # fmt: skip
    group.add_argument(
        "--shots", type=int, nargs="+", metavar="K", help="of few-shot (default: 1 2 4 8 16)"
    )
    group.add_argument(
        "--suite",
        dest="suites",
        nargs="+",
        metavar="NAME",
        help="of unified: names, or .toml files",
    )
    data_options.add(parser)
    cli.add_engine_options(parser)
    group = parser.add_argument_group("on which machines")
    group.add_argument(
        "--on", default="here", metavar="WHERE",
        help="here, ray (the cluster of $RAY_ADDRESS, or the one this machine is part of) or"
        " ray:HOST:PORT",
    )  # fmt: skip
    group.add_argument(
        "--gpu-model", metavar="NAME",
        help="with --on ray: use GPUs of this model alone (a cluster of several models needs it)",
    )  # fmt: skip
    group.add_argument(
        "--wait-for-nodes", type=float, default=300.0, metavar="SECONDS",
        help="with --on ray: wait so long for a node where none is left (default: 300)",
    )  # fmt: skip
    group = parser.add_argument_group("how it goes")
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    group.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time on the CPU (default: by the cores)"
    )
    group.add_argument("--retry-failed", action="store_true", help="run entries' faults again")
    group.add_argument(
        "--replace", action="store_true", help="move records of other runs to history"
    )
    group.add_argument(
        "--keep-maps", action="store_true", help="keep the anomaly maps beside the records"
    )
    group.add_argument("--no-site", action="store_true", help="do not rebuild the site at the end")
    group.add_argument("--json", action="store_true", help="print the state of every run as JSON")
    parser.set_defaults(overrides=[])
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Do what is asked; returns the exit code (0, or 4 or 5 when runs are missing)."""
    options = build_parser().parse_args(argv)
    from harness.campaigns.host import find_host
    from harness.campaigns.plan import plan_campaign
    from harness.campaigns.report import as_json, exit_code, plan_text, show
    from harness.publishing.site_build import tell_site_problem

    is_run = options.action in ("run", "resume")
    done: list[Ended] = []
    with cli.reporting() as reporter, find_host(options, reporter) as place:
        plan = plan_campaign(options, place, reporter)
        if is_run:
            plan.check_conflicts(replace=options.replace)
            if not options.no_site:
                tell_site_problem(options.results, reporter)
            done = run(plan, place, options, reporter)
    if not is_run:
        cli.say(as_json(plan) if options.json else plan_text(plan))
        return 0
    show(plan, done, options)
    return exit_code(plan, done)


def run(
    plan: CampaignPlan, place: Host, options: argparse.Namespace, reporter: cli.Reporter
) -> list[Ended]:
    """Do what is left; returns what was tried, in the order in which it ended."""
    from harness.campaigns.faults import End
    from harness.campaigns.report import expected

    left = plan.to_do(retry_failed=options.retry_failed, replace=options.replace)
    reporter.event(
        f"campaign {plan.campaign.name}: {len(left)} of {len(plan.runs)} runs to do"
        f" · {len(plan.slots)} at a time on {', '.join(sorted(set(plan.slots)))} · {plan.engine}"
        f" · {expected(left, len(plan.slots))}"
    )
    done: list[Ended] = []
    for ended in place.runs(plan, [planned.cell for planned in left]):
        done.append(ended)
        tries = f", {ended.tries} tries" if ended.tries > 1 else ""
        said = _recorded(plan, ended) if ended.end is End.FAILED else ended.detail
        detail = f": {said}" if said else ""
        reporter.event(
            f"[{len(done)}/{len(left)}] {ended.cell}: {ended.end} in {ended.seconds:.0f} s"
            f"{tries}{detail}"
        )
        reporter.progress("runs", len(done), len(left))
    return done


def _recorded(plan: CampaignPlan, ended: Ended) -> str:
    """Status and detail of the record that a failed run left."""
    record = plan.store.find(ended.cell.run)
    if record is None:
        return ended.detail
    detail = f", {record.outcome.detail}" if record.outcome.detail else ""
    return f"{record.outcome.status.value}{detail}"


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
