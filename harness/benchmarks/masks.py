"""Which mask belongs to which image: by the folders that both lie in, and by their names.

A mask is called as its image, or as its image with one of the words of `_WORD` before or after
(`a_mask`, `a-Segmentation`, `mask_a`, `a.gt`), in any case and any format. Names are compared in
Unicode's composed form, for macOS writes decomposed ones. A name as it stands counts before one
without its word, and that before one in another case; two masks for an image, or two images for
a mask, are never chosen between.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.benchmarks.problems import MAX_LISTED, Problem

MASK_FOLDERS = frozenset(
    {
        *("label", "labels", "mask", "masks", "anomaly_mask", "anomaly_masks"),
        *("ground_truth", "groundtruth", "gt", "seg", "segmentation", "segmentations"),
    }
)
"""Names of folders that hold masks; case never matters."""
_WORD = r"(?:anomaly_mask|masks?|labels?|segmentation|seg|ground_?truth|gt)"
_AFTER = re.compile(rf"(.+?)[-_. ]{_WORD}(?:\.(?:png|jpe?g|tiff?|bmp|nii))?", re.IGNORECASE)
_BEFORE = re.compile(rf"{_WORD}[-_. ](.+)", re.IGNORECASE)
# One of several masks of an image (`a_mask_1`): seen, and not understood.
_NUMBERED = re.compile(rf".*[-_. ]{_WORD}[-_. ]?\(?\d+\)?", re.IGNORECASE)
NAMES_UNDERSTOOD = (
    "a mask is called as its image, or with mask, label, seg, segmentation, gt or ground_truth"
    " before or after it (a_mask.png, mask-a.tif)"
)


@dataclass(frozen=True)
class Named:
    """A file that is to be matched, and what its folders say."""

    key: str
    """Path relative to the root."""
    split: str | None
    """`train`, `valid`, `test`; None where no folder says, so any."""
    is_anomalous: bool | None
    """Class; None where no folder says, so any."""
    name: str
    """`composed` name without extension, with the folders before it that mean nothing to us."""

    def may_be_of(self, image: Named) -> bool:
        """Whether the folders of this mask do not contradict those of the image."""
        return self.split in (None, image.split) and self.is_anomalous in (
            None,
            image.is_anomalous,
        )


@dataclass(frozen=True)
class Matched:
    """Which mask is whose."""

    mask_of: Mapping[str, str]
    """Key of the mask, by its image's."""
    unmatched: tuple[Problem, ...]
    """A sentence for every mask that belongs to no image (`unmatched-masks`)."""
    unmatched_keys: tuple[str, ...]
    """Their keys, in the same order."""
    problems: tuple[Problem, ...]
    """Masks and images that would have to be chosen between (`double`)."""


def composed(name: str) -> str:
    """The name in Unicode's composed form, as two systems write one name in two."""
    return unicodedata.normalize("NFC", name)


def bare_names(name: str) -> tuple[str, ...]:
    """The name without a word for mask behind it, then without one before it, where it has such."""
    folder, slash, last = name.rpartition("/")
    found = (pattern.fullmatch(last) for pattern in (_AFTER, _BEFORE))
    return tuple(folder + slash + match[1] for match in found if match)


def is_mask_like(name: str) -> bool:
    """Whether a file is called like a mask, of whatever image."""
    last = name.rpartition("/")[2]
    return bool(bare_names(name)) or _NUMBERED.fullmatch(last) is not None


_FOLDER_WORDS = frozenset(
    {
        *(
            "mask",
            "masks",
            "label",
            "labels",
            "seg",
            "segmentation",
            "segmentations",
            "gt",
            "truth",
        ),
        *("groundtruth", "annotation", "annotations", "lesion", "lesions", "contour", "contours"),
    }
)


def is_mask_like_folder(name: str) -> bool:
    """Whether a folder whose name is not one of `MASK_FOLDERS` still seems to hold masks."""
    return not _FOLDER_WORDS.isdisjoint(re.split(r"[-_.\s]+", name.strip().lower()))


def match_masks(images: Sequence[Named], masks: Sequence[Named]) -> Matched:
    """Find the image of every mask.

    Args:
        images: files that are images, each of a key of its own.
        masks: files that are masks.
    """
    problems: list[Problem] = []
    claims: dict[str, list[str]] = defaultdict(list)
    left = list(masks)
    for names_of, image_name in _ways():
        index: dict[str, list[Named]] = defaultdict(list)
        for image in images:
            index[image_name(image.name)].append(image)
        still = []
        for mask in left:
            found = _first(index, mask, names_of(mask.name))
            if len(found) > 1:
                problems.append(_contested(mask, found))
            elif found:
                claims[found[0].key].append(mask.key)
            else:
                still.append(mask)
        left = still
    problems += [
        Problem("double", f"two files for one mask of {image}: {', '.join(sorted(keys))}")
        for image, keys in sorted(claims.items())
        if len(keys) > 1
    ]
    return Matched(
        mask_of={image: min(keys) for image, keys in claims.items()},
        unmatched=tuple(_unmatched(left, images)),
        unmatched_keys=tuple(sorted(mask.key for mask in left)),
        problems=tuple(problems),
    )


_Names = Callable[[str], tuple[str, ...]]


def _ways() -> Iterator[tuple[_Names, Callable[[str], str]]]:
    """Names that a mask's image may have, and how an image's is to be compared with them."""
    yield lambda name: (name,), str
    yield bare_names, str
    yield lambda name: (name.casefold(),), str.casefold
    yield lambda name: tuple(bare.casefold() for bare in bare_names(name)), str.casefold


def _first(index: Mapping[str, list[Named]], mask: Named, names: Iterable[str]) -> Sequence[Named]:
    for name in names:
        if found := [image for image in index.get(name, ()) if mask.may_be_of(image)]:
            return found
    return ()


def _contested(mask: Named, images: Sequence[Named]) -> Problem:
    shown = ", ".join(sorted(image.key for image in images)[:4])
    return Problem(
        "double",
        f"{mask.key}: its folders and its name fit {len(images)} images: {shown}; lay it into the"
        " folder of masks of its split and class",
    )


def _unmatched(masks: Sequence[Named], images: Sequence[Named]) -> Iterator[Problem]:
    """Only those that will be shown are compared with every image's name."""
    for number, mask in enumerate(sorted(masks, key=lambda one: one.key)):
        hint = _nearest(mask, images) if number < MAX_LISTED else ""
        yield Problem(
            "unmatched-masks",
            f"{mask.key}: a mask that belongs to no image{hint}; {NAMES_UNDERSTOOD}",
        )


def _nearest(mask: Named, images: Sequence[Named]) -> str:
    by_name = {image.name: image.key for image in images if mask.may_be_of(image)}
    name = (bare_names(mask.name) or (mask.name,))[0]
    near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.3)
    if near:
        return f" (the nearest is {by_name[near[0]]})"
    return "" if by_name else " (there is no image of its split and class)"
