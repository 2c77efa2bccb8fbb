"""Finding packs under a data root, by the folder names that BMAD's copies carry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.benchmarks.card import CARD_NAME, pack_name, read_stated_card
from harness.benchmarks.file_kinds import kind_of
from harness.benchmarks.layout import find_root, subfolders
from harness.benchmarks.specs import BENCHMARKS
from harness.common.errors import DataMissing, UsageError

_MAX_DEPTH = 2  # the data root's folders, and theirs
_MOST_TOLD = 8


def find_packs(data_root: Path) -> dict[str, Path]:
    """Packs under a folder: the known benchmarks by folder name, any other by its `pack.toml`.

    Case and BMAD's archive suffix make no difference (`Brain`, `Brain_AD/BraTS2021_slice`,
    `Chest-RSNA`…). Where a benchmark is found at two depths, the shallower one counts.

    Returns:
        Folder by benchmark name, sorted by name. Nothing is opened: a found folder may still
        turn out to be invalid.

    Raises:
        DataMissing: there is no such folder.
        UsageError: two folders at one depth are the same benchmark.
    """
    if data_root.is_file():
        raise DataMissing(
            "a file, not a folder", where=str(data_root), fix="unpack it, and give its folder"
        )
    if not data_root.is_dir():
        raise DataMissing(
            "there is no such data folder",
            where=str(data_root),
            fix="give the folder that holds the packs: --data-root DIR, or set BMAD_DATA",
        )
    found: dict[str, Path] = {}
    level = [data_root]
    for _ in range(_MAX_DEPTH):
        level = [child for folder in level for child in subfolders(folder)]
        here: dict[str, Path] = {}
        for folder in level:
            for name in _names(folder):
                if name in here and find_root(here[name]) != find_root(folder):
                    raise UsageError(
                        f"two folders are {name}",
                        where=f"{here[name]}, {folder}",
                        fix="move one of them away, or name one with --pack DIR",
                    )
                here.setdefault(name, folder)
        found = {**here, **found}
    return dict(sorted(found.items()))


def nothing_found(data_root: Path) -> DataMissing:
    """The error of a data root without a pack: what lies there, and why it is none."""
    there = subfolders(data_root)
    told = []
    for folder in there[:_MOST_TOLD]:
        known = [name for name, spec in BENCHMARKS.items() if spec.matches_folder(folder.name)]
        if known:
            told.append(
                f"{folder.name} is named like {known[0]} and holds no two of train, valid and test"
            )
        elif find_root(folder):
            told.append(f"{folder.name} is a pack of no known name: give it with --pack {folder}")
        else:
            told.append(f"{folder.name} is named like no benchmark and holds no splits")
    archives = [path.name for path in sorted(data_root.iterdir()) if kind_of(path.name) == "unread"]
    if archives:
        told.append(f"not unpacked: {', '.join(archives[:_MOST_TOLD])}")
    if not told and find_root(data_root):
        told.append(f"the folder is a pack itself: give it with --pack {data_root}")
    names = sorted({name for spec in BENCHMARKS.values() for name in spec.folders})
    return DataMissing(
        "no benchmark is there" + (f": {'; '.join(told)}" if told else ", the folder is empty"),
        where=str(data_root),
        fix=f"give the folder that holds them; names that are known: {', '.join(names)}"
        " (any case, `_AD` behind or not); python -m harness.list benchmarks says where to get them",
    )


def _names(folder: Path) -> Iterator[str]:
    """The benchmark that a folder is, if any: its card's word counts before its name."""
    known = [name for name, spec in BENCHMARKS.items() if spec.matches_folder(folder.name)]
    if (folder / CARD_NAME).is_file():
        card, _ = read_stated_card([folder])  # what is wrong with it is said when it is opened
        yield card.name or (known[0] if known else pack_name(folder))
    elif known and len(find_root(folder)) == 1:
        yield known[0]
