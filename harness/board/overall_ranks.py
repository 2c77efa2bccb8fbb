"""What follows from rows beside each other: average ranks, trivial bar, usual time, hardest images, alarms."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.board.comparison import Comparison
from harness.board.rows import Row
from harness.board.site_data import (
    Alarms,
    Gallery,
    HardImage,
    Overall,
    Picture,
    TypicalTime,
    is_canary,
    is_trivial,
)
from harness.records.record import Record

MOST_HARD = 8

# Columns over which ranks are averaged, by view. The oracle takes no part: nobody can choose it.
RANKED_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "localisation": ("image_auroc", "pixel_auroc", "pixel_pro"),
    "dice": ("dice_at_0.5", "dice_at_valid"),
}


def overall(
    comparisons: Mapping[str, Comparison], benchmarks: Sequence[str]
) -> dict[tuple[str, str, str], Overall]:
    """Average rank by (view, entry, track) of the entries that are ranked in every column.

    Args:
        comparisons: current ones, by benchmark.
        benchmarks: those that count.
    """
    found = {}
    for view, metrics in RANKED_COLUMNS.items():
        columns: dict[str, list[dict[str, int]]] = defaultdict(list)
        for name in benchmarks:
            for column in comparisons[name].columns if name in comparisons else ():
                if column.metric in metrics and column.grid != "paper" and column.standings:
                    columns[column.track].append({s.entry: s.rank for s in column.standings})
        for track, ranks in columns.items():
            for entry in set.intersection(*(set(column) for column in ranks)):
                mean = sum(column[entry] for column in ranks) / len(ranks)
                found[view, entry, track] = Overall(mean, len(ranks))
    return found


def not_above_trivial(rows: Sequence[Row]) -> dict[tuple[str, str, str, str], str]:
    """By (place, entry, track, metric): title of the best trivial entry, where it does as well.

    On the headline grid, and on the same images: a trivial entry learns nothing, so it is a bar in
    every regime, but what is delivered at another size is another bar. The canary is none, for it
    knows the answers.

    Args:
        rows: of any places; of a suite its parts, as they stand beside each other.
    """
    bars: dict[tuple[str, str, str], tuple[float, str]] = {}
    for row in rows:
        if is_trivial(row.metadata) and not is_canary(row.entry, row.metadata):
            for metric, mean in _headline(row):
                key = (*_images_of(row), metric)
                bars[key] = max(bars.get(key, (mean, row.title)), (mean, row.title))
    return {
        (row.place, row.entry, row.track, metric): bar[1]
        for row in rows
        if not is_trivial(row.metadata)
        for metric, mean in _headline(row)
        if (bar := bars.get((*_images_of(row), metric))) is not None and mean <= bar[0]
    }


def typical_times(rows: Sequence[Row]) -> dict[tuple[str, tuple[str, ...]], TypicalTime]:
    """By place and devices, the median over its methods of the seconds per image.

    Times of two devices are never put together, and a trivial baseline is no method.

    Args:
        rows: of any places, as they may leave the machine.
    """
    found: dict[tuple[str, tuple[str, ...]], list[float]] = defaultdict(list)
    for row in rows:
        if row.seconds_per_image is not None and not is_trivial(row.metadata):
            found[row.place, row.devices].append(row.seconds_per_image)
    return {
        key: TypicalTime(statistics.median(seconds), len(seconds))
        for key, seconds in found.items()
        if len(seconds) > 1
    }


def _images_of(row: Row) -> tuple[str, str]:
    """What rows on the same images share: a member of a suite with the benchmark at that size."""
    return row.benchmark, row.regime.delivery


def hardest(
    records: Sequence[Record], galleries: Mapping[str, Gallery]
) -> dict[str, tuple[HardImage, ...]]:
    """By benchmark, the images that most entries have among their hardest.

    Each entry speaks once, by its lowest seed. Ties go to the image that lies deeper on the
    wrong side, then by its id.
    """
    first = first_galleries(records, galleries)
    votes: dict[str, dict[str, list[_Vote]]] = defaultdict(lambda: defaultdict(list))
    entries: dict[str, int] = defaultdict(int)
    for record in first:
        entries[record.pack.benchmark] += 1
        for picture in galleries[record.run_key].card.pictures:
            if picture.role == "hard":
                votes[record.pack.benchmark][picture.image].append(
                    _Vote(record.entry.name, record.run_key, picture)
                )
    return {
        benchmark: tuple(
            HardImage(
                picture=told[0].picture,
                run_key=told[0].run_key,
                entries=tuple(vote.entry for vote in told),
                of=entries[benchmark],
            )
            for told in sorted(images.values(), key=_hardness)[:MOST_HARD]
        )
        for benchmark, images in votes.items()
    }


def alarms(
    records: Sequence[Record], galleries: Mapping[str, Gallery]
) -> dict[str, dict[str, Alarms]]:
    """By benchmark and image, how many methods call it anomalous.

    Of the images that every method shows, and of no other: an image that is shown because a
    method fails on it would be counted where it fails alone. A run without a threshold has no say.
    """
    calls: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for record in first_galleries(records, galleries):
        for picture in galleries[record.run_key].card.pictures:
            if picture.role == "same" and picture.is_called is not None:
                calls[record.pack.benchmark][picture.image].append(picture.is_called)
    return {
        benchmark: {image: Alarms(sum(told), len(told)) for image, told in images.items()}
        for benchmark, images in calls.items()
    }


def first_galleries(records: Sequence[Record], galleries: Mapping[str, Gallery]) -> list[Record]:
    """The records whose pictures are shown: of each entry on each benchmark, the lowest seed's."""
    shown: dict[tuple[str, str, str, str], Record] = {}
    for record in sorted(records, key=lambda record: (record.seed, record.run_key)):
        key = (record.place, record.entry.name, record.track, record.machine.isolation)
        if record.run_key in galleries:
            shown.setdefault(key, record)
    return [record for _, record in sorted(shown.items())]


@dataclass(frozen=True)
class _Vote:
    """One entry that has an image among its hardest."""

    entry: str
    run_key: str
    picture: Picture


def _hardness(told: Sequence[_Vote]) -> tuple[float, float, str]:
    depth = sum(vote.picture.beyond or 0.0 for vote in told) / len(told)
    return -len(told), -depth, told[0].picture.image


def _headline(row: Row) -> list[tuple[str, float]]:
    return [
        (metric.id, metric.mean)
        for metric in row.metrics
        if metric.grid != "paper" and metric.mean is not None
    ]
