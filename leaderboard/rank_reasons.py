"""Why a value has the rank it has, in sentences: who is better, and who cannot be told from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from harness.board.rows import MetricSummary, Row
from leaderboard import formats

PLACES = {1: "First", 2: "Second", 3: "Third"}
MOST_NAMES = 60


def names_of(rows: Iterable[Row]) -> dict[str, str]:
    """What every entry is called: its method's name, with its own where several have that."""
    found = {row.entry: formats.plain(row.title) for row in rows}
    count = Counter(found.values())
    return {
        entry: title if count[title] == 1 else f"{title} ({formats.plain(entry)})"
        for entry, title in found.items()
    }


def rank_reasons(metric: MetricSummary, names: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences; none where the value has neither a rank nor a place.

    Args:
        metric: with the place that a comparison gave it.
        names: by entry, what a reader calls it.
    """
    standing = metric.standing
    if standing is None:
        if metric.place is None:
            return ()
        return (f"{PLACES[metric.place]} by mean; this column was not compared.",)

    def listed(entries: Iterable[str]) -> str:
        told = sorted((names.get(each, formats.plain(each)) for each in entries), key=str.casefold)
        return formats.listed(told, most=MOST_NAMES)

    better = "No entry of its track is significantly better."
    if count := len(standing.better):
        verb = "entry is" if count == 1 else "entries are"
        better = f"{count} {verb} significantly better: {listed(standing.better)}."
    told = f"Rank {standing.rank}. {better}"
    if not standing.ties:
        return told, "It can be told from every other."
    return told, f"It cannot be told from {listed(standing.ties)}."
