"""`groups.csv`: whose image each one is, for packs whose file names do not tell.

    key,patient,subclass
    test/good/img/k3v9.png,p017,
    test/Ungood/img/x2aa.png,p004,CNV

The second column is `patient`, `volume` or `slide`; `subclass` may be left out. An empty field
says nothing: the file name's own word then counts, if it has one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from harness.benchmarks.masks import composed
from harness.benchmarks.problems import Problem
from harness.benchmarks.spec import GROUP_UNITS, NameReading
from harness.benchmarks.tables import BadTable, TableRow, read_rows

GROUPS_NAME = "groups.csv"


def read_groups(root: Path, keys: Set[str]) -> tuple[dict[str, NameReading], list[Problem]]:
    """Read the file beside the splits, where there is one.

    Args:
        root: the folder that holds the splits.
        keys: the pack's images.

    Returns:
        What is stated, by key, and what is wrong with the file.
    """
    path = root / GROUPS_NAME
    if not path.is_file():
        return {}, []
    try:
        rows = read_rows(path)
    except BadTable as error:
        return {}, [Problem("groups", str(error))]
    header = rows[0].fields if rows else ()
    if header[:1] != ("key",) or header[1:2] not in [(u,) for u in GROUP_UNITS] or len(header) > 3:
        return {}, [
            Problem(
                "groups",
                f"{GROUPS_NAME} begins with {','.join(header)!r}, not with key,patient[,subclass]"
                " (or volume, or slide)",
            )
        ]
    return _readings(rows[1:], header, keys)


def _readings(
    rows: Iterable[TableRow], header: Sequence[str], keys: Set[str]
) -> tuple[dict[str, NameReading], list[Problem]]:
    key_of = {composed(key): key for key in keys}
    stated: dict[str, NameReading] = {}
    problems = []
    for row in rows:
        where = f"{GROUPS_NAME}, line {row.line}"
        named, group, subclass = [*row.fields, "", ""][:3]
        key = key_of.get(composed(named))
        if len(row.fields) > len(header):
            told = f"{where}: {len(row.fields)} fields, expected {len(header)}"
            problems.append(Problem("groups", f"{told}: a comma in a name needs quotation marks"))
        elif key is None:
            problems.append(Problem("groups", f"{where}: there is no image {named}"))
        elif key in stated:
            problems.append(Problem("groups", f"{where}: {named} stands there twice"))
        else:
            unit = header[1] if group else None
            stated[key] = NameReading(group or None, unit, subclass or None)
    return stated, problems


def groups_csv(readings: Mapping[str, NameReading]) -> str:
    """The file's text, sorted by key.

    Raises:
        ValueError: the groups are not all of one unit.
    """
    units = {reading.unit for reading in readings.values() if reading.unit}
    if len(units) > 1:
        raise ValueError(f"groups of several units: {', '.join(sorted(units))}")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["key", units.pop() if units else "patient", "subclass"])
    for key, reading in sorted(readings.items()):
        writer.writerow([key, reading.group or "", reading.subclass or ""])
    return out.getvalue()
