"""`python -m harness.check ENTRY`: does an entry keep the contract? A full run on the demo pack.

The same code path and the same limits as `evaluate`, on images that are no secret, so
the whole log is shown. The verdict is one JSON object on standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from harness.console import cli
from harness.running.checking import check_entry

EXAMPLES = """
  python -m harness.check baselines/padim
  python -m harness.check my-method:latest > verdict.json
  python -m harness.check my-method.tar --device cuda:0 --limit image_seconds=10
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "check",
        "Run an entry through the whole contract on the demo pack. Prints a JSON verdict;\n"
        "the entry's full log goes to standard error. Exit code 0: it conforms; 3 or 4: not.",
        EXAMPLES,
    )
    parser.add_argument("entry", metavar="ENTRY", help="folder, .toml, image or .tar")
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
