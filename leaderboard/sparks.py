"""Word-sized drawings that stand in a line of a table: times, places in the bootstrap.

There is one or more per run, hundreds on a board, and each is a single path: they are
written here, for a chart library takes a thousand times as long for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from leaderboard.smaller_svg import tenths

WIDTH, HEIGHT, MARGIN = 120, 26, 3
PLACES_WIDTH, PLACES_HEIGHT = 200, 18  # as the style sheet says: there are a hundred on a page
# Shares of resamples below this are not drawn.
FAINTEST = 0.01


def spread(median: float, p90: float, p99: float, longest: float) -> Markup:
    """Thin line to the 99 % point, thick line to the 90 % point, a tick at the median.

    Args:
        longest: what the full width stands for.
    """
    scale = (WIDTH - 2 * MARGIN) / (longest or 1.0)
    middle = HEIGHT / 2
    ends = [MARGIN + scale * value for value in (median, p90, p99)]
    return _svg(
        f'<path d="M{MARGIN},{middle}H{ends[2]:.1f}" stroke="var(--muted)" stroke-width="1.2"/>'
        f'<path d="M{MARGIN},{middle}H{ends[1]:.1f}" stroke="var(--accent)" stroke-width="4"/>'
        f'<path d="M{ends[0]:.1f},{middle - 7}v14" stroke="var(--ink)" stroke-width="2"/>'
    )


def places(shares: Sequence[float]) -> Markup:
    """A bar per place, as high as its share of the resamples; empty without shares."""
    if not shares:
        return Markup()
    step = PLACES_WIDTH / len(shares)
    bottom = PLACES_HEIGHT - 1
    # Bars are strokes as wide as a bar, each told from the one before, in tenths of a pixel.
    bars, across, down = "", 0, 0
    for place, share in enumerate(shares):
        if share < FAINTEST:
            continue
        x, height = round(10 * (place + 0.43) * step), round(10 * share * (PLACES_HEIGHT - 2))
        bars += f"m{tenths(x - across)},{tenths(10 * bottom - down)}v{tenths(-height)}"
        across, down = x, 10 * bottom - height
    return Markup(  # noqa: S704 - numbers alone
        '<svg class="spark places" aria-hidden="true">'
        f'<path d="{bars}" stroke-width="{step * 0.86:.1f}"/></svg>'
    )


def _svg(content: str) -> Markup:
    return Markup(  # noqa: S704 - numbers alone
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' aria-hidden="true">{content}</svg>'
    )
