"""Recomputes the metrics of a finished run from its evidence, or from its kept maps, and renews its intervals."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common.errors import StoreUnusable

if TYPE_CHECKING:
    from harness.metrics import Evidence, GroundTruth
    from harness.metrics.scorer import Map


@dataclass(frozen=True)
class Recomputed:
    """One stored metric beside what its evidence allows."""

    run: str
    """benchmark/entry/seed-n."""
    metric: str
    """Name of the metric."""
    where: str
    """Over what it is: `image`, its grid, or a suite's member and that."""
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
    from harness.records.store import evidence_of, read_record
    from harness.session import scoring

    record = read_record(path)
    if not record.is_ok:
        return []
    evidence = scoring.evidence_of_members(evidence_of(path, record), record)
    versions = [pack.version for pack in record.members or (record.pack,)]
    anew = rescore_maps(path.with_suffix(".maps.zip"), evidence, versions)
    name = f"{record.place}/{record.entry.name}/seed-{record.seed}"
    if anew is None:
        return [
            Recomputed(name, row.id, row.where, row.stored, row.low, row.high, row.agrees)
            for row in scoring.certified(evidence, record.metrics)
        ]
    return [
        Recomputed(
            name, metric.id, metric.where, metric.value, value, value, agrees=metric.value == value
        )
        for metric in record.metrics
        for value in (anew.get((metric.id, metric.where)),)
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
    from harness.metrics import METRICS_VERSION
    from harness.records.source import source
    from harness.records.store import Store, evidence_of, read_record
    from harness.session import scoring

    record = read_record(path)
    if not record.is_ok or record.metrics_version == METRICS_VERSION:
        return False
    wrong = [row for row in recompute(path) if not row.agrees]
    evidence = scoring.evidence_of_members(evidence_of(path, record), record)
    found = {(metric.id, metric.where): metric for metric in scoring.scores_of(evidence).metrics}
    wanted = {(metric.id, metric.where) for metric in record.metrics}
    if wrong or not wanted <= set(found):
        told = [f"{row.metric} ({row.where})" for row in wrong] or ["another set"]
        raise StoreUnusable(
            f"its metrics are not those of its evidence: {', '.join(told)}",
            where=str(path),
            fix="run the entry again with --replace",
        )
    stored = {(metric.id, metric.where): metric.value for metric in record.metrics}
    metrics = [
        metric.model_copy(update={"value": stored.get(key, metric.value)})
        for key, metric in found.items()
    ]
    new = record.model_copy(update={"metrics": metrics, "rescored": source(METRICS_VERSION)})
    Store.around(path).renew(path, record, new)
    return True


def rescore_maps(
    maps: Path, evidence: Mapping[str, Evidence], versions: Sequence[str]
) -> dict[tuple[str, str], float | None] | None:
    """Every metric anew from the kept maps, by name and `MetricValue.where`.

    Args:
        maps: the run's file; it holds the maps as they were scored, each in its image's own size.
        evidence: by member; of a run on one pack, its own alone.
        versions: of the members' packs, in the same order.
    Returns:
        None where the maps, or the truth of a member, are not there.
    """
    import tempfile

    from harness.metrics import RunScorer
    from harness.session.scoring import scores_of_scorers

    if not maps.is_file():
        return None
    members = []
    for (name, told), version in zip(evidence.items(), versions, strict=True):
        if (truths := _truths_of(told, version)) is None:
            return None
        members.append(_Member(name, told, *truths))
    with tempfile.TemporaryDirectory() as spool:
        scorers = {
            member.name: RunScorer(
                member.test,
                member.valid,
                spool=Path(spool) / member.name,
                maps=member.has_maps,
                intervals=False,
            )
            for member in members
        }
        for name, answer in _answers(maps, members):
            scorers[name].add(*answer)
        found = scores_of_scorers(scorers, intervals=False).metrics
    return {(metric.id, metric.where): metric.value for metric in found}


@dataclass(frozen=True)
class _Member:
    """One pack of a run, as it was scored."""

    name: str
    evidence: Evidence
    test: GroundTruth
    valid: GroundTruth | None

    @property
    def has_maps(self) -> bool:
        return bool(self.evidence.grids)

    def score(self, split: str, key: str) -> float:
        """The stored score; those of the validation split set no threshold, so any finite one does,
        as of an image that the scorer will not know."""
        return self._scores.get(key, 0.0) if split == "test" else 0.0

    @cached_property
    def _scores(self) -> dict[str, float]:
        test = self.evidence.test
        return dict(zip(test.keys, map(float, test.scores), strict=True))


def _answers(
    maps: Path, members: Sequence[_Member]
) -> Iterator[tuple[str, tuple[str, str, float, Map | None]]]:
    """By member, what its scorer takes: kept maps, and the scores of images that came without one."""
    from harness.records.kept_maps import read_maps

    by_name = {member.name: member for member in members}
    for kept in read_maps(maps):
        name, key = members[0].name, kept.key
        if len(members) > 1:  # an image's key begins with its member
            name, _, key = kept.key.partition("/")
        if name not in by_name:
            raise StoreUnusable(
                f"the kept maps hold one of {name!r}, which is no member of the run",
                where=str(maps),
                fix="remove the file, or run the entry again with --keep-maps",
            )
        score = by_name[name].score(kept.split, key)
        yield name, (kept.split, key, score, kept.anomaly_map)
    for member in members:
        if not member.has_maps:
            for split, truth in (("test", member.test), ("valid", member.valid)):
                for key in truth.keys if truth is not None else ():
                    yield member.name, (split, key, member.score(split, key), None)


def _truths_of(
    evidence: Evidence, pack_version: str
) -> tuple[GroundTruth, GroundTruth | None] | None:
    """The cached truths of the test and validation split that this evidence was scored against; no
    validation split where the run had none."""
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
    for test, valid in itertools.product(stored[0], [*stored[1], None]):
        with contextlib.suppress(MetricsInputError):
            evidence.check(test, valid)
            return test, valid
    return None
