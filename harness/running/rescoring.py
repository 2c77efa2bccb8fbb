"""Recomputes the metrics of a finished run from its evidence, or from its kept maps, and renews its intervals."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.metrics import Evidence, GroundTruth


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


def recompute(path: Path) -> list[Recomputed]:
    """Every metric of one run again; nothing for a run that failed.

    Raises:
        StoreUnusable: the record or its evidence was changed after it was written.
        DataMissing: the evidence is not there.
    """
    from harness.metrics import Evidence
    from harness.metrics.certify import certify
    from harness.records.store import evidence_of, read_record

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


def renew(path: Path) -> bool:
    """Bring a finished record to today's metric definitions, from its evidence and without a run.

    Its values stay, its intervals and remarks are computed anew, and metrics that came since are
    added: with the value that the evidence tells, or with the reason why it does not. The record
    as it was goes to history, and the new one says which harness did it.

    Returns:
        Whether the record was of other definitions; False: nothing to do.

    Raises:
        StoreUnusable: a stored value does not follow from the evidence, or the record or its
            evidence was changed after it was written.
        DataMissing: the evidence is not there.
    """
    from harness.common.errors import StoreUnusable
    from harness.metrics import METRICS_VERSION, Evidence, score
    from harness.records.source import source
    from harness.records.store import Store, evidence_of, read_record

    record = read_record(path)
    if not record.is_ok or record.metrics_version == METRICS_VERSION:
        return False
    wrong = [row for row in recompute(path) if not row.agrees]
    found = {(m.id, m.grid): m for m in score(Evidence.load(evidence_of(path, record))).metrics}
    wanted = {(metric.id, metric.grid) for metric in record.metrics}
    if wrong or not wanted <= set(found):
        told = [f"{row.metric} ({row.grid or 'image'})" for row in wrong] or ["another set"]
        raise StoreUnusable(
            f"its metrics are not those of its evidence: {', '.join(told)}",
            where=str(path),
            fix="run the entry again with --replace",
        )
    stored = {(metric.id, metric.grid): metric.value for metric in record.metrics}
    metrics = [
        metric.model_copy(update={"value": stored.get(key, metric.value)})
        for key, metric in found.items()
    ]
    new = record.model_copy(update={"metrics": metrics, "rescored": source(METRICS_VERSION)})
    Store.around(path).renew(path, record, new)
    return True


def rescore_maps(
    maps: Path, evidence: Evidence, pack_version: str
) -> dict[tuple[str, str | None], float | None] | None:
    """Every metric anew from the kept maps, or None where they or the truth are not there."""
    import tempfile

    from harness.metrics import RunScorer
    from harness.records.kept_maps import read_maps

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
    from harness.session.scoring import truth_folder

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
