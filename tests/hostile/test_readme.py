"""The table of attacks stays true: every test that it names is there, and runs in CI."""

from __future__ import annotations

import re
from pathlib import Path

HOSTILE = Path(__file__).parent
REPOSITORY = HOSTILE.parents[1]
ROWS = re.findall(
    r"(?m)^\| (\d+) \| (.*?) \| (.*?) \| (.*) \|$", (HOSTILE / "README.md").read_text()
)


def named(column: int) -> list[str]:
    return [name for row in ROWS for name in re.findall(r"`([^`]+)`", row[column])]


def test_every_test_that_the_table_names_exists() -> None:
    tests = named(3)
    assert tests
    for name in tests:
        path, _, function = name.partition("::")
        assert f"\ndef {function}(" in (REPOSITORY / path).read_text(), name


def test_all_attacks_and_all_entries_stand_in_the_table() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 26))
    folders = {path.parent.name for path in HOSTILE.glob("*/entry.toml")}
    entries = set(named(2))
    assert folders <= entries, folders - entries
    for name in entries:
        assert (HOSTILE / name / "entry.toml").is_file(), name
