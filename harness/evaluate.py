"""`python -m harness.evaluate ENTRY…`: run entries on benchmarks, print and keep the results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from harness.common.errors import EntryFailed, InfrastructureFault
from harness.console import cli
from harness.publishing.site_build import build_site_if_possible, tell_site_problem
from harness.running.options import add_run_options
from harness.running.plan import RunPlan, dry_run, plan_runs, run_all

if TYPE_CHECKING:
    from harness.records.record import Record

EXAMPLES = """
  python -m harness.evaluate baselines/rd4ad
      on the built-in demo pack, or on every benchmark under $BMAD_DATA
  python -m harness.evaluate baselines/rd4ad baselines/padim --data-root /data/bmad \\
      --benchmark brain --seed 0 1 2 3 4 --device cuda:0
  python -m harness.evaluate registry.example/me/method@sha256:… --pack /data/my-pack
  python -m harness.evaluate baselines/patchcore --set backbone=resnet18 --as patchcore-r18
  python -m harness.evaluate baselines/rd4ad --model my-checkpoint/ --as rd4ad-theirs
  python -m harness.evaluate baselines/padim --engine process --dry-run
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "evaluate",
        "Run entries (folders, submission files, images or image archives) on benchmarks.\n"
        "A finished run is not run again, nor one that is not applicable; a failed one is.",
        EXAMPLES,
    )
    add_run_options(parser)
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Evaluate; returns the exit code (0, or 4 when a run ended by its entry's fault)."""
    options = build_parser().parse_args(argv)
    with cli.reporting() as reporter:
        plan = plan_runs(options, reporter)
        if options.dry_run:
            show_calls(plan, is_json=options.json)
            return 0
        if not options.no_site:
            tell_site_problem(options.results, reporter)
        records: list[Record] = []
        try:
            for record in run_all(plan):
                records.append(record)  # what was done counts, should the next one fail
        except InfrastructureFault:
            if records:
                show(records, plan, is_json=options.json, rebuild_site=not options.no_site)
            raise
    show(records, plan, is_json=options.json, rebuild_site=not options.no_site)
    return 0 if all(record.is_settled for record in records) else EntryFailed.exit_code


def show(records: Sequence[Record], plan: RunPlan, *, is_json: bool, rebuild_site: bool) -> None:
    """Print the results and rebuild the site."""
    from harness.benchmarks.known import known_releases
    from harness.board.terminal_tables import result_tables
    from harness.records.releases import under_known_names

    store = plan.place.store
    # Before anything is printed: whoever reads the first line alone (`| head`) has a site as well.
    index = None
    if rebuild_site:
        place = plan.place
        index = build_site_if_possible(store.root, place.reporter, reviewed=place.reviewed)
    if is_json:
        cli.say_json([record.as_json_object() for record in records])
    else:
        cli.say(result_tables(under_known_names(records, known_releases())))
    if rebuild_site:
        places = f"records: {store.root}" + (f"\nsite:    {index}" if index else "")
        cli.say(places, to=sys.stderr if is_json else sys.stdout)


def show_calls(plan: RunPlan, *, is_json: bool) -> None:
    """Print the engine's calls of every session; nothing is started."""
    if is_json:
        cli.say_json([asdict(call) for call in dry_run(plan)])
    else:
        cli.say("\n\n".join(f"# {call.run} {call.verb}\n{call.call}" for call in dry_run(plan)))


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
