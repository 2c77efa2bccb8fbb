"""TOML that somebody else wrote, read within bounds: what the format cannot mean is no traceback.

The parser recurses as deep as the text nests, Python refuses integers of thousands of digits, and
`1e400` is infinity: each is the text's mistake. TOML 1.0 promises 64-bit integers and no more.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

MAX_TOML_DEPTH = 32
_MOST = 1 << 63


class BadToml(ValueError):
    """The text is no TOML, or holds what no program here can use; its message says which."""


def parse_toml(text: str) -> dict[str, Any]:
    """The document in a text.

    Raises:
        BadToml: it is none, nests too deep, or holds a number that is too large or not finite.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadToml(str(error)) from error
    except (RecursionError, MemoryError):
        raise BadToml(f"it nests more than {MAX_TOML_DEPTH} deep") from None
    except ValueError as error:  # a number or a date that Python cannot hold
        raise BadToml(f"a value is out of range: {error}") from None
    _check(document)
    return document


def read_toml(path: Path) -> dict[str, Any]:
    """The document in a file; a byte-order mark, which some editors write, is no part of it.

    Raises:
        BadToml: as `parse_toml`, or the file is not UTF-8.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadToml(f"it is not UTF-8 ({error.reason}): save it as UTF-8 text") from error
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
