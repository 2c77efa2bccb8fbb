"""`python -m harness.compare`: which leads are real. Ranks, ties and stability per benchmark.

    results/comparisons/<benchmark>.json

From the private per-image values in the evidence of all entries; what is written holds
aggregates only. See `harness.metrics.ranks` for the statistics.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.board.entry_comparison import compare_entries
from harness.common.errors import DataMissing
from harness.console import cli

if TYPE_CHECKING:
    from harness.board.comparison import Comparison
    from harness.entries.reviewed import Reviewed
    from harness.records.record import Record
    from harness.records.releases import KnownReleases

EXAMPLES = """
  python -m harness.compare                      every benchmark under results/
  python -m harness.compare --benchmark brain resc
  python -m harness.compare --unranked           also what takes no rank on the board
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "compare",
        "Rank the entries of each benchmark: compare means over seeds over the same patients,\n"
        "and write results/comparisons/<benchmark>.json for the site.",
        EXAMPLES,
    )
    parser.add_argument("--benchmark", dest="benchmarks", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument(
        "--unranked",
        action="store_true",
        help="only print: compare the finished runs that take no rank too",
    )
    cli.add_review_option(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    parser.add_argument(
        "--json", action="store_true", help="print the comparisons as one JSON array"
    )
    return parser


def main(
    argv: Sequence[str] | None,
    known: KnownReleases | None = None,
    reviewed: Reviewed | None = None,
) -> int:
    """Compare, write and print; returns the exit code.

    Args:
        argv: the command line; None = this process's.
        known: which contents are which benchmark; None = the list that is committed here.
        reviewed: what was reviewed; None = what the protected branch holds.
    """
    options = build_parser().parse_args(argv)
    from harness.benchmarks.known import known_releases
    from harness.board.comparison import comparison_bytes, comparison_path
    from harness.board.reviews import with_reviews
    from harness.board.rows import ranked_records, with_withdrawals
    from harness.entries.reviewed import protected_branch
    from harness.entries.submissions import withdrawals
    from harness.records.releases import claimed_name, under_known_names
    from harness.records.store import Store

    store = Store(options.results)
    shown = under_known_names(store.records(), known or known_releases())
    reviewed = reviewed or protected_branch(options.reviewed_branch)
    records = with_withdrawals(with_reviews(shown, reviewed), withdrawals())
    groups = _finished(records) if options.unranked else ranked_records(records)
    if options.benchmarks:
        asked = options.benchmarks
        groups = {n: group for n, group in groups.items() if {n, claimed_name(n)} & {*asked}}
    if not groups:
        raise DataMissing(
            "there is no run to compare that may take a rank",
            where=str(options.results),
            fix="evaluate reviewed entries in containers with real weights; --unranked compares the"
            " others",
        )
    found = []
    for name, group in sorted(groups.items()):
        comparison = compare_entries(group, store, seed=options.seed)
        found.append(asdict(comparison))
        written = ""
        if not options.unranked:
            path = comparison_path(store.root, name)
            store.write(path, comparison_bytes(comparison))
            written = f"\nwritten: {path}"
        if not options.json:
            cli.say(report(comparison) + written)
    if options.json:
        cli.say_json(found)
    return 0


def _finished(records: Sequence[Record]) -> dict[str, tuple[Record, ...]]:
    groups: dict[str, tuple[Record, ...]] = {}
    for record in records:
        if record.is_ok:
            name = record.pack.benchmark
            groups[name] = (*groups.get(name, ()), record)
    return groups


def report(comparison: Comparison) -> str:
    """The headline columns as text."""
    head = (
        f"{comparison.benchmark}: over the same {comparison.units} {comparison.unit}s,"
        f" Holm at {comparison.significance}; places on {comparison.resamples} joint resamples"
    )
    lines = [head]
    for column in comparison.columns:
        if (
            column.metric not in ("image_auroc", "pixel_auroc", "pixel_pro")
            or column.grid == "paper"
        ):
            continue
        lines.append(f"  {column.metric} ({column.track})")
        lines += [
            f"    {standing.rank}. {standing.entry}: {100 * (standing.mean or 0.0):.2f}"
            + (f", tied with {', '.join(standing.ties)}" if standing.ties else "")
            for standing in column.standings
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
