"""What the compare page loads of one benchmark: a classic script that hands one object over.

    (window.bmadCompare = window.bmadCompare || {})["brain"] = {…};

Texts are finished; differences and curves are whole numbers, because the page turns a difference
round and lays curves out. No script is larger than `MOST_BYTES`: bands go first, then points of the
curves, then metrics from the end, then rows, and the page says what is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.board.rows import Row
from harness.board.site_data import BandedCurve, Material
from harness.board.table_formats import latex_text, markdown_text
from harness.records.record import Record
from leaderboard import citations, formats, guide, words
from leaderboard.addresses import row_page
from leaderboard.cells import Cell
from leaderboard.commands import rerun_command
from leaderboard.costs import COST_HEADS, costs
from leaderboard.figures import CURVES
from leaderboard.galleries import Exhibit, SideBySide
from leaderboard.row_pairs import ComparedBenchmark, Member, PairOfRows, row_address

MOST_BYTES = 290_000
POINTS = 10_000
"""Differences are in hundredths of a point and curves in ten-thousandths: both 1 / 10,000."""
Json = object


@dataclass(frozen=True)
class Detail:
    """How much of it a script holds."""

    bands: bool = True
    """Whether curves have their bands."""
    stride: int = 1
    """Every how many points of a curve; 0 for no curves."""
    metrics: int | None = None
    """How many metrics; None for all."""
    members: int | None = None
    """How many rows; None for all."""


@dataclass(frozen=True)
class CompareScript:
    """The data of one benchmark."""

    path: str
    """File, from the site's root."""
    text: str
    """What it holds."""
    members: tuple[Member, ...]
    """The rows that are in it."""


@dataclass(frozen=True)
class Beside:
    """What the page shows of a benchmark besides its rows and pairs."""

    pictures: SideBySide | None
    """The same images of every method; None where none may be shown."""
    no_pictures: str
    """Why there are none."""
    no_comparison: str
    """Why rows that take a rank were not compared; empty where they were."""
    unit: str
    """What was left out in turn and how often, and what the verdicts go by."""


def script_path(benchmark: str) -> str:
    """File of a benchmark's data, from the site's root."""
    return f"data/compare/{formats.file_stem(benchmark)}.js"


def compare_script(
    compared: ComparedBenchmark,
    beside: Beside,
    material: Material,
    records: Mapping[tuple[str, str, str, str], Sequence[Record]],
    default_limits: Mapping[str, float | int],
) -> CompareScript:
    """The data of one benchmark, as much of it as fits.

    Args:
        compared: its rows and pairs.
        beside: pictures, and what is said of them.
        material: curves and cards.
        records: by row, its runs that may be shown in full; none of a hidden pack.
        default_limits: limits that a command to rerun need not name.
    """
    told = [
        _member(each, material, _runs(each.row, records), default_limits)
        for each in compared.members
    ]
    maker = _Maker(compared, beside, material, told, _curves(compared, material, records))
    text = ""
    for detail in _details(len(compared.metrics), len(compared.members)):
        text = maker.text(detail)
        if len(text) <= MOST_BYTES:
            return CompareScript(
                script_path(compared.name), text, compared.members[: detail.members]
            )
    raise AssertionError(f"{compared.name}: two rows in one metric are larger than {MOST_BYTES}")


def _details(metrics: int, members: int) -> Iterator[Detail]:
    """From everything to two rows in one metric."""
    yield from (Detail(), Detail(bands=False), Detail(False, 2), Detail(False, 0))
    yield from (Detail(False, 0, count) for count in range(metrics - 1, 0, -1))
    while members > 2:
        members = max(2, members * 9 // 10)
        yield Detail(False, 0, 1, members)


@dataclass(frozen=True)
class _Maker:
    compared: ComparedBenchmark
    beside: Beside
    material: Material
    told: Sequence[Mapping[str, Json]]
    curves: Mapping[str, tuple[int, tuple[BandedCurve, ...]]]

    def text(self, detail: Detail) -> str:
        """The whole script, in ASCII."""
        name = json.dumps(formats.plain(self.compared.name))
        data = json.dumps(
            self._data(detail), allow_nan=False, separators=(",", ":"), sort_keys=True
        )
        return f"(window.bmadCompare = window.bmadCompare || {{}})[{name}] = {data};\n"

    def _data(self, detail: Detail) -> dict[str, Json]:
        metrics = self.compared.metrics[: detail.metrics]
        members = self.compared.members[: detail.members]
        name, rows = self.compared.name, [member.row for member in members]
        commits = dict.fromkeys(commit for row in rows for commit in row.commits)
        versions = tuple(dict.fromkeys(version for row in rows for version in row.packs))
        is_made_up = self.material.is_made_up
        pack = citations.pack_bibtex(
            name, versions, self.material.cards.get(name), is_made_up=is_made_up
        )
        return {
            "benchmark": words.benchmark_title(formats.plain(name)),
            "packs": formats.joined(versions),
            "unit": self.beside.unit,
            "none": self.beside.no_comparison,
            "noPictures": self.beside.no_pictures,
            "leftOut": self._left_out(detail),
            "isMadeUp": is_made_up,
            "costHeads": COST_HEADS,
            "metrics": [_metric(each) for each in metrics],
            "headline": [n for n, m in enumerate(metrics) if m in self.compared.headline],
            "methods": [
                {
                    **told,
                    "values": [_value(member.values[metric]) for metric in metrics],
                    "curves": self._lines(member, detail),
                    "maps": _maps(member, self.beside.pictures),
                }
                for member, told in zip(members, self.told, strict=False)
            ],
            "pairs": [_pairs(self.compared, metric, members) for metric in metrics],
            "curves": [
                {"title": title, "x": across, "y": up, "limit": 0.3 if kind == "pro" else 1}
                for (kind, _), (title, across, up) in CURVES.items()
            ],
            "images": _images(self.beside.pictures),
            "pack": pack,
            "commits": {
                formats.plain(each): citations.commit_bibtex(each, is_made_up=is_made_up)
                for each in commits
            },
        }

    def _left_out(self, detail: Detail) -> str:
        """What a reader does not find here though it is known."""
        told = []
        if self.curves and not detail.bands:
            bands = "the bands of the curves" if detail.stride else "the curves"
            told.append(bands if detail.stride < 2 else f"{bands} and half of their points")
        if detail.metrics is not None and detail.metrics < len(self.compared.metrics):
            told.append(formats.plural(len(self.compared.metrics) - detail.metrics, "metric"))
        if detail.members is not None:
            told.append(formats.plural(len(self.compared.members) - detail.members, "row"))
        return f"Left out, so that the page stays small: {', '.join(told)}." if told else ""

    def _lines(self, member: Member, detail: Detail) -> Json:
        """The member's curves by kind, in the order of the heads; None where it has none."""
        if member.key not in self.curves or not detail.stride:
            return None
        seed, curves = self.curves[member.key]
        by_kind = {(curve.kind, curve.grid): curve for curve in curves}
        return {
            "seed": seed,
            "lines": [_line(by_kind[kind], detail) if kind in by_kind else None for kind in CURVES],
        }


def _runs(
    row: Row, records: Mapping[tuple[str, str, str, str], Sequence[Record]]
) -> Sequence[Record]:
    return records.get((row.place, row.entry, row.track, row.isolation), ())


def _curves(
    compared: ComparedBenchmark,
    material: Material,
    records: Mapping[tuple[str, str, str, str], Sequence[Record]],
) -> dict[str, tuple[int, tuple[BandedCurve, ...]]]:
    """By key of a member, seed and curves of its lowest seed that has any."""
    found = {}
    for member in compared.members:
        for record in sorted(_runs(member.row, records), key=lambda r: (r.seed, r.run_key)):
            if record.run_key in material.curves:
                found[member.key] = (record.seed, material.curves[record.run_key].curves)
                break
    return found


def _line(curve: BandedCurve, detail: Detail) -> dict[str, list[int]]:
    """Points from 0 to `POINTS`; of the kept ones the last always."""
    line = {
        name: [round(POINTS * v) for v in (*values[: -1 : detail.stride], *values[-1:])]
        for name, values in (("x", curve.x), ("y", curve.y))
    }
    if detail.bands and curve.band_x:
        bands = (("b", curve.band_x), ("l", curve.low), ("h", curve.high))
        line |= {name: [round(POINTS * v) for v in values] for name, values in bands}
    return line


def _metric(metric: str) -> dict[str, Json]:
    told = words.metric_words(metric)
    return {
        "title": told.title, "tex": latex_text(told.title), "meaning": told.meaning,
        "anchor": guide.metric_key(metric),
    }  # fmt: skip


def _value(cell: Cell) -> list[str]:
    """Mean, spread, interval and rank; or what there is instead, and why."""
    if cell.kind == "value":
        badge = f"rank {cell.badge}" if cell.badge and not cell.is_by_mean else ""
        return [cell.text, cell.small, cell.third, badge]
    return [cell.text, cell.small]


def _member(
    member: Member,
    material: Material,
    runs: Sequence[Record],
    default_limits: Mapping[str, float | int],
) -> dict[str, Json]:
    row = member.row
    isolation = words.ISOLATIONS.get(row.isolation, row.isolation)
    return {
        "key": member.key,
        "label": member.label,
        "tex": latex_text(member.label),
        "md": markdown_text(member.label),
        "page": row_page(row),
        "made": f"{words.TRACKS[row.track]}, {isolation}, {formats.plural(len(row.seeds), 'seed')}",
        "track": row.track,
        "unranked": formats.plain(row.unranked_reason or ""),
        "cost": costs(row),
        "params": _params(runs),
        "command": rerun_command(runs, default_limits) if runs else "",
        "bib": citations.entry_bibtex(row, member.key, is_made_up=material.is_made_up),
        "commits": [formats.plain(commit) for commit in row.commits],
    }


def _params(runs: Sequence[Record]) -> dict[str, str]:
    if not runs:
        return {}
    entry = runs[0].entry
    return {"preset": formats.plain(entry.preset)} | {
        formats.plain(name): formats.plain(value) for name, value in sorted(entry.params.items())
    }


def _pairs(compared: ComparedBenchmark, metric: str, members: Sequence[Member]) -> dict[str, Json]:
    """Of every pair in order, one letter (`?`: not compared), and difference, low and high."""
    found = [compared.pair(metric, one, other) for one, other in combinations(members, 2)]
    return {
        "known": "".join(pair.known if pair else "?" for pair in found),
        "numbers": [number for pair in found for number in _numbers(pair)],
    }


def _numbers(pair: PairOfRows | None) -> list[int | None]:
    values = (pair.difference, pair.low, pair.high) if pair else (None, None, None)
    return [None if value is None else round(POINTS * value) for value in values]


def _images(pictures: SideBySide | None) -> list[dict[str, Json]]:
    return [
        {
            "title": each.title, "alt": each.alt, "src": each.truth or each.shown,
            "width": each.width, "height": each.height, "outlined": bool(each.truth),
        }
        for each in (pictures.images if pictures else ())
    ]  # fmt: skip


def _maps(member: Member, pictures: SideBySide | None) -> list[list[str] | None]:
    """By image, the map's file (empty without one) and what is said of it."""
    for method in pictures.methods if pictures else ():
        if method.row == row_address(member.row):
            return [_map(each) for each in method.exhibits]
    return []


def _map(each: Exhibit | None) -> list[str] | None:
    return None if each is None else [each.map, each.told]
