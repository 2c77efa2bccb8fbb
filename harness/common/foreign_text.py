"""Text that an entry, an image, a submission or a file's name chose, made fit to be shown.

    one_line(text)    nothing of it but visible characters, cut at a bound
    in_lines(text)    the same with its own line ends and tabs: for messages of ours
    quoted(text)      a log or a build's output, each line behind a bar, cut at a bound

What moves a cursor, colours, hides, joins, turns the direction of writing or ends a line where one
is meant is written out (`\\x1b`, `\\u202e`, `\\n`), so that a stranger's text can neither hide nor
pass for a line of the harness. Foreign text goes through `one_line` or `quoted` where it enters a
message; errors, events and pages put their whole text through `in_lines` besides.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 200
MAX_QUOTED_LINES = 400
MAX_LINE_CHARACTERS = 400
MAX_SPELLED = 10  # of the characters that one message names
BAR = "  | "
# Controls, formats (bidirectional marks, zero width, soft hyphen, tags), lone surrogates, private
# use, unassigned, and Unicode's own line and paragraph ends.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and marks of no width: fillers, variation selectors, the grapheme joiner, the blank Braille cell.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NOT_PLAIN = re.compile("[^ -~]")  # by far the most characters need no look
_NAMES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def is_unseen(character: str) -> bool:
    """Whether a character would change how its neighbours are shown, or not be seen itself."""
    if " " <= character <= "~":
        return False
    return unicodedata.category(character) in _UNSEEN or bool(_BLANK.match(character))


def unseen(text: str) -> list[str]:
    """The first few characters of a text that are not to be seen, written out; each once."""
    found = dict.fromkeys(_spelled(each) for each in text if is_unseen(each))
    return list(found)[:MAX_SPELLED]


def one_line(text: object, most: int = MAX_CHARACTERS) -> str:
    """A text on one line: what cannot be seen is written out, and what is too long is cut.

    Args:
        text: what a stranger chose; anything else than a text is taken by its `str`.
        most: characters that are shown of it, at least 1.
    """
    return _cut(_visible(str(text)[: most + 1]), most, len(str(text)))


def in_lines(text: object) -> str:
    """A text whose line ends and tabs are ours; all else that cannot be seen is written out."""
    return _visible(str(text), kept="\n\t")


def hanging(text: object) -> str:
    """A message whose first line alone begins at the margin: none of the others can pass for one."""
    first, *others = in_lines(text).split("\n")
    hung = (line if not line or line.startswith("  ") else f"  {line}" for line in others)
    return "\n".join([first, *hung])


def quoted(text: str | bytes) -> str:
    """The last lines of a log or of a build's output, each behind a bar; empty where it says nothing.

    Args:
        text: as it came; bytes are read as UTF-8.
    """
    lines = all_quoted(text)
    left = len(lines) - MAX_QUOTED_LINES
    return "\n".join([f"{BAR}… {left} lines before", *lines[left:]] if left > 0 else lines)


def all_quoted(text: str | bytes) -> list[str]:
    """Every line of a log, each behind a bar; none where it says nothing.

    Args:
        text: as it came; bytes are read as UTF-8.
    """
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    lines = [line.removesuffix("\r") for line in told.strip("\r\n").split("\n")]
    return [] if lines == [""] else [BAR + _line(line) for line in lines]


def _line(text: str) -> str:
    """One line of a log: its tabs are shown as what they are."""
    most = MAX_LINE_CHARACTERS
    return _cut(_visible(text[: most + 1], kept="\t"), most, len(text))


def _visible(text: str, kept: str = "") -> str:
    return _NOT_PLAIN.sub(
        lambda found: (
            _spelled(found[0]) if found[0] not in kept and is_unseen(found[0]) else found[0]
        ),
        text,
    )


def _spelled(character: str) -> str:
    """A character by its number, as Python and JSON write it."""
    code = ord(character)
    if character in _NAMES:
        return _NAMES[character]
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(text: str, most: int, characters: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({characters} characters)"
