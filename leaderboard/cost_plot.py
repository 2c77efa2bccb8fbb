"""The cost plot (the paper's Figure 3): seconds per image against image AUROC, a circle for each row.

A circle and its name are one link to the entry's page. Written here and not by
the chart library (see `axes`); where the names stand is `label_places`'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import escape

from harness.board.rows import Row
from harness.board.site_data import is_trivial
from leaderboard import axes, charts, formats, words
from leaderboard.addresses import row_page
from leaderboard.axes import Scale
from leaderboard.charts import Figure
from leaderboard.label_places import (
    Box,
    Circle,
    Label,
    label_text,
    leader_lines,
    place_labels,
    text_width,
)

WIDTH, HEIGHT = 1060, 520
FRAME = Box(left=34, top=68, right=1052, bottom=480)
SMALLEST, LARGEST = 30.0, 1500.0
"""Area of a circle without GPU memory, and of the largest, in square pixels."""
ROOM = 30.0
"""Between the frame and the outermost centre: no circle leaves the frame."""
LEAST_POINTS, LEAST_DECADES = 4.0, 0.6
"""Smallest span of the axes, in points of AUROC and in powers of ten of seconds."""
LONGEST_NAME = 24
KEY_MIDDLE = 22.0
"""Height of the key's line in the drawing, above the frame."""


@dataclass(frozen=True)
class CostLine:
    """One row of a benchmark with both numbers, finished."""

    title: str
    """The method's name."""
    page: str
    """The entry's page, from the site's root."""
    family: str
    """Its family, which the colour stands for."""
    auroc: str
    """Image AUROC in percent."""
    seconds: str
    """Per image."""
    less_echo: str
    """Seconds without the pipe's own share; empty where that was not measured."""
    memory: str
    """Peak GPU memory, or that none was seen."""
    is_on_front: bool
    """Whether no other is both faster and better; never of trivial rows and the canary."""

    @property
    def told(self) -> str:
        """All of it in one line."""
        less = f" ({self.less_echo} s less echo)" if self.less_echo else ""
        return f"{self.title}, {self.family}: {self.auroc}, {self.seconds} s{less}, {self.memory}"


@dataclass(frozen=True)
class CostPlot:
    """What the rows of one benchmark cost."""

    figure: Figure
    """The drawing."""
    lines: tuple[CostLine, ...]
    """Its numbers, the fastest first."""
    unnamed: int
    """Circles whose name found no room in the drawing."""

    @property
    def has_less_echo(self) -> bool:
        """Whether the pipe's own share is known of any row."""
        return any(line.less_echo for line in self.lines)

    @property
    def front(self) -> tuple[CostLine, ...]:
        """The Pareto front of seconds per image and image AUROC, the fastest first."""
        return tuple(line for line in self.lines if line.is_on_front)


@dataclass(frozen=True)
class _Point:
    """A row with both numbers."""

    line: CostLine
    """What is told of it."""
    seconds: float
    """Per image."""
    auroc: float
    """In percent."""
    gib: float
    """Peak GPU memory; 0 where none was seen."""
    colour: int
    """Number of its family's colour."""


def cost_plot(key: str, benchmark: str, rows: Sequence[Row]) -> CostPlot | None:
    """The figure and its numbers; None where no row has both seconds and image AUROC.

    Args:
        key: id on the page; letters, digits and dashes.
        benchmark: name of the benchmark.
        rows: its rows.
    """
    points = _points(rows)
    if not points:
        return None
    largest = max(point.gib for point in points)
    across = axes.scale(
        [point.seconds for point in points], FRAME.left, FRAME.right,
        room=ROOM, least=LEAST_DECADES, is_log=True,
    )  # fmt: skip
    up = axes.scale(
        [point.auroc for point in points], FRAME.bottom, FRAME.top,
        room=ROOM, least=LEAST_POINTS, most=100.0,
    )  # fmt: skip
    circles = [
        Circle(across.at(point.seconds), up.at(point.auroc), _radius(point.gib, largest))
        for point in points
    ]
    front = _steps([c for c, point in zip(circles, points, strict=True) if point.line.is_on_front])
    names = [formats.shortened(point.line.title, LONGEST_NAME) for point in points]
    labels = place_labels(
        circles,
        [text_width(name) for name in names],
        FRAME,
        [(*one, *other) for one, other in pairwise(front)],
    )
    marks = [_mark(*each) for each in zip(points, circles, names, labels, strict=True)]
    # The smaller above the larger: each can be pointed at.
    drawn = [
        mark for _, mark in sorted(zip(circles, marks, strict=True), key=lambda e: -e[0].radius)
    ]
    title = f"Cost and detection: {words.benchmark_title(benchmark)}"
    figure = charts.own_figure(
        axes.frame(across, up, "Seconds per image (log)", "Image AUROC, percent")
        + _front_line(front)
        + _key(largest)
        + leader_lines(labels)
        + "".join(drawn),
        size=(WIDTH, HEIGHT),
        key=key,
        title=title,
        description="Seconds per image from left to right on a logarithmic scale, image AUROC upwards,"
        " the area of a circle is the peak GPU memory; the dashed line joins those than which none is"
        " both faster and better. Every circle is a link to its entry.",
        has_links=True,
    )
    return CostPlot(figure, tuple(point.line for point in points), labels.count(None))


def _points(rows: Sequence[Row]) -> list[_Point]:
    """The rows with both numbers, the fastest first."""
    found = []
    best = -math.inf
    for auroc, seconds, row, shown in sorted(
        _costed(rows), key=lambda e: (e[1], -e[0], e[2].entry)
    ):
        # Trivial rows, which look at one number, and the canary take no part in the front.
        is_on_front = auroc > best and not is_trivial(row.metadata)
        best = auroc if is_on_front else best
        mebibytes = row.peak_gpu_mib
        line = CostLine(
            title=formats.plain(row.title),
            page=row_page(row),
            family=words.family(row.metadata.get("family")),
            auroc=shown,
            seconds=formats.seconds(seconds),
            less_echo=""
            if row.seconds_less_echo is None
            else formats.seconds(row.seconds_less_echo),
            memory=formats.memory(mebibytes) if mebibytes else "GPU memory unknown",
            is_on_front=is_on_front,
        )
        gib = (mebibytes or 0.0) / formats.MIB_PER_GIB
        colour = words.family_place(row.metadata.get("family"))
        found.append(_Point(line, seconds, 100 * auroc, gib, colour))
    return found


def _costed(rows: Sequence[Row]) -> list[tuple[float, float, Row, str]]:
    """Image AUROC, seconds, the row, and its AUROC with the digits that may be told."""
    found = []
    for row in rows:
        metric = row.metric("image_auroc", None)
        if metric is None or metric.mean is None or row.without_result:
            continue
        # A clock that saw no time has no place on a logarithmic scale.
        if row.seconds_per_image:
            shown = formats.percent(metric.mean, metric.step)
            found.append((metric.mean, row.seconds_per_image, row, shown))
    return found


def _radius(gib: float, largest: float) -> float:
    share = gib / largest if largest else 0.0
    return math.sqrt((SMALLEST + (LARGEST - SMALLEST) * share) / math.pi)


def _steps(circles: Sequence[Circle]) -> list[tuple[float, float]]:
    """The front as corners: to the right, then up to the next."""
    corners: list[tuple[float, float]] = []
    for circle in circles:
        if corners:
            corners.append((circle.x, corners[-1][1]))
        corners.append((circle.x, circle.y))
    return corners


def _front_line(corners: Sequence[tuple[float, float]]) -> str:
    if len(corners) < 2:
        return ""
    return (
        f'<path d="{axes.path(corners)}" fill="none" stroke="var(--ink)" stroke-width="1.2"'
        ' stroke-dasharray="4 3"/>'
    )


def _mark(point: _Point, circle: Circle, name: str, label: Label | None) -> str:
    """Circle and name as one link from the site's root."""
    x, y, radius = (f"{round(v, 1):g}" for v in (circle.x, circle.y, circle.radius))
    text = "" if label is None else label_text(label, name)
    return (
        f'<a href="{escape(point.line.page)}" class="s{point.colour}"><title>{escape(point.line.told)}</title>'
        f'<circle cx="{x}" cy="{y}" r="{radius}"/>{text}</a>'
    )


def _key(largest: float) -> str:
    """What the areas and the dashed line stand for, in one line above the frame."""
    line = "nothing is both faster and better"
    parts = [
        f'<path d="M0,{KEY_MIDDLE}H26" fill="none" stroke="var(--ink)" stroke-dasharray="4 3"/>',
        f'<text x="32" y="{KEY_MIDDLE + 4}">{line}</text>',
    ]
    x = 32 + text_width(line) + 20
    if largest:
        told = "Peak GPU memory in GiB:"
        parts.append(f'<text x="{x:.0f}" y="{KEY_MIDDLE + 4}">{told}</text>')
        x += text_width(told) + 6
        ticks = [tick for tick in Scale(0.0, largest, 0.0, 1.0).ticks if tick]
        for tick in sorted({ticks[0], ticks[(len(ticks) - 1) // 2], ticks[-1]}):
            radius, text = _radius(tick, largest), f"{tick:g}"
            parts.append(
                f'<circle cx="{x + radius:.1f}" cy="{KEY_MIDDLE}" r="{radius:.1f}" fill="none"'
                f' stroke="var(--muted)"/><text x="{x + 2 * radius + 4:.1f}" y="{KEY_MIDDLE + 4}">{text}</text>'
            )
            x += 2 * radius + 8 + text_width(text) + 8
    return f'<g fill="var(--muted)">{"".join(parts)}</g>'
