"""`python -m harness.site`: build the static site from the records on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.common.errors import UsageError
from harness.common.paths import PUBLISHED_RECORDS
from harness.console import cli
from harness.entries.reviewed import protected_branch
from harness.publishing.site_build import build_example, build_site

EXAMPLES = """
  python -m harness.site
      from results/ and the published records, to site/ beside results/
  python -m harness.site --results /data/results --out /var/www/leaderboard
  python -m harness.site --local-pictures
      to local-site/, with the pictures of packs whose images may not be shown: for your eyes alone
  python -m harness.site --example --out /tmp/example
      a made-up data set, marked as such on every page: how full tables look
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "site",
        "Build the leaderboard's static pages from records alone. They open from disk.",
        EXAMPLES,
    )
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="folder of your own records (default: results)"
    )
    parser.add_argument(
        "--records", type=Path, metavar="DIR",
        help="folder of published records (default: those of this checkout)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the site (default: beside results)"
    )
    cli.add_review_option(parser)
    parser.add_argument(
        "--local-pictures", action="store_true",
        help="also pictures of images that may not be shown, watermarked; never publish such a site",
    )  # fmt: skip
    parser.add_argument(
        "--example", action="store_true",
        help="made-up data instead of records, for looking at the design; needs --out",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the path as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Build the site and print the path of its front page."""
    options = build_parser().parse_args(argv)
    if options.example:
        if options.results or options.records or options.local_pictures or not options.out:
            raise UsageError(
                "the example takes no records and no pictures of them, and a folder of its own",
                where="--example",
                fix="python -m harness.site --example --out DIR",
            )
        index = build_example(options.out)
    else:
        if options.local_pictures and options.records:
            raise UsageError(
                "a site of records that are published shows no picture that may not be: the terms of"
                " these images forbid it",
                where="--local-pictures",
                fix="leave out --records, and keep the site on this machine",
            )
        results = options.results or Path("results")
        published = options.records or PUBLISHED_RECORDS
        reviewed = protected_branch(options.reviewed_branch)
        index = build_site(
            results,
            options.out,
            published=published,
            reviewed=reviewed,
            with_local_pictures=options.local_pictures,
        )
    cli.say_either(index, {"site": str(index)}, is_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run_verb(main))
