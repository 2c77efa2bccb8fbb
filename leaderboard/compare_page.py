"""Two to four rows beside each other: one page for a script, and tables of all pairs without one.

    compare.html#m=heron,quail&b=brain     chosen rows; `static/compare.js` lays them out
    compare/brain.html                     every pair of a benchmark with its verdict

The numbers are those of the stored comparisons (`row_pairs`). Trap: a table of pairs is as long as the
square of its rows, so that of more than `MOST_PAIRS` it holds those of the first rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from markupsafe import Markup

from harness.board.comparison import Comparison
from harness.board.local_comparison import LocalComparison
from harness.board.site_data import Material
from harness.records.record import Record
from leaderboard import formats, words
from leaderboard.addresses import benchmark_page
from leaderboard.benchmark_pages import BenchmarkPage
from leaderboard.compare_data import Beside, CompareScript, compare_script
from leaderboard.downloads import row_key
from leaderboard.galleries import SideBySide
from leaderboard.row_pairs import (
    UNRANKED,
    ComparedBenchmark,
    Member,
    PairOfRows,
    compared_benchmarks,
    row_address,
)

MOST_PAIRS = 900
FIRST_ROWS = 6
"""On the page that a script fills, the table of pairs holds the first rows alone."""
LONGEST_LABEL = 32
NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class PairLine:
    """Two rows of a benchmark."""

    label: str
    """Both names."""
    address: str
    """Of the compare page that shows them, without the page."""
    verdicts: tuple[str, ...]
    """In words, by column."""


@dataclass(frozen=True)
class PairTable:
    """Pairs of rows of one benchmark, with their verdicts."""

    name: str
    """Name of the benchmark, for addresses."""
    title: str
    """Title of the benchmark."""
    home: str
    """The benchmark's page, from the site's root."""
    path: str
    """The page with all pairs, from the site's root."""
    heads: tuple[str, ...]
    """Metrics."""
    lines: tuple[PairLine, ...]
    """Pairs of the first rows, in their order."""
    rows: int
    """How many rows they are of."""
    of_rows: int
    """How many there are."""
    note: str
    """What was left out in turn, and what the verdicts go by; or why nothing was compared."""


@dataclass(frozen=True)
class CompareSite:
    """Everything that has to do with comparing rows."""

    first: tuple[PairTable, ...]
    """Of each benchmark, the pairs of its first rows: on the compare page."""
    whole: tuple[PairTable, ...]
    """Of each benchmark, all pairs: a page each."""
    index: Markup
    """Which rows each benchmark has, as JSON for the page's script."""
    scripts: Mapping[str, str]
    """By path, the data of each benchmark."""


def compare_site(
    material: Material,
    benchmarks: Sequence[BenchmarkPage],
    pictured: Sequence[SideBySide],
    records: Sequence[Record],
    default_limits: Mapping[str, float | int],
) -> CompareSite:
    """All of it.

    Args:
        material: with published rows, and comparisons without what may not be told.
        benchmarks: their pages, for what they say of pictures and comparisons.
        pictured: the pages with the same images of every method.
        records: records that may be shown in full; none of a hidden pack.
        default_limits: limits that a command to rerun need not name.
    """
    runs: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        runs.setdefault(row_key(record), []).append(record)
    pages = {page.path: page for page in benchmarks}
    pictures = {page.benchmark: page for page in pictured}
    found = compared_benchmarks(material)
    scripts, tables = [], []
    for each in found:
        page = pages[benchmark_page(each.name)]
        beside = Beside(
            pictures=pictures.get(each.name),
            no_pictures=page.no_pictures,
            no_comparison=page.no_comparison,
            unit=_unit(material.comparisons.get(each.name), material.local.get(each.name)),
        )
        scripts.append(compare_script(each, beside, material, runs, default_limits))
        tables.append((each, page, beside))
    return CompareSite(
        first=tuple(_table(*each, FIRST_ROWS) for each in tables),
        whole=tuple(_table(*each, _most_rows(len(each[0].members))) for each in tables),
        index=_index(found, scripts),
        scripts={script.path: script.text for script in scripts},
    )


def pairs_path(benchmark: str) -> str:
    """The page with all pairs of a benchmark, from the site's root."""
    return f"compare/{formats.file_stem(benchmark)}.html"


def _unit(comparison: Comparison | None, local: LocalComparison | None) -> str:
    told = []
    for each, of in (
        (comparison, "rows that take a rank"),
        (local, "rows of which some take none"),
    ):
        if each is not None:
            told.append(
                f"Of {of}: over the same {formats.plural(each.units, each.unit)}, left out in turn;"
                f" verdicts at {100 * each.significance:.0f} % after Holm’s correction over all pairs"
                " of the column, intervals of the pair alone."
            )
    return " ".join(told)


def _most_rows(count: int) -> int:
    """How many rows have no more than `MOST_PAIRS` pairs."""
    while count * (count - 1) // 2 > MOST_PAIRS:
        count -= 1
    return count


def _table(
    compared: ComparedBenchmark, page: BenchmarkPage, beside: Beside, most: int
) -> PairTable:
    metrics = compared.headline
    members = compared.members[:most]
    return PairTable(
        name=formats.file_stem(compared.name),
        title=page.title,
        home=page.path,
        path=pairs_path(compared.name),
        heads=tuple(words.metric_words(metric).short for metric in metrics),
        lines=tuple(
            _line(compared, metrics, one, other) for one, other in combinations(members, 2)
        ),
        rows=len(members),
        of_rows=len(compared.members),
        note=beside.unit or beside.no_comparison,
    )


def _line(
    compared: ComparedBenchmark, metrics: Sequence[str], one: Member, other: Member
) -> PairLine:
    names = [formats.shortened(member.label, LONGEST_LABEL) for member in (one, other)]
    return PairLine(
        label=f"{names[0]} and {names[1]}",
        address=f"m={one.key},{other.key}&b={formats.file_stem(compared.name)}",
        verdicts=tuple(
            _verdict(compared.pair(metric, one, other), names[0], names[1]) for metric in metrics
        ),
    )


def _verdict(pair: PairOfRows | None, one: str, other: str) -> str:
    """Who is better by how many points; what cannot be told apart, first less second."""
    if pair is None:
        return NOT_COMPARED
    if pair.known == "-":
        return _verdict(pair.turned, other, one)
    is_real = pair.known == "+"
    told = f"{one} is better" if is_real else "cannot be told apart"
    if pair.difference is None:
        return told
    points = formats.signed_points(pair.difference)
    ends = [formats.signed_points(end) for end in (pair.low, pair.high) if end is not None]
    span = f" [{', '.join(ends)}]" if ends else " [NA]"
    return f"{one} by {points.lstrip('+')}{span}" if is_real else f"{told}: {points}{span}"


def _index(found: Sequence[ComparedBenchmark], scripts: Sequence[CompareScript]) -> Markup:
    """As JSON that may stand inside a `script` element."""
    methods: dict[str, dict[str, Any]] = {}
    benchmarks = []
    for each, script in zip(found, scripts, strict=True):
        for member in script.members:
            label = member.label.removesuffix(UNRANKED)
            told = methods.setdefault(member.key, {"k": member.key, "t": label, "l": []})
            if (line := row_address(member.row)) not in told["l"]:
                told["l"].append(line)
        places = {key: place for place, key in enumerate(methods)}
        benchmarks.append(
            {
                "b": formats.file_stem(each.name), "name": formats.plain(each.name),
                "t": words.benchmark_title(formats.plain(each.name)), "src": script.path,
                "m": [places[member.key] for member in script.members],
            }
        )  # fmt: skip
    text = json.dumps(
        {"methods": [*methods.values()], "benchmarks": benchmarks}, separators=(",", ":")
    )
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704 - no markup is left
