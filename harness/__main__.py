"""`python -m harness`: every verb in a line; with a verb and its options, that verb."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.common.errors import UsageError
from harness.common.near_misses import did_you_mean
from harness.console import cli

EXAMPLES = """
  python -m harness                       every verb in a line
  python -m harness evaluate --help       the same as: python -m harness.evaluate --help
"""


def verbs() -> dict[str, str]:
    """What each verb does, by name: the rest of its module's first line; nothing is imported."""
    told = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        with path.open(encoding="utf-8") as source:
            told[path.stem] = source.readline().partition("`: ")[2].strip().rstrip('."')
    return told


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser("", "List the verbs of the harness, or run one.", EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print the verbs as one JSON object")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Tell the verbs; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    known = verbs()
    if arguments and not arguments[0].startswith("-"):
        raise UsageError(
            f"there is no verb {arguments[0]!r}",
            fix=f"{did_you_mean(arguments[0], known, before='python -m harness.')}"
            f"python -m harness lists them: {', '.join(known)}",
        )
    if build_parser().parse_args(arguments).json:
        cli.say_json(known)
        return 0
    width = max(map(len, known))
    cli.say("\n".join(f"python -m harness.{name:<{width}}  {told}" for name, told in known.items()))
    cli.say("\npython -m harness.VERB --help tells its options, with examples.")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in verbs():
        verb = sys.argv.pop(1)
        runpy.run_module(f"harness.{verb}", run_name="__main__", alter_sys=True)
    else:
        sys.exit(cli.run_verb(main))
