"""Builds the site: material in, a folder of pages out.

    build(material, Path("site"), version="0.1.0", commit="…") -> site/index.html

The same input gives the same bytes. The pages format and never compute: means, spreads,
ranks, curves and the choice of pictures come from the harness. Traps: rows of hidden
packs are rounded here once more, whoever calls; templates are named `.html`, because
Jinja's own choice of what to escape goes by that ending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.board.change_log import log_bytes
from harness.board.comparison import comparison_bytes, without_numbers
from harness.board.public_rows import published
from harness.board.rows import Row
from harness.board.site_data import Material
from harness.common.disclosure import Artefact, may_leave
from harness.common.foreign_text import in_lines
from harness.records.record import Record
from leaderboard import formats, guide, words
from leaderboard.benchmark_pages import BenchmarkPage, benchmark_pages, card_path
from leaderboard.boards import boards
from leaderboard.cell_panels import panel_scripts
from leaderboard.compare_page import CompareSite, compare_site
from leaderboard.downloads import (
    leaderboard_csv,
    leaderboard_json,
    record_path,
    record_text,
    row_key,
)
from leaderboard.energy import HEADS as ENERGY_HEADS
from leaderboard.entry_next import waiting_pages
from leaderboard.entry_pages import OVERVIEW, entry_pages
from leaderboard.galleries import Album, side_by_side
from leaderboard.other_pages import against_paper, by_entry, status_groups, team_lines
from leaderboard.outcomes import VERDICTS
from leaderboard.paper import Reported, read_paper
from leaderboard.picture_pages import picture_pages
from leaderboard.publishing import publish
from leaderboard.regime_pages import SWITCH, RegimePage, regime_pages
from leaderboard.runs import NUMBERS, TEXTS
from leaderboard.updates import FEED, PAGE, badge, badge_path, feed, updates

HERE = Path(__file__).parent
STATIC = (
    "site.css", "cells.css", "charts.css", "compare.css", "entrant.css", "pictures.css", "copying.js",
    "site.js", "cells.js", "curves.js", "choose.js", "entrant.js", "pictures.js", "compare-pairs.js",
    "compare-copy.js", "compare-view.js", "compare.js",
)  # fmt: skip
COVERAGE = "interval-coverage.csv"  # written by `make bench-intervals`


def build(
    material: Material,
    out: Path,
    *,
    version: str,
    commit: str | None,
    default_limits: Mapping[str, float | int] | None = None,
) -> Path:
    """Write the site and return the path of its front page.

    Args:
        material: everything that the site shows, from `harness.site.gather`.
        out: folder of the site; a site that is there is replaced, anything else refused.
        version: version of the harness that builds.
        commit: its git commit, or None outside git.
        default_limits: limits that a command to rerun need not name.
    Raises:
        StoreUnusable: `out` holds something else, or cannot be written.
    """
    files = site_files(
        material, version=version, commit=commit, default_limits=default_limits or {}
    )
    publish(files, out, is_made_up=material.is_made_up)
    return out / "index.html"


def site_files(
    material: Material,
    *,
    version: str,
    commit: str | None,
    default_limits: Mapping[str, float | int],
) -> dict[str, bytes]:
    """The files of the site, by path.

    Args:
        material: everything that the site shows.
        version: version of the harness.
        commit: its git commit.
        default_limits: limits that a command to rerun need not name.
    """
    material = replace(
        material,
        rows=published(material.rows),
        comparisons={k: without_numbers(each) for k, each in material.comparisons.items()},
    )
    paper = read_paper() if material.paper is None else material.paper
    records = _shown_records(_every_row(material), (*material.records, *material.regimes.records))
    site = _Site(material, paper, records, _environment(material, version, commit), Album())
    texts = site.pages(default_limits) | _downloads(material, paper, records, version, commit)
    hidden = {
        row.benchmark
        for row in _every_row(material)
        if not may_leave(Artefact.DATA_CARD, row.visibility)
    }
    for name, card in material.verified.items():
        if name in hidden:  # a card from before the pack was hidden
            continue
        path = card_path(name)
        texts |= {f"{path}.md": card.markdown, f"{path}.json": card.json}
    files = {path: text.encode() for path, text in texts.items()}
    files["data/interval-coverage.csv"] = (HERE / "static" / COVERAGE).read_bytes()
    files |= {f"static/{name}": (HERE / "static" / name).read_bytes() for name in STATIC}
    return files | site.album.files


@dataclass(frozen=True)
class _Site:
    """What all pages are made from."""

    material: Material
    paper: Sequence[Reported]
    records: Sequence[Record]
    environment: jinja2.Environment
    album: Album

    def pages(self, default_limits: Mapping[str, float | int]) -> dict[str, str]:
        """All pages, by path."""
        material, paper = self.material, self.paper
        entries = entry_pages(material, self.records, paper, default_limits, self.album)
        regimes = regime_pages(material)
        benchmarks = benchmark_pages(material, paper, self.album)
        every_row = _every_row(material)
        pictured = side_by_side(material, self.album)
        compared = compare_site(material, benchmarks, pictured, self.records, default_limits)
        self.environment.globals.update(
            pictured=tuple((page.title, page.path) for page in pictured),
            pairs_of={table.home: table for table in compared.whole},
        )
        texts = {
            "index.html": self._front(benchmarks, len({page.name for page in entries})),
            "cost.html": self._render("cost.html", benchmarks=benchmarks),
            "paper.html": self._render("paper.html", table_of_paper=against_paper(material, paper)),
            "status.html": self._render(
                "status.html",
                groups=status_groups(every_row),
                by_entry=by_entry(status_groups(every_row)),
                failed=sum(len(row.failures) for row in every_row),
                runs=sum(len(row.seeds) for row in every_row),
                teams=team_lines(material.teams),
            ),
            PAGE: self._render("updates.html", page=updates(material.log, every_row)),
            "guide.html": self._render("guide.html", chapters=guide.chapters(material.definitions)),
        }
        texts |= {page.path: self._regime(page) for page in regimes}
        texts |= {
            page.path: self._render("entry.html", root="../", page=page, overview=_overview())
            for page in entries
        }
        texts |= {
            page.path: self._render("waiting.html", root="../", page=page)
            for page in waiting_pages(material.waiting)
        }
        texts |= {
            page.path: self._render("benchmark.html", root="../", page=page) for page in benchmarks
        }
        texts |= {
            page.regimes.path: self._render("benchmark_regimes.html", root="../", page=page.regimes)
            for page in benchmarks
            if page.regimes.sections
        }
        texts |= {
            page.path: self._render("side_by_side.html", root="../", page=page) for page in pictured
        }
        texts |= {
            page.path: self._render("pictures.html", root="../", page=page)
            for page in picture_pages(material, self.album)
        }
        return texts | self._compared(compared) | panel_scripts(entries)

    def _compared(self, compared: CompareSite) -> dict[str, str]:
        """The compare page, every benchmark's table of pairs, and its data."""
        return {
            "compare.html": self._render("compare.html", compared=compared),
            **{
                table.path: self._render("pairs.html", root="../", table=table)
                for table in compared.whole
            },
            **compared.scripts,
        }

    def _front(self, benchmarks: Sequence[BenchmarkPage], entries: int) -> str:
        shown = boards(self.material, self.paper)
        every_row = _every_row(self.material)
        return self._render(
            "index.html",
            boards=shown,
            benchmarks=benchmarks,
            entries=entries,
            runs=sum(len(row.seeds) for row in every_row),
            packs=sorted({version for row in self.material.rows for version in row.packs}),
            failed=sum(len(row.failures) for row in every_row),
            has_reported=True,
            choices=[(group.benchmark, group.title) for group in _groups(shown)],
        )

    def _regime(self, page: RegimePage) -> str:
        return self._render("regime.html", page=page, choices=page.choices, has_reported=False)

    def _render(self, template: str, *, root: str = "", **values: Any) -> str:
        return self.environment.get_template(template).render(root=root, **values)


def _groups(shown: Iterable[Any]) -> list[Any]:
    """The column groups of all boards, each benchmark once."""
    found = {g.benchmark: g for board in shown for table in board.tables for g in table.groups}
    return sorted(found.values(), key=lambda group: words.benchmark_order(group.benchmark))


def _every_row(material: Material) -> tuple[Row, ...]:
    """The rows of all runs: of the main table, and of other regimes."""
    return (*material.rows, *(whole.row for whole in material.regimes.rows))


def _overview() -> tuple[str, ...]:
    return tuple(
        "s / image" if name == "seconds" else words.metric_words(name).short for name in OVERVIEW
    )


def _downloads(
    material: Material,
    paper: Sequence[Reported],
    records: Sequence[Record],
    version: str,
    commit: str | None,
) -> dict[str, str]:
    by_entry: dict[str, list[Row]] = {}
    for row in _every_row(material):
        by_entry.setdefault(row.entry, []).append(row)
    texts = {
        "data/log.json": log_bytes(material.log).decode(),
        FEED: feed(material.log, words.SITE_TITLE),
        **{badge_path(entry): badge(rows, words.SITE_TITLE) for entry, rows in by_entry.items()},
        "data/leaderboard.json": leaderboard_json(material, paper, version=version, commit=commit),
        "data/leaderboard.csv": leaderboard_csv(material, paper),
    }
    texts |= {
        f"data/comparisons/{formats.file_stem(name)}.json": comparison_bytes(each).decode()
        for name, each in sorted(material.comparisons.items())
    }
    return texts | {
        record_path(record): record_text(material.stored.get(record.run_key, record))
        for record in records
    }


def _shown_records(rows: Sequence[Row], records: Iterable[Record]) -> list[Record]:
    """The records that may be copied: of open packs, and of a row that is shown."""
    open_rows = {
        (row.place, row.entry, row.track, row.isolation)
        for row in rows
        if may_leave(Artefact.EXACT_RECORD, row.visibility)
    }
    found = {
        record.run_key: record
        for record in records
        if record.is_publishable
        and may_leave(Artefact.EXACT_RECORD, record.pack.visibility)
        and row_key(record) in open_rows
    }
    return sorted(found.values(), key=lambda r: (*row_key(r), r.seed, r.run_key))


def _shown(value: object) -> object:
    """What a template prints: of a text, what cannot be seen is written out; markup is ours."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return in_lines(value)
    return value


def _environment(material: Material, version: str, commit: str | None) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short_hash"] = formats.short_hash
    environment.globals.update(
        site_title=words.SITE_TITLE,
        version=version,
        commit=commit,
        is_made_up=material.is_made_up,
        has_local_pictures=material.has_local_pictures,
        verdicts=VERDICTS,
        run_numbers=NUMBERS,
        run_texts=TEXTS,
        energy_heads=ENERGY_HEADS,
        tracks=words.TRACKS,
        isolations=words.ISOLATIONS,
        families=words.FAMILIES,
        method_groups=words.METHOD_GROUPS,
        regimes=SWITCH,
        pretrainings=words.PRETRAINING,
        label_kinds=words.LABELS,
        contaminations=words.CONTAMINATIONS,
        metrics=words.METRICS,
        metric_key=guide.metric_key,
        terms=guide.TERMS,
        compared=sorted(material.comparisons, key=words.benchmark_order),
        file_stem=formats.file_stem,
    )
    return environment
