"""`python -m harness.publish`: put runs onto the public board, and check a pull request that does.

add      copy runs into leaderboard/records/, those of hidden packs in their public form
check    may a pull request be merged? A contributor's adds submissions alone
sign     a maintainer's signature over the change that is checked out here
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import DataMissing, StoreUnusable, UsageError
from harness.common.foreign_text import one_line
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.entries.reviewed import Reviewed
    from harness.publishing.pull_request import PullRequest
    from harness.records.releases import KnownReleases

EXAMPLES = """
  python -m harness.publish add                        every publishable run under results/
  python -m harness.publish add results/brain/padim/seed-0.json --replace
  python -m harness.publish check --base origin/main --repository ../pull-request
  python -m harness.publish check --base origin/main --repository ../pull-request \\
      --maintainer --replaces padim
  python -m harness.publish sign --base origin/main --key ~/.config/bmad/key.pem --out ../change.sig
      and `check --signature ../change.sig` takes the change for a maintainer's
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "publish",
        "Put runs into leaderboard/records/ in the form that may be seen, check a pull request, or\n"
        "sign a change: a contributor adds own submissions alone; what a maintainer publishes is\n"
        "derived again.",
        EXAMPLES,
    )
    parser.add_argument("verb", choices=("add", "check", "sign"))
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RECORD", help="seed-n.json files (add)"
    )
    parser.add_argument(
        "--repository", type=Path, metavar="DIR",
        help="the checkout whose branch is asked, or that is checked (default: this one)",
    )  # fmt: skip
    group = parser.add_argument_group("add")
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    group.add_argument(
        "--records", type=Path, metavar="DIR", help="the published ones (default: this checkout's)"
    )
    group.add_argument(
        "--replace", action="store_true", help="a published record of another run gives way"
    )
    cli.add_review_option(parser)
    group = parser.add_argument_group("check")
    group.add_argument("--base", metavar="REVISION", help="branch that the pull request goes to")
    group.add_argument(
        "--signature", type=Path, metavar="FILE",
        help="a maintainer signed it: `sign` made this file, with a key that is in the base",
    )  # fmt: skip
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
    group = parser.add_argument_group("sign")
    group.add_argument("--key", type=Path, metavar="FILE", help="your private key")
    group.add_argument("--out", type=Path, metavar="FILE", help="file of the signature")
    parser.add_argument("--json", action="store_true", help="print what was done or found as JSON")
    return parser


def main(
    argv: Sequence[str] | None,
    known: KnownReleases | None = None,
    reviewed: Reviewed | None = None,
) -> int:
    """Add, check or sign; returns the exit code.

    Args:
        argv: the command line; None = this process's.
        known: by which contents `add` knows a benchmark; None = the list that is committed here.
        reviewed: what `add` knows as reviewed; None = what the protected branch holds.
    """
    options = build_parser().parse_args(argv)
    if options.verb == "add":
        return _add(options, known, reviewed)
    return _check(options) if options.verb == "check" else _sign(options)


def _add(
    options: argparse.Namespace, known: KnownReleases | None, reviewed: Reviewed | None
) -> int:
    from harness.board import curves
    from harness.common.paths import PUBLISHED_RECORDS, REPOSITORY
    from harness.entries.reviewed import protected_branch
    from harness.publishing.publication import (
        publish_comparisons,
        publish_log,
        publish_run,
        publish_siblings,
    )
    from harness.records.store import Store, read_record

    source, target = Store(options.results), Store(options.records or PUBLISHED_RECORDS)
    reviewed = reviewed or protected_branch(
        options.reviewed_branch, root=options.repository or REPOSITORY
    )
    if options.runs:
        paths = options.runs
    else:
        paths = [path for path in source.record_paths() if read_record(path).is_publishable]
        curves.refresh(source)
    if not paths:
        raise DataMissing("there is no publishable run", where=str(options.results))
    beside = cache(lambda root: Store(root).records())
    refused = 0
    done: list[dict[str, object]] = []

    def tell(what: Path, *, is_new: bool) -> None:
        done.append({"path": str(what), "is_new": is_new})
        if not options.json:
            cli.say(f"published{'' if is_new else ' before'}: {what}")

    for path in paths:
        try:
            written = publish_run(
                path, target, is_replacing=options.replace, reviewed=reviewed, known=known,
                others=beside(Store.around(path).root),
            )  # fmt: skip
            tell(written or path, is_new=written is not None)
        except (UsageError, StoreUnusable) as error:
            refused += 1
            cli.say(cli.render_error(error), to=sys.stderr)
    for publish in (publish_comparisons, publish_siblings):
        for written in publish(source, target, known=known):
            tell(written, is_new=True)
    for written in publish_log(target, reviewed, known=known):
        tell(written, is_new=True)
    if options.json:
        cli.say_json(done)
    return StoreUnusable.exit_code if refused else 0


def _check(options: argparse.Namespace) -> int:
    request = _request(options)
    signed = ""
    if options.signature is not None:
        signed = (
            f"signed by {_signer_of(request, options.signature)}, whose key is in {request.base}"
        )
        request = replace(request, is_maintainers=True)
    problems = [one_line(line, 4096) for line in request.problems()]
    proofs = [] if problems else [one_line(line, 4096) for line in request.proofs()]
    if signed:
        proofs.insert(0, one_line(signed))
    count = len(request.changes)
    cli.say_either(
        "\n".join([*problems, *proofs, f"{count} changed files, {len(problems)} problems"]),
        {"changed_files": count, "problems": problems, "proofs": proofs},
        is_json=options.json,
    )
    return StoreUnusable.exit_code if problems else 0


def _request(options: argparse.Namespace) -> PullRequest:
    from harness.common.paths import REPOSITORY
    from harness.publishing.pull_request import PullRequest

    if not options.base:
        raise UsageError("with which branch is it to be compared?", where="--base")
    return PullRequest(
        options.repository or REPOSITORY,
        options.base,
        is_maintainers=options.maintainer,
        owned=frozenset(options.owns),
        replaced=frozenset(options.replaces),
    )


def _signer_of(request: PullRequest, signature: Path) -> str:
    from harness.publishing.pull_request import KEYS
    from harness.publishing.signed_change import keys_at, who_signed

    try:
        text = signature.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the file of the signature cannot be read", where=str(signature)
        ) from error
    return who_signed(text, request.message, keys_at(request.repository, request.base, KEYS))


def _sign(options: argparse.Namespace) -> int:
    from harness.publishing.signed_change import sign_change
    from harness.publishing.signing import read_private

    request = _request(options)
    for name, value in (("--key", options.key), ("--out", options.out)):
        if value is None:
            raise UsageError("a signature needs a key and a file", where=name)
    text = sign_change(read_private(options.key), request.message)
    if options.out.resolve().is_relative_to(request.repository.resolve()):
        raise UsageError(
            "the signature would be a part of what it signs",
            where="--out",
            fix="write it outside of the checkout, and hand it to CI beside the change",
        )
    options.out.write_text(text, encoding="ascii")
    cli.say(f"signed {len(request.changes)} changed files: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
