"""`python -m harness.compare`: which leads are real. Ranks, ties and stability per benchmark.

    results/comparisons/<benchmark>.json

With two entries: their difference in each metric, with interval, p-value and a sentence for a paper
(`harness.board.pair_comparison`). From the private per-image values in the evidence of the entries;
what is written or printed holds aggregates only. See `harness.metrics.ranks` for the statistics.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from harness.board.entry_comparison import compare_entries
from harness.common.errors import DataMissing, UsageError
from harness.console import cli
from harness.records.members import MEAN

if TYPE_CHECKING:
    import argparse

    from harness.board.comparison import Comparison
    from harness.board.pair_comparison import PairComparison
    from harness.entries.reviewed import Reviewed
    from harness.records.record import Record
    from harness.records.releases import KnownReleases
    from harness.records.store import Store

EXAMPLES = """
  python -m harness.compare                      every benchmark under results/
  python -m harness.compare --benchmark brain resc
  python -m harness.compare --unranked           also what takes no rank on the board
  python -m harness.compare padim mine --benchmark brain
      two entries, ranked or not: differences, intervals, p-values, a sentence for a paper
  python -m harness.compare padim mine --benchmark brain@shots-4
      the same in another regime; runs of two regimes are never compared
  python -m harness.compare padim mine --benchmark brain --latex > table.tex
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "compare",
        "Rank the entries of each benchmark: compare means over seeds over the same patients,\n"
        "and write results/comparisons/<benchmark>.json for the site. With two entries, print how\n"
        "they differ; nothing is written then.",
        EXAMPLES,
    )
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help="two entries, by name")
    parser.add_argument("--benchmark", dest="benchmarks", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument(
        "--unranked",
        action="store_true",
        help="only print: compare the finished runs that take no rank too",
    )
    cli.add_review_option(parser)
    parser.add_argument(
        "--metric", dest="metrics", nargs="+", default=[], metavar="NAME",
        help="of two entries: which metrics, or all (default: image_auroc pixel_auroc pixel_pro)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print the comparison as JSON")
    group.add_argument("--csv", action="store_true", help="of two entries: one line per metric")
    group.add_argument("--latex", action="store_true", help="of two entries: a booktabs table")
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
    from harness.board.reviews import with_reviews
    from harness.board.rows import with_withdrawals
    from harness.entries.reviewed import protected_branch
    from harness.entries.submissions import withdrawals
    from harness.records.releases import under_known_names
    from harness.records.store import Store

    store = Store(options.results)
    shown = under_known_names(store.records(), known or known_releases())
    reviewed = reviewed or protected_branch(options.reviewed_branch)
    records = with_withdrawals(with_reviews(shown, reviewed), withdrawals())
    if options.entries:
        found, text = _two(options, records, store)
        cli.say_either(text, asdict(found), is_json=options.json)
        return 0
    if options.csv or options.latex or options.metrics:
        raise UsageError(
            "--csv, --latex and --metric are of two entries",
            fix="python -m harness.compare A B --benchmark NAME --csv; for the whole board:"
            " python -m harness.export",
        )
    _all(options, records, store)
    return 0


def _all(options: argparse.Namespace, records: Sequence[Record], store: Store) -> None:
    """Every benchmark: ranks, ties and stability, printed and written."""
    from harness.board.comparison import comparison_bytes, comparison_path
    from harness.board.rows import ranked_records
    from harness.records.releases import is_asked

    groups = _finished(records) if options.unranked else ranked_records(records)
    if options.benchmarks:
        asked = options.benchmarks
        groups = {n: g for n, g in groups.items() if any(is_asked(n, each) for each in asked)}
    if not groups:
        raise DataMissing(
            "there is no run to compare that may take a rank",
            where=str(options.results),
            fix="evaluate reviewed entries in containers with real weights; --unranked compares the"
            " others, and python -m harness.compare A B --benchmark NAME any two",
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


def _two(
    options: argparse.Namespace, records: Sequence[Record], store: Store
) -> tuple[PairComparison, str]:
    """How two entries differ, and that as text, as it was asked for."""
    from harness.board import pair_comparison

    if len(options.entries) != 2 or len(options.benchmarks) != 1:
        raise UsageError(
            f"{len(options.entries)} entries and {len(options.benchmarks)} benchmarks are named;"
            " two entries are compared on one",
            fix="python -m harness.compare A B --benchmark NAME",
        )
    one, two = (_name(text) for text in options.entries)
    metrics = options.metrics or pair_comparison.HEADLINE
    found = pair_comparison.compare_pair(
        records, (one, two), options.benchmarks[0], store,
        metrics=() if list(metrics) == ["all"] else metrics,
    )  # fmt: skip
    if (options.csv or options.latex) and not found.is_public:
        raise UsageError(
            f"{found.benchmark} is a hidden pack: exact numbers of it do not leave this machine",
            where="--csv, --latex",
            fix="without these options the sentence says what may be told",
        )
    if options.csv:
        return found, pair_comparison.pair_csv(found).rstrip("\n")
    if options.latex:
        return found, pair_comparison.pair_latex(found).rstrip("\n")
    return found, pair_comparison.pair_text(found)


def _name(text: str) -> str:
    """An entry's name, also where its folder or its submission file is typed."""
    return PurePath(text).name.removesuffix(".toml")


def _finished(records: Sequence[Record]) -> dict[str, tuple[Record, ...]]:
    groups: dict[str, tuple[Record, ...]] = {}
    for record in records:
        if record.is_ok:
            name = record.place
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
            or column.member not in (None, MEAN)
        ):
            continue
        over = f"{column.member}, " if column.member else ""
        lines.append(f"  {column.metric} ({over}{column.track})")
        lines += [
            f"    {standing.rank}. {standing.entry}: {100 * (standing.mean or 0.0):.2f}"
            + (f", tied with {', '.join(standing.ties)}" if standing.ties else "")
            for standing in column.standings
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
