"""`python -m harness.site`: build the static site from the records on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import cli

EXAMPLES = """
  python -m harness.site
      from results/ and the published records, to site/ beside results/
  python -m harness.site --results /data/results --out /var/www/leaderboard
"""

PUBLISHED_RECORDS = Path(__file__).resolve().parent.parent / "leaderboard" / "records"


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "site",
        "Build the leaderboard's static pages from records alone. They open from disk.",
        EXAMPLES,
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR",
        help="folder of your own records (default: results)",
    )  # fmt: skip
    parser.add_argument(
        "--records", type=Path, default=PUBLISHED_RECORDS, metavar="DIR",
        help="folder of published records (default: those of this checkout)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the site (default: site beside results)"
    )
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Build the site and print the path of its front page."""
    options = build_parser().parse_args(argv)
    print(build_site(options.results, options.out, published=options.records))
    return 0


def build_site(
    results: Path, out: Path | None = None, *, published: Path = PUBLISHED_RECORDS
) -> Path:
    """Build the site from all records and return the path of its front page.

    Args:
        results: the results folder; it may be missing.
        out: folder of the site; None is `site` beside the results folder.
        published: folder of published records, laid out like a results folder.
    Raises:
        StoreUnusable: a record is not intact, or `out` cannot be written or is not a site.
    """
    from harness import __version__, provenance
    from harness.engines.base import Limits
    from harness.statistics import summarise
    from harness.store import Store
    from leaderboard.builder import build

    records = [*Store(published).records(), *Store(results).records()]
    return build(
        summarise(records),
        records,
        out or results.resolve().parent / "site",
        version=__version__,
        commit=provenance.source(metrics_version="").commit,
        default_limits=Limits().as_dict(),
    )


if __name__ == "__main__":
    raise SystemExit(cli.run_verb(main))
