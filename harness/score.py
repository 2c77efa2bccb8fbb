"""`python -m harness.score [RECORD…]`: recompute the metrics of runs from their evidence.

No container, no image and no mask is needed. What the evidence holds exactly (image
metrics, everything of float16 runs) must equal the record; the pooled metrics of
float32 runs must lie within the bounds that their histograms allow, or, where the run
was made with --keep-maps and the pack's compiled truth is still in the cache, equal
what the maps give anew. `--renew` brings the intervals of older records to the metric
definitions of today.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.common.errors import DataMissing
from harness.console import cli
from harness.running.rescoring import Recomputed, recompute, renew

EXAMPLES = """
  python -m harness.score                                   every finished run under results/
  python -m harness.score results/brain/padim/seed-0.json
  python -m harness.score --results /data/results --json
  python -m harness.score --renew                           after the metric version rose: new
      intervals from the old evidence, no run; then python -m harness.compare
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "score",
        "Recompute the metrics of finished runs from what they stored, without a container.\n"
        "Exit code 0: every stored value agrees; 5: one does not, or its evidence is not there.",
        EXAMPLES,
    )
    parser.add_argument("records", nargs="*", type=Path, metavar="RECORD", help="seed-n.json files")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument(
        "--renew",
        action="store_true",
        help="bring records of older metric definitions to today's: values stay, intervals are"
        " computed anew; the old record goes to history",
    )
    parser.add_argument("--json", action="store_true", help="print every comparison as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Recompute and compare; returns the exit code."""
    options = build_parser().parse_args(argv)
    from harness.records.store import Store

    paths = options.records or Store(options.results).record_paths()
    if options.renew:
        renewed = [path for path in paths if renew(path)]
        if not options.json:
            cli.say(f"{len(renewed)} of {len(paths)} records brought to today's metric definitions")
    rows = [row for path in paths for row in recompute(path)]
    if not rows:
        raise DataMissing("there is no finished run", where=str(options.results))
    if options.json:
        cli.say_json([asdict(row) for row in rows])
    else:
        cli.say(table(rows))
    return 0 if all(row.agrees for row in rows) else DataMissing.exit_code


def table(rows: Sequence[Recomputed]) -> str:
    """One line per run, and one for each metric that does not agree."""
    lines = []
    for run in dict.fromkeys(row.run for row in rows):
        of_run = [row for row in rows if row.run == run]
        exact = sum(row.low == row.high for row in of_run)
        wrong = [row for row in of_run if not row.agrees]
        lines.append(
            f"{run}: {len(of_run)} metrics, {exact} recomputed exactly,"
            f" {len(of_run) - exact} within certain bounds, {len(wrong)} wrong"
        )
        lines += [
            f"  {row.metric} ({row.where}): stored {row.stored},"
            f" the evidence allows {row.low} to {row.high}"
            for row in wrong
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
