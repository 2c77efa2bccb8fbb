"""TOML that somebody else wrote, read within bounds: what the format cannot mean is no traceback.

The parser recurses as deep as the text nests, Python refuses integers of thousands of digits, and
`1e400` is infinity: each is the text's mistake. TOML 1.0 promises 64-bit integers and no more. Trap:
the parser takes a minute for one key of 30,000 parts, so such keys are found before it is asked.
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any

from harness.common.json_text import bounded_bytes

MAX_TOML_DEPTH = 32
MAX_TOML_BYTES = 1024**2  # strangers write these files; reading one must cost nothing
_MOST = 1 << 63
# Strings of several lines (which may end in five quotes) and of one, and comments.
_STRING_OR_COMMENT = re.compile(
    r"""""\"(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*""",
    re.DOTALL,
)
_LONG_KEY = re.compile(rf"(?:[\w-]+[ \t]*\.[ \t]*){{{MAX_TOML_DEPTH + 1}}}")


class BadToml(ValueError):
    """The text is no TOML, or holds what no program here can use; its message says which."""


def parse_toml(text: str) -> dict[str, Any]:
    """The document in a text.

    Raises:
        BadToml: it is none, nests too deep, or holds a number that is too large or not finite.
    """
    if _LONG_KEY.search(_STRING_OR_COMMENT.sub("s", text)):
        raise BadToml(f"it nests more than {MAX_TOML_DEPTH} deep")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadToml(str(error)) from error
    except (RecursionError, MemoryError):
        raise BadToml(f"it nests more than {MAX_TOML_DEPTH} deep") from None
    except ValueError as error:  # a number or a date that Python cannot hold
        is_long = "digits" in str(
            error
        )  # Python's own words name a function of its own as the remedy
        what = "a whole number of more than 64 bits" if is_long else str(error)
        raise BadToml(f"a value is out of range: {what}") from None
    _check(document)
    return document


def read_toml(path: Path) -> dict[str, Any]:
    """The document in a file.

    Raises:
        BadToml: as `parse_toml`, or the file is not UTF-8 or too large.
        OSError: it cannot be read.
    """
    try:
        text = bounded_bytes(path, MAX_TOML_BYTES, BadToml).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadToml(str(error)) from error
    return parse_toml(text)


def _check(document: dict[str, Any]) -> None:
    level: list[tuple[str, object]] = [("the document", document)]
    for _ in range(MAX_TOML_DEPTH + 1):
        inner: list[tuple[str, object]] = []
        for name, value in level:
            if isinstance(value, dict):
                inner += value.items()
            elif isinstance(value, list):
                inner += [(name, item) for item in value]
            else:
                _check_number(name[:100], value)
        level = inner
    if level:
        raise BadToml(f"it nests more than {MAX_TOML_DEPTH} deep")


def _check_number(name: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadToml(f"{name} is NaN or infinite")
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        raise BadToml(f"{name} is a whole number of more than 64 bits")
