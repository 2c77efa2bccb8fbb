"""Which file of a folder is which image: BMAD's layout in all the spellings found in the wild.

Known forms (case never matters): `train/good[/img]`; `valid|val/{good,Ungood}[/img]` with
`label|anomaly_mask` beside `img`; the liver's `valid/{img,label}/{good,Ungood}`; RESC's
`Train/train/good`, `Val/val/Ungood`, `Val/val_label/Ungood`; any of them inside further folders.
Traps: macOS and editor litter lies between the images; `valid` and `val` may both exist.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.benchmarks.masks import MASK_FOLDERS, mask_of
from harness.benchmarks.pixels import IMAGE_SUFFIXES
from harness.benchmarks.problems import Problem

_SPLITS = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
_NORMAL = frozenset({"good", "normal"})
_ANOMALOUS = frozenset({"ungood", "bad", "abnormal", "anomalous", "anomaly"})
_IMAGES = frozenset({"img", "imgs", "image", "images"})
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_MAX_DEPTH = 3  # archive folder / author's folder / splits, and one to spare


@dataclass(frozen=True)
class ImagePlace:
    """What a file's folders say about it."""

    split: str | None
    """`train`, `valid` or `test`."""
    is_anomalous: bool | None
    """By the class folder; None where there is none, or two that disagree. Files directly in
    train are normal: train holds nothing else, and some copies leave the class folder out."""
    is_mask: bool
    """Whether it lies in a folder of masks."""
    name: str
    """Name without extension, with any folders that mean nothing to us before it."""


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
    orphan_masks: tuple[str, ...]
    """Masks that belong to no image."""
    ignored_files: int
    """Other files inside the splits."""


@dataclass
class _Sorting:
    """Files as they are being sorted."""

    images: dict[tuple[str, bool, str], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )
    masks: dict[tuple[str, bool, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    homeless: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    ignored: int = 0
    unlisted: list[Problem] = field(default_factory=list)


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
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except PermissionError:
        return []
    return [folder / name for name in names if not _is_litter(name)]


def read_layout(root: Path) -> Layout:
    """Sort all files under `root` into images and masks; nothing is opened."""
    sorting = _Sorting()
    for relative in _files(root, sorting.unlisted):
        _sort_in(sorting, relative)
    images = [
        FoundImage(
            keys[0], split, is_anomalous, mask_of(sorting.masks, (split, is_anomalous, name))
        )
        for (split, is_anomalous, name), keys in sorting.images.items()
    ]
    used = {image.mask_key for image in images}
    orphans = [key for keys in sorting.masks.values() for key in keys if key not in used]
    return Layout(
        root=root,
        images=tuple(sorted(images, key=lambda image: image.key)),
        problems=tuple(
            sorting.unlisted + _homeless(sorting) + _doubles(sorting) + _emptiness(root, images)
        ),
        orphan_masks=tuple(sorted(orphans)),
        ignored_files=sorting.ignored,
    )


def place_of(relative: PurePosixPath) -> ImagePlace:
    """Read split, class and kind off a file's folders; the innermost split counts."""
    split: str | None = None
    classes: set[bool] = set()
    is_mask = False
    other: list[str] = []
    for part in relative.parts[:-1]:
        token = re.sub(r"[-\s]+", "_", part.strip().lower())
        head, _, tail = token.partition("_")
        if head in _SPLITS and (not tail or tail in MASK_FOLDERS or tail in _IMAGES):
            split, is_mask = _SPLITS[head], is_mask or tail in MASK_FOLDERS
        elif token in _NORMAL or token in _ANOMALOUS:
            classes.add(token in _ANOMALOUS)
        elif token in MASK_FOLDERS:
            is_mask = True
        elif token not in _IMAGES:
            other.append(part)
    if not classes and not other and split == "train":
        classes = {False}
    name = "/".join([*other, relative.stem])
    return ImagePlace(split, classes.pop() if len(classes) == 1 else None, is_mask, name)


def _sort_in(sorting: _Sorting, relative: PurePosixPath) -> None:
    place = place_of(relative)
    if place.split is None:
        return  # beside the splits: a figure, a read-me
    if relative.suffix.lower() not in IMAGE_SUFFIXES:
        sorting.ignored += 1
        return
    if place.is_anomalous is None:
        sorting.homeless[str(relative.parent)] += 1
        return
    kind = sorting.masks if place.is_mask else sorting.images
    kind[place.split, place.is_anomalous, place.name].append(str(relative))


def _homeless(sorting: _Sorting) -> list[Problem]:
    return [
        Problem(
            "folder",
            f"{folder}: {count} image{'s' if count != 1 else ''} in a folder that says neither "
            "normal (`good`) nor abnormal (`Ungood`)",
        )
        for folder, count in sorted(sorting.homeless.items())
    ]


def _doubles(sorting: _Sorting) -> list[Problem]:
    return [
        Problem("double", f"two files for one {what}: {', '.join(sorted(keys))}")
        for what, files in (("image", sorting.images), ("mask", sorting.masks))
        for keys in files.values()
        if len(keys) > 1
    ]


def _emptiness(root: Path, images: list[FoundImage]) -> list[Problem]:
    """Splits and classes without images."""
    if not images:
        return [
            Problem(
                "folder",
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


def _files(root: Path, unlisted: list[Problem]) -> Iterator[PurePosixPath]:
    """Every file under `root`, sorted; links are followed, each real folder once.

    Folders that cannot be listed are added to `unlisted`: left out in silence, they would make
    another pack.
    """

    def note(error: OSError) -> None:
        unlisted.append(Problem("folder", f"{error.filename}: cannot be listed ({error.strerror})"))

    seen: set[str] = set()
    for folder, inner, files in os.walk(root, onerror=note, followlinks=True):
        real = os.path.realpath(folder)
        inner[:] = sorted(name for name in inner if not _is_litter(name))
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        relative = PurePosixPath(Path(folder).relative_to(root).as_posix())
        yield from (relative / name for name in sorted(files) if not _is_litter(name))


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _split_folders(folder: Path) -> set[str]:
    """Splits that have a folder of their own directly in `folder`."""
    names = (child.name.strip().lower() for child in subfolders(folder))
    return {_SPLITS[name] for name in names if name in _SPLITS}
