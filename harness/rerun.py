"""`python -m harness.rerun RECORD`: do a recorded run once more and compare every answer and metric.

The same program, parameters, pack, seed, device kind and threads, held to the record's run key;
nothing that was trained before is used. On a CPU the hash over all answers must be the same, and
every metric to its last digit. On a GPU sums run in an order that nobody fixes: there a metric may
differ by at most `GPU_TOLERANCE`. The record itself is left alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import EntryFailed, UsageError
from harness.console import cli

if TYPE_CHECKING:
    import argparse

    from harness.records.record import MetricValue, Record

GPU_TOLERANCE = 1e-3
"""Largest difference of a metric (0 to 1) between two runs on a GPU."""

EXAMPLES = """
  python -m harness.rerun results/demo/padim/seed-0.json
  python -m harness.rerun results/brain/rd4ad/seed-0.json --data-root /data/bmad --device cuda:0
  python -m harness.rerun mine.json --entry mine.tar --pack /data/my-pack
"""


@dataclass(frozen=True)
class Compared:
    """One thing of the two runs."""

    name: str
    """`status`, `answers`, or a metric with its grid."""
    recorded: str | float | None
    """In the record."""
    again: str | float | None
    """In the new run."""
    is_same: bool
    """Whether they count as the same."""


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
    parser.add_argument("--pack", type=Path, metavar="DIR", help="the pack's folder")
    parser.add_argument("--device", help="cpu or cuda:<index or UUID> (default: the record's kind)")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of backbones")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Run again and compare; returns the exit code."""
    options = build_parser().parse_args(argv)
    from harness.records.store import read_record

    record = read_record(options.record)
    if not record.is_ok:
        raise UsageError(
            f"the run ended with {record.outcome.status}: there is nothing to compare",
            where=str(options.record),
        )
    with (
        cli.reporting() as reporter,
        tempfile.TemporaryDirectory(prefix="bmad-rerun-") as folder,
    ):
        again = run_again(record, options, Path(folder), reporter)
    compared = compare(record, again)
    if options.json:
        print(json.dumps([asdict(each) for each in compared], indent=1, allow_nan=False))
    else:
        print(as_table(record, compared))
    return 0 if all(each.is_same for each in compared) else EntryFailed.exit_code


def run_again(
    record: Record, options: argparse.Namespace, results: Path, reporter: cli.Reporter
) -> Record:
    """The run of a record once more, into an empty results folder.

    Raises:
        UsageError: what is here now is not what ran then, and what differs.
    """
    from harness.running.options import read_run_options
    from harness.running.plan import make_plan
    from harness.running.run import execute

    asked = read_run_options(evaluate_call(record, options, results))
    plan = make_plan(asked, reporter)
    (request,) = plan.requests
    if request.key.hash != record.run_key:
        difference = request.key.difference(record)
        raise UsageError(
            f"what is here now is not what ran then: {difference}",
            where=str(options.record),
            fix=f"check out the harness at {record.source.commit or record.source.version},"
            " and name the same pack and entry",
        )
    # A training of this very run that was interrupted is not gone on from either.
    return execute(request, replace(plan.place, trainings=results))


def evaluate_call(record: Record, options: argparse.Namespace, results: Path) -> list[str]:
    """The command line of `evaluate` that this run was, or could have been."""
    entry, is_cpu = record.entry, record.machine.device == "cpu"
    call = [options.entry or _source(record), "--as", entry.name, "--seed", str(record.seed)]
    call += ["--preset", entry.preset, "--results", str(results), "--no-site"]
    call += ["--engine", "process" if record.machine.isolation == "none" else "docker"]
    call += ["--device", options.device or ("cpu" if is_cpu else "cuda:0")]
    call += ["--no-audit", "--no-keep-model", "--retrain"]
    for name, value in entry.overrides.items():
        call += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    for name, limit in record.limits.items():
        call += ["--limit", f"{name}={limit}"]
    if options.pack:
        call += ["--pack", str(options.pack)]
    else:
        call += ["--benchmark", record.pack.benchmark]
    if options.data_root:
        call += ["--data-root", str(options.data_root)]
    if options.weights:
        call += ["--weights", str(options.weights)]
    return call


def _source(record: Record) -> str:
    """The entry as the record names it: a folder of this checkout, or the image by its id."""
    from harness.common.paths import REPOSITORY

    told = str(record.entry.metadata.get("source") or "")
    if record.entry.kind in ("folder", "submission", "archive") and told:
        return str(REPOSITORY / told) if (REPOSITORY / told).exists() else told
    return record.entry.image_digest or record.entry.image or told


def compare(record: Record, again: Record) -> list[Compared]:
    """Status, answers and every metric of the two runs."""
    compared = [Compared("status", record.outcome.status, again.outcome.status, again.is_ok)]
    is_cpu = record.machine.device == "cpu"
    if record.answers is not None and is_cpu:
        same = record.answers == again.answers
        compared.append(Compared("answers", record.answers, again.answers, same))
    for metric in record.metrics:
        other = again.metric(metric.id, metric.grid)
        name = f"{metric.id} ({metric.grid or 'image'})"
        value = other.value if other else None
        same = other is not None and _is_same(metric, other, is_cpu=is_cpu)
        compared.append(Compared(name, metric.value, value, same))
    return compared


def _is_same(one: MetricValue, other: MetricValue, *, is_cpu: bool) -> bool:
    """Value and interval to the last digit; a public record's to its step; else the tolerance."""
    from harness.board.public_rows import to_step

    if one.step is not None:
        return to_step(other.value, one.step) == one.value
    pairs = ((one.value, other.value), (one.low, other.low), (one.high, other.high))
    if is_cpu:
        return all(a == b for a, b in pairs)
    return all(
        a == b or (a is not None and b is not None and abs(a - b) <= GPU_TOLERANCE)
        for a, b in pairs
    )


def as_table(record: Record, compared: Sequence[Compared]) -> str:
    """One line each, and a last one that says what it comes to."""
    lines = [f"{record.pack.benchmark}/{record.entry.name}/seed-{record.seed}"]
    width = max(len(each.name) for each in compared)
    for each in compared:
        mark = "same" if each.is_same else f"DIFFERS: {each.again}"
        lines.append(f"  {each.name:<{width}}  {each.recorded}  {mark}")
    different = sum(not each.is_same for each in compared)
    how = "to the last digit" if record.machine.device == "cpu" else f"within {GPU_TOLERANCE}"
    lines.append(f"{different} of {len(compared)} differ" if different else f"all the same {how}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
