"""What is behind every value of an entry, for the panel that opens beside a table.

    (window.bmadCells = window.bmadCells || {})["heron"] = {…};

One classic script for each page of an entry, with what that page says of its values: texts are
finished, `static/cells.js` lays them out. No script is larger than `MOST_BYTES`: logs go first, then
the reasons of ranks, then seeds, and the panel says that the page has more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from leaderboard.behind_values import FailedRun
from leaderboard.entry_metrics import MetricLine
from leaderboard.entry_pages import EntryPage, Section

MOST_BYTES = 290_000
Json = object


@dataclass(frozen=True)
class Detail:
    """How much of it a script holds."""

    logs: bool = True
    """The ends of the logs of failed runs."""
    reasons: bool = True
    """Why the ranks are what they are."""
    seeds: bool = True
    """Every run's own value."""


DETAILS = (
    Detail(),
    Detail(logs=False),
    Detail(logs=False, reasons=False),
    Detail(logs=False, reasons=False, seeds=False),
)


def panel_scripts(pages: Iterable[EntryPage]) -> dict[str, str]:
    """By path from the site's root, the data of every page of an entry."""
    return {script_path(page): _script(page) for page in pages}


def script_path(page: EntryPage) -> str:
    """File of a page's data, from the site's root."""
    return f"data/cells/{_stem(page)}.js"


def _stem(page: EntryPage) -> str:
    return page.path.removeprefix("entries/").removesuffix(".html")


def _script(page: EntryPage) -> str:
    for detail in DETAILS:
        text = _text(page, page.sections, detail)
        if len(text) <= MOST_BYTES:
            return text
    sections = page.sections
    while len(text := _text(page, sections, DETAILS[-1])) > MOST_BYTES:
        sections = sections[:-1]  # a value of the others leads to the entry's page alone
    return text


def _text(page: EntryPage, sections: tuple[Section, ...], detail: Detail) -> str:
    """The whole script, in ASCII."""
    data = {
        "title": page.title,
        "isWhole": detail == DETAILS[0],
        "sections": [_section(each, detail) for each in sections],
        "lines": {
            line.key: [place, _line(line, detail)]
            for place, section in enumerate(sections)
            for line in (*section.headline, *section.more)
        },
    }
    told = json.dumps(data, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return f"(window.bmadCells = window.bmadCells || {{}})[{json.dumps(_stem(page))}] = {told};\n"


def _known(told: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in told.items() if value}


def _section(section: Section, detail: Detail) -> dict[str, Json]:
    return _known(
        {
            "key": section.key,
            "title": section.title,
            "summary": section.summary,
            "made": section.behind.made,
            "remarks": section.remarks,
            "isHidden": section.is_hidden,
            "status": section.status,
            "unit": section.behind.unit,
            "seeds": section.seeds,
            "records": [[run.seed, run.record.removeprefix("../")] for run in section.runs],
            "failures": [_failure(each, detail) for each in section.behind.failed],
            "costKey": section.behind.cost_key,
            "costs": section.behind.costs,
            "cite": section.behind.citation,
        }
    )


def _failure(failure: FailedRun, detail: Detail) -> dict[str, Json]:
    told = _known(vars(failure)) | {"seed": failure.seed}
    return told if detail.logs else {name: value for name, value in told.items() if name != "log"}


def _line(line: MetricLine, detail: Detail) -> dict[str, Json]:
    return _known(
        {
            "title": line.title,
            "meaning": line.meaning,
            "guide": line.anchor,
            "mean": line.mean,
            "note": line.mean_note,
            "std": line.std,
            "interval": line.interval,
            "units": line.units,
            "remark": line.remark,
            "why": line.because if detail.reasons else (),
            "onPaperGrid": line.on_paper_grid,
            "reported": line.reported,
            "difference": line.difference,
            "seeds": [[seed.text, seed.small] for seed in line.seeds] if detail.seeds else (),
        }
    )
