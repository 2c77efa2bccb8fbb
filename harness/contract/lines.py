"""One line of strict, bounded JSON: the first half of every frame.

Trap: Python's `json` accepts NaN, Infinity, 1e999, duplicate keys, UTF-16 and
nesting until the interpreter gives up. Each of these is refused here. Messages never
repeat what the other side sent, because the harness may publish them: that stands apart, in
`BadFrame.came`, and is shown only where it may be.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_LINE_BYTES = 64 * 1024
"""Longest line of a frame, its newline included."""
MAX_DEPTH = 8
"""Deepest nesting of objects and arrays; a hello frame with lists among its params needs 3."""

# The key before a value that is no number of JSON, or too large a one.
_NO_NUMBER = re.compile(r'"(\w{1,40})":\s{0,9}(NaN|-?Infinity|-?\d[\d.]{0,40}[eE]\+?\d{3,20})')
# A string is matched even where its closing quote is missing, so that the scan stays
# linear on hostile lines; such a line fails in `json` right after.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


MAX_SHOWN_BYTES = 80
"""Of a line that is no frame, so many bytes are shown where they may be."""


class BadFrame(ValueError):
    """What arrived is not a frame of the contract.

    Args:
        what: what was expected; nothing of what was sent.
        came: what was sent instead, in a few words.
    """

    def __init__(self, what: str, came: str = "") -> None:
        super().__init__(what)
        self.came = came


class NotJson(BadFrame):
    """What arrived is plain text: somebody printed it."""


class NonFiniteNumber(BadFrame):
    """A frame holds NaN, Infinity or a number too large for a float64."""


def came(sent: object) -> str:
    """What the other side sent, for `BadFrame.came`: the first bytes of a line, or a value of its own."""
    if not isinstance(sent, bytes):
        text = repr(sent)
        return f"{text[:MAX_SHOWN_BYTES]}{'…' * (len(text) > MAX_SHOWN_BYTES)} came"
    shown = sent[:MAX_SHOWN_BYTES].decode("utf-8", "replace").removesuffix("\n")
    return f"{shown!r}{'…' * (len(sent) > MAX_SHOWN_BYTES)} came"


def is_printed(sent: bytes) -> bool:
    """Whether bytes are text that somebody printed: neither the start of an object nor raw values."""
    if not sent.strip() or sent.lstrip().startswith(b"{"):
        return False
    text = sent[:MAX_SHOWN_BYTES].decode("utf-8", "replace").rstrip("\ufffd")
    # Colours and cursors of a progress bar are printed, too.
    return all(each.isprintable() or each in "\t\n\r\x08\x1b" for each in text)


def encode_line(header: dict[str, Any], *, allow_nan: bool = False) -> bytes:
    """The header as one line of UTF-8 JSON with its newline.

    Raises:
        BadFrame: the line would be longer than 64 KiB.
        ValueError: the header holds NaN or infinity and `allow_nan` is False.
    """
    encoder = _ENCODER_WITH_NAN if allow_nan else _ENCODER
    line = encoder.encode(header).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise BadFrame(f"the line is longer than {MAX_LINE_BYTES} bytes")
    return line


def decode_line(line: bytes) -> dict[str, Any]:
    """The JSON object on one line.

    Args:
        line: at most 64 KiB of UTF-8, ended by its only newline.
    Raises:
        NonFiniteNumber: a number is NaN or infinite.
        BadFrame: anything else that is not one strict JSON object.
    """
    if len(line) > MAX_LINE_BYTES:
        raise BadFrame(f"the line is longer than {MAX_LINE_BYTES} bytes", came(line))
    if line.find(b"\n") != len(line) - 1:
        raise BadFrame("the line is not ended by a newline", came(line))
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise BadFrame("the line is not UTF-8", came(line)) from None
    kind = NotJson if is_printed(line) else BadFrame
    _refuse_deep_nesting(text)
    try:
        value = _DECODER.decode(text)
    except NonFiniteNumber as problem:
        raise NonFiniteNumber(str(problem), _of_no_number(text)) from None
    except BadFrame:
        raise
    except ValueError:  # malformed JSON, or an integer of more than 4,300 digits
        raise kind("the line is not JSON", came(line)) from None
    if not isinstance(value, dict):
        raise kind("the line is not a JSON object", came(line))
    return value


def _of_no_number(text: str) -> str:
    """Which key of a line holds what is no number."""
    found = _NO_NUMBER.search(text)
    return f"{found[1]} is {found[2]}" if found else ""


def finite_number(value: object) -> float:
    """A JSON number as a float64.

    Raises:
        NonFiniteNumber: it is NaN, infinite or an integer too large for a float64.
        BadFrame: it is not a number (a JSON true is not a number either).
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadFrame("a number was expected", came(value))
    try:
        number = float(value)
    except OverflowError:
        raise NonFiniteNumber("a number is too large for a float64") from None
    if not math.isfinite(number):
        raise NonFiniteNumber("a number is NaN or infinite")
    return number


def _refuse_deep_nesting(text: str) -> None:
    if text.count("{") + text.count("[") <= MAX_DEPTH:  # nearly every frame
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        found = match.group()
        if found in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadFrame(f"the line is nested deeper than {MAX_DEPTH} levels")
        elif found in "]}":
            depth -= 1


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    header = dict(pairs)
    if len(header) != len(pairs):
        raise BadFrame("a key stands twice in the line")
    return header


def _refuse_constant(_name: str) -> float:
    raise NonFiniteNumber("NaN and Infinity are not JSON numbers")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NonFiniteNumber("a number is too large for a float64")
    return number


# Made once: `json.dumps` and `json.loads` would make one for each frame.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_ENCODER_WITH_NAN = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_constant=_refuse_constant,
    parse_float=_finite_float,
)
