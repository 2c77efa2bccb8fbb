"""What is wrong with a folder of submission files, offline: schema, texts, pins, copies."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.entries.entry import Entry

logger = logging.getLogger("harness.publishing")


def check_files(folder: Path, first: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the files of a submissions folder, offline: schema, texts, pins, copies.

    Args:
        folder: holds the files.
        first: names that came before all others, whatever the files say of their own dates.
    """
    from harness.board.tracks import unreviewable_files
    from harness.common.paths import PUBLISHED_RECORDS
    from harness.entries.submissions import (
        baselines,
        find_published_twin,
        find_twin,
        marks,
        missing_fields,
        name_problem,
        open_all,
        title_problem,
    )
    from harness.records.store import Store

    published = Store(PUBLISHED_RECORDS).records()
    entries, invalid = open_all(folder)
    problems = [f"{path.name}: {error.on_one_line()}" for path, error in sorted(invalid.items())]
    # What came first keeps its name; the sort is stable, so dates decide within each part.
    entries.sort(key=lambda entry: entry.name not in first)
    others = [*baselines(), *entries]

    def problems_of(entry: Entry) -> list[str]:
        found = missing_fields(entry)
        # What came first keeps its name: the others are compared with what stands before them.
        earlier = others[: others.index(entry)]
        if problem := name_problem(entry.name, published, (other.name for other in earlier)):
            found.append(problem)
        titles = [other.table.title for other in earlier if other.name != entry.name]
        titles += [each.entry.title for each in published if each.entry.name != entry.name]
        if problem := title_problem(entry.table.title, titles):
            found.append(problem)
        if entry.kind == "folder":
            found += unreviewable_files(entry.folder)
        wanted = marks(entry)
        twin = find_twin(entry.name, wanted, earlier)
        if twin := twin or find_published_twin(entry.name, wanted, published):
            found.append(f"its {twin.what} is on the board already, as {twin.name}")
        return found

    for entry in entries:
        try:
            found = problems_of(entry)
        except Exception as error:  # one file's surprise is never the others'
            logger.exception("%s cannot be checked", entry.name)
            found = [f"it cannot be checked: {type(error).__name__}"]
        problems += [f"{entry.name}.toml: {problem}" for problem in found]
    known = {f"{entry.name}" for entry in entries} | {path.stem for path in invalid}
    stray = [
        path.name
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if path.name not in ("README.md",) and path.name.split(".")[0] not in _stems(known)
        and path.stem not in known
    ]  # fmt: skip
    return problems + [f"{name}: it belongs to no submission" for name in stray]


def _stems(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}
