"""What was probably meant by a name that nothing has: the one place that guesses."""

from __future__ import annotations

from collections.abc import Iterable

from harness.common.foreign_text import one_line

MAX_NEAR = 2
SECOND_BEST = 0.1  # a second guess that is less alike by more than this share only confuses


def near_misses(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """The known names that are spelled most like a word, the nearest first; case is no difference.

    Args:
        word: what was typed.
        known: what there is.
        cutoff: how alike two names must be, from 0 to 1.
    """
    from difflib import SequenceMatcher

    typed = word.casefold()
    alike = [
        (SequenceMatcher(None, name.casefold(), typed).ratio(), name) for name in sorted(set(known))
    ]
    best = max((ratio for ratio, _ in alike), default=0.0)
    least = max(cutoff, best - SECOND_BEST)
    found = sorted((-ratio, name) for ratio, name in alike if ratio >= least)
    return [name for _, name in found[:MAX_NEAR]]


def did_you_mean(word: str, known: Iterable[str], *, before: str = "", cutoff: float = 0.6) -> str:
    """`did you mean A or B? `, or nothing where no known name is near.

    Args:
        word: what was typed.
        known: what there is.
        before: what stands before each name where it is to be typed, such as a folder.
        cutoff: how alike two names must be, from 0 to 1.
    """
    near = near_misses(word, known, cutoff=cutoff)
    return f"did you mean {' or '.join(before + one_line(name) for name in near)}? " if near else ""
