"""What an author may declare of an entry: plain text of one line, and addresses that a page may link to.

These texts end up in pages, tables and spreadsheets. The site escapes them all; a submission
that holds a formula, a tag, a control character or another kind of link is refused besides,
because it says nothing that an author needs to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from harness.common.foreign_text import one_line, unseen

MAX_CHARACTERS = 200
MAX_DESCRIPTION = 1000
MAX_AUTHORS = 50
ADDRESSES = ("paper", "code")
FILL_IN = "FILL IN"
"""What `harness.start` leaves wherever an author has something to say."""
NOT_THERE = "none"  # of a paper or code that is not published
TAG = re.compile(r"<[A-Za-z/!?]")
FORMULA_STARTS = ("=", "+", "-", "@")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def text_problems(declared: Mapping[str, object]) -> list[str]:
    """What is wrong with the texts of an `[entry]` table, one sentence each; empty where nothing is.

    Args:
        declared: field by name; texts and lists of texts are looked at, all else passed over.
    """
    problems = []
    for name, value in declared.items():
        texts = value if isinstance(value, (list, tuple)) else [value]
        if len(texts) > MAX_AUTHORS:
            problems.append(f"{name} has more than {MAX_AUTHORS} items")
        for text in texts:
            if isinstance(text, str) and text:
                problems += [f"{name} {problem}" for problem in _of_text(name, text)]
    return problems


def address_problem(address: str) -> str | None:
    """Why this is no address that a page may link to, or None where it is one."""
    try:
        parts = urlsplit(address)
        is_link = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_link = False
    if not is_link or unseen(address) or re.search(r"[\s\"'<>\\]", address):
        return "must be an http or https address"
    return None


def settings_problems(where: str, settings: object) -> list[str]:
    """What is wrong with the names and texts of settings, however deep: they are shown as well.

    Args:
        where: the table that they stand in.
        settings: a parsed TOML value.
    """
    if isinstance(settings, str):
        found = unseen(settings)
        problems = [f"[{where}] holds what cannot be seen: {' '.join(found)}"] if found else []
        if len(settings) > MAX_DESCRIPTION:
            problems.append(f"[{where}] holds a text of more than {MAX_DESCRIPTION} characters")
        return problems
    if isinstance(settings, Mapping):
        pairs = [(f"{where}.{one_line(name, 64)}", part) for name, part in settings.items()]
        named = settings_problems(where, "".join(map(str, settings))[:MAX_DESCRIPTION])
        return [*named, *(p for place, part in pairs for p in settings_problems(place, part))]
    if isinstance(settings, list):
        return [problem for part in settings for problem in settings_problems(where, part)]
    return []


def _of_text(name: str, text: str) -> Iterator[str]:
    is_long = name == "description" or name.startswith("deviation")
    most = MAX_DESCRIPTION if is_long else MAX_CHARACTERS
    if len(text) > most:
        yield f"is longer than {most} characters"
    if name in ADDRESSES:
        if text != NOT_THERE and (problem := address_problem(text)):
            yield f"{problem}, not '{one_line(text, 60)}'"
        return
    if FILL_IN in text:
        yield f"is not filled in yet: '{one_line(text, 60)}'"
    if found := unseen(text):
        yield f"holds control characters or more than one line: {' '.join(found)}"
    if TAG.search(text):
        yield f"holds a tag: '{one_line(text, 60)}'"
    if text.strip() != text:
        yield "begins or ends with a space"
    if text.startswith(FORMULA_STARTS):
        yield f"begins with {text[0]!r}, which a spreadsheet takes for a formula"
    if name in ("submitted", "updated") and not DATE.fullmatch(text):
        yield f"must be a date such as 2026-01-31, not '{one_line(text, 60)}'"
