"""`python -m harness.rerun RECORD`: do a recorded run once more and compare every answer and metric.

The same program, parameters, pack, seed, device kind and threads, held to the record's run key;
nothing that was trained before is used. On a CPU the hash over all answers must be the same, and
every metric to its last digit. On a GPU sums run in an order that nobody fixes: there a metric may
differ by at most `METRIC_TOLERANCE`. The record itself is left alone.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import EntryFailed, UsageError
from harness.console import cli
from harness.running.rerunning import METRIC_TOLERANCE, Compared, compare_records, run_again

if TYPE_CHECKING:
    from harness.records.record import Record


EXAMPLES = """
  python -m harness.rerun results/demo/padim/seed-0.json
  python -m harness.rerun results/brain/rd4ad/seed-0.json --data-root /data/bmad --device cuda:0
  python -m harness.rerun mine.json --entry mine.tar --pack /data/my-pack
  python -m harness.rerun results/unified-3@unified/rd4ad/seed-0.json --data-root /data/bmad
"""


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "rerun",
        "Do a recorded run once more and compare it. Exit code 0: the same; 4: it differs.",
        EXAMPLES,
    )
    parser.add_argument("record", type=Path, metavar="RECORD", help="seed-<n>.json of a run")
    parser.add_argument(
        "--entry", metavar="ENTRY", help="where the entry is now, if not where the record says"
    )
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the benchmarks")
    parser.add_argument(
        "--pack", type=Path, nargs="+", metavar="DIR", help="the pack's folder, or its members'"
    )
    parser.add_argument(
        "--suite", type=Path, metavar="FILE", help="of a suite that does not ship, its .toml"
    )
    parser.add_argument("--device", help="cpu or cuda:<index or UUID> (default: the record's kind)")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of backbones")
    parser.add_argument(
        "--any-sif", action="store_true",
        help="of a run under Apptainer: take another SIF of the same image or base",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Run again and compare; returns the exit code."""
    options = build_parser().parse_args(argv)
    from harness.records.store import read_record

    record = read_record(options.record)
    if not record.is_settled:
        raise UsageError(
            f"the run ended with {record.outcome.status}: there is nothing to compare",
            where=str(options.record),
        )
    with (
        cli.reporting() as reporter,
        tempfile.TemporaryDirectory(prefix="bmad-rerun-") as folder,
    ):
        again = run_again(record, options, Path(folder), reporter)
    compared = compare_records(record, again)
    if options.json:
        cli.say_json([asdict(each) for each in compared])
    else:
        cli.say(as_table(record, compared))
    return 0 if all(each.is_same for each in compared) else EntryFailed.exit_code


def as_table(record: Record, compared: Sequence[Compared]) -> str:
    """One line each, and a last one that says what it comes to."""
    lines = [f"{record.place}/{record.entry.name}/seed-{record.seed}"]
    width = max(len(each.name) for each in compared)
    for each in compared:
        mark = "same" if each.is_same else f"DIFFERS: {each.again}"
        lines.append(f"  {each.name:<{width}}  {each.recorded}  {mark}")
    different = sum(not each.is_same for each in compared)
    how = "to the last digit" if record.machine.device == "cpu" else f"within {METRIC_TOLERANCE}"
    lines.append(f"{different} of {len(compared)} differ" if different else f"all the same {how}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
