"""The figures of the site as Vega and Vega-Lite specifications: curves and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.board.rows import Row
from harness.board.site_data import BandedCurve, CurveKind, is_trivial
from harness.records.record import Grid
from leaderboard import charts, formats, words
from leaderboard.addresses import row_page
from leaderboard.charts import Figure

CURVE_SIDE = 270
# The others are there, and shown when a reader chooses them.
SHOWN_CURVES = 5
COST_WIDTH, COST_HEIGHT = 720, 360
FIRST_DASHED = charts.SERIES_COLOURS

CURVES: Mapping[tuple[CurveKind, Grid | None], tuple[str, str, str]] = {
    ("roc", None): ("ROC, images", "False-positive rate", "True-positive rate"),
    ("precision_recall", None): ("Precision and recall, images", "Recall", "Precision"),
    ("roc", "native"): ("ROC, pixels", "False-positive rate", "True-positive rate"),
    ("precision_recall", "native"): ("Precision and recall, pixels", "Recall", "Precision"),
    ("pro", "native"): ("PRO, lesions", "False-positive rate of pixels", "Mean overlap of lesions"),
}


@dataclass(frozen=True)
class Line:
    """One entry among the curves of a benchmark."""

    name: str
    """Name of the entry, for the page's address."""
    title: str
    """The method's name."""
    page: str
    """Its page, from the site's root."""
    seed: int
    """The seed whose curve is drawn."""
    curves: tuple[BandedCurve, ...]
    """Its curves."""


def curve_figures(benchmark: str, lines: Sequence[Line]) -> tuple[Figure, ...]:
    """One figure per kind of curve that any of the lines has."""
    figures = []
    for (kind, grid), (title, across, up) in CURVES.items():
        found = {
            place: curve
            for place, line in enumerate(lines)
            for curve in line.curves
            if (curve.kind, curve.grid) == (kind, grid)
        }
        if found:
            spec = _curves_spec(found, across, up, limit=0.3 if kind == "pro" else 1.0)
            drawn = charts.draw(
                spec,
                key=f"curve-{kind.replace('_', '-')}-{'pixels' if grid else 'images'}",
                title=f"{title}: {words.benchmark_title(benchmark)}",
                description="Lines with pointwise 95 % bands; the areas under them are in the table"
                " of results.",
            )
            figures.append(charts.switched_off(drawn, [s for s in found if s >= SHOWN_CURVES]))
    return tuple(figures)


def _curves_spec(
    found: Mapping[int, BandedCurve], across: str, up: str, *, limit: float
) -> dict[str, Any]:
    places = list(found)
    points = [
        {"s": s, "i": i, "x": x, "y": y}
        for s, curve in found.items()
        for i, (x, y) in enumerate(zip(curve.x, curve.y, strict=True))
    ]
    bands = [
        {"s": s, "x": x, "low": low, "high": high}
        for s, curve in found.items()
        for x, low, high in zip(curve.band_x, curve.low, curve.high, strict=True)
    ]
    x = {
        "field": "x", "type": "quantitative", "title": across,
        "scale": {"domain": [0, limit]}, "axis": {"tickCount": 5, "format": "~g"},
    }  # fmt: skip
    colour = {
        "field": "s", "type": "nominal", "legend": None,
        "scale": {"domain": places, "range": [charts.series(s) for s in places]},
    }  # fmt: skip
    y_axis = {"tickCount": 5, "format": "~g"}
    dash = {"condition": {"test": f"datum.s >= {FIRST_DASHED}", "value": [5, 2.5]}, "value": [1, 0]}
    return {
        "$schema": charts.VEGA_LITE,
        "config": charts.CONFIG,
        "padding": 2,
        "width": CURVE_SIDE,
        "height": CURVE_SIDE,
        "layer": [
            {
                "data": {"values": bands},
                "mark": {"type": "area", "opacity": 0.16},
                "encoding": {
                    "x": x,
                    "y": {"field": "low", "type": "quantitative", "title": up, "axis": y_axis,
                          "scale": {"domain": [0, 1]}},
                    "y2": {"field": "high"},
                    "color": colour,
                },
            },
            {
                "data": {"values": points},
                "mark": {"type": "line", "strokeWidth": 1.6},
                "encoding": {
                    "x": x,
                    "y": {"field": "y", "type": "quantitative", "title": up},
                    "order": {"field": "i", "type": "quantitative"},
                    "color": colour,
                    "strokeDash": dash,
                },
            },
        ],
    }  # fmt: skip


@dataclass(frozen=True)
class OnFront:
    """A row than which none is both faster and better."""

    title: str
    """The method's name."""
    page: str
    """The entry's page, from the site's root."""
    told: str
    """Image AUROC and seconds."""


class _Costed(NamedTuple):
    """A row with both numbers."""

    row: Row
    """The row."""
    seconds: float
    """Per image."""
    auroc: float
    """Image AUROC, as a fraction."""
    shown: str
    """The same in percent, with the digits that may be told."""


def _costed(rows: Sequence[Row]) -> list[_Costed]:
    found = []
    for row in rows:
        metric = row.metric("image_auroc", None)
        if metric is None or metric.mean is None or row.without_result:
            continue
        if row.seconds_per_image is not None:
            shown = formats.percent(metric.mean, metric.step)
            found.append(_Costed(row, row.seconds_per_image, metric.mean, shown))
    return found


def _front(rows: Sequence[Row]) -> list[_Costed]:
    """Those than which none is both faster and better, the fastest first."""
    found: list[_Costed] = []
    able = [each for each in _costed(rows) if not is_trivial(each.row.metadata)]
    for each in sorted(able, key=lambda e: (e.seconds, -e.auroc, e.row.entry)):
        if not found or each.auroc > found[-1].auroc:
            found.append(each)
    return found


def cost_front(rows: Sequence[Row]) -> tuple[OnFront, ...]:
    """The Pareto front of seconds per image and image AUROC, the fastest first.

    Trivial rows, which look at one number, and the canary take no part.
    """
    return tuple(
        OnFront(
            formats.plain(each.row.title),
            row_page(each.row),
            f"{each.shown}, {formats.seconds(each.seconds)} s",
        )
        for each in _front(rows)
    )


def cost_figure(key: str, benchmark: str, rows: Sequence[Row]) -> Figure | None:
    """Seconds per image against image AUROC, the circle's area being peak GPU memory.

    The paper's Figure 3. None where no row has both numbers.
    """
    points = [
        {
            "x": each.seconds,
            "y": round(100 * each.auroc, 3),
            "gib": (each.row.peak_gpu_mib or 0.0) / formats.MIB_PER_GIB,
            "title": formats.shortened(formats.plain(each.row.title), 24),
            "told": f"{formats.plain(each.row.title)}: {each.shown},"
            f" {formats.seconds(each.seconds)} s{_less_echo(each.row)},"
            f" {formats.memory(gpu) if (gpu := each.row.peak_gpu_mib) else 'GPU memory unknown'}",
            "colour": charts.series(words.family_place(each.row.metadata.get("family"))),
        }
        for each in _costed(rows)
    ]
    if not points:
        return None
    points.sort(key=lambda point: (-float(str(point["y"])), str(point["told"])))
    front = [{"x": each.seconds, "y": round(100 * each.auroc, 3)} for each in _front(rows)]
    title = words.benchmark_title(benchmark)
    return charts.draw(
        _cost_spec(points, front),
        key=key,
        title=f"Cost and detection: {title}",
        description="Seconds per image from left to right on a logarithmic scale, image AUROC upwards,"
        " the area of a circle is the peak GPU memory; the line joins those than which none is both"
        " faster and better. All numbers are in the table of results.",
    )


def _less_echo(row: Row) -> str:
    """In brackets, the seconds without the pipe's own share, where that was measured."""
    seconds = row.seconds_less_echo
    return "" if seconds is None else f" ({formats.seconds(seconds)} s less echo)"


def _cost_spec(
    points: Sequence[Mapping[str, object]], front: Sequence[Mapping[str, object]]
) -> dict[str, Any]:
    size = {"signal": f"[{COST_WIDTH}, {COST_HEIGHT}]"}
    largest = max(float(str(point["gib"])) for point in points)
    seconds = [float(str(point["x"])) for point in points]
    values = [float(str(point["y"])) for point in points]
    # Room around the outermost circles, and for a single one.
    across = [min(seconds) / 1.6, max(seconds) * 1.6]
    up = [min(values) - 2, min(100.0, max(values) + 2)]
    grid = {"grid": True, "gridOpacity": 0.6}
    return {
        "$schema": charts.VEGA,
        "config": {**charts.CONFIG, "aria": True},
        "padding": {"left": 2, "top": 2, "bottom": 2, "right": 24},
        "width": COST_WIDTH,
        "height": COST_HEIGHT,
        "data": [
            {"name": "points", "values": list(points)},
            {"name": "front", "values": list(front)},
        ],
        "scales": [
            {"name": "x", "type": "log", "range": "width", "domain": across},
            {"name": "y", "type": "linear", "range": "height", "nice": True, "zero": False, "domain": up},
            {"name": "area", "type": "linear", "range": [30, 1500], "zero": True,
             "domain": [0, largest or 1.0]},
        ],
        "axes": [
            {"orient": "bottom", "scale": "x", "title": "Seconds per image (log)", "format": "~g",
             "labelOverlap": True, **grid},
            {"orient": "left", "scale": "y", "title": "Image AUROC, percent", "tickCount": 6, **grid},
        ],
        "legends": [] if not largest else [
            {"size": "area", "title": "Peak GPU, GiB", "format": "~g", "tickCount": 4,
             "symbolFillColor": None, "symbolStrokeColor": charts.MUTED, "labelColor": charts.MUTED,
             "titleColor": charts.INK, "titleFontWeight": "normal", "titleFontSize": 11.5}
        ],
        "marks": [
            {
                "type": "line", "from": {"data": "front"}, "aria": False,
                "encode": {"enter": {
                    "x": {"scale": "x", "field": "x"},
                    "y": {"scale": "y", "field": "y"},
                    "interpolate": {"value": "step-after"},
                    "stroke": {"value": charts.MUTED}, "strokeWidth": {"value": 1.2},
                    "strokeDash": {"value": [4, 3]},
                }},
            },
            {
                "type": "symbol", "name": "bubbles", "from": {"data": "points"},
                "encode": {"enter": {
                    "x": {"scale": "x", "field": "x"},
                    "y": {"scale": "y", "field": "y"},
                    "size": {"scale": "area", "field": "gib"},
                    "fill": {"field": "colour"}, "fillOpacity": {"value": 0.45},
                    "stroke": {"field": "colour"}, "strokeWidth": {"value": 1.3},
                    "description": {"field": "told"},
                }},
            },
            {
                "type": "text", "from": {"data": "bubbles"}, "aria": False,
                "encode": {"enter": {
                    "text": {"field": "datum.title"}, "fontSize": {"value": 11},
                    "fill": {"value": charts.INK},
                }},
                "transform": [{
                    "type": "label", "size": size, "avoidBaseMark": False,
                    "anchor": ["right", "left", "top", "bottom", "top-right", "bottom-left"],
                    "offset": [2],
                }],
            },
        ],
    }  # fmt: skip
