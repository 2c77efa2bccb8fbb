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
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from harness.benchmarks.problems import Problem
from harness.benchmarks.spec import GROUP_UNITS, NameReading

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
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        return {}, [Problem("groups", f"{GROUPS_NAME} is not UTF-8")]
    reader = csv.reader(io.StringIO(text))
    header = next(reader, [])
    if header[:1] != ["key"] or header[1:2] not in [[u] for u in GROUP_UNITS] or len(header) > 3:
        return {}, [
            Problem(
                "groups",
                f"{GROUPS_NAME} begins with {','.join(header)!r}, not with key,patient[,subclass]"
                " (or volume, or slide)",
            )
        ]
    return _rows(list(reader), header[1], keys)


def _rows(
    rows: Iterable[list[str]], unit: str, keys: Set[str]
) -> tuple[dict[str, NameReading], list[Problem]]:
    stated: dict[str, NameReading] = {}
    problems = []
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        key, group, subclass = [*row, "", ""][:3]
        if key not in keys:
            problems.append(
                Problem("groups", f"{GROUPS_NAME}, line {number}: there is no image {key}")
            )
        elif key in stated:
            problems.append(
                Problem("groups", f"{GROUPS_NAME}, line {number}: {key} stands there twice")
            )
        stated[key] = NameReading(group or None, unit if group else None, subclass or None)
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
