"""What the folders around a file say of it: split, class, image or mask.

Known forms (case never matters): `train/good[/img]`; `valid|val/{good,Ungood}[/img]` with
`label|anomaly_mask` beside `img`; the liver's `valid/{img,label}/{good,Ungood}`; RESC's
`Train/train/good`, `Val/val/Ungood`, `Val/val_label/Ungood`; MVTec's `test/<kind>` with
`ground_truth/<kind>` beside the splits; any of them inside further folders.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.benchmarks.masks import MASK_FOLDERS

_SPLITS = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
_NORMAL = frozenset({"good", "normal"})
_ANOMALOUS = frozenset({"ungood", "bad", "abnormal", "anomalous", "anomaly"})
_IMAGES = frozenset({"img", "imgs", "image", "images"})


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


def place_of(relative: PurePosixPath, kinds: Set[str] = frozenset()) -> ImagePlace:
    """Read split, class and kind off a file's folders; the innermost split counts.

    Args:
        relative: the file's path.
        kinds: folders that hold a kind of abnormal images, beside the usual names.
    """
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
            if part in kinds:
                classes.add(True)
    if not classes and not other and split == "train":
        classes = {False}
    name = "/".join([*other, relative.stem])
    return ImagePlace(split, classes.pop() if len(classes) == 1 else None, is_mask, name)


def kind_in_ground_truth(relative: PurePosixPath) -> str | None:
    """MVTec's layout: the folder between `ground_truth`, which is in no split, and the mask."""
    folders = relative.parts[:-1]
    if len(folders) < 2 or not is_ground_truth(relative):
        return None
    return folders[-1] if folders[-2].lower() == "ground_truth" else None


def is_ground_truth(relative: PurePosixPath) -> bool:
    """Whether a file lies in a `ground_truth` beside the splits: MVTec's masks of its test split."""
    folders = [part.lower() for part in relative.parts[:-1]]
    return "ground_truth" in folders and place_of(relative).split is None


def folder_without_img(relative: PurePosixPath) -> PurePosixPath:
    """The folder of a file, without an `img` at its end."""
    folder = relative.parent
    return folder.parent if folder.name.strip().lower() in _IMAGES else folder


def split_of_folder(name: str) -> str | None:
    """The split that a folder of this name is, if any."""
    return _SPLITS.get(name.strip().lower())
