"""What an author may declare of an entry: plain text of one line, and addresses that a page may link to.

These texts end up in pages, tables and spreadsheets. The site escapes them all; a submission
that holds a formula, a tag, a control character or another kind of link is refused besides,
because it says nothing that an author needs to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

MAX_CHARACTERS = 200
MAX_DESCRIPTION = 1000
MAX_AUTHORS = 50
ADDRESSES = ("paper", "code")
NOT_THERE = "none"  # of a paper or code that is not published
# C0, C1 and what turns the direction of writing, joins or hides characters.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
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
    if not is_link or UNPRINTABLE.search(address) or re.search(r"[\s\"'<>\\]", address):
        return "must be an http or https address"
    return None


def _of_text(name: str, text: str) -> Iterator[str]:
    most = MAX_DESCRIPTION if name == "description" else MAX_CHARACTERS
    if len(text) > most:
        yield f"is longer than {most} characters"
    if name in ADDRESSES:
        if text != NOT_THERE and (problem := address_problem(text)):
            yield f"{problem}, not {text[:60]!r}"
        return
    if UNPRINTABLE.search(text):
        yield "holds control characters or more than one line"
    if TAG.search(text):
        yield f"holds a tag: {text[:60]!r}"
    if text.strip() != text:
        yield "begins or ends with a space"
    if text.startswith(FORMULA_STARTS):
        yield f"begins with {text[0]!r}, which a spreadsheet takes for a formula"
    if name == "submitted" and not DATE.fullmatch(text):
        yield f"must be a date such as 2026-01-31, not {text[:60]!r}"
