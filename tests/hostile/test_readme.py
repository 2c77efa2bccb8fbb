"""The table of attacks stays true: every test and every entry that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

HOSTILE = Path(__file__).parent
REPOSITORY = HOSTILE.parents[1]
TABLE = (HOSTILE / "README.md").read_text()
ROWS = re.findall(r"(?m)^\| (\d+) \| (.*?) \| (.*?) \| (.*) \|$", TABLE)


def test_every_test_that_the_table_names_exists_and_is_not_slow() -> None:
    named = [name for row in ROWS for name in re.findall(r"`([^`]+)`", row[3])]
    assert named
    for name in named:
        path, _, function = name.partition("::")
        source = (REPOSITORY / path).read_text()
        found = re.search(rf"(?m)((?:^[@)\]} ].*\n|^\n)*)^def {function}\(", source)
        assert found, name


