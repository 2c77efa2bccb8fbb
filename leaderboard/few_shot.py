"""Few-shot curves on the pages: a drawing for each benchmark and metric, and its numbers in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from harness.board.few_shot_curves import FewShotCurve, FewShotPoint
from harness.records.regime import SHOTS
from leaderboard import charts, formats, words
from leaderboard.addresses import benchmark_page, entry_page
from leaderboard.charts import Figure

WIDTH, HEIGHT = 420, 260
MOST_DRAWN = 14
"""More lines than this cannot be told apart; the table has them all."""


@dataclass(frozen=True)
class FewShotLine:
    """One entry in the table beside a drawing."""

    title: str
    """The method's name."""
    page: str
    """Its page, from the site's root."""
    swatch: Markup
    """A piece of its line; empty where it is not drawn."""
    cells: tuple[tuple[str, str], ...]
    """Per number of images, then with all: value, and the deviation over seeds or the reason."""


@dataclass(frozen=True)
class FewShotFigure:
    """One benchmark in one metric."""

    key: str
    """Anchor on its page."""
    benchmark: str
    """Name of the benchmark."""
    title: str
    """Benchmark, metric, and the delivery where it is not the usual one."""
    page: str
    """Where the benchmark's few-shot rows stand, from the site's root."""
    figure: Figure
    """Metric against the number of images."""
    heads: tuple[str, ...]
    """Heads of the table's columns: numbers of images, then `all`."""
    lines: tuple[FewShotLine, ...]
    """The highest at the largest number of images first."""


def few_shot_figures(curves: Sequence[FewShotCurve]) -> tuple[FewShotFigure, ...]:
    """One drawing and table for each benchmark, delivery and metric, in the pages' order.

    Args:
        curves: as they may leave the machine.
    """

    def key(curve: FewShotCurve) -> tuple[Any, ...]:
        return (words.benchmark_order(curve.benchmark), curve.delivery, curve.grid or "")

    ordered = sorted(curves, key=lambda curve: (*key(curve), -_last(curve), curve.entry))
    return tuple(_figure(list(group)) for _, group in groupby(ordered, key=key))


def _last(curve: FewShotCurve) -> float:
    """Value at the largest number of images, for the order."""
    return next((p.mean for p in reversed(curve.points) if p.mean is not None), -1.0)


def _figure(curves: Sequence[FewShotCurve]) -> FewShotFigure:
    first = curves[0]
    metric = words.metric_words(first.metric).title
    title = f"{words.benchmark_title(formats.plain(first.benchmark))}: {metric}"
    if first.delivery != "native":
        title += ", images of 256 × 256"
    parts = [formats.file_stem(first.benchmark), first.metric, first.delivery]
    key = "few-shot-" + "-".join(parts).replace("_", "-").replace(".", "-")
    drawn = charts.draw(
        _spec(curves[:MOST_DRAWN], metric),
        key=key,
        title=f"Few-shot, {title}",
        description="Number of normal training images from left to right on a logarithmic scale,"
        f" {metric} in percent upwards, the band one standard deviation over seeds. All numbers are in"
        " the table beside it.",
    )
    return FewShotFigure(
        key=key,
        benchmark=first.benchmark,
        title=title,
        page=benchmark_page(first.benchmark).replace(".html", "--regimes.html#few-shot"),
        figure=drawn,
        heads=(*map(str, SHOTS), "all"),
        lines=tuple(_line(place, curve) for place, curve in enumerate(curves)),
    )


def _line(place: int, curve: FewShotCurve) -> FewShotLine:
    points = {point.shots: point for point in curve.points}
    is_drawn = place < MOST_DRAWN
    return FewShotLine(
        title=formats.plain(curve.title),
        page=entry_page(curve.entry),
        swatch=charts.swatch(place, is_dashed=place >= charts.SERIES_COLOURS)
        if is_drawn
        else Markup(),
        cells=(*(_cell(points.get(shots)) for shots in SHOTS), _cell(curve.with_all)),
    )


def _cell(point: FewShotPoint | None) -> tuple[str, str]:
    if point is None:
        return "\N{EN DASH}", ""
    if point.mean is None:
        return "NA", formats.plain(point.reason or "")
    if point.std is None:
        return formats.percent(point.mean, point.step), formats.plain(point.reason or "")
    return formats.percent(point.mean, point.step), f"± {formats.percent(point.std, point.step)}"


def _spec(curves: Sequence[FewShotCurve], metric: str) -> dict[str, Any]:
    points = [
        {"s": s, "k": point.shots, "y": round(100 * point.mean, 3)}
        | (
            {}
            if point.low is None or point.high is None
            else {"low": round(100 * point.low, 3), "high": round(100 * point.high, 3)}
        )
        for s, curve in enumerate(curves)
        for point in curve.points
        if point.mean is not None
    ]
    places = list(range(len(curves)))
    x = {
        "field": "k", "type": "quantitative", "title": "Normal training images (log2)",
        "scale": {"type": "log", "base": 2, "domain": [SHOTS[0], SHOTS[-1]]},
        "axis": {"values": list(SHOTS), "format": "d"},
    }  # fmt: skip
    y = {
        "type": "quantitative", "title": f"{metric}, percent",
        "scale": {"zero": False}, "axis": {"tickCount": 5, "format": "~g"},
    }  # fmt: skip
    colour = {
        "field": "s", "type": "nominal", "legend": None,
        "scale": {"domain": places, "range": [charts.series(s) for s in places]},
    }  # fmt: skip
    dash = {
        "condition": {"test": f"datum.s >= {charts.SERIES_COLOURS}", "value": [5, 2.5]},
        "value": [1, 0],
    }
    banded = [point for point in points if "low" in point]
    return {
        "$schema": charts.VEGA_LITE,
        "config": charts.CONFIG,
        "padding": 2,
        "width": WIDTH,
        "height": HEIGHT,
        "layer": [
            {
                "data": {"values": banded},
                "mark": {"type": "area", "opacity": 0.16},
                "encoding": {
                    "x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour,
                },
            },
            {
                "data": {"values": points},
                "mark": {"type": "line", "strokeWidth": 1.6, "point": {"size": 28}},
                "encoding": {"x": x, "y": {**y, "field": "y"}, "color": colour, "strokeDash": dash},
            },
        ],
    }  # fmt: skip
