"""What an entrant does next: mend what failed, cite and show what finished, or wait.

Trap: a site knows no address of its own, so snippets for other pages say SITE where it goes; a script
puts the address in where the page came from a web server.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.board.change_log import RowChange
from harness.board.rows import Row
from harness.board.site_data import Material, Waiting
from leaderboard import citations, formats, updates, words
from leaderboard.addresses import entry_page, row_page
from leaderboard.entrant import Board, Piece, Sentence
from leaderboard.entry_facts import Fact, declared
from leaderboard.entry_failures import PLAIN_STATUS, failure_anchor
from leaderboard.regime_pages import row_title

SITE = "SITE"
_TRY = (
    "Run the command that stands there: it does the run again on your machine and prints the whole"
    " log. Mend the entry until that command says that it keeps the contract;"
)
FAILED_SUBMISSION = (
    f"{_TRY} then python -m harness.submit with --update puts the mended version in its place. A failed"
    " run does not count among a team’s scored submissions. If it ends well on your machine, ask in the"
    " submission’s pull request, and quote what the command printed."
)
FAILED_FOLDER = (
    f"{_TRY} then evaluate it again as under Rerun, with --replace; on the published board the"
    " maintainers do so once the mended folder is merged. If it ends well on your machine, ask in that"
    " pull request, and quote what the command printed."
)


@dataclass(frozen=True)
class Snippet:
    """Something to copy."""

    title: str
    """What it is."""
    text: str
    """Its lines."""


@dataclass(frozen=True)
class WhatNext:
    """What the author of an entry can do, and what to take along."""

    steps: tuple[Sentence, ...]
    """By the state of the rows; at least one."""
    badge: str
    """The badge's file, from the site's root."""
    snippets: tuple[Snippet, ...]
    """The badge for other pages, and what cites the rows; empty without any result."""


@dataclass(frozen=True)
class WaitingPage:
    """A submission without a record."""

    path: str
    """File of the page, from the site's root."""
    name: str
    """Name on the board."""
    title: str
    """The method's name."""
    facts: tuple[Fact, ...]
    """What it declares of itself."""
    since: str
    """Date of the submission; empty where it gives none."""
    until: str
    """Date after which it waits longer than it should; empty without a date."""
    command: str
    """What its author can try in the meantime."""


def what_next(rows: Sequence[Row], board: Board) -> WhatNext:
    """What to do with an entry of these rows.

    Args:
        rows: all published rows of one entry, at least one.
        board: what else is known.
    """
    finished = [row for row in rows if not row.without_result and row.metrics]
    steps = [*_withdrawn(rows, board), *_failed(rows)]
    if not steps:
        steps = [_all_well(rows)]
    return WhatNext(
        tuple(steps),
        updates.badge_path(rows[0].entry),
        (*_badge(rows[0]), *_citations(finished, board.material)) if finished else (),
    )


def _withdrawn(rows: Sequence[Row], board: Board) -> list[Sentence]:
    """Why and since when its rows count no more."""
    reason = rows[0].metadata.get("withdrawn")
    if not reason:
        return []
    days = sorted({c.date.isoformat() for row in rows if (c := _last(row, board, "withdrawn"))})
    since = f" on {days[0]}" if days else ""
    told = f"Withdrawn{since}: {formats.plain(reason)}. Its rows stay, without a rank."
    return [(Piece(f"{told} A corrected version is submitted with --update."),)]


def _last(row: Row, board: Board, kind: str) -> RowChange | None:
    """The last change of a row, where it is of this kind."""
    last = board.changes.get((row.place, row.entry, row.track, row.isolation))
    return last.change if last is not None and last.change.kind == kind else None


def _failed(rows: Sequence[Row]) -> list[Sentence]:
    """What to do about runs that failed, with a link to each row's first."""
    failed = [row for row in rows if row.failures]
    if not failed:
        return []
    runs = sum(len(row.failures) for row in failed)
    pieces = [Piece(f"{formats.plural(runs, 'run')} failed: ")]
    for number, row in enumerate(failed):
        page = f"{row_page(row)}#{failure_anchor(row, row.failures[0].seed)}"
        pieces += [Piece(", ")] if number else []
        pieces.append(Piece(f"{row_title(row)} ({PLAIN_STATUS[row.failures[0].status]})", page))
    pieces.append(Piece("."))
    is_submission = bool(rows[0].metadata.get("pinned"))
    return [tuple(pieces), (Piece(FAILED_SUBMISSION if is_submission else FAILED_FOLDER),)]


def _all_well(rows: Sequence[Row]) -> Sentence:
    if all(row.not_applicable for row in rows):
        return (Piece("Nothing failed: the method cannot learn from what these regimes give it."),)
    if any(row.not_applicable for row in rows):
        return (Piece("Nothing failed; where it says not applicable, there is nothing to mend."),)
    return (Piece("Every run finished. Nothing is left to do but to show it and to cite it."),)


def _badge(row: Row) -> list[Snippet]:
    """The badge for a page elsewhere, in Markdown and in HTML."""
    image = f"{SITE}/{updates.badge_path(row.entry)}"
    page = f"{SITE}/{entry_page(row.entry)}"
    name = words.SITE_TITLE
    return [
        Snippet("Badge in Markdown", f"[![{name}]({image})]({page})"),
        Snippet("Badge in HTML", f'<a href="{page}"><img src="{image}" alt="{name}"></a>'),
    ]


def _citations(rows: Sequence[Row], material: Material) -> list[Snippet]:
    """BibTeX of the rows, of their packs and of the harness that measured them."""
    made_up = material.is_made_up
    stem = formats.file_stem(rows[0].entry)
    packs: dict[str, dict[str, None]] = {}
    for row in rows:
        packs.setdefault(row.benchmark, {}).update(dict.fromkeys(row.packs))
    commits = dict.fromkeys(formats.plain(each) for row in rows for each in row.commits)
    usual = [row for row in rows if row.place == row.benchmark and row.regime.suite is None]
    told = [
        *(citations.entry_bibtex(row, stem, is_made_up=made_up) for row in usual),
        *(
            citations.pack_bibtex(name, [*versions], material.cards.get(name), is_made_up=made_up)
            for name, versions in packs.items()
        ),
        *(citations.commit_bibtex(each, is_made_up=made_up) for each in commits),
    ]
    return [Snippet("BibTeX of its rows, their packs and the harness", "\n\n".join(told))]


def waiting_pages(waiting: Sequence[Waiting]) -> tuple[WaitingPage, ...]:
    """A page for every submission without a record, in the order given."""
    return tuple(
        WaitingPage(
            path=entry_page(each.name),
            name=formats.plain(each.name),
            title=formats.plain(each.title),
            facts=declared(_without_date(each.metadata)),
            since=formats.plain(each.since),
            until=formats.plain(each.until),
            command=shlex.join(["python", "-m", "harness.check", f"submissions/{each.name}.toml"]),
        )
        for each in waiting
    )


def _without_date(metadata: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in metadata.items() if name != "submitted"}
