"""Names that a reader takes for one another: one key for all that look alike.

    key_of("A. Author") == key_of("a.author") == key_of("А.Author")    # the last А is Cyrillic

The key is the skeleton of Unicode's security report (UTS 39) without case, punctuation and spaces,
over the table of confusable characters that `confusable_homoglyphs` ships. Unlike the report's it
also takes `I`, `i`, `l` and `1` for one, since no case is left to tell them apart.
"""

from __future__ import annotations

import unicodedata
from functools import cache

_LEFT_TO_RIGHT = "\u200e"  # the table wraps characters of right-to-left scripts in it


def key_of(name: str) -> str:
    """What all names have in common that look like this one; never empty for a name that is not."""
    text = "".join(_prototype(each) for each in unicodedata.normalize("NFKD", name))
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(_prototype(each, is_ascii_too=True) for each in text).casefold()
    letters = [each for each in text if unicodedata.category(each)[0] in "LMN"]
    return "".join(letters).replace("i", "l") or name


@cache
def _prototype(character: str, *, is_ascii_too: bool = False) -> str:
    """The character, or the few, that stand for all that look like this one."""
    from confusable_homoglyphs.confusables import confusables_data

    if character.isascii() and not is_ascii_too:  # its case is needed yet
        return character
    alike = [item["c"].strip(_LEFT_TO_RIGHT) for item in confusables_data.get(character, ())]
    if len(alike) != 1:  # of none, or the prototype of several itself
        return character
    back = confusables_data.get(alike[0], ())
    return min(character, alike[0]) if len(back) == 1 else str(alike[0])
