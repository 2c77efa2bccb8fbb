"""Where things stand on the site: pages, and on an entry's page its sections and their lines.

    entries/heron.html                     all of an entry in the main table
    entries/heron.html#brain.pixel_pro     one value with everything behind it

An address holds for as long as its row does: whatever other rows an entry gets, no line moves.
"""

from __future__ import annotations

from harness.board.rows import Row
from leaderboard import formats


def benchmark_page(name: str) -> str:
    """File of a benchmark's page, from the site's root."""
    return f"benchmarks/{formats.file_stem(name)}.html"


def entry_page(name: str) -> str:
    """File of an entry's page, from the site's root."""
    return f"entries/{formats.file_stem(name)}.html"


def regime_key(row: Row) -> str:
    """Which side of the switch a row's numbers stand on: `one-class` is the main table."""
    regime = row.regime
    if row.place == row.benchmark and regime.suite is None:
        return "one-class"
    if regime.name == "few-shot":
        return "few-shot"
    return "zero-shot" if regime.name == "zero-shot" else "unified"


def row_page(row: Row) -> str:
    """Page with a row's own section, from the site's root: an entry has one for each regime."""
    page, key = entry_page(row.entry), regime_key(row)
    # No file stem that is not marked with ten digits has two dashes.
    return page if key == "one-class" else page.replace(".html", f"--{key}.html")


def section_key(place: str, track: str, isolation: str) -> str:
    """Anchor of a row's section on its entry's page."""
    return f"{formats.file_stem(place)}-{track}-{isolation}".replace(" ", "-")


def line_key(row: Row, metric_id: str, member: str | None = None) -> str:
    """Anchor of one value on its row's page; short for rows that were trained here in a container.

    Args:
        row: over all images of the run.
        metric_id: name of the metric, or `seconds`.
        member: of a suite, the name under which a record holds the value (`MetricValue.member`).
    """
    is_usual = (row.track, row.isolation) == ("trained-here", "container")
    place = (
        formats.file_stem(row.place)
        if is_usual
        else section_key(row.place, row.track, row.isolation)
    )
    part = "" if member is None else f"/{formats.file_stem(member)}"
    return f"{place}{part}.{formats.file_stem(metric_id)}"
