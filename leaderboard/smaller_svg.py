"""A drawing with the same marks in fewer bytes: a page holds half a dozen of them.

Ticks and grid lines of one look become one path, the points of a line are told from the one before,
and groups that say nothing go. Trap: only what is written with a tenth of a pixel and no more stays
where it was, to the tenth.
"""

from __future__ import annotations

import re
from itertools import groupby

NUMBER = r"-?[\d.]+"
_LINE = re.compile(
    rf'<line(?: transform="translate\(({NUMBER}),({NUMBER})\)")?'
    rf' x2="({NUMBER})" y2="({NUMBER})"([^<>]*?)/>'
)
_LINES = re.compile(r"(?:<line [^<>]*/>){2,}")
_NOTHING = '<path d="M0,0h0v0h0Z"/>'
_POINTS = re.compile(rf' d="(M(?:{NUMBER},{NUMBER}L)+{NUMBER},{NUMBER})(Z?)"')


def smaller(svg: str) -> str:
    """The same drawing.

    Args:
        svg: as vl-convert writes it, coordinates to a tenth of a pixel.
    """
    svg = _without_bare_groups(svg.replace(_NOTHING, ""))
    svg = _LINES.sub(lambda found: _one_path(found[0]), svg)
    return _POINTS.sub(lambda found: f' d="{_steps(found[1])}{found[2].lower()}"', svg)


def _without_bare_groups(svg: str) -> str:
    """Groups without an attribute change nothing of what they hold."""
    kept: list[bool] = []
    out = []
    for part in re.split(r"(</?g\b[^>]*>)", svg):
        if part == "</g>":
            is_kept = kept.pop()
        elif part.startswith("<g"):
            is_kept = part != "<g>"
            kept.append(is_kept)
        else:
            is_kept = True
        if is_kept:
            out.append(part)
    return "".join(out)


def _one_path(lines: str) -> str:
    """Lines that follow each other, those of one look together."""
    found = _LINE.findall(lines)
    if len(found) != lines.count("<line"):
        return lines  # some are written in another way
    return "".join(
        f'<path d="{"".join(_line(*line[:4]) for line in same)}"{look}/>'
        for look, same in groupby(found, key=lambda line: line[4])
    )


def _line(x: str, y: str, across: str, down: str) -> str:
    step = f"l{across},{down}"
    if float(across) == 0:
        step = f"v{down}"
    elif float(down) == 0:
        step = f"h{across}"
    return f"M{x or 0},{y or 0}{step}"


def _steps(points: str) -> str:
    """A line through points, each told from the one before."""
    first, *rest = (
        tuple(round(10 * float(value)) for value in point.split(","))
        for point in points[1:].split("L")
    )
    told = []
    before = first
    for point in rest:
        told += [point[0] - before[0], point[1] - before[1]]
        before = point
    start = ",".join(tenths(value) for value in first)
    # A minus divides numbers as a blank does.
    return f"M{start}l" + " ".join(map(tenths, told)).replace(" -", "-")


def tenths(value: int) -> str:
    """How a drawing says a number of tenths: `-.5`, `12`, `3.4`."""
    whole, tenth = divmod(abs(value), 10)
    text = f"{whole or ''}.{tenth}" if tenth else str(whole)
    return f"-{text}" if value < 0 else text
