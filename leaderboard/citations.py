"""What a reader cites of a row as BibTeX: the entry, the pack, the harness's commit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.board.rows import Row
from harness.board.site_data import BenchmarkCard
from harness.board.table_formats import latex_text
from leaderboard import formats, words

NOT_MEASURED = "made-up data: nothing was measured"


def row_bibtex(row: Row, card: BenchmarkCard | None, *, is_made_up: bool) -> str:
    """All that a row rests on: the entry, the pack, and the harness's commits.

    Args:
        row: the row.
        card: what the spec of its benchmark says; None for a pack of one's own.
        is_made_up: it is example data.
    """
    key = formats.file_stem(row.entry)
    items = [
        entry_bibtex(row, key, is_made_up=is_made_up),
        pack_bibtex(row.benchmark, row.packs, card, is_made_up=is_made_up),
        *(commit_bibtex(commit, is_made_up=is_made_up) for commit in row.commits),
    ]
    return "\n\n".join(items)


def entry_bibtex(row: Row, key: str, *, is_made_up: bool) -> str:
    """One row of the board: whose method, which code, how it was made.

    Args:
        row: the row.
        key: its name in addresses.
        is_made_up: it is example data.
    """
    isolation = words.ISOLATIONS.get(row.isolation, row.isolation)
    made = f"{words.TRACKS[row.track]}, {isolation}, {_seeds(row)}"
    if row.unranked_reason:
        made += f"; unranked: {row.unranked_reason}"
    identities = formats.joined(formats.short_hash(each) for each in row.identities)
    title = f"{formats.plain(row.title)} on {words.benchmark_title(formats.plain(row.benchmark))}"
    fields = [
        ("title", f"{{{latex_text(title)}}}"),
        ("author", _verbatim(row.metadata.get("authors"))),
        ("url", _address(row.metadata.get("paper"))),
        ("note", latex_text(f"Entry {row.entry}, identity {identities}; {made}")),
    ]
    return _item(f"{key}-{formats.file_stem(row.benchmark)}", fields, is_made_up=is_made_up)


def pack_bibtex(
    name: str, versions: Sequence[str], card: BenchmarkCard | None, *, is_made_up: bool
) -> str:
    """The images that the rows were measured on.

    Args:
        name: name of the benchmark.
        versions: of the pack.
        card: what its spec says; None for a pack of one's own.
        is_made_up: it is example data.
    """
    title = f"{words.benchmark_title(formats.plain(name))}, pack {formats.joined(versions)}"
    fields = [
        ("title", f"{{{latex_text(title)}}}"),
        ("url", _address(card.source) if card else ""),
        ("note", latex_text(f"Images: {card.citation}") if card else ""),
    ]
    return _item(f"pack-{formats.file_stem(name)}", fields, is_made_up=is_made_up)


def commit_bibtex(commit: str, *, is_made_up: bool) -> str:
    """The harness that measured."""
    fields = [
        ("title", "{BMAD leaderboard harness}"),
        ("note", latex_text(f"Commit {formats.plain(commit)}")),
    ]
    return _item(f"harness-{commit[:10]}", fields, is_made_up=is_made_up)


def _seeds(row: Row) -> str:
    return f"seed{'s' if len(row.seeds) > 1 else ''} {formats.joined(row.seeds)}"


def _verbatim(declared: object) -> str:
    """What an entry declares, in braces of its own: no `and` of it divides names."""
    return f"{{{latex_text(formats.plain(declared))}}}" if declared else ""


def _address(declared: object) -> str:
    link = formats.safe_link(declared)
    # Braces would end the field.
    return link.replace("{", "%7B").replace("}", "%7D") if link else ""


def _item(key: str, fields: Sequence[tuple[str, str]], *, is_made_up: bool) -> str:
    told = [*fields, *([("annote", NOT_MEASURED)] if is_made_up else [])]
    lines = [f"  {name:<6} = {{{value}}}" for name, value in told if value]
    return f"@misc{{{re.sub(r'[^A-Za-z0-9.:-]', '-', key)},\n" + ",\n".join(lines) + "\n}"
