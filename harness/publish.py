"""`python -m harness.publish`: put runs onto the public board, and check a pull request that does.

add      copy runs into leaderboard/records/, those of hidden packs in their public form
check    may a pull request be merged? A contributor's adds submissions alone
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import DataMissing, StoreUnusable, UsageError
from harness.common.foreign_text import one_line
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.records.releases import KnownReleases

EXAMPLES = """
  python -m harness.publish add                        every publishable run under results/
  python -m harness.publish add results/brain/padim/seed-0.json --replace
  python -m harness.publish check --base origin/main --repository ../pull-request
  python -m harness.publish check --base origin/main --repository ../pull-request \\
      --maintainer --replaces padim
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "publish",
        "Put runs into leaderboard/records/ in the form that may be seen, or check a pull request:\n"
        "a contributor adds own submissions alone; what a maintainer publishes is derived again.",
        EXAMPLES,
    )
    parser.add_argument("verb", choices=("add", "check"))
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RECORD", help="seed-n.json files (add)"
    )
    group = parser.add_argument_group("add")
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    group.add_argument(
        "--records", type=Path, metavar="DIR", help="the published ones (default: this checkout's)"
    )
    group.add_argument(
        "--replace", action="store_true", help="a published record of another run gives way"
    )
    group = parser.add_argument_group("check")
    group.add_argument("--base", metavar="REVISION", help="branch that the pull request goes to")
    group.add_argument(
        "--repository", type=Path, metavar="DIR", help="its checkout (default: this one)"
    )
    group.add_argument(
        "--maintainer", action="store_true",
        help="a maintainer asks for it: the caller knows, and the change cannot say",
    )  # fmt: skip
    group.add_argument(
        "--owns", nargs="+", default=[], metavar="NAME",
        help="submissions that are its author's, so that he may change them",
    )  # fmt: skip
    group.add_argument(
        "--replaces",
        nargs="+",
        default=[],
        metavar="ENTRY",
        help="entries whose published rows it may change or add to (a maintainer's)",
    )
    parser.add_argument("--json", action="store_true", help="print what was done or found as JSON")
    return parser


def main(argv: Sequence[str] | None, known: KnownReleases | None = None) -> int:
    """Add or check; returns the exit code.

    Args:
        argv: the command line; None = this process's.
        known: by which contents `add` knows a benchmark; None = the list that is committed here.
    """
    options = build_parser().parse_args(argv)
    return _check(options) if options.verb == "check" else _add(options, known)


def _add(options: argparse.Namespace, known: KnownReleases | None) -> int:
    from harness.board import curves
    from harness.common.paths import PUBLISHED_RECORDS
    from harness.publishing.publication import publish_comparisons, publish_run
    from harness.records.store import Store, read_record

    source, target = Store(options.results), Store(options.records or PUBLISHED_RECORDS)
    if options.runs:
        paths = options.runs
    else:
        paths = [path for path in source.record_paths() if read_record(path).is_publishable]
        curves.refresh(source)
    if not paths:
        raise DataMissing("there is no publishable run", where=str(options.results))
    refused = 0
    done: list[dict[str, object]] = []

    def tell(what: Path, *, is_new: bool) -> None:
        done.append({"path": str(what), "is_new": is_new})
        if not options.json:
            cli.say(f"published{'' if is_new else ' before'}: {what}")

    for path in paths:
        try:
            written = publish_run(path, target, is_replacing=options.replace, known=known)
            tell(written or path, is_new=written is not None)
        except (UsageError, StoreUnusable) as error:
            refused += 1
            cli.say(cli.render_error(error), to=sys.stderr)
    for written in publish_comparisons(source, target, known=known):
        tell(written, is_new=True)
    if options.json:
        cli.say_json(done)
    return StoreUnusable.exit_code if refused else 0


def _check(options: argparse.Namespace) -> int:
    from harness.common.paths import REPOSITORY
    from harness.publishing.pull_request import PullRequest

    if not options.base:
        raise UsageError("with which branch is it to be compared?", where="--base")
    request = PullRequest(
        options.repository or REPOSITORY,
        options.base,
        is_maintainers=options.maintainer,
        owned=frozenset(options.owns),
        replaced=frozenset(options.replaces),
    )
    problems = [one_line(line, 4096) for line in request.problems()]
    proofs = [] if problems else [one_line(line, 4096) for line in request.proofs()]
    count = len(request.changes)
    cli.say_either(
        "\n".join([*problems, *proofs, f"{count} changed files, {len(problems)} problems"]),
        {"changed_files": count, "problems": problems, "proofs": proofs},
        is_json=options.json,
    )
    return StoreUnusable.exit_code if problems else 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
