"""A training's curve in bounded memory; an interrupted training's goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MOST_PROGRESS_POINTS = 4096  # points that are held; beyond it every second one is dropped


class ProgressPoint(NamedTuple):
    """One point of a training curve."""

    step: int
    loss: float | None


@dataclass
class TrainingCurve:
    """Progress points, evenly thinned: at most `MOST_PROGRESS_POINTS`."""

    points: list[ProgressPoint] = field(default_factory=list)
    """In the order in which they came."""
    last_step: int | None = None
    """Steps done by the newest progress frame, thinned out or not."""
    stride: int = 1
    """One point is held of so many that came."""
    seen: int = 0
    """Number of points that came."""

    def add(self, step: int, loss: float | None) -> None:
        """One more progress frame."""
        if self.seen % self.stride == 0:
            self.points.append(ProgressPoint(step, loss))
        self.seen += 1
        self.last_step = step
        if len(self.points) > MOST_PROGRESS_POINTS:
            self.points = self.points[::2]
            self.stride *= 2

    def rewind(self, step: int) -> None:
        """Forget what came after `step`: a resumed training does these steps again."""
        if self.last_step is None or self.last_step <= step:
            return
        self.points = [point for point in self.points if point.step <= step]
        self.seen = len(self.points) * self.stride
        self.last_step = self.points[-1].step if self.points else None
