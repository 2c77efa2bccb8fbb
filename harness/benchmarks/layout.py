"""A folder as a pack: BMAD's layout in all the spellings found in the wild (`places.py`).

Traps: macOS and editor litter lies between the images; `valid` and `val` may both exist; the
splits may stand in further folders, or be links.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from harness.benchmarks.litter import is_litter
from harness.benchmarks.places import split_of_folder
from harness.benchmarks.problems import Problem
from harness.benchmarks.survey import survey_folder
from harness.benchmarks.walking import walk

_MAX_DEPTH = 3  # archive folder / author's folder / splits, and one to spare


@dataclass(frozen=True)
class FoundImage:
    """One image file of the pack."""

    key: str
    """Path relative to the pack's root, with `/`."""
    split: str
    """`train`, `valid` or `test`."""
    is_anomalous: bool
    """By its folder."""
    mask_key: str | None
    """Path of its mask, relative to the root; None where there is no such file."""


@dataclass(frozen=True)
class Layout:
    """All image files of a folder, and what is wrong with the folder as such."""

    root: Path
    """Folder that holds the splits."""
    images: tuple[FoundImage, ...]
    """Sorted by key."""
    problems: tuple[Problem, ...]
    """What keeps the folder from being a pack."""
    left_out: Mapping[str, tuple[str, ...]]
    """Files that are not used, by reason."""
    accepted: tuple[str, ...] = ()
    """Reasons that were met and are accepted, sorted."""


def find_root(folder: Path) -> list[Path]:
    """The shallowest folders at or under `folder` that hold at least two of the three splits.

    Returns:
        One folder for a pack, none where nothing looks like one, several where `folder` holds
        several packs.
    """
    level = [folder]
    for _ in range(_MAX_DEPTH + 1):
        roots = [place for place in level if len(_split_folders(place)) >= 2]
        if roots:
            return roots
        level = [child for place in level for child in subfolders(place)]
    return []


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without litter; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if _is_folder(entry))
    except PermissionError:
        return []
    return [folder / name for name in names if not is_litter(name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link round in a circle
        return False


def read_layout(
    root: Path, accepted: Set[str] = frozenset(), *, wants_masks: bool = True
) -> Layout:
    """Sort all files under `root` into images and masks; nothing is decoded.

    Args:
        root: the folder that holds the splits.
        accepted: reasons that are no errors here (`acceptance.ACCEPTABLE`).
        wants_masks: False for image-level benchmarks, whose masks are counted alone.
    """
    survey = survey_folder(root, walk(root), accepted, has_splits=True, wants_masks=wants_masks)
    images = tuple(
        FoundImage(image.key, image.split, image.is_anomalous, image.mask_key)
        for image in survey.images
        if image.split is not None
    )
    return Layout(
        root=root,
        images=images,
        problems=(*survey.problems, *_two_splits(images), *_emptiness(root, images)),
        left_out=survey.left_out,
        accepted=survey.accepted,
    )


def _two_splits(images: Sequence[FoundImage]) -> list[Problem]:
    """Folders of one split inside another: RESC's `Val/val` is one, `test/good/train` is two."""
    counts: Counter[tuple[str, ...]] = Counter()
    for image in images:
        folders = image.key.split("/")[:-1]
        splits = {split for part in folders if (split := split_of_folder(part)) is not None}
        if len(splits) > 1:
            counts["/".join(folders), " and ".join(sorted(splits))] += 1
    return [
        Problem("folder", f"{folder}: {count} images whose folders say {splits}: move them to one")
        for (folder, splits), count in sorted(counts.items())
    ]


def _emptiness(root: Path, images: Sequence[FoundImage]) -> list[Problem]:
    """Splits and classes without images."""
    if not images:
        return [
            Problem(
                "empty",
                "no images in BMAD's layout: expected train/good, valid/good, valid/Ungood, "
                "test/good and test/Ungood (an `img` folder inside each is fine)",
            )
        ]
    count: dict[tuple[str, bool], int] = defaultdict(int)
    for image in images:
        count[image.split, image.is_anomalous] += 1
    problems = []
    if not count["train", False]:
        problems.append(Problem("empty", "train holds no normal image"))
    if count["train", True]:
        problems.append(
            Problem(
                "train", f"train holds {count['train', True]} abnormal images: it is normal only"
            )
        )
    problems += [
        Problem("empty", f"test holds no {word} image")
        for word, is_anomalous in (("normal", False), ("abnormal", True))
        if not count["test", is_anomalous]
    ]
    has_valid = bool(count["valid", False] or count["valid", True])
    if "valid" in _split_folders(root) and not has_valid:
        problems.append(Problem("empty", "valid holds no image (remove the folder to go without)"))
    return problems


def _split_folders(folder: Path) -> set[str]:
    """Splits that have a folder of their own directly in `folder`."""
    splits = (split_of_folder(child.name) for child in subfolders(folder))
    return {split for split in splits if split is not None}
