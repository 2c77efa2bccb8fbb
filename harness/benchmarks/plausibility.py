"""Masks that can hardly be meant, and what files say beside their pixels: remarks, not faults.

A mask that is inverted, or read by another rule than its maker's, most often marks most of its
image. Real lesions do so now and then, so nothing is refused for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from harness.benchmarks.layout import FoundImage, Layout
from harness.benchmarks.problems import Problem
from harness.benchmarks.scan import ImageFacts, MaskFacts, Scan
from harness.benchmarks.stored import Note

MOSTLY_LESION = 0.5
"""A mask that marks more than this share of its image is doubted."""

# What a file said beside its pixels, and what was done: of an image, of a mask.
_OF_IMAGES: Mapping[Note, str] = {
    Note.ALPHA: "an alpha channel that is the same everywhere: it was left out",
    Note.VARYING_ALPHA: "an alpha channel that varies: it was left out, and the colours under it"
    " are taken as they are stored",
    Note.TRANSPARENCY: "a colour that is to be shown as transparent: it is taken as it is stored",
    Note.TURNED: "a note that they are to be turned or mirrored when shown (EXIF): they are taken as"
    " they are stored",
    Note.WHITE_IS_ZERO: "0 for white: they are inverted, as every viewer shows them",
    Note.BLACK_IS_ONE: "1 for black: they are inverted, as every viewer shows them",
    Note.MORE_CHANNELS: "channels beyond grey, RGB and alpha: these were left out",
}
_OF_MASKS: Mapping[Note, str] = {
    Note.ALPHA: "an alpha channel that is the same everywhere: it was left out",
    Note.VARYING_ALPHA: "an alpha channel that marks the same pixels as the values",
    Note.TURNED: "a note that they are to be turned or mirrored when shown (EXIF): they are taken as"
    " they are stored",
    Note.WHITE_IS_ZERO: "0 for white (TIFF): the stored values are taken, not what a viewer shows",
}


def about_masks(layout: Layout, scan: Scan) -> list[str]:
    """Masks that mark their whole image or most of it, and lossy ones with what is uncertain."""
    masks = _masks_of_abnormal(layout, scan)
    if not masks:
        return []
    remarks = []
    whole = [mask for mask in masks if mask.lesion_pixels == mask.height * mask.width]
    mostly = [mask for mask in masks if mask not in whole and _share(mask) > MOSTLY_LESION]
    if whole:
        remarks.append(
            f"{_of(len(whole), len(masks), 'mask')} every pixel of the image: an empty channel, an"
            " inverted mask or a palette may have been taken for a lesion"
        )
    if mostly:
        inverted = sum(mask.border_pixels == _border(mask) for mask in mostly)
        edges = f", {inverted} of them its whole edge, as inverted masks do" if inverted else ""
        remarks.append(f"{_of(len(mostly), len(masks), 'mask')} more than half of the image{edges}")
    lossy = [mask for mask in masks if Note.LOSSY in mask.notes]
    remarks += about_lossy_masks(
        len(lossy),
        sum(mask.lesion_pixels for mask in lossy),
        sum(mask.uncertain_pixels for mask in lossy),
    )
    return remarks


def about_lossy_masks(masks: int, lesion_pixels: int, uncertain_pixels: int) -> list[str]:
    """How masks of a lossy format were read, and how many of their pixels are not certain."""
    if not masks:
        return []
    which = f"{masks} masks are lossy files" if masks > 1 else "1 mask is a lossy file"
    told = f"{which} (JPEG, WebP): values from 128 on are lesion, {lesion_pixels} pixels, and"
    return [f"{told} {uncertain_pixels} pixels lie between 64 and 191, where this decided"]


def about_notes(scan: Scan) -> list[str]:
    """What a pack's images and masks say beside their pixels, and what was done with it."""
    images = [fact.notes for fact in scan.images.values() if isinstance(fact, ImageFacts)]
    masks = [fact.notes for fact in scan.masks.values() if isinstance(fact, MaskFacts)]
    return [*about_image_notes(images), *about_mask_notes(masks)]


def about_image_notes(notes: Iterable[Iterable[str]]) -> list[str]:
    """The same of images alone: the notes (`stored.Note`) of each."""
    return _counted(notes, _OF_IMAGES, "image")


def about_mask_notes(notes: Iterable[Iterable[str]]) -> list[str]:
    """The same of masks alone."""
    return _counted(notes, _OF_MASKS, "mask")


def contradicting_orientations(layout: Layout, scan: Scan) -> list[Problem]:
    """An image and its mask that are to be turned differently: one was drawn on the other turned."""
    problems = []
    for image in layout.images:
        facts, mask = scan.images[image.key], scan.masks.get(image.mask_key or "")
        if isinstance(facts, ImageFacts) and isinstance(mask, MaskFacts):
            told = differently_turned(facts.orientation, mask.orientation)
            if told:
                problems.append(
                    Problem("orientation", f"{image.key} and its mask {image.mask_key} {told}")
                )
    return problems


def differently_turned(image: int, mask: int) -> str:
    """Why an image and a mask with these orientations (EXIF) cannot be used; empty where equal."""
    if image == mask:
        return ""
    return (
        f"have the orientation notes {image} and {mask} (EXIF): it cannot be known in which of the two"
        " the lesion was drawn; turn the pixels and remove the note of both (for example"
        " `mogrify -auto-orient`)"
    )


def _masks_of_abnormal(layout: Layout, scan: Scan) -> list[MaskFacts]:
    found: Iterable[FoundImage] = (image for image in layout.images if image.is_anomalous)
    masks = [scan.masks.get(image.mask_key or "") for image in found]
    return [mask for mask in masks if isinstance(mask, MaskFacts)]


def _share(mask: MaskFacts) -> float:
    return mask.lesion_pixels / (mask.height * mask.width)


def _border(mask: MaskFacts) -> int:
    """Pixels on the four edges."""
    return mask.height * mask.width - max(mask.height - 2, 0) * max(mask.width - 2, 0)


def _of(count: int, total: int, what: str) -> str:
    every = f"All {total} {what}s mark" if count == total else f"{count} of {total} {what}s mark"
    return every if total > 1 else f"The {what} marks"


def _counted(notes: Iterable[Iterable[str]], words: Mapping[Note, str], what: str) -> list[str]:
    counts = Counter(note for one in notes for note in one)
    return [
        f"{counts[note]} {what}s have {text}" if counts[note] > 1 else f"1 {what} has {text}"
        for note, text in words.items()
        if counts[note]
    ]
