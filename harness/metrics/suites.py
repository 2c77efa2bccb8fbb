"""Metrics of a run over a suite: each member's own, their unweighted mean, and pooled ones.

The mean is over the members that can have the metric: all of them at image level, those with
masks at pixel level; undefined in one of them, it is undefined. Pooled: the mean over ordered
pairs of members (i, j) of the chance that an abnormal score of i is above a normal one of j,
ties as half; its part i != j is shown apart. One AUROC over all images together would reward
guessing how common anomalies are in each member.

Units are left out within members, which are independent: the variances of the jackknife add up
(`mean_of_members`). What comes out is an ordinary `Spread`, so that intervals, means over seeds,
differences and ranks follow as everywhere. Trap: its moves stand member by member in the order of
their names, so two such spreads can be compared where both are of the same members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from harness.metrics.evidence import Evidence
from harness.metrics.intervals import resample_counts
from harness.metrics.jackknife import LEAST_UNITS, Spread, interval_of
from harness.metrics.pooled import Pairs, all_pairs
from harness.metrics.scores import RunScores, remark_of_known, resample, score
from harness.metrics.suite_table import LEAST_PATIENTS, SUITE_METRICS, SuiteMetric
from harness.metrics.table import METRICS, Level, Rows
from harness.records.members import MEAN
from harness.records.record import Grid, MetricValue

_Key = tuple[str, Grid | None]
Value = TypeVar("Value")
_GRIDS: tuple[Grid, ...] = ("native", "paper")


@dataclass(frozen=True)
class SuiteScores:
    """What a scored run over a suite comes to."""

    members: Mapping[str, RunScores]
    """By member, in the order of their names: what a run on it alone comes to."""
    means: tuple[MetricValue, ...]
    """Unweighted mean over members of every metric but those per subclass."""
    pooled: tuple[MetricValue, ...]
    """Every pooled metric."""


@dataclass(frozen=True)
class SuiteResampled:
    """One value of a run over a suite, what moves it, and of every bootstrap resample."""

    member: str | None
    """A member, `MEAN` for their mean, None for a pooled value."""
    id: str
    """Metric, as in the record."""
    grid: Grid | None
    """Grid, as in the record."""
    spread: Spread
    """The exact value, and what it moves by as units are left out within members."""
    rows: Rows
    """[2000] the value of each resample within members, NaN where it has none."""


@dataclass(frozen=True)
class _Found:
    """A value over members before it is told."""

    value: float | None
    """None where it is undefined."""
    spread: Spread | None = None
    """What moves it; None without intervals."""
    reason: str | None = None
    """Why it is undefined, or a remark."""


def score_suite(members: Mapping[str, Evidence], *, intervals: bool = True) -> SuiteScores:
    """All metrics of a run over a suite.

    Args:
        members: evidence by member; at least one.
        intervals: as in `harness.metrics.scores.score`.
    """
    return suite_of(
        {name: score(evidence, intervals=intervals) for name, evidence in members.items()}
    )


def suite_of(members: Mapping[str, RunScores]) -> SuiteScores:
    """The same where the members were scored already."""
    members = _in_order(members)
    means = [
        _told(key, _of_level(level, members), _mean(key, level, members))
        for key, level in _mean_keys()
    ]
    pooled: list[MetricValue] = []
    for level, grid in _pooled_levels():
        concerned = _of_level(level, members)
        why = _why_not(_own(level, grid), level, members)
        pairs = None
        if why is None:
            evidence = {name: run.evidence for name, run in concerned.items()}
            has_units = all(run.spreads for run in concerned.values())
            pairs = all_pairs(evidence, grid, wants_moves=has_units)
        for metric in _pooled_of(level):
            found = _Found(None, reason=why)
            if pairs is not None:
                found = _pooled(metric, grid, concerned, pairs)
            pooled.append(_told((metric.id, grid), concerned, found))
    return SuiteScores(dict(members), tuple(means), tuple(pooled))


def resample_suite(members: Mapping[str, Evidence], *, seed: int = 0) -> tuple[SuiteResampled, ...]:
    """Every defined value on joint resamples within members: row b is of the same patients in
    all runs over the suite, and so is each unit that is left out.

    Args:
        members: evidence by member.
        seed: seed of the bootstrap; each member draws from a seed of its own.
    """
    members = _in_order(members)
    scores = {name: score(evidence) for name, evidence in members.items()}
    seeds = {name: seed + (place << 32) for place, name in enumerate(members)}
    own = {
        name: {(each.id, each.grid): each for each in resample(evidence, seed=seeds[name])}
        for name, evidence in members.items()
    }
    found = [
        SuiteResampled(name, *key, each.spread, each.rows)
        for name, of_member in own.items()
        for key, each in of_member.items()
    ]
    for key, level in _mean_keys():
        mean = _mean(key, level, scores)
        if mean.spread is not None:
            rows = np.mean([own[name][key].rows for name in _of_level(level, scores)], axis=0)
            found.append(SuiteResampled(MEAN, *key, mean.spread, rows))
    for level, grid in _pooled_levels():
        if _why_not(_own(level, grid), level, scores) is None:
            concerned = _of_level(level, scores)
            of_own = {name: own[name][_own(level, grid)].rows for name in concerned}
            found += _pooled_rows(level, grid, concerned, of_own, seeds)
    return tuple(found)


def mean_of_members(spreads: Mapping[str, Spread], units: Mapping[str, int]) -> Spread:
    """The unweighted mean of one metric over members, whose units are others in each.

    Args:
        spreads: by member, of one run or of a mean over seeds.
        units: how many patients (or images) each member has. With fewer than `LEAST_PATIENTS` in
            any of them nothing is borne: no interval, and no difference.
    """
    spreads = _in_order(spreads)
    count = len(spreads)
    parts = {
        name: replace(
            spread,
            moves=spread.moves / count,
            seeds=tuple((variance / count**2, freedom) for variance, freedom in spread.seeds),
        )
        for name, spread in spreads.items()
    }
    return _joined(float(np.mean([spread.value for spread in spreads.values()])), parts, units)


def _in_order(members: Mapping[str, Value]) -> dict[str, Value]:
    """By name: whoever calls in whatever order, sums are equal to the last bit, and moves meet."""
    return dict(sorted(members.items()))


def _joined(value: float, parts: Mapping[str, Spread], units: Mapping[str, int]) -> Spread:
    """A value that units of several members move, each as its part says.

    The jackknife's variance is (J - 1) / J times the sum of squared moves: moves are scaled so
    that over all of them it is the sum of the members' own.
    """
    sizes = {name: part.moves.size for name, part in parts.items()}
    total = sum(sizes.values())
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = [
            part.moves * np.sqrt((1 - 1 / sizes[name]) / (1 - 1 / total))
            for name, part in parts.items()
        ]
    is_borne = min(units[name] for name in parts) >= LEAST_PATIENTS
    return Spread(
        value=value,
        moves=np.concatenate(moves),
        bearers=min(part.bearers for part in parts.values()) if is_borne else 0,
        freedom_below=next(iter(parts.values())).freedom_below,
        seeds=tuple(seed for part in parts.values() for seed in part.seeds),
    )


def _mean_keys() -> Iterator[tuple[_Key, Level]]:
    """Every metric that has a mean over members, on each of its grids, and its level."""
    for metric in METRICS.values():
        if not metric.is_per_subclass:
            for grid in (None,) if metric.level == "image" else _GRIDS:
                yield (metric.id, grid), metric.level


def _pooled_levels() -> tuple[tuple[Level, Grid | None], ...]:
    return ("image", None), *(("pixel", grid) for grid in _GRIDS)


def _pooled_of(level: Level) -> Iterator[SuiteMetric]:
    return (metric for metric in SUITE_METRICS.values() if metric.level == level)


def _own(level: Level, grid: Grid | None) -> _Key:
    """A member's own metric that is pooled."""
    return ("image_auroc" if level == "image" else "pixel_auroc"), grid


def _of_level(level: Level, members: Mapping[str, RunScores]) -> dict[str, RunScores]:
    """The members that can have a metric of this level."""
    return {
        name: run for name, run in members.items() if level == "image" or run.evidence.has_masks
    }


def _units_of(members: Mapping[str, RunScores]) -> dict[str, int]:
    return {name: run.evidence.test.group_index[0] for name, run in members.items()}


def _value_of(key: _Key, run: RunScores) -> MetricValue:
    return next(metric for metric in run.metrics if (metric.id, metric.grid) == key)


def _why_not(key: _Key, level: Level, members: Mapping[str, RunScores]) -> str | None:
    """Why a metric is not defined in every member that can have it; None if it is."""
    concerned = _of_level(level, members)
    if not concerned:
        return "no member has masks"
    missing = ((name, _value_of(key, run)) for name, run in concerned.items())
    return next((f"{name}: {own.reason}" for name, own in missing if own.value is None), None)


def _mean(key: _Key, level: Level, members: Mapping[str, RunScores]) -> _Found:
    why = _why_not(key, level, members)
    if why is not None:
        return _Found(None, reason=why)
    concerned = _of_level(level, members)
    spread = None
    if all(run.spreads for run in concerned.values()):
        spreads = {name: run.spreads[key] for name, run in concerned.items()}
        spread = mean_of_members(spreads, _units_of(concerned))
    values = [_value_of(key, run).value for run in concerned.values()]
    return _Found(float(np.mean([value for value in values if value is not None])), spread)


def _pooled(
    metric: SuiteMetric, grid: Grid | None, members: Mapping[str, RunScores], pairs: Pairs
) -> _Found:
    """A pooled metric; every member that is concerned has both classes."""
    key = _own(metric.level, grid)
    count = len(members)
    number = count * (count - 1) if metric.is_across else count**2
    if number == 0:
        return _Found(None, reason=f"{next(iter(members))} is the only member that can have it")
    total = sum(pair.value for pair in pairs.values.values())
    doubt = sum(pair.doubt for pair in pairs.values.values()) / number
    if not metric.is_across:
        total += sum(float(_value_of(key, run).value or 0.0) for run in members.values())
    told = f"exact to {doubt:.0e}: float32 scores of two members by their upper 16 bits"
    reason = told if doubt else None
    if not pairs.moves:
        return _Found(total / number, reason=reason)
    parts = {}
    for name, run in members.items():
        own = run.spreads[key]
        moves = pairs.moves[name] + (0.0 if metric.is_across else own.moves)
        parts[name] = replace(own, moves=moves / number)
    return _Found(total / number, _joined(total / number, parts, _units_of(members)), reason)


def _pooled_rows(
    level: Level,
    grid: Grid | None,
    members: Mapping[str, RunScores],
    own: Mapping[str, Rows],
    seeds: Mapping[str, int],
) -> Iterator[SuiteResampled]:
    """The pooled metrics of one level under resamples within members; `own`: those of each."""
    draws = {name: resample_counts(n, seed=seeds[name]) for name, n in _units_of(members).items()}
    evidence = {name: run.evidence for name, run in members.items()}
    pairs = all_pairs(evidence, grid, wants_moves=True, draws=draws)
    for metric in _pooled_of(level):
        spread = _pooled(metric, grid, members, pairs).spread
        if spread is None:
            continue
        count = len(members)
        rows = (
            pairs.rows / (count * (count - 1))
            if metric.is_across
            else (pairs.rows + np.sum(list(own.values()), axis=0)) / count**2
        )
        yield SuiteResampled(None, metric.id, grid, spread, rows)


def _told(key: _Key, members: Mapping[str, RunScores], found: _Found) -> MetricValue:
    """A value as it stands in a record."""
    units = _units_of(members)
    remarks = [found.reason] if found.reason else []
    interval = None
    if found.spread is not None:
        interval = interval_of(found.spread)
        remarks.insert(0, _remark(found.spread, members, units) or "")
    return MetricValue(
        id=key[0],
        grid=key[1],
        value=found.value,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=sum(units.values()),
        reason=", ".join(remark for remark in remarks if remark) or None,
    )


def _remark(
    spread: Spread, members: Mapping[str, RunScores], units: Mapping[str, int]
) -> str | None:
    """What a reader must know of an interval, or why there is none."""
    kinds = {run.evidence.test.has_patients for run in members.values()}
    kind = "patients or images" if len(kinds) == 2 else "patients" if True in kinds else "images"
    fewest = min(units, key=lambda name: units[name])
    if units[fewest] < LEAST_PATIENTS:
        return (
            f"no interval: it takes {LEAST_PATIENTS} {kind} in every member,"
            f" and {fewest} has {units[fewest]}"
        )
    if spread.bearers < LEAST_UNITS:
        return (
            f"no interval: it takes {LEAST_UNITS} {kind} with what is counted of either class in"
            f" every member, and in one there are {spread.bearers}"
        )
    if not spread.is_known:
        return f"no interval: it is undefined without some of the {kind}"
    return remark_of_known(spread, units[fewest], kind)
