"""How runs were trained, drawn: loss and validation metric over steps, all seeds of a row over each other.

Of each there is one drawing per row, hundreds on a board, and so they are written here (see `axes`).
Traps: a line is told from another by its dashes and by the seed at its kept checkpoint, not by colour
alone; a run of one point is no line, and its number stands in the table alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records.record import Record, TrainingPart
from leaderboard import axes, charts, formats, words
from leaderboard.axes import Scale
from leaderboard.charts import Figure
from leaderboard.label_places import Box, Circle, label_text, leader_lines, place_labels, text_width

WIDTH, HEIGHT = 400, 240
FRAME = Box(left=46, top=26, right=392, bottom=200)
ROOM = 9.0
"""Between the frame and the outermost point, so that a mark has room."""
MOST_POINTS = 120
"""Of one line: more than the drawing can tell apart."""
LOG_FROM = 100.0
"""Losses that fall by more than this factor are drawn on a logarithmic scale."""
LEAST_POINTS = 2.0
"""Smallest span of the validation metric, in points."""
DASHES = ("", "6 3", "2 2.5", "9 3 2 3", "12 4")
MARK = 4.0
"""Radius of the ring around the kept checkpoint."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Line:
    """One seed."""

    place: int
    """Number of its colour and dashes."""
    seed: int
    """The seed."""
    points: Points
    """By step, at least two."""
    kept: tuple[float, float] | None = None
    """The kept checkpoint; None where the last state was, and of losses."""


@dataclass(frozen=True)
class _Drawn:
    """What one drawing shows."""

    key: str
    """Anchor on its page."""
    name: str
    """Loss, or name of the metric."""
    up_title: str
    """Of the upright axis, with the unit."""
    description: str
    """Instead of the picture."""
    lines: tuple[_Line, ...]
    """Runs with two points or more."""


def training_figures(key: str, title: str, records: Sequence[Record]) -> tuple[Figure, ...]:
    """The loss, then each metric that checkpoints were judged by; what no run has two points of is left out.

    Args:
        key: anchor of the row on its page.
        title: what was trained on.
        records: the runs of one row, in the order of the table of trainings.
    """
    runs = [(record.seed, record.training) for record in records if record.training is not None]
    metrics = dict.fromkeys(c.metric for _, run in runs for c in run.checkpoints)
    drawn = [
        _losses(f"{key}-loss", runs),
        *(_checks(f"{key}-valid-{n}", metric, runs) for n, metric in enumerate(metrics)),
    ]
    shown = [each for each in drawn if each.lines]
    last = max((line.points[-1][0] for each in shown for line in each.lines), default=0.0)
    steps = axes.scale([0.0, last], FRAME.left, FRAME.right, room=ROOM)
    return tuple(_figure(each, title, steps) for each in shown)


def seed_swatch(place: int) -> Markup:
    """A piece of the line of the run at this place of the table."""
    return charts.dashed_swatch(place, DASHES[place % len(DASHES)])


def _losses(key: str, runs: Sequence[tuple[int, TrainingPart]]) -> _Drawn:
    found = [
        _Line(place, seed, _thinned([(p.step, p.loss) for p in run.curve if p.loss is not None]))
        for place, (seed, run) in enumerate(runs)
    ]
    return _Drawn(
        key, "Loss", "Loss, as the entry reported it", "The loss that the entry reported upwards.",
        tuple(line for line in found if len(line.points) > 1),
    )  # fmt: skip


def _checks(key: str, metric: str, runs: Sequence[tuple[int, TrainingPart]]) -> _Drawn:
    name = words.metric_words(formats.plain(metric)).title
    found = []
    for place, (seed, run) in enumerate(runs):
        checks = [c for c in run.checkpoints if c.metric == metric and c.value is not None]
        points = [(float(c.step), 100 * c.value) for c in checks if c.value is not None]
        kept = next((point for point in points if point[0] == run.kept), None)
        if len(points) > 1:
            found.append(_Line(place, seed, points, kept))
    return _Drawn(
        key, name, f"{name}, validation split, percent",
        f"{name} on the validation split upwards, in percent, as the harness scored the checkpoints; a"
        " ring with the seed is the checkpoint that was kept.",
        tuple(found),
    )  # fmt: skip


def _thinned(points: Points) -> Points:
    """At most about `MOST_POINTS`, evenly, and the last."""
    stride = -(-len(points) // MOST_POINTS) or 1
    return [*points[:-1:stride], *points[-1:]]


def _figure(drawn: _Drawn, title: str, steps: Scale) -> Figure:
    values = [value for line in drawn.lines for _, value in line.points]
    is_loss = drawn.name == "Loss"
    is_log = is_loss and min(values) > 0 and max(values) > LOG_FROM * min(values)
    up = axes.scale(
        values, FRAME.bottom, FRAME.top, room=ROOM, is_log=is_log,
        least=0.0 if is_loss else LEAST_POINTS, most=math.inf if is_loss else 100.0,
    )  # fmt: skip
    return charts.own_figure(
        axes.frame(steps, up, "Training steps", drawn.up_title + (" (log)" if is_log else ""))
        + "".join(_drawn_line(line, steps, up) for line in drawn.lines)
        + _marks(drawn.lines, steps, up),
        size=(WIDTH, HEIGHT),
        key=drawn.key,
        title=f"{drawn.name} in training: {title}",
        description=f"Training steps to the right. {drawn.description} A line for each seed; first and"
        " last loss, and the kept checkpoint, are in the table below.",
        has_links=False,
    )


def _drawn_line(line: _Line, steps: Scale, up: Scale) -> str:
    place = line.place % charts.SERIES_COLOURS
    dash = DASHES[line.place % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    points = [(steps.at(step), up.at(value)) for step, value in line.points]
    return f'<path d="{axes.path(points)}" fill="none" stroke="var(--s{place})" stroke-width="1.5"{dashed}/>'


def _marks(lines: Sequence[_Line], steps: Scale, up: Scale) -> str:
    """A ring around each kept checkpoint, and its seed."""
    kept = [
        (line, Circle(steps.at(line.kept[0]), up.at(line.kept[1]), MARK))
        for line in lines
        if line.kept
    ]
    names = [str(line.seed) for line, _ in kept]
    labels = place_labels([ring for _, ring in kept], [text_width(name) for name in names], FRAME)
    rings = "".join(
        f'<circle cx="{ring.x:.1f}" cy="{ring.y:.1f}" r="{ring.radius:g}"'
        f' stroke="var(--s{line.place % charts.SERIES_COLOURS})"/>'
        for line, ring in kept
    )
    told = "".join(
        label_text(label, name)
        for label, name in zip(labels, names, strict=True)
        if label is not None
    )
    return (
        f'{leader_lines(labels)}<g fill="var(--ground)" stroke-width="2">{rings}</g>'
        f'<g fill="var(--ink)">{told}</g>'
    )
