"""JSON that somebody else wrote, read within bounds: what the format cannot mean is no traceback.

As for TOML (`toml_text`): a text that nests too deep ends the parser, Python refuses integers of
thousands of digits, `1e400` is infinity, and NaN is no JSON although Python reads it. Each is the
text's mistake, found here before a schema is asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from harness.common.foreign_text import one_line

if TYPE_CHECKING:
    from pydantic import ValidationError

Parsed = TypeVar("Parsed")

MAX_JSON_DEPTH = 64
MAX_JSON_BYTES = 256 * 1024**2
_MOST = 1 << 64  # of a record's counts none is larger; numbers beyond are no two programs' the same


class BadJson(ValueError):
    """The text is no JSON, holds what no program here can use, or is of another form."""


def parse_json(content: bytes | str) -> Any:
    """The value in a text.

    Args:
        content: UTF-8, as it came.

    Raises:
        BadJson: it is no JSON, nests too deep, or holds a number that is too large or not finite,
            or half a character.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        document = _DECODER.decode(text)
    except (RecursionError, MemoryError):
        raise BadJson(f"it nests more than {MAX_JSON_DEPTH} deep") from None
    except BadJson:
        raise
    except ValueError as error:  # no JSON, or no UTF-8
        raise BadJson(str(error)) from None
    _check_depth(document)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise BadJson("a text in it holds half a character (a lone surrogate)") from None
    return document


def read_json(path: Path) -> Any:
    """The value in a file.

    Raises:
        BadJson: as `parse_json`, or it is too large.
        OSError: it cannot be read.
    """
    return parse_json(bounded_bytes(path, MAX_JSON_BYTES, BadJson))


def parse_as(validate: Callable[[bytes], Parsed], content: bytes) -> Parsed:
    """What a schema makes of a text: `parse_as(Record.model_validate_json, content)`.

    Raises:
        BadJson: as `parse_json`, or the schema refuses it; its message names the first place.
    """
    from pydantic import ValidationError

    parse_json(content)
    try:
        return validate(content)
    except ValidationError as error:
        raise BadJson(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """The first thing that a validation found, in one line."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return one_line(f"{place}: {first['msg']}" if place else first["msg"])


def bounded_bytes(path: Path, most: int, error: type[ValueError]) -> bytes:
    """A file's bytes, of which no more are read than it may have.

    Raises:
        ValueError: the given kind of it: the file is larger.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise error(f"it is larger than {most} bytes")
    return content


def _check_depth(document: object) -> None:
    level = [document]
    for _ in range(MAX_JSON_DEPTH + 1):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict | list):
                values = each.values() if isinstance(each, dict) else each
                inner += [value for value in values if isinstance(value, dict | list)]
        level = inner
    if level:
        raise BadJson(f"it nests more than {MAX_JSON_DEPTH} deep")


def _refuse_name(name: str) -> NoReturn:
    raise BadJson(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BadJson(f"the number {one_line(digits, 40)} is too large")
    return number


def _bounded(digits: str) -> int:
    if len(digits) > len(str(_MOST)) or not -_MOST <= int(digits) <= _MOST:
        raise BadJson(f"a whole number of {len(digits)} characters is too large")
    return int(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse_name, parse_float=_finite, parse_int=_bounded)
