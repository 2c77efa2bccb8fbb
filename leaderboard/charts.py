"""Turns Vega-Lite specifications into inline SVG that follows the page's colours.

vl-convert draws at build time, so that no page needs a script or a request for a chart.
Colours are written as stand-ins and replaced by the style sheet's variables: one drawing
serves light, dark and print. Traps: nothing may be clipped, for the ids of clips are counted
over all drawings of the process and would change the bytes; the drawing's own notes for screen readers are replaced by one title and one
description, because everything in it also stands in a table.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from harness.common.foreign_text import in_lines
from leaderboard.smaller_svg import smaller

Spec = Mapping[str, Any]

VEGA_LITE = "https://vega.github.io/schema/vega-lite/v6.json"

# Stand-ins for the style sheet's variables; no other colour may stand in a specification.
INK, MUTED, RULE, ACCENT, GROUND = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", ACCENT: "accent", GROUND: "ground"}
_SERIES = "#0b00"
SERIES_COLOURS = 8
"""The style sheet has `--s0` to `--s7`."""

CONFIG: Spec = {
    "aria": False,
    "background": None,
    "font": "Liberation Sans",  # it comes with vl-convert: texts measure the same on every machine
    "axis": {
        "domainColor": MUTED,
        "gridColor": RULE,
        "labelColor": MUTED,
        "labelFontSize": 11,  # the style sheet sets it again
        "tickColor": MUTED,
        "tickSize": 4,
        "titleColor": INK,
        "titleFontSize": 11.5,
        "titleFontWeight": "normal",
    },
    "text": {"fill": INK, "color": INK},
    "view": {"stroke": None},
}


@dataclass(frozen=True)
class Figure:
    """One drawing with what is said about it."""

    key: str
    """Anchor on its page."""
    title: str
    """What it shows."""
    description: str
    """For those who do not see it: how to read it, and where the numbers stand."""
    svg: Markup
    """The drawing; links in it lead from the site's root."""

    def at(self, root: str) -> Markup:
        """The drawing on a page from which this leads to the site's root, such as `../`."""
        # No text can hold this: it would be escaped.
        return Markup(str(self.svg).replace('<a href="', f'<a href="{root}'))  # noqa: S704 - it was safe before


def series(place: int) -> str:
    """Stand-in colour of the line or point with this number; two hundred are enough."""
    return f"{_SERIES}{place:02x}"


def draw(spec: Spec, *, key: str, title: str, description: str) -> Figure:
    """Draw a specification whose colours are stand-ins.

    Args:
        spec: Vega-Lite; it holds its data.
        key: id on the page; letters, digits and dashes.
        title: short name of the figure.
        description: one or two sentences instead of the picture.
    Raises:
        ValueError: the specification is not valid.
    """
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(dict(spec))
    adapted = _adapted(drawn, key, title, description)
    return Figure(key, title, description, Markup(in_lines(adapted)))  # noqa: S704 - vl-convert escapes texts


def own_figure(
    content: str, *, size: tuple[int, int], key: str, title: str, description: str, has_links: bool
) -> Figure:
    """A drawing that was written here.

    Args:
        content: SVG in which every text that is not ours is escaped.
        size: width and height in pixels.
        key: id on the page; letters, digits and dashes.
        title: short name of the figure.
        description: one or two sentences instead of the picture.
        has_links: whether something in it can be followed: then it is no single picture to a screen
            reader, which would not come to its links.
    """
    head = _head(size, key, title, description, "group" if has_links else "img")
    return Figure(key, title, description, Markup(in_lines(f"{head}{content}</svg>")))  # noqa: S704 - as its argument says


def switched_off(figure: Figure, places: Sequence[int]) -> Figure:
    """The figure with these lines not shown at first."""
    svg = str(figure.svg)
    for place in places:
        svg = svg.replace(f' data-s="{place}"', f' data-s="{place}" class="off"')
    return replace(figure, svg=Markup(svg))  # noqa: S704 - it was safe before


def swatch(place: int, *, is_dashed: bool) -> Markup:
    """A short piece of the line with this number, for a legend."""
    return dashed_swatch(place, "5 2.5" if is_dashed else "")


def dashed_swatch(place: int, dash: str) -> Markup:
    """The same with dashes of its own: lengths in pixels, empty for none."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return Markup(  # noqa: S704 - numbers alone
        f'<svg class="swatch" viewBox="0 0 24 8" width="24" height="8" aria-hidden="true">'
        f'<line x1="1" y1="4" x2="23" y2="4" stroke="var(--s{place % SERIES_COLOURS})"'
        f' stroke-width="2.5"{dashes}/></svg>'
    )


def _adapted(svg: str, key: str, title: str, description: str) -> str:
    svg = _without_noise(svg)
    svg = re.sub(r'"(#0[1-5]0[1-5]0[1-5])"', lambda m: f'"var(--{_VARIABLES[m[1]]})"', svg)
    svg = re.sub(r'(fill|stroke)="' + _SERIES + r'([0-9a-f]{2})"', _series_variable, svg)
    svg = re.sub(r'( data-s="\d+")([^>]*?) data-s="\d+"', r"\1\2", svg)  # filled and outlined
    found = re.match(r'<svg [^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', svg)
    if found is None:
        raise ValueError(f"figure {key}: the drawing has no size")
    head = _head((found[1], found[2]), key, title, description)
    return head + smaller(svg[found.end() : -len("</svg>")]) + "</svg>"


def _head(
    size: tuple[object, object], key: str, title: str, description: str, role: str = "img"
) -> str:
    width, height = size
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="{role}"'
        f' aria-labelledby="{key}-title {key}-text"><title id="{key}-title">{html.escape(title)}</title>'
        f'<desc id="{key}-text">{html.escape(description)}</desc>'
    )


def _without_noise(svg: str) -> str:
    """Drop what the page says better, what cannot be seen, and digits beyond a tenth of a pixel."""
    noise = (
        r' (font-family|pointer-events|role|class|aria-hidden|aria-roledescription)="[^"]*"',
        r' (opacity|stroke-width|fill-opacity)="1"| font-size="11px"| transform="translate\(0,0\)"',
        r'<path d="[^"]*" display="none"/>',
        r'<path d="M0,0h[\d.]+v[\d.]+h-[\d.]+Z"/>',  # grounds without a colour
    )
    for pattern in noise:
        svg = re.sub(pattern, "", svg)
    before = ""
    while svg != before:
        before, svg = svg, svg.replace("<g></g>", "")
    return re.sub(r' (d|transform)="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m[0]), svg)


def _series_variable(found: re.Match[str]) -> str:
    place = int(found[2], 16)
    return f'{found[1]}="var(--s{place % SERIES_COLOURS})" data-s="{place}"'
