"""The curves of a benchmark, every entry's over each other, as Vega-Lite specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.board.site_data import BandedCurve, CurveKind
from harness.records.record import Grid
from leaderboard import charts, words
from leaderboard.charts import Figure

CURVE_SIDE = 270
# The others are there, and shown when a reader chooses them.
SHOWN_CURVES = 5
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
