"""`python -m harness.check ENTRY`: does an entry keep the contract? One full run, on the demo pack or another.

The same code path, options and limits as `evaluate`, so that what failed there can be tried here.
On images that are no secret the whole log is shown. The verdict is one JSON object on standard
output; nothing is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from harness.console import cli, data_options
from harness.running.checking import check_entry

EXAMPLES = """
  python -m harness.check baselines/padim
  python -m harness.check my-method:latest > verdict.json
  python -m harness.check my-method.tar --device cuda:0 --limit image_seconds=10
  python -m harness.check baselines/padim --pack /data/bmad/brain --seed 2 --set backbone=resnet18
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "check",
        "Run an entry through the whole contract on the demo pack, or on another one. Prints a JSON\n"
        "verdict; the entry's full log goes to standard error. Nothing is kept. Exit code 0: it\n"
        "conforms; 3 or 4: not.",
        EXAMPLES,
    )
    parser.add_argument("entry", metavar="ENTRY", help="folder, .toml, image or .tar")
    data_options.add_one(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed (default: 0)")
    cli.add_engine_options(parser)
    cli.add_setting_options(parser)
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Check one entry; returns the exit code."""
    options = build_parser().parse_args(argv)
    with cli.reporting() as reporter:
        verdict = check_entry(options, reporter)
    verdict.show_log(reporter)
    cli.say_json(asdict(verdict))
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
