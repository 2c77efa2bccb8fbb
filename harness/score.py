"""`python -m harness.score [RECORD…]`: recompute the metrics of runs from their evidence.

No container, no image and no mask is needed. What the evidence holds exactly (image
metrics, everything of float16 runs) must equal the record; the pooled metrics of
float32 runs must lie within the bounds that their histograms allow, or, where the run
was made with --keep-maps and the pack's compiled truth is still in the cache, equal
what the maps give anew.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import cli
from harness.errors import DataMissing

if TYPE_CHECKING:
    from harness.metrics import Evidence, GroundTruth

EXAMPLES = """
  python -m harness.score                                   every finished run under results/
  python -m harness.score results/brain/padim/seed-0.json
  python -m harness.score --results /data/results --json
"""


@dataclass(frozen=True)
class Recomputed:
    """One stored metric beside what its evidence allows."""

    run: str
    """benchmark/entry/seed-n."""
    metric: str
    """Name of the metric."""
    grid: str | None
    """Grid of the metric."""
    stored: float | None
    """Value in the record."""
    low: float | None
    """Lowest value that the evidence allows; equal to `high` where it is exact."""
    high: float | None
    """Highest value that the evidence allows."""
    agrees: bool
    """Whether the stored value is one that the evidence allows."""


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
    parser.add_argument("--json", action="store_true", help="print every comparison as JSON")
    return parser


def main(argv: Sequence[str] | None) -> int:
    """Recompute and compare; returns the exit code."""
    options = build_parser().parse_args(argv)
    from harness.store import Store

    paths = options.records or Store(options.results).record_paths()
    rows = [row for path in paths for row in recompute(path)]
    if not rows:
        raise DataMissing("there is no finished run", where=str(options.results))
    print(json.dumps([asdict(row) for row in rows], indent=1) if options.json else table(rows))
    return 0 if all(row.agrees for row in rows) else DataMissing.exit_code


def recompute(path: Path) -> list[Recomputed]:
    """Every metric of one run again; nothing for a run that failed.

    Raises:
        StoreUnusable: the record or its evidence was changed after it was written.
        DataMissing: the evidence is not there.
    """
    from harness.metrics import Evidence
    from harness.metrics.certify import certify
    from harness.store import evidence_of, read_record

    record = read_record(path)
    if not record.is_ok:
        return []
    evidence = Evidence.load(evidence_of(path, record))
    anew = rescore_maps(path.with_suffix(".maps.zip"), evidence, record.pack.version)
    name = f"{record.pack.benchmark}/{record.entry.name}/seed-{record.seed}"
    if anew is None:
        return [
            Recomputed(name, row.id, row.grid, row.stored, row.low, row.high, row.agrees)
            for row in certify(evidence, record.metrics)
        ]
    return [
        Recomputed(
            name, metric.id, metric.grid, metric.value, value, value, agrees=metric.value == value
        )
        for metric in record.metrics
        for value in (anew.get((metric.id, metric.grid)),)
    ]


def rescore_maps(
    maps: Path, evidence: Evidence, pack_version: str
) -> dict[tuple[str, str | None], float | None] | None:
    """Every metric anew from the kept maps, or None where they or the truth are not there."""
    import tempfile

    from harness.kept_maps import read_maps
    from harness.metrics import RunScorer

    if not maps.is_file() or (truths := _truths_of(evidence, pack_version)) is None:
        return None
    test, valid = truths
    scores = dict(zip(evidence.test.keys, evidence.test.scores, strict=True))
    with tempfile.TemporaryDirectory() as spool:
        scorer = RunScorer(test, valid, spool=Path(spool), maps=True, intervals=False)
        for kept in read_maps(maps):
            # The validation scores set no threshold: any finite number does.
            score = float(scores[kept.key]) if kept.split == "test" else 0.0
            scorer.add(kept.split, kept.key, score, kept.anomaly_map)
        found = scorer.finish().metrics
    return {(metric.id, metric.grid): metric.value for metric in found}


def _truths_of(evidence: Evidence, pack_version: str) -> tuple[GroundTruth, GroundTruth] | None:
    """The cached truths of the test and validation split that this evidence was scored against."""
    from harness.benchmarks import default_cache
    from harness.metrics import GroundTruth, MetricsInputError
    from harness.scoring import truth_folder

    stored = [
        [
            truth
            for path in sorted(truth_folder(default_cache(), pack_version, split).glob("*.npz"))
            if (truth := GroundTruth.load(path)) is not None
        ]
        for split in ("test", "valid")
    ]
    for test, valid in itertools.product(*stored):
        with contextlib.suppress(MetricsInputError):
            evidence.check(test, valid)
            return test, valid
    return None


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
            f"  {row.metric} ({row.grid or 'image'}): stored {row.stored},"
            f" the evidence allows {row.low} to {row.high}"
            for row in wrong
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
