"""Where the names of circles stand, so that no name covers another, a circle, or leaves the frame.

A greedy search: the most crowded circle first, each label at the nearest place that is free, with a line
back to its circle where it stands away from it. Two rounds more move what a later label made worse.
The same circles give the same places. Pixels throughout, y downwards. Positions around a point and
greedy search as in J. Christensen, J. Marks and S. Shieber, An empirical study of algorithms for
point-feature label placement, ACM Transactions on Graphics 14(3), 1995; the distant positions with
leader lines are ours. Trap: of a crowd some leader may run under a name, which is then drawn above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

HEIGHT, BASE = 14.0, 3.5
"""Of a label in 11 pixels; from its lower edge to the base of its letters."""
# Widths in em of the widest common sans-serif (DejaVu Sans), so that a reader's own font has room.
_WIDTHS = {
    "'Iijl": 0.3, " !(),-./:;[\\]frt|": 0.42, '"*?JL_`csz': 0.56,
    "$0123456789FTabdeghknopquvxy{}": 0.66, "&ABCDEGHKNOPQRSUVXYZ": 0.8,
}  # fmt: skip
_EM = {letter: width for letters, width in _WIDTHS.items() for letter in letters}
_WIDEST = 1.02

NEAR, MARGIN = 3.0, 1.5
"""Between a circle and the label at its side; between a label and anything that is not its own."""
RINGS = (NEAR, 12.0, 22.0, 34.0, 48.0, 64.0, 84.0, 108.0, 136.0, 170.0, 210.0, 260.0, 320.0, 400.0)
DIRECTIONS = 24
LEANS = 0.3
"""A direction whose part along a side is above this puts the label's edge there, not its middle."""
LEADER_FROM = 6.0
"""Labels nearer than this need no line."""
UNDER_NAME, OVER_LEADER, OVER_CIRCLE, NEARER_OTHER, OVER_LINE = 150.0, 60.0, 40.0, 30.0, 10.0
"""What it costs, in pixels of distance: a leader that runs under a name; one that crosses another, or
another's circle; a label without a leader that is as near to another's circle; a label on a line of the
plot."""
ASLANT = 0.2
"""What it costs that a label is not at the height of its circle, per pixel."""
ROUNDS = 2
AT_ONCE = 32
"""Candidates that are looked at together; most labels need no more than the nearest."""

Anchor = Literal["start", "middle", "end"]
Array = NDArray[np.float64]
Line = tuple[float, float, float, float]
"""Both ends of a straight line: x, y, x, y."""


@dataclass(frozen=True)
class Circle:
    """What a label belongs to."""

    x: float
    """Centre."""
    y: float
    """Centre."""
    radius: float
    """At least 0."""


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    left: float
    """Left edge."""
    top: float
    """Upper edge."""
    right: float
    """Right edge."""
    bottom: float
    """Lower edge."""


@dataclass(frozen=True)
class Label:
    """Where one name stands."""

    box: Box
    """The room that it has."""
    anchor: Anchor
    """Which end of the text lies on its side of the box: the one towards the circle."""
    leader: Line | None
    """From the edge of its circle to the box; None where it stands beside it."""

    @property
    def x(self) -> float:
        """Where the text is anchored."""
        middle = (self.box.left + self.box.right) / 2
        return {"start": self.box.left, "middle": middle, "end": self.box.right}[self.anchor]


def label_text(label: Label, name: str) -> str:
    """A name in its place, as SVG."""
    anchor = "" if label.anchor == "start" else f' text-anchor="{label.anchor}"'
    at = f'x="{round(label.x, 1):g}" y="{round(label.box.bottom - BASE, 1):g}"'
    return f"<text {at}{anchor}>{escape(name)}</text>"


def leader_lines(labels: Sequence[Label | None]) -> str:
    """From circles to the names that stand away from them, as SVG: to be drawn under all of these."""
    leaders = [label.leader for label in labels if label is not None and label.leader is not None]
    lines = "".join(f"M{x:.1f},{y:.1f}L{to_x:.1f},{to_y:.1f}" for x, y, to_x, to_y in leaders)
    return f'<path d="{lines}" fill="none" stroke="var(--muted)"/>' if lines else ""


def text_width(text: str) -> float:
    """How wide a text in 11 pixels is at most, in pixels."""
    return 11 * sum(_EM.get(letter, _WIDEST) for letter in text)


def place_labels(
    circles: Sequence[Circle], widths: Sequence[float], frame: Box, lines: Sequence[Line] = ()
) -> tuple[Label | None, ...]:
    """A place for the name of each circle; None for one that has no room.

    Args:
        circles: what is named.
        widths: how wide each name is.
        frame: what no name may leave.
        lines: of the plot, which names keep off where they can.
    """
    search = _Search(circles, widths, frame, lines)
    for _ in range(1 + ROUNDS):
        for place in search.order():
            # A name at its circle's side that is in nobody's way stands as well as it can.
            if search.costs[place] >= LEADER_FROM:
                search.place(place)
    return tuple(search.label(place) for place in range(len(circles)))


@dataclass(frozen=True)
class _Candidates:
    """Places around one circle that no circle and no edge of the frame is in the way of."""

    cost: Array  # (n,), ascending: pixels, with what does not depend on other labels
    boxes: Array  # (n, 4): left, top, right, bottom
    leaders: Array  # (n, 4): from the circle to the box; without length where none is drawn

    def at(self, where: NDArray[np.generic]) -> _Candidates:
        """Some of them."""
        return _Candidates(self.cost[where], self.boxes[where], self.leaders[where])


class _Search:
    """The labels so far, and what is in their way."""

    def __init__(
        self, circles: Sequence[Circle], widths: Sequence[float], frame: Box, lines: Sequence[Line]
    ) -> None:
        self.circles = np.array([(c.x, c.y, c.radius) for c in circles], float).reshape(-1, 3)
        self.frame = frame
        self.lines = np.array(lines, float).reshape(-1, 4)
        self.candidates = [self._candidates(place, width) for place, width in enumerate(widths)]
        self.boxes = np.full((len(circles), 4), np.nan)  # nothing is true of one without a place
        self.leaders = np.full((len(circles), 4), np.nan)
        self.costs = np.full(len(circles), np.inf)

    def order(self) -> list[int]:
        """The circles, those with the least choice first."""
        return sorted(range(len(self.circles)), key=lambda at: (len(self.candidates[at].cost), at))

    def place(self, place: int) -> None:
        """Give one label the best place that the others leave it."""
        self.boxes[place] = self.leaders[place] = np.nan
        every = self.candidates[place]
        free = np.flatnonzero(~_overlap(every.boxes, self.boxes).any(axis=1))
        least = np.inf
        for first in range(0, len(free), AT_ONCE):
            some = every.at(free[first : first + AT_ONCE])
            if some.cost[0] >= least:
                break
            under = _enter(self.leaders, some.boxes).sum(axis=0)
            under += _enter(some.leaders, self.boxes).sum(axis=1)
            over = _cross(some.leaders, self.leaders).sum(axis=1)
            on = _enter(self.lines, some.boxes).sum(axis=0)
            cost = some.cost + UNDER_NAME * under + OVER_LEADER * over + OVER_LINE * on
            best = int(np.argmin(cost))
            if cost[best] < least:
                least = cost[best]
                self.boxes[place], self.leaders[place] = some.boxes[best], some.leaders[best]
        self.costs[place] = least

    def label(self, place: int) -> Label | None:
        """One label as it stands."""
        if np.isnan(self.boxes[place, 0]):
            return None
        left, top, right, bottom = (float(side) for side in self.boxes[place])
        x, y, to_x, to_y = (float(end) for end in self.leaders[place])
        middle = self.circles[place, 0]
        anchor: Anchor = "start" if left >= middle else "end" if right <= middle else "middle"
        leader = None if (x, y) == (to_x, to_y) else (x, y, to_x, to_y)
        return Label(Box(left, top, right, bottom), anchor, leader)

    def _candidates(self, place: int, width: float) -> _Candidates:
        circle = self.circles[place]
        boxes = _around(circle, width)
        left, top, right, bottom = boxes.T
        frame = self.frame
        gaps = _gaps(boxes, self.circles)
        is_free = (
            (left >= frame.left) & (right <= frame.right)
            & (top >= frame.top) & (bottom <= frame.bottom)
            & (gaps.min(axis=1) >= MARGIN)
        )  # fmt: skip
        boxes, gaps = boxes[is_free], gaps[is_free]
        own = gaps[:, place].copy()
        gaps[:, place] = np.inf
        leaders = _leaders(circle, boxes, own)
        crossed = _distances(self.circles[:, :2], leaders) < self.circles[:, 2]
        crossed[:, place] = False
        # To the right, in the middle: where a reader looks first.
        cost = own + np.where(boxes[:, 2] < circle[0], 2.0, 0.0)
        cost += ASLANT * abs((top + bottom)[is_free] / 2 - circle[1])
        is_beside = own < LEADER_FROM
        nearer = NEARER_OTHER * (gaps < own[:, None] + MARGIN).sum(axis=1)
        cost += np.where(is_beside, nearer, OVER_CIRCLE * crossed.sum(axis=1))
        return _Candidates(cost, boxes, leaders).at(np.argsort(cost, kind="stable"))


def _around(circle: Array, width: float) -> Array:
    """Boxes around a circle: of one ring to the right first, then up and down in turn."""
    turn = np.arange(DIRECTIONS)
    angle = 2 * np.pi / DIRECTIONS * ((turn + 1) // 2) * np.where(turn % 2, 1, -1)
    across, down = np.cos(angle), np.sin(angle)
    reach = circle[2] + np.array(RINGS)[:, None]
    # The side of the box that is turned to the circle, or its middle.
    before = width * np.select([across > LEANS, across < -LEANS], [0.0, 1.0], 0.5)
    above = HEIGHT * np.select([down > LEANS, down < -LEANS], [0.0, 1.0], 0.5)
    left = (circle[0] + reach * across - before).ravel()
    top = (circle[1] + reach * down - above).ravel()
    return np.stack((left, top, left + width, top + HEIGHT), axis=1)


def _leaders(circle: Array, boxes: Array, gaps: Array) -> Array:
    """From the edge of a circle to the nearest point of each box; without length where it is near."""
    centre = circle[:2]
    ends = np.clip(centre, boxes[:, :2], boxes[:, 2:])
    run = ends - centre
    starts = centre + circle[2] * run / np.hypot(*run.T)[:, None]
    is_beside = (gaps < LEADER_FROM)[:, None]
    return np.concatenate((np.where(is_beside, ends, starts), ends), axis=1)


# Of n things and m others, everything below is (n, m).


def _gaps(boxes: Array, circles: Array) -> Array:
    """Between boxes and edges of circles (x, y, radius); below 0 where they overlap."""
    nearest = np.clip(circles[None, :, :2], boxes[:, None, :2], boxes[:, None, 2:])
    gaps: Array = np.hypot(*(nearest - circles[None, :, :2]).transpose(2, 0, 1)) - circles[:, 2]
    return gaps


def _overlap(boxes: Array, others: Array) -> NDArray[np.bool_]:
    """Whether boxes overlap others, or are nearer than the margin both ways."""
    starts, ends = boxes[:, None, :2], boxes[:, None, 2:]
    both = (starts < others[:, 2:] + MARGIN) & (others[:, :2] < ends + MARGIN)
    found: NDArray[np.bool_] = both[..., 0] & both[..., 1]
    return found


def _enter(lines: Array, boxes: Array) -> NDArray[np.bool_]:
    """Whether lines enter boxes (Liang and Barsky's clipping)."""
    start, run = lines[:, None, :2], (lines[:, 2:] - lines[:, :2])[:, None]
    lows, highs = boxes[:, :2], boxes[:, 2:]
    stands = run == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack(((lows - start) / run, (highs - start) / run))
    # A line along a side is within the box's sides throughout, or never.
    within = (lows < start) & (start < highs)
    first = np.where(stands, np.where(within, 0.0, 1.0), ends.min(axis=0)).max(axis=2)
    last = np.where(stands, np.where(within, 1.0, 0.0), ends.max(axis=0)).min(axis=2)
    found: NDArray[np.bool_] = np.maximum(first, 0.0) < np.minimum(last, 1.0)
    return found


def _distances(points: Array, lines: Array) -> Array:
    """From lines to points (x, y)."""
    start, run = lines[:, None, :2], (lines[:, 2:] - lines[:, :2])[:, None]
    length = np.maximum((run**2).sum(axis=2), 1e-12)
    share = np.clip(((points - start) * run).sum(axis=2) / length, 0.0, 1.0)
    nearest = start + share[..., None] * run
    found: Array = np.hypot(*(nearest - points).transpose(2, 0, 1))
    return found


def _cross(lines: Array, others: Array) -> NDArray[np.bool_]:
    """Whether lines cross others within both."""

    def side(line: Array, point: Array) -> Array:
        run, to = line[..., 2:] - line[..., :2], point - line[..., :2]
        found: Array = run[..., 0] * to[..., 1] - run[..., 1] * to[..., 0]
        return found

    one, other = lines[:, None], others[None]
    found: NDArray[np.bool_] = (side(one, other[..., :2]) * side(one, other[..., 2:]) < 0) & (
        side(other, one[..., :2]) * side(other, one[..., 2:]) < 0
    )
    return found
