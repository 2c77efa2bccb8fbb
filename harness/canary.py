"""`python -m harness.canary`: the lookup canary with the answers of public packs in a layer.

The folder that it writes is `baselines/canary-lookup` and a table of every image of the given
packs with its label, as a stranger could hide one in an image. Evaluated, it is a row of the open
track that shows what memorising alone scores there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.common.errors import UsageError
from harness.console import cli, data_options
from harness.entries.lookup_canary import write_canary

EXAMPLES = """
  python -m harness.canary --data-root /data/bmad --out build/canary-answers
      then: python -m harness.evaluate build/canary-answers --data-root /data/bmad
  python -m harness.canary --benchmark demo --out build/canary-demo
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "canary",
        "Write the folder of an entry that knows the labels of public packs by heart.",
        EXAMPLES,
    )
    data_options.add(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="new folder; its name is the entry's and begins with canary",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print folder and count as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Write the folder; returns the exit code."""
    options = build_parser().parse_args(argv)
    from harness.benchmarks import check_cache, default_cache

    _check_target(options.out)
    cache = default_cache()
    check_cache(cache)
    with cli.reporting() as reporter:
        count = write_canary(
            data_options.open_packs(options, cache, reporter), options.out, reporter
        )
    cli.say_either(
        f"{options.out}: {count} images known\nnext: python -m harness.evaluate {options.out}",
        {"folder": str(options.out), "images": count},
        is_json=options.json,
    )
    return 0


def _check_target(out: Path) -> None:
    from harness.entries.entry import check_name

    check_name(out.name)
    if not out.name.startswith("canary"):
        raise UsageError(
            f"{out.name!r} does not say what it is", where="--out", fix="begin it with canary"
        )
    if out.exists():
        raise UsageError("the folder exists already", where=str(out), fix="remove it first")


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
