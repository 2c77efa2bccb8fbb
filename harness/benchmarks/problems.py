"""A problem of a pack as one sentence, and how a long list of them is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from harness.common.foreign_text import one_line

MAX_LISTED = 20  # of one kind; the rest is counted
MAX_CHARACTERS = 4096  # a path and a sentence


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    kind: str
    """Groups problems that have one cause."""
    text: str
    """One sentence that names the file."""


def listed(problems: Iterable[Problem]) -> list[str]:
    """All problems as sentences: the first `MAX_LISTED` of each kind, then how many more."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(one_line(problem.text, MAX_CHARACTERS))
    sentences = []
    for kind, texts in by_kind.items():
        sentences += texts[:MAX_LISTED]
        if len(texts) > MAX_LISTED:
            sentences.append(f"and {len(texts) - MAX_LISTED} more of this kind ({kind})")
    return sentences
