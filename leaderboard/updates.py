"""What is new: a page, an Atom feed, the best row of each benchmark over time, a badge for each entry.

All but the badges is made from the log of changes alone. Traps: a feed's entries must keep their
identifiers, so these are hashes of what was published, and not of how it is told; a day on which
nothing was published changes no byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from harness.board.change_log import ChangedRow, ChangeLog, RowChange, best_over_time, what_changed
from harness.board.rows import Row
from harness.common.foreign_text import in_lines
from harness.records.record import canonical_json
from leaderboard import charts, formats, words
from leaderboard.addresses import row_page
from leaderboard.charts import Figure

PAGE, FEED, BADGES = "updates.html", "feed.xml", "badges"
DRAWN = {"image_auroc": "Image AUROC", "pixel_pro": "PRO"}
WIDTH, HEIGHT = 340, 180
MOST_LINES, MOST_IN_FEED = 400, 100
"""The newest; the whole log is a download."""


@dataclass(frozen=True)
class UpdateLine:
    """One row on one day."""

    anchor: str
    """Its address on the page."""
    kind: str
    """What became of it."""
    title: str
    """The method's name."""
    page: str | None
    """Page with the row, from the site's root; None where it is gone."""
    where: str
    """Benchmark and regime."""
    values: tuple[str, ...]
    """The headline metrics, each with what it was before where that differs."""
    changed: tuple[str, ...]
    """What differs from the row as it stood."""
    remark: str
    """Why it has no rank."""


@dataclass(frozen=True)
class UpdateDay:
    """What was published on one day."""

    day: date
    """UTC."""
    lines: tuple[UpdateLine, ...]
    """In the order of the log."""


@dataclass(frozen=True)
class LastChange:
    """What became last of a row, and where that is told."""

    change: RowChange
    """The change."""
    before: RowChange | None
    """The row as it stood; None of a first one."""
    anchor: str
    """Its address on the page; empty of an old one, which is in the download alone."""


@dataclass(frozen=True)
class Updates:
    """All of the page."""

    days: tuple[UpdateDay, ...]
    """The newest first."""
    left_out: int
    """Older changes that are in the download alone."""
    figures: tuple[tuple[str, tuple[Figure, ...]], ...]
    """By title of a benchmark, its best row over time in each metric."""


def updates(log: ChangeLog, rows: Sequence[Row]) -> Updates:
    """The page.

    Args:
        log: of the published records.
        rows: that the site shows: what is among them has a page to lead to.
    """
    pages: dict[ChangedRow, str] = {
        (row.place, row.entry, row.track, row.isolation): row_page(row) for row in rows
    }
    lines = list(_lines(log, pages))
    left_out = max(0, len(lines) - MOST_LINES)
    by_day = [
        UpdateDay(day, tuple(line for _, line in group))
        for day, group in groupby(lines[left_out:], key=lambda each: each[0])
    ]
    places = dict.fromkeys(change.place for change in log.changes)
    drawn = (
        (_place_title(place), tuple(_figures(log, place)))
        for place in sorted(places, key=words.benchmark_order)
    )
    return Updates(tuple(reversed(by_day)), left_out, tuple(each for each in drawn if each[1]))


def _lines(log: ChangeLog, pages: Mapping[ChangedRow, str]) -> Iterator[tuple[date, UpdateLine]]:
    before: dict[ChangedRow, RowChange] = {}
    for change in log.changes:
        yield change.date, _line(change, before.get(change.key), pages.get(change.key))
        before[change.key] = change


def _line(change: RowChange, before: RowChange | None, page: str | None) -> UpdateLine:
    return UpdateLine(
        anchor=change_anchor(change),
        kind=change.kind,
        title=formats.plain(change.title),
        page=page,
        where=_place_title(change.place),
        values=tuple(_value(name, change, before) for name in DRAWN if name in change.means),
        changed=what_changed(before, change),
        remark="" if change.ranked else formats.plain(change.reason or ""),
    )


def _value(name: str, change: RowChange, before: RowChange | None) -> str:
    told = f"{DRAWN[name]} {formats.percent(change.means[name])}"
    old = before.means.get(name) if before is not None else None
    if old is None or formats.percent(old) == formats.percent(change.means[name]):
        return told
    return f"{told} (before {formats.percent(old)})"


def last_changes(log: ChangeLog) -> dict[ChangedRow, LastChange]:
    """What the log tells last of each row, as it stands on the page."""
    found: dict[ChangedRow, LastChange] = {}
    before: dict[ChangedRow, RowChange] = {}
    shown = len(log.changes) - MOST_LINES
    for number, change in enumerate(log.changes):
        anchor = change_anchor(change) if number >= shown else ""
        found[change.key] = LastChange(change, before.get(change.key), anchor)
        before[change.key] = change
    return found


def change_anchor(change: RowChange) -> str:
    """The address of a change on the page: a hash of what was published."""
    content = canonical_json(change.model_dump(mode="json"))
    return "u" + hashlib.sha256(content).hexdigest()[:16]


def _place_title(place: str) -> str:
    name, _, regime = place.partition("@")
    title = words.benchmark_title(formats.plain(name))
    return f"{title}, {formats.plain(regime)}" if regime else title


def _figures(log: ChangeLog, place: str) -> Iterator[Figure]:
    for metric, title in DRAWN.items():
        steps = best_over_time(log, place, metric)
        if len(steps) > 1:
            points = [
                {"x": step.date.isoformat(), "y": round(100 * step.value, 3)} for step in steps
            ]
            end = {**points[-1], "x": log.changes[-1].date.isoformat()}
            told = "; ".join(
                f"{formats.plain(step.title)} {formats.percent(step.value)} on {step.date}"
                for step in steps
            )
            yield charts.draw(
                _steps([*points, end], title),
                key=f"best-{formats.file_stem(place)}-{metric}".replace(".", "-"),
                title=f"Best {title}: ranked rows of {_place_title(place)}, by day of publication",
                description="Days to the right, the highest mean of a ranked row upwards. It falls where"
                f" that row was withdrawn. The steps: {told}.",
            )


def _steps(points: Sequence[Mapping[str, object]], metric: str) -> dict[str, Any]:
    x = {"field": "x", "type": "temporal", "timeUnit": "utcyearmonthdate",
         "title": "Day of publication",
         "axis": {"format": "%Y-%m-%d", "labelOverlap": True, "tickCount": 4, "grid": False}}  # fmt: skip
    y = {"field": "y", "type": "quantitative", "title": f"{metric}, percent",
         "scale": {"zero": False},
         "axis": {"tickCount": 5, "gridOpacity": 0.6, "titlePadding": 14}}  # fmt: skip
    return {
        "$schema": charts.VEGA_LITE,
        "config": charts.CONFIG,
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": list(points)},
        "layer": [
            {"mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.8, "color": charts.series(0)},
             "encoding": {"x": x, "y": y}},
            {"mark": {"type": "point", "filled": True, "size": 36, "color": charts.series(0)},
             "encoding": {"x": x, "y": y}},
        ],
    }  # fmt: skip


def feed(log: ChangeLog, site_title: str) -> str:
    """The changes as an Atom feed (RFC 4287), the newest first; links are relative to the site."""
    newest = log.changes[-1].date if log.changes else date(2024, 1, 1)
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{escape(site_title)}: what is new</title>",
        f"<id>urn:bmad-leaderboard:{FEED}</id>",
        f"<updated>{_instant(newest)}</updated>",
        f'<link rel="self" href="{FEED}"/>',
        f'<link href="{PAGE}"/>',
        f"<author><name>{escape(site_title)}</name></author>",
    ]
    before: dict[ChangedRow, RowChange] = {}
    entries = []
    for change in log.changes:
        line = _line(change, before.get(change.key), None)
        before[change.key] = change
        told = "; ".join([*line.values, *line.changed, *([line.remark] if line.remark else [])])
        entries.append(
            "<entry>"
            f"<title>{_xml(f'{line.title} on {line.where}: {line.kind}')}</title>"
            f"<id>urn:bmad-leaderboard:{line.anchor}</id>"
            f"<updated>{_instant(change.date)}</updated>"
            f"<link href={quoteattr(f'{PAGE}#{line.anchor}')}/>"
            f"<summary>{_xml(told or line.kind)}</summary>"
            "</entry>"
        )
    return "\n".join([*parts, *reversed(entries[-MOST_IN_FEED:]), "</feed>", ""])


def _xml(text: str) -> str:
    return escape(in_lines(text))


def _instant(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def badge_path(entry: str) -> str:
    """File of an entry's badge, from the site's root."""
    return f"{BADGES}/{formats.file_stem(entry)}.svg"


def badge(rows: Sequence[Row], site_title: str) -> str:
    """An entry's badge for its own page elsewhere: an SVG that names its best rank.

    Args:
        rows: all rows of the entry.
        site_title: name of the board.
    """
    told = _badge_text(rows)
    left, right = 7 * len(site_title) + 12, 7 * len(told) + 12
    title = _xml(f"{site_title}: {told}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img"'
        f" aria-label={quoteattr(f'{site_title}: {told}')}><title>{title}</title>"
        f'<path fill="#3d4852" d="M0 0h{left}v20H0z"/><path fill="#0b5d7a" d="M{left} 0h{right}v20H{left}z"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2:g}" y="14" textLength="{left - 12}">{_xml(site_title)}</text>'
        f'<text x="{left + right / 2:g}" y="14" textLength="{right - 12}">{_xml(told)}</text></g></svg>\n'
    )


def _badge_text(rows: Sequence[Row]) -> str:
    ranks = [
        (
            metric.standing.rank,
            words.benchmark_order(row.benchmark),
            row,
            bool(metric.standing.ties),
        )
        for row in rows
        if row.place == row.benchmark
        and row.benchmark != words.DEMO
        and (metric := row.metric("image_auroc", None)) is not None
        and metric.standing is not None
    ]
    if not ranks:
        return "measured, no rank" if any(row.metrics for row in rows) else "no result"
    rank, _, row, has_ties = min(ranks, key=lambda each: each[:2])
    title = words.benchmark_title(formats.plain(row.benchmark))
    return f"rank {rank}{'=' if has_ties else ''} on {title}, image AUROC"
