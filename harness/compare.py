"""`python -m harness.compare`: which leads are real. Ranks, ties and stability per benchmark.

    results/comparisons/<benchmark>.json           ranks: of rows that take one
    results/comparisons/local/<benchmark>.json     differences: where some row takes none

With two entries: their difference in each metric, with interval, p-value and a sentence for a paper
(`harness.board.pair_comparison`). From the private per-image values in the evidence of the entries;
what is written or printed holds aggregates only. See `harness.metrics.ranks` for the statistics.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from harness.board.entry_comparison import compare_entries
from harness.board.pair_comparison import HEADLINE
from harness.common.errors import DataMissing, UsageError
from harness.console import cli
from harness.records.members import MEAN

if TYPE_CHECKING:
    import argparse

    from harness.board.comparison import Comparison
    from harness.board.local_comparison import LocalComparison
    from harness.board.pair_comparison import PairComparison
    from harness.entries.reviewed import Reviewed
    from harness.records.record import Record
    from harness.records.releases import KnownReleases
    from harness.records.store import Store

EXAMPLES = """
  python -m harness.compare                      every benchmark under results/
  python -m harness.compare --benchmark brain resc
  python -m harness.compare --unranked           print ranks over what takes none on the board too
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
        "and write results/comparisons/<benchmark>.json for the site. Where some row takes no rank,\n"
        "write how all of them differ to results/comparisons/local/, for your own site alone. With\n"
        "two entries, print how they differ; nothing is written then.",
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
    """Every benchmark: ranks, ties and stability, and what takes no rank, printed and written."""
    from harness.board.comparison import comparison_bytes, comparison_path
    from harness.board.local_comparison import local_groups
    from harness.board.rows import ranked_records

    groups = _asked(options, _finished(records) if options.unranked else ranked_records(records))
    local = {} if options.unranked else _asked(options, local_groups(records))
    if not groups and not local:
        raise DataMissing(
            "there is no run to compare that may take a rank, and no two rows that take none",
            where=str(options.results),
            fix="evaluate two entries on one benchmark, without a failed seed; --unranked compares"
            " what there is, and python -m harness.compare A B --benchmark NAME any two",
        )
    found: list[dict[str, Any]] = []
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
    found += [_locally(group, store, is_json=options.json) for group in local.values()]
    if options.json:
        cli.say_json(found)


def _asked(
    options: argparse.Namespace, groups: dict[str, tuple[Record, ...]]
) -> dict[str, tuple[Record, ...]]:
    """The groups of the benchmarks that were asked for; all where none was."""
    from harness.records.releases import is_asked

    asked = options.benchmarks
    return {n: g for n, g in groups.items() if not asked or any(is_asked(n, a) for a in asked)}


def _locally(records: Sequence[Record], store: Store, *, is_json: bool) -> dict[str, Any]:
    """How the rows of one benchmark differ where some take no rank: written, printed, returned."""
    from harness.board.local_comparison import compare_locally, local_bytes, local_path

    comparison = compare_locally(records, store)
    path = local_path(store.root, comparison.benchmark)
    store.write(path, local_bytes(comparison))
    if not is_json:
        cli.say(f"{local_report(comparison)}\nwritten, for your own site alone: {path}")
    return asdict(comparison)


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


def local_report(comparison: LocalComparison) -> str:
    """The headline differences of rows of which some take no rank, as text."""
    head = (
        f"{comparison.benchmark}: {len(comparison.rows)} rows, some of which take no rank, over the"
        f" same {comparison.units} {comparison.unit}s; Holm at {comparison.significance}"
    )
    lines = [head]
    lines += [f"  {row.key}: unranked, {row.unranked}" for row in comparison.rows if row.unranked]
    for column in comparison.columns:
        if column.metric not in HEADLINE:
            continue
        lines.append(f"  {column.metric}, differences in points")
        for each in column.differences:
            told = {"one": f"{each.one} is better", "other": f"{each.other} is better"}
            span = "no interval"
            if each.low is not None and each.high is not None:
                span = f"[{100 * each.low:+.2f}, {100 * each.high:+.2f}]"
            lines.append(
                f"    {each.one} less {each.other}: {100 * each.difference:+.2f} {span},"
                f" {told.get(each.verdict, 'cannot be told apart')}"
            )
    return "\n".join(lines)


def report(comparison: Comparison) -> str:
    """The headline columns as text."""
    head = (
        f"{comparison.benchmark}: over the same {comparison.units} {comparison.unit}s,"
        f" Holm at {comparison.significance}; places on {comparison.resamples} joint resamples"
    )
    lines = [head]
    for column in comparison.columns:
        if (
            column.metric not in HEADLINE
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
