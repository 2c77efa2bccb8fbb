"""`python -m harness.check ENTRY`: does an entry keep the contract? One full run, on the demo pack or another.

The same code path, options and limits as `evaluate`, so that what failed there can be tried here.
On images that are no secret the whole log is shown; nothing is kept. The verdict is a few lines at a
terminal; with `--json`, or where the output is none, it is one JSON object.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from harness.common.foreign_text import hanging
from harness.console import cli, data_options
from harness.console.ends import is_terminal
from harness.running.checking import CheckReport, check_entry

EXAMPLES = """
  python -m harness.check baselines/padim
  python -m harness.check my-method:latest > verdict.json
  python -m harness.check my-method.tar --device cuda:0 --limit image_seconds=10
  python -m harness.check baselines/padim --pack /data/bmad/brain --seed 2 --set backbone=resnet18
  python -m harness.check baselines/patchcore --train shots:4 --seed 1
"""
# Of the metrics a reader sees these; the JSON holds all.
SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_pro", "dice_max")


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "check",
        "Run an entry through the whole contract on the demo pack, or on another one. Prints a\n"
        "verdict; the entry's full log goes to standard error. Nothing is kept. Exit code 0: it\n"
        "conforms; 3 or 4: not.",
        EXAMPLES,
    )
    parser.add_argument("entry", metavar="ENTRY", help="folder, .toml, image or .tar")
    data_options.add_one(parser)
    data_options.add_regime(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed (default: 0)")
    cli.add_engine_options(parser)
    cli.add_setting_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the verdict as JSON at a terminal too"
    )
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Check one entry; returns the exit code."""
    options = build_parser().parse_args(argv)
    with cli.reporting() as reporter:
        verdict = check_entry(options, reporter)
    verdict.show_log(reporter)
    is_json = options.json or not is_terminal(sys.stdout)
    cli.say_either(verdict_text(verdict), asdict(verdict), is_json=is_json)
    return verdict.exit_code


def verdict_text(verdict: CheckReport) -> str:
    """The verdict for a reader: every check in a line, what to know besides, and what it comes to."""
    width = max((len(check.name) for check in verdict.checks), default=0)
    lines = [
        hanging(f"{'ok    ' if check.passed else 'FAILED'} {check.name:<{width}}  {check.detail}")
        for check in verdict.checks
    ]
    lines += [f"note   {warning}" for warning in verdict.warnings]
    if verdict.seconds_per_image is not None:
        lines.append(f"       {verdict.seconds_per_image:.3f} s per image on the demo pack")
    values = [
        f"{name} {value:.4f}" for name in SHOWN if (value := verdict.metrics.get(name)) is not None
    ]
    if values:
        lines.append(f"       reached there (a sign of life): {', '.join(values)}")
    ending = "keeps the contract" if verdict.conforms else "does NOT keep the contract"
    return "\n".join([*lines, f"{verdict.entry} {ending}"])


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
