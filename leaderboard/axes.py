"""Axes of the drawings that are written here: values to pixels, ticks, grid and titles as SVG.

Used where the chart library does not serve: it leads every link of a drawing to a host of its own and
takes a tenth of a second for each, and of training curves a board has hundreds (`charts` has the rest).
Colours are the style sheet's variables; the size of the text is the style sheet's too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import escape

LABEL_GAP, TITLE_GAP = 14, 31
"""From the lower edge of the frame to the base of its ticks' labels and of its title, in pixels."""
MOST_TICKS = 7


@dataclass(frozen=True)
class Scale:
    """One side of a drawing."""

    low: float
    """Value at the start; above 0 on a logarithmic scale."""
    high: float
    """Value at the end; above `low`."""
    start: float
    """Pixel of the start: left, or below."""
    end: float
    """Pixel of the end: right, or above."""
    is_log: bool = False
    """Whether equal steps are equal factors."""
    most: float = math.inf
    """No tick stands above it, such as 100 of percents."""

    def at(self, value: float) -> float:
        """Pixel of a value."""
        return self.start + (self.end - self.start) * self._share(value)

    def _share(self, value: float) -> float:
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round values within the scale, ascending: 1, 2 and 5 times powers of ten, or equal steps."""
        found = self._log_ticks() if self.is_log else self._linear_ticks()
        return tuple(tick for tick in found if tick <= self.most)

    def _log_ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        # Ends are powers of a logarithm, and may be off by their last digit.
        low, high = self.low * (1 - 1e-9), self.high * (1 + 1e-9)
        return [tick for tick in every if low <= tick <= high]

    def _linear_ticks(self) -> list[float]:
        step = _round_step((self.high - self.low) / MOST_TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [step * place for place in range(first, last + 1)]


def scale(
    values: Sequence[float],
    start: float,
    end: float,
    *,
    room: float = 0.0,
    least: float = 0.0,
    is_log: bool = False,
    most: float = math.inf,
) -> Scale:
    """A scale on which all values lie, with room at both ends.

    Args:
        values: at least one, finite; above 0 on a logarithmic scale.
        start: pixel of its start.
        end: pixel of its end.
        room: pixels between an end and the outermost value, less than half of the length.
        least: least span of the values, around their middle, so that noise does not fill a drawing; in
            decades on a logarithmic scale.
        is_log: whether equal steps are equal factors.
        most: no tick stands above it.
    """
    ends = [min(values), max(values)]
    low, high = (math.log10(end_value) for end_value in ends) if is_log else ends
    middle = (low + high) / 2
    # A single value needs a span of its own, far above what floats resolve there.
    half = max((high - low) / 2, least / 2, abs(middle) * 1e-6, 1e-9)
    half /= 1 - 2 * room / abs(end - start)
    low, high = middle - half, middle + half
    return Scale(10**low, 10**high, start, end, is_log=True, most=most) if is_log else Scale(
        low, high, start, end, most=most
    )  # fmt: skip


def frame(across: Scale, up: Scale, across_title: str, up_title: str) -> str:
    """Grid, lower and left edge, ticks' labels and titles, as SVG.

    Args:
        across: from left to right.
        up: from below to above.
        across_title: what lies to the right, with its unit.
        up_title: what lies upwards, with its unit; it is written above the axis.
    """
    left, right, floor, top = (_n(v) for v in (across.start, across.end, up.start, up.end))
    columns = [(_n(across.at(tick)), _text(tick)) for tick in across.ticks]
    lines = [(_n(up.at(tick)), _text(tick)) for tick in up.ticks]
    grid = "".join(f"M{x},{floor}V{top}" for x, _ in columns)
    grid += "".join(f"M{left},{y}H{right}" for y, _ in lines)
    below = "".join(
        f'<text x="{x}" y="{_n(up.start + LABEL_GAP)}">{text}</text>' for x, text in columns
    )
    beside = "".join(
        f'<text x="{_n(across.start - 6)}" y="{_n(float(y) + 4)}">{text}</text>'
        for y, text in lines
    )
    middle = _n((across.start + across.end) / 2)
    return (
        f'<path d="{grid}" stroke="var(--rule)"/>'
        f'<path d="M{left},{top}V{floor}H{right}" fill="none" stroke="var(--muted)"/>'
        f'<g fill="var(--muted)"><g text-anchor="middle">{below}</g><g text-anchor="end">{beside}</g></g>'
        f'<g fill="var(--ink)"><text x="{middle}" y="{_n(up.start + TITLE_GAP)}" text-anchor="middle">'
        f'{escape(across_title)}</text><text x="0" y="{_n(up.end - 8)}">{escape(up_title)}</text></g>'
    )


def path(points: Sequence[tuple[float, float]]) -> str:
    """A line through pixels (x, y), as the `d` of a path."""
    return "M" + "L".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _round_step(least: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - 1e-9))


def _n(pixels: float) -> str:
    """To a tenth of a pixel."""
    return f"{round(pixels, 1):g}"


def _text(tick: float) -> str:
    """A round number with as many digits as it has."""
    if tick == 0 or 1e-4 <= abs(tick) < 1e9:
        return f"{tick:,.10f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}")
    return f"{tick:.3g}".replace("-", "\N{MINUS SIGN}")
