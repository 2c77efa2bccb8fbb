"""From evidence to the values of a record: every metric on every grid, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.metrics.estimate import (
    exact_statistics,
    facts_of,
    image_bearers,
    pixel_bearers,
    resampled_statistics,
)
from harness.metrics.evidence import Evidence, ScoreEvidence
from harness.metrics.intervals import delong_interval, resample_counts, sweep_images
from harness.metrics.jackknife import (
    FEW_OF_A_CLASS,
    FEW_UNITS,
    LEAST_UNITS,
    Interval,
    Spread,
    interval_of,
    is_extreme,
    left_out_counts,
)
from harness.metrics.kernels.bootstrap import Resamples
from harness.metrics.needs import Facts
from harness.metrics.table import METRICS, Bearer, Metric, Rows, Statistics
from harness.records.record import Grid, MapsPart, MetricValue

FEW_LEVELS = 2000
"""Fewer distinct scores than this are worth a warning."""

LARGE_BIN = 0.01
"""A larger share of the pixels with one score is worth a warning."""

_GRIDS: tuple[Grid, ...] = ("native", "paper")


@dataclass(frozen=True)
class RunScores:
    """What a scored run comes to."""

    metrics: tuple[MetricValue, ...]
    """Every metric of the table, on both grids where it has grids, in the table's order."""
    maps: MapsPart | None
    """What the maps were like; None without maps."""
    warnings: tuple[str, ...]
    """Remarks for the reader."""
    evidence: Evidence
    """From which all of this follows."""
    delong: Interval | None
    """95 % interval of image_auroc after DeLong, over images: a cross-check."""
    spreads: Mapping[tuple[str, Grid | None], Spread]
    """What moves each defined metric, by id and grid; empty without intervals."""


@dataclass(frozen=True)
class _Rows:
    """The statistics that one group of metrics is read off."""

    facts: Facts
    """What there is to score."""
    exact: Statistics
    """Of the run itself, one row."""
    coarse: Statistics
    """Of the run itself on the bins of the resamples, one row."""
    resampled: Statistics | None
    """Of the resamples; None without any."""
    bearers: Mapping[Bearer, int]
    """Units that hold the scarcer kind of what is counted; empty without resamples."""


def score(evidence: Evidence, *, intervals: bool = True) -> RunScores:
    """All metrics of a run.

    Args:
        evidence: of the run.
        intervals: whether to give intervals; the evidence must have been made with groups then.
    """
    units, _ = evidence.test.group_index
    counts = left_out_counts(units) if intervals and units else None
    metrics, spreads = [], {}
    for metric, name, grid, rows in _statistics_of(evidence, counts):
        value, spread = _value(metric, name, grid, rows, evidence.test)
        metrics.append(value)
        if spread is not None:
            spreads[name, grid] = spread
    return RunScores(
        metrics=tuple(metrics),
        maps=_maps_part(evidence),
        warnings=_warnings(evidence),
        evidence=evidence,
        delong=delong_interval(evidence.test),
        spreads=spreads,
    )


@dataclass(frozen=True)
class Resampled:
    """One metric of a run, what moves it, and of every bootstrap resample."""

    id: str
    """Metric, as in the record."""
    grid: Grid | None
    """Grid, as in the record."""
    spread: Spread
    """The exact metric, and what it moves by as units are left out."""
    rows: Rows
    """[B] the metric of each resample, NaN where it has none; moved by what coarser bins moved
    the value itself."""


def resample(evidence: Evidence, *, seed: int = 0) -> tuple[Resampled, ...]:
    """Every defined metric on the joint resamples: row b is of the same patients in all runs
    that were scored against one ground truth, and so is each unit that is left out.

    Args:
        evidence: of the run.
        seed: seed of the bootstrap.
    """
    units, _ = evidence.test.group_index
    left_out = left_out_counts(units)
    counts = np.concatenate([left_out, resample_counts(units, seed=seed)])
    found = []
    for metric, name, grid, rows in _statistics_of(evidence, counts):
        value = _exact_value(metric, rows)
        if value is None or rows.resampled is None:
            continue
        coarse = float(metric.function(rows.coarse)[0])
        drawn = metric.function(rows.resampled)
        spread = _spread(metric, rows, value, coarse - drawn[: len(left_out)])
        found.append(Resampled(name, grid, spread, drawn[len(left_out) :] + (value - coarse)))
    return tuple(found)


def _statistics_of(
    evidence: Evidence, counts: Resamples | None
) -> Iterator[tuple[Metric, str, Grid | None, _Rows]]:
    """Every metric of the table by name and grid, with what it is read off."""
    yield from _image_statistics(evidence, counts)
    native: list[tuple[Metric, str, Grid | None, _Rows]] = []
    for grid in _GRIDS:
        if grid == "paper" and "native" in evidence.grids and "paper" not in evidence.grids:
            # All images have the paper's size: one grid, under both names.
            yield from ((metric, name, grid, rows) for metric, name, _, rows in native)
        else:
            native = list(_pixel_statistics(evidence, grid, counts))
            yield from native


def _image_statistics(
    evidence: Evidence, counts: Resamples | None
) -> Iterator[tuple[Metric, str, Grid | None, _Rows]]:
    test = evidence.test
    facts = facts_of(evidence, None)
    names = {name for name, bad in zip(test.subclasses, test.is_anomalous, strict=True) if bad}
    subclasses = sorted(name for name in names if name is not None)
    units, _ = test.group_index
    once = np.ones((1, units), np.uint16)
    for subclass in (None, *subclasses):
        exact = Statistics(sweep_images(test, once, subclass), None)
        resampled, bearers = None, dict[Bearer, int]()
        if counts is not None:
            resampled = Statistics(sweep_images(test, counts, subclass), None)
            bearers = {"images": image_bearers(test, subclass)}
        rows = _Rows(facts, exact, exact, resampled, bearers)
        for metric in METRICS.values():
            if metric.level == "image" and metric.is_per_subclass == (subclass is not None):
                yield metric, metric.id.replace("*", subclass or ""), None, rows


def _pixel_statistics(
    evidence: Evidence, grid: Grid, counts: Resamples | None
) -> Iterator[tuple[Metric, str, Grid | None, _Rows]]:
    exact = coarse = Statistics(None, None)
    resampled, bearers = None, dict[Bearer, int]()
    if grid in evidence.grids:
        exact = coarse = Statistics(None, exact_statistics(evidence, grid))
        if counts is not None:
            once = np.ones((1, counts.shape[1]), np.uint16)
            coarse = Statistics(None, resampled_statistics(evidence, grid, once))
            resampled = Statistics(None, resampled_statistics(evidence, grid, counts))
            bearers = pixel_bearers(evidence.grids[grid])
    rows = _Rows(facts_of(evidence, grid), exact, coarse, resampled, bearers)
    for metric in METRICS.values():
        if metric.level != "image":
            yield metric, metric.id, grid, rows


def _exact_value(metric: Metric, rows: _Rows) -> float | None:
    if any(need(rows.facts) for need in metric.needs):
        return None
    value = float(metric.function(rows.exact)[0])
    return value if np.isfinite(value) else None


def _spread(metric: Metric, rows: _Rows, value: float, moves: Rows) -> Spread:
    return Spread(value, moves, rows.bearers[metric.borne_by], metric.freedom)


def _value(
    metric: Metric, name: str, grid: Grid | None, rows: _Rows, test: ScoreEvidence
) -> tuple[MetricValue, Spread | None]:
    units, _ = test.group_index
    value = _exact_value(metric, rows)
    if value is None:
        reason = next((reason for need in metric.needs if (reason := need(rows.facts))), None)
        reason = reason or "no image of the split gives it a value"
        return MetricValue(id=name, grid=grid, value=None, n=units, reason=reason), None
    if rows.resampled is None:
        return MetricValue(id=name, grid=grid, value=value, n=units), None
    coarse = float(metric.function(rows.coarse)[0])
    moves = coarse - metric.function(rows.resampled)
    spread = _spread(metric, rows, value, moves)
    interval = interval_of(spread)
    told = MetricValue(
        id=name,
        grid=grid,
        value=value,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=units,
        reason=_remark(spread, units, "patients" if test.has_patients else "images"),
    )
    return told, spread


def _remark(spread: Spread, units: int, kind: str) -> str | None:
    """What a reader must know of an interval, or why there is none."""
    if spread.bearers < LEAST_UNITS:
        return (
            f"no interval: it takes {LEAST_UNITS} {kind} with what is counted of either class,"
            f" and there are {spread.bearers}"
        )
    if not spread.is_known:
        return f"no interval: it is undefined without some of the {kind}"
    return remark_of_known(spread, units, kind)


def remark_of_known(spread: Spread, units: int, kind: str) -> str | None:
    """What a reader must know of an interval that there is.

    Args:
        spread: that it follows from.
        units: how many units there are.
        kind: what they are, `patients` or `images`.
    """
    is_few = units < FEW_UNITS or spread.bearers < FEW_OF_A_CLASS
    remarks = [f"few {kind}"] * is_few
    if is_extreme(spread.value):
        remarks.append("one-sided interval: no error was seen" if spread.value > 0.5 else
                       "one-sided interval: nothing was right")  # fmt: skip
    return ", ".join(remarks) or None


def _maps_part(evidence: Evidence) -> MapsPart | None:
    if "native" not in evidence.grids or evidence.dtype is None:
        return None
    native = evidence.grids["native"]
    levels, largest = (int(count) for count in native.levels)
    return MapsPart(
        dtype="float16" if evidence.dtype == "float16" else "float32",
        levels=levels,
        largest_bin=largest / int(native.pixels.sum()),
    )


def _warnings(evidence: Evidence) -> tuple[str, ...]:
    maps = _maps_part(evidence)
    if maps is None or maps.levels is None or maps.largest_bin is None:
        return ()
    warnings = []
    if maps.levels < FEW_LEVELS:
        warnings.append(
            f"the maps hold only {maps.levels} distinct scores: ties cost pixel metrics "
            f"(below {FEW_LEVELS}; send float32, or scale to 0..1 before a cast to float16)"
        )
    if maps.largest_bin > LARGE_BIN:
        warnings.append(
            f"{100 * maps.largest_bin:.1f} % of the pixels have one and the same score: "
            "they are ties in every pixel metric"
        )
    return tuple(warnings)
