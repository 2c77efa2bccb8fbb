"""Which file of a folder is what: the one survey that packs are opened, verified and made by.

Every file is used, left out for a reason that is counted, or an error. What would change a count,
a mask or a split is an error unless it is accepted (`acceptance.py`): a file left out in silence
makes another benchmark. Nothing is decoded; only files whose names say nothing are looked into.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from harness.benchmarks.card import CARD_NAME
from harness.benchmarks.file_kinds import format_inside, kind_of
from harness.benchmarks.groups import GROUPS_NAME
from harness.benchmarks.masks import (
    MASK_FOLDERS,
    NAMES_UNDERSTOOD,
    Named,
    bare_names,
    composed,
    is_mask_like,
    is_mask_like_folder,
    match_masks,
)
from harness.benchmarks.places import (
    ImagePlace,
    folder_without_img,
    is_ground_truth,
    kind_in_ground_truth,
    place_of,
)
from harness.benchmarks.prepared_files import MANIFEST_NAME, REPORT_NAME, SOURCES_NAME
from harness.benchmarks.problems import Problem
from harness.benchmarks.walking import Walk

_PACK_FILES = frozenset({CARD_NAME, GROUPS_NAME, MANIFEST_NAME, SOURCES_NAME, REPORT_NAME})
_UNDERSTOOD = "PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PGM and PPM are read"


@dataclass(frozen=True)
class SurveyedImage:
    """One image file of a folder."""

    key: str
    """Path relative to the folder, with `/`."""
    split: str | None
    """`train`, `valid` or `test`; None where the folder has no splits."""
    is_anomalous: bool
    """By its folder."""
    name: str
    """Name without extension, with any folders that mean nothing to us before it."""
    mask_key: str | None
    """Path of its mask, relative to the folder; None where there is no such file."""


@dataclass(frozen=True)
class FolderSurvey:
    """What lies in a folder."""

    images: tuple[SurveyedImage, ...]
    """Sorted by key."""
    problems: tuple[Problem, ...]
    """What keeps the folder from being used as it is, accepted reasons left out."""
    left_out: Mapping[str, tuple[str, ...]]
    """Files that are not used, by reason: an accepted one, or one that changes nothing."""
    accepted: tuple[str, ...]
    """Reasons that were met and are accepted, sorted."""


@dataclass
class _Surveying:
    """Files as they are being sorted."""

    root: Path
    has_splits: bool
    kinds: frozenset[str]
    """Folders of abnormal images that MVTec's `ground_truth` names."""
    accepted: Set[str]
    images: list[Named] = field(default_factory=list)
    masks: list[Named] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unclear: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    met: set[str] = field(default_factory=set)

    def finds(self, reason: str, text: str, *left_out: str) -> bool:
        """Note what is wrong, or which files stay out because it is accepted; whether it is."""
        if reason not in self.accepted:
            self.problems.append(Problem(reason, text))
            return False
        self.met.add(reason)
        self.left_out[reason] += left_out
        return True


def survey_folder(
    root: Path,
    walked: Walk,
    accepted: Set[str],
    *,
    has_splits: bool | None = None,
    wants_masks: bool = True,
) -> FolderSurvey:
    """Sort the files of a folder into images, masks and others.

    Args:
        root: the folder.
        walked: its files.
        accepted: reasons of `acceptance.ACCEPTABLE` that are no errors here.
        has_splits: whether every image must be in a split; None: where any image is.
        wants_masks: False for image-level benchmarks, whose masks are counted alone.
    """
    if has_splits is None:
        has_splits = names_splits(walked)
    surveying = _Surveying(root, has_splits, _kinds_of_ground_truth(walked), accepted)
    surveying.left_out["litter"] += walked.litter
    surveying.left_out["returning-links"] += walked.returning
    for problem in walked.problems:
        surveying.finds(problem.kind, problem.text, problem.text.partition(": ")[0])
    for relative in walked.files:
        _sort_in(surveying, relative)
    _unclear_classes(surveying)
    _folders_like_masks(surveying)
    _beside_their_images(surveying)
    _equal_names(surveying)
    mask_of = _masks(surveying) if wants_masks else {}
    if not wants_masks:
        surveying.left_out["masks-of-an-image-level-benchmark"] += [m.key for m in surveying.masks]
    images = [
        SurveyedImage(one.key, one.split, bool(one.is_anomalous), one.name, mask_of.get(one.key))
        for one in surveying.images
    ]
    return FolderSurvey(
        images=tuple(sorted(images, key=lambda image: image.key)),
        problems=tuple(surveying.problems),
        left_out={reason: tuple(keys) for reason, keys in surveying.left_out.items() if keys},
        accepted=tuple(sorted(surveying.met)),
    )


def names_splits(walked: Walk) -> bool:
    """Whether any image lies in a split."""
    return any(
        kind_of(relative.name) == "image" and place_of(relative).split is not None
        for relative in walked.files
    )


def _kinds_of_ground_truth(walked: Walk) -> frozenset[str]:
    """MVTec's layout: `test/<kind>` holds abnormal images where `ground_truth/<kind>` has masks."""
    return frozenset(kind for relative in walked.files if (kind := kind_in_ground_truth(relative)))


def _sort_in(surveying: _Surveying, relative: PurePosixPath) -> None:
    key, kind = str(relative), kind_of(relative.name)
    place = place_of(relative, surveying.kinds)
    if surveying.has_splits and place.split is None and not place.is_mask:
        _sort_outside(surveying, relative, place)
    elif kind == "image" and place.is_mask:
        surveying.masks.append(_named(key, place))
    elif kind == "image" and place.is_anomalous is not None:
        surveying.images.append(_named(key, place))
    elif kind == "image":
        surveying.unclear[str(relative.parent)].append(key)
    else:
        _sort_no_image(surveying, relative, place)


def _sort_outside(surveying: _Surveying, relative: PurePosixPath, place: ImagePlace) -> None:
    """A file beside the splits: a figure and a read-me may lie there, an image of a class may not."""
    key = str(relative)
    if len(relative.parts) == 1 and relative.name.lower() in _PACK_FILES:
        return
    if kind_of(relative.name) == "image" and place.is_anomalous is not None:
        word = "an abnormal" if place.is_anomalous else "a normal"
        surveying.finds(
            "outside-splits",
            f"{key}: {word} image outside the splits train, valid and test: move it into one of"
            " them, or away",
            key,
        )
    else:
        surveying.left_out["beside-the-splits"].append(key)


def _sort_no_image(surveying: _Surveying, relative: PurePosixPath, place: ImagePlace) -> None:
    key = str(relative)
    if len(relative.parts) == 1 and relative.name.lower() in _PACK_FILES:
        return
    in_class = place.is_anomalous is not None or place.is_mask
    inside = format_inside(surveying.root / relative) if in_class else ""
    if kind_of(relative.name) == "unread" and (in_class or place.split is not None):
        what = "in a format that packs are not read from"
    elif inside:
        what = f"{inside} by its first bytes, and its name does not end so"
    else:
        surveying.left_out["no-images"].append(key)
        return
    surveying.finds(
        "unread-formats", f"{key}: {what}; {_UNDERSTOOD}: convert it, or remove it", key
    )


def _named(key: str, place: ImagePlace) -> Named:
    split = place.split
    return Named(key, split, place.is_anomalous, composed(place.name))


def _unclear_classes(surveying: _Surveying) -> None:
    for folder, keys in sorted(surveying.unclear.items()):
        surveying.finds(
            "unclear-class",
            f"{folder}: {len(keys)} image{'s' if len(keys) != 1 else ''} in a folder that says"
            " neither normal (`good`) nor abnormal (`Ungood`)",
            *keys,
        )


def _beside_their_images(surveying: _Surveying) -> None:
    """Masks that lie among the images: called as an image of the same folder, and a word more."""
    names = {(PurePosixPath(one.key).parent, one.name) for one in surveying.images}
    own = {mask.name for mask in surveying.masks}
    images, lonely = [], []
    for one in surveying.images:
        if not is_mask_like(one.name) or one.name in own:
            images.append(one)
        elif any((PurePosixPath(one.key).parent, name) in names for name in bare_names(one.name)):
            surveying.masks.append(one)
        else:
            lonely.append(one)
    for one in lonely:
        is_image = surveying.finds(
            "mask-like-images",
            f"{one.key}: named like a mask in a folder of images, and of no image there:"
            f" {NAMES_UNDERSTOOD}; rename it, or move it into a folder of masks",
        )
        if is_image:
            images.append(one)
    surveying.images = images


def _folders_like_masks(surveying: _Surveying) -> None:
    """Folders of no known name in a class that seem to hold masks: by their name, or because their
    files are called as the images of the folder around them."""
    around: dict[PurePosixPath, set[str]] = defaultdict(set)
    inside: dict[PurePosixPath, list[Named]] = defaultdict(list)
    for one in surveying.images:
        path = PurePosixPath(one.key)
        around[folder_without_img(path)].add(composed(path.stem))
        inside[path.parent].append(one)
    unknown = {folder: _unknown_parts(folder) for folder in inside}
    everywhere = set.intersection(*map(set, unknown.values())) if unknown else set()
    for folder, images in sorted(inside.items()):
        parts = [part for part in unknown[folder] if part not in everywhere | surveying.kinds]
        if not parts:
            continue
        names = {composed(PurePosixPath(one.key).stem) for one in images}
        place = folder_without_img(folder / "x").parent
        if names & around.get(place, set()):
            why = f"called as images of {place}"
        elif any(map(is_mask_like_folder, parts)):
            why = "in a folder of masks by its name"
        else:
            continue
        surveying.finds(
            "mask-like-images",
            f"{folder}: {len(images)} files taken for images, and {why}; folders of masks that are"
            f" understood: {', '.join(sorted(MASK_FOLDERS))}; rename it",
        )


def _unknown_parts(folder: PurePosixPath) -> list[str]:
    """The folders of a path that say nothing of split, class or masks."""
    return place_of(folder / "x").name.split("/")[:-1]


def _equal_names(surveying: _Surveying) -> None:
    """One name for two images: which of them a mask is of, and whether they are one, is unknown."""
    by_name: dict[tuple[str | None, bool | None, str], list[Named]] = defaultdict(list)
    for one in surveying.images:
        by_name[one.split, one.is_anomalous, one.name].append(one)
    for images in by_name.values():
        if len(images) > 1:
            keys = sorted(one.key for one in images)
            surveying.finds("equal-names", f"two files for one image: {', '.join(keys)}")


def _masks(surveying: _Surveying) -> Mapping[str, str]:
    if surveying.has_splits:  # MVTec keeps the masks of its test split beside the splits
        surveying.masks = [
            replace(mask, split="test") if is_ground_truth(PurePosixPath(mask.key)) else mask
            for mask in surveying.masks
        ]
    matched = match_masks(surveying.images, surveying.masks)
    surveying.problems += matched.problems
    for problem, key in zip(matched.unmatched, matched.unmatched_keys, strict=True):
        surveying.finds(problem.kind, problem.text, key)
    return matched.mask_of
