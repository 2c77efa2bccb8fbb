"""What one model for several benchmarks costs: each unified value beside its one-class sibling.

The sibling is the same entry's one-class row on the member, its images delivered alike (`--delivery
256`), so that resolution does not pass for the regime. The difference is unified less one-class; its
interval comes from every patient left out in turn for both alike (`harness.metrics.jackknife`), the
spread over seeds on top. Means over members: one run's members share their seed, so they are averaged
before the seeds; the siblings were trained apart, so their seeds come first. Trap:
aggregates only, and of a hidden pack not even these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ConfigDict

from harness.board.rows import Row, summarise
from harness.board.suite_rows import WholeRow
from harness.common.disclosure import Artefact, may_leave, strictest
from harness.common.errors import DataMissing
from harness.records.members import MEAN
from harness.records.record import Grid, Record
from harness.records.releases import claimed_name

if TYPE_CHECKING:
    from harness.metrics.jackknife import Spread

NO_SIBLING = "no one-class run with images of 256x256"
OTHER_IMAGES = "the one-class runs are of other images"
OTHER_CODE = "the one-class runs are of other code"
HIDDEN = "not told of a hidden pack"
NO_EVIDENCE = "no interval: the evidence of the runs is not here"
TOO_FEW = "no interval: too few patients or images bear it"

MetricKey = tuple[str, Grid | None]


@dataclass(frozen=True)
class SiblingDifference:
    """One unified value less its one-class sibling; values from 0 to 1, differences from -1 to 1."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    member: str
    """Name of the member, or `mean`, the mean over the members."""
    metric: str
    """Name of the metric."""
    grid: Grid | None
    """`native`, or None for image metrics."""
    sibling: float | None
    """Mean over seeds of the one-class runs; None with a reason."""
    difference: float | None
    """Unified less one-class, both means over seeds; None with a reason."""
    low: float | None
    """Lower end of its 95 % interval; None with a reason."""
    high: float | None
    """Upper end."""
    reason: str | None
    """Why there is no difference, or no interval."""


@dataclass(frozen=True)
class MemberSpreads:
    """What moves the metrics of one run on one member."""

    spreads: Mapping[MetricKey, Spread]
    """By metric and grid."""
    units: int
    """Patients, or images where the pack knows none."""


ReadSpreads = Callable[[Record], Mapping[str, MemberSpreads]]
"""By member's name, from a run's evidence; raises DataMissing where it is not there."""


def sibling_differences(
    whole: WholeRow, runs: Sequence[Record], others: Sequence[Record], read: ReadSpreads
) -> tuple[SiblingDifference, ...]:
    """Every member's metrics, and their means, beside those of the one-class siblings.

    Args:
        whole: a unified row.
        runs: its records.
        others: one-class records of the same entry under the same delivery.
        read: what moves a run's metrics.
    """
    found = {name: _sibling(name, runs, others) for name in whole.members}
    pairs = _Pairs(runs, found, read)
    told = [
        pairs.of_member(name, row, key) for name, row in whole.members.items() for key in _keys(row)
    ]
    if whole.mean is not None:
        told += [pairs.of_mean(whole, whole.mean, key) for key in _keys(whole.mean)]
    return tuple(told)


@dataclass(frozen=True)
class _Sibling:
    """The one-class row of one member, or why there is none."""

    row: Row | None
    runs: tuple[Record, ...] = ()
    why: str | None = None


def _sibling(member: str, runs: Sequence[Record], others: Sequence[Record]) -> _Sibling:
    same = [other for other in others if claimed_name(other.pack.benchmark) == member]
    if not same:
        return _Sibling(None, why=NO_SIBLING)
    if not may_leave(
        Artefact.COMPARISON_NUMBERS, strictest(r.pack.visibility for r in (*runs, *same))
    ):
        return _Sibling(None, why=HIDDEN)
    seen = {
        (pack.version, pack.patients_digest)
        for run in runs
        for pack in run.members
        if claimed_name(pack.benchmark) == member
    }
    if {(other.pack.version, other.pack.patients_digest) for other in same} != seen:
        return _Sibling(None, why=OTHER_IMAGES)
    if {other.entry.identity for other in same} != {run.entry.identity for run in runs}:
        return _Sibling(None, why=OTHER_CODE)
    (row,) = summarise(same)
    if row.without_result:
        ended = dict.fromkeys(each.status.value for each in row.without_result)
        return _Sibling(None, why=f"the one-class runs ended with {', '.join(ended)}")
    return _Sibling(row, tuple(same))


@dataclass(frozen=True)
class _Pairs:
    """A unified row's runs and their siblings."""

    runs: Sequence[Record]
    siblings: Mapping[str, _Sibling]
    read: ReadSpreads

    def of_member(self, member: str, row: Row, key: MetricKey) -> SiblingDifference:
        """One metric of one member."""
        sibling = self.siblings[member]
        value, why = _mean_of(sibling, key)
        if why is not None:
            return _undefined(member, key, why, value)
        own = _mean_of(_Sibling(row), key)
        if own[0] is None or value is None:
            return _undefined(member, key, own[1] or "undefined", value)
        return self._told(member, key, own[0], value, [member])

    def of_mean(self, whole: WholeRow, mean: Row, key: MetricKey) -> SiblingDifference:
        """The mean of one metric over the members that have it."""
        own, why = _mean_of(_Sibling(mean), key)
        if own is None:
            return _undefined(MEAN, key, why or "undefined", None)
        # Where the mean is defined, a member without a value is one that cannot have it.
        concerned = [
            name
            for name, row in whole.members.items()
            if (metric := row.metric(*key)) is not None and metric.mean is not None
        ]
        values = []
        for name in concerned:
            value, why = _mean_of(self.siblings[name], key)
            if value is None:
                return _undefined(MEAN, key, f"{name}: {why}", None)
            values.append(value)
        return self._told(MEAN, key, own, sum(values) / len(values), concerned)

    def _told(
        self, member: str, key: MetricKey, own: float, sibling: float, concerned: Sequence[str]
    ) -> SiblingDifference:
        from harness.metrics.jackknife import interval_of_difference

        try:
            spread = self._difference(key, sorted(concerned), is_mean=member == MEAN)
        except DataMissing:
            return SiblingDifference(member, *key, sibling, own - sibling, None, None, NO_EVIDENCE)
        interval = None if spread is None else interval_of_difference(spread)
        if interval is None:
            return SiblingDifference(member, *key, sibling, own - sibling, None, None, TOO_FEW)
        return SiblingDifference(
            member, *key, sibling, own - sibling, interval.low, interval.high, None
        )

    def _difference(
        self, key: MetricKey, concerned: Sequence[str], *, is_mean: bool
    ) -> Spread | None:
        """What moves unified less one-class; None where something has no spread."""
        from harness.metrics.jackknife import difference_of, mean_of_seeds
        from harness.metrics.suites import mean_of_members

        ours = [self.read(run) for run in self.runs]
        theirs = {
            name: [self.read(r)[name] for r in self.siblings[name].runs] for name in concerned
        }
        everything = [run[name] for run in ours for name in concerned]
        everything += [run for runs in theirs.values() for run in runs]
        if not all(key in one.spreads for one in everything):
            return None
        units = {name: ours[0][name].units for name in concerned}
        apart = {
            name: mean_of_seeds([r.spreads[key] for r in runs]) for name, runs in theirs.items()
        }
        if not is_mean:
            (name,) = concerned
            return difference_of(
                mean_of_seeds([run[name].spreads[key] for run in ours]), apart[name]
            )
        together = mean_of_seeds(
            [mean_of_members({n: run[n].spreads[key] for n in concerned}, units) for run in ours]
        )
        return difference_of(together, mean_of_members(apart, units))


def _keys(row: Row) -> list[MetricKey]:
    """The metrics that stand on the board: on the headline grid, and of no subclass alone."""
    return [(m.id, m.grid) for m in row.metrics if m.grid != "paper" and ":" not in m.id]


def _mean_of(sibling: _Sibling, key: MetricKey) -> tuple[float | None, str | None]:
    """A row's mean, or why there is none."""
    if sibling.row is None:
        return None, sibling.why
    metric = sibling.row.metric(*key)
    if metric is None:
        return None, "not measured"
    return metric.mean, None if metric.mean is not None else metric.reason


def _undefined(
    member: str, key: MetricKey, reason: str, sibling: float | None
) -> SiblingDifference:
    return SiblingDifference(member, *key, sibling, None, None, None, reason)
