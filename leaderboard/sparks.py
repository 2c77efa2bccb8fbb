"""Word-sized drawings that stand in a line of a table: times, places in the bootstrap.

There is one or more per run, hundreds on a board, and each is a single path: they are
written here, for a chart library takes a thousand times as long for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 120, 26, 3
PLACES_WIDTH, PLACES_HEIGHT = 200, 18
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
    bars = "".join(
        f"M{place * step:.1f},{PLACES_HEIGHT - 1}v-{share * (PLACES_HEIGHT - 2):.1f}h{step * 0.86:.1f}"
        f"V{PLACES_HEIGHT - 1}z"
        for place, share in enumerate(shares)
        if share >= FAINTEST
    )
    return Markup(  # noqa: S704 - numbers alone
        f'<svg class="spark" viewBox="0 0 {PLACES_WIDTH} {PLACES_HEIGHT}" width="{PLACES_WIDTH}"'
        f' height="{PLACES_HEIGHT}" aria-hidden="true"><path d="M0,{PLACES_HEIGHT - 0.5}h{PLACES_WIDTH}"'
        f' stroke="var(--rule)"/><path d="{bars}" fill="var(--accent)"/></svg>'
    )


def _svg(content: str) -> Markup:
    return Markup(  # noqa: S704 - numbers alone
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' aria-hidden="true">{content}</svg>'
    )
