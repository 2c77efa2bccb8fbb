"""How a metric grows with the number of training images: one curve per entry and benchmark.

The band is one sample standard deviation over seeds to either side: a seed draws its own images, so
it shows what the choice of the few images decides, and not the choice of test patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.board.rows import NOT_APPLICABLE, MetricSummary, Row
from harness.records.record import Grid, Track
from harness.records.regime import Delivery

CURVES: tuple[tuple[str, Grid | None], ...] = (("image_auroc", None), ("pixel_pro", "native"))
"""The metrics that have a curve: whether the alarm is raised, and whether the lesion is found."""


@dataclass(frozen=True)
class FewShotPoint:
    """One number of training images."""

    shots: int | None
    """How many; None: all normal training images, as in one-class."""
    mean: float | None
    """Mean over seeds, 0 to 1; None with a reason."""
    std: float | None
    """Sample standard deviation over seeds; None where it is not known."""
    low: float | None
    """Lower edge of the band: the mean less that, and 0 at least; None likewise."""
    high: float | None
    """Upper edge, 1 at most."""
    seeds: int
    """Number of seeds."""
    step: float | None
    """Precision to which a hidden pack's value was rounded; None where it is exact."""
    reason: str | None
    """Why there is no mean, or no band."""


@dataclass(frozen=True)
class FewShotCurve:
    """One entry on one benchmark in one metric."""

    benchmark: str
    """Name of the benchmark."""
    delivery: Delivery
    """How images reached it."""
    entry: str
    """Name of the entry."""
    title: str
    """The method's name."""
    track: Track
    """How the entry was made."""
    metric: str
    """Name of the metric."""
    grid: Grid | None
    """`native` or None."""
    points: tuple[FewShotPoint, ...]
    """By number of images."""
    with_all: FewShotPoint | None
    """The same entry with all of them, under the same delivery; None where it was not run."""


def few_shot_curves(rows: Iterable[Row]) -> tuple[FewShotCurve, ...]:
    """The curves of all few-shot rows, by benchmark, metric and title.

    Args:
        rows: as they may leave the machine, one-class rows among them: the right end of a curve is
            of an entry's one-class row of the same benchmark, delivery, track and isolation.
    """
    few: dict[tuple[str, ...], list[Row]] = {}
    whole: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = (row.benchmark, row.regime.delivery, row.entry, row.track, row.isolation)
        if row.regime.shots is not None:
            few.setdefault(key, []).append(row)
        elif row.regime.name == "one-class":
            whole[key] = row
    found = [
        _curve(few[key], whole.get(key), metric, grid) for metric, grid in CURVES for key in few
    ]
    return tuple(
        sorted(
            (curve for curve in found if any(p.mean is not None for p in curve.points)),
            key=lambda curve: (
                curve.benchmark, curve.delivery, CURVES.index((curve.metric, curve.grid)),
                curve.title.casefold(), curve.entry, curve.track,
            ),
        )
    )  # fmt: skip


def _curve(rows: Sequence[Row], whole: Row | None, metric: str, grid: Grid | None) -> FewShotCurve:
    first = rows[0]
    return FewShotCurve(
        benchmark=first.benchmark,
        delivery=first.regime.delivery,
        entry=first.entry,
        title=first.title,
        track=first.track,
        metric=metric,
        grid=grid,
        points=tuple(
            _point(row, row.metric(metric, grid))
            for row in sorted(rows, key=lambda row: row.regime.shots or 0)
        ),
        with_all=None if whole is None else _point(whole, whole.metric(metric, grid)),
    )


def _point(row: Row, metric: MetricSummary | None) -> FewShotPoint:
    mean = metric.mean if metric else None
    low, high = _band(metric)
    return FewShotPoint(
        shots=row.regime.shots,
        mean=mean,
        std=metric.std if metric else None,
        low=low,
        high=high,
        seeds=len(row.seeds),
        step=metric.step if metric else None,
        reason=_reason(row, metric),
    )


def _reason(row: Row, metric: MetricSummary | None) -> str | None:
    if row.without_result:
        return "failed" if row.failures else NOT_APPLICABLE
    return (metric.reason or metric.std_reason) if metric else "not measured"


def _band(metric: MetricSummary | None) -> tuple[float | None, float | None]:
    if metric is None or metric.mean is None or metric.std is None:
        return None, None
    return max(0.0, metric.mean - metric.std), min(1.0, metric.mean + metric.std)
