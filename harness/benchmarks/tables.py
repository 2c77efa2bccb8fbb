"""Comma-separated tables that somebody else wrote, read strictly: a wrong row is named by its line.

Trap: a quotation mark that is never closed swallows every row to the next one, or to the end, and
the forgiving reader of the standard library says nothing. No field here ever holds a line end.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

_ENCODINGS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"PK\x03\x04", "a ZIP archive"),
              (b"\x1f\x8b", "a gzip archive"), (b"\xd0\xcf\x11\xe0", "an old Excel file"))  # fmt: skip


class BadTable(ValueError):
    """The file is no table; the message says what it is, or which line is wrong, and what to do."""


@dataclass(frozen=True)
class TableRow:
    """One line of a table."""

    line: int
    """Its number in the file, from 1."""
    fields: tuple[str, ...]
    """What stands between the commas."""


def read_text(path: Path) -> str:
    """A text file; a byte-order mark is no part of it.

    Raises:
        BadTable: it is not UTF-8, or cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadTable(f"{path.name} cannot be read ({error.strerror})") from error
    for start, name in _ENCODINGS:
        if raw.startswith(start):
            todo = "unpack it" if "archive" in name else "save it as UTF-8 text"
            raise BadTable(f"{path.name} is {name}, expected UTF-8 text: {todo}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadTable(
            f"{path.name}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}): save it as UTF-8"
        ) from error


def read_rows(path: Path) -> list[TableRow]:
    """Every row that is not blank, the head with them.

    Raises:
        BadTable: as `read_text`, or a quotation mark is not closed on its line.
    """
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[TableRow] = []
    line = 1
    try:
        for fields in reader:
            if any("\n" in field or "\r" in field for field in fields):
                raise BadTable(_unclosed(path, line))
            if fields:
                rows.append(TableRow(line, tuple(fields)))
            line = reader.line_num + 1
    except csv.Error as error:
        wrong = _unclosed(path, line) if "end of data" in str(error) else None
        raise BadTable(wrong or f"{path.name}, line {line}: {error}") from error
    return rows


def _unclosed(path: Path, line: int) -> str:
    return f'{path.name}, line {line}: a quotation mark (") is opened and not closed on the line'
