"""Builds the site: rows, records and the paper's numbers in, a folder of pages out.

    build(rows, records, Path("site"), version="0.1.0", commit="…") -> site/index.html

The same input gives the same bytes. The pages format and never compute: means, spreads
and places come from `harness.statistics`. Traps: rows of hidden packs are rounded here
once more, whoever calls; templates are named `.html`, because Jinja's own choice of what
to escape goes by that ending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jinja2

from harness.records import Record
from harness.statistics import Row, published
from leaderboard import formats, words
from leaderboard.downloads import (
    leaderboard_csv,
    leaderboard_json,
    record_path,
    record_text,
    row_key,
)
from leaderboard.entry_pages import RUN_COLUMNS, entry_pages
from leaderboard.paper import Reported, read_paper
from leaderboard.publishing import publish
from leaderboard.tables import boards

HERE = Path(__file__).parent
STATIC = ("site.css", "site.js")


def build(
    rows: Iterable[Row],
    records: Iterable[Record],
    out: Path,
    *,
    version: str,
    commit: str | None,
    paper: Sequence[Reported] | None = None,
    default_limits: Mapping[str, float | int] | None = None,
) -> Path:
    """Write the site and return the path of its front page.

    Args:
        rows: summaries of the records, from `harness.statistics.summarise`.
        records: the records behind them; only publishable ones of open packs are copied.
        out: folder of the site; a site that is there is replaced, anything else refused.
        version: version of the harness that builds.
        commit: its git commit, or None outside git.
        paper: the paper's values; None reads those of the project.
        default_limits: limits that a command to rerun need not name.
    Raises:
        StoreUnusable: `out` holds something else, or cannot be written.
    """
    reported = read_paper() if paper is None else tuple(paper)
    shown = published(rows)
    files = site_files(
        shown,
        _shown_records(shown, records),
        reported,
        version=version,
        commit=commit,
        default_limits=default_limits or {},
    )
    publish(files, out)
    return out / "index.html"


def site_files(
    rows: Sequence[Row],
    records: Sequence[Record],
    paper: Sequence[Reported],
    *,
    version: str,
    commit: str | None,
    default_limits: Mapping[str, float | int],
) -> dict[str, bytes]:
    """The files of the site, by path.

    Args:
        rows: published rows.
        records: records that may be shown in full.
        paper: the paper's values.
        version: version of the harness.
        commit: its git commit.
        default_limits: limits that a command to rerun need not name.
    """
    environment = _environment()
    environment.globals.update(
        site_title=words.SITE_TITLE, version=version, commit=commit, run_columns=RUN_COLUMNS
    )
    pages = entry_pages(rows, records, paper, default_limits)
    texts = {
        "index.html": environment.get_template("index.html").render(
            root="",
            boards=boards(rows, paper),
            entries=len(pages),
            runs=sum(len(row.seeds) for row in rows),
            metrics=words.METRICS,
            tracks=words.TRACKS,
            track_meanings=words.TRACK_MEANINGS,
        ),
        "data/leaderboard.json": leaderboard_json(rows, paper, version=version, commit=commit),
        "data/leaderboard.csv": leaderboard_csv(rows, paper),
    }
    entry_template = environment.get_template("entry.html")
    texts |= {page.path: entry_template.render(root="../", page=page) for page in pages}
    texts |= {record_path(record): record_text(record) for record in records}
    files = {path: text.encode() for path, text in texts.items()}
    files |= {f"static/{name}": (HERE / "static" / name).read_bytes() for name in STATIC}
    return files


def _shown_records(rows: Sequence[Row], records: Iterable[Record]) -> list[Record]:
    """The records that may be copied: of open packs, and of a row that is shown."""
    open_rows = {
        (row.benchmark, row.entry, row.track, row.isolation)
        for row in rows
        if row.visibility == "open"
    }
    found = {
        record.run_key: record
        for record in records
        if record.is_publishable
        and record.pack.visibility == "open"
        and row_key(record) in open_rows
    }
    return sorted(found.values(), key=lambda r: (*row_key(r), r.seed, r.run_key))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short_hash"] = formats.short_hash
    return environment
