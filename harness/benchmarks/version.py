"""The digest of a pack: a hash over splits, labels, decoded pixels and binarised masks.

Its version id is its name and the first twelve hex digits. Reading a pack and preparing one both
make it, from the same lines, so that a pack can be held to the version that its maker wrote down.
The patients are no part of it: they have a digest of their own, over the same lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

NO_PATIENTS = "none"
"""What stands in the place of the patients' digest where nothing tells whose the images are."""


def version_line(split: str, *, is_anomalous: bool, pixel_sha256: str, mask_sha256: str) -> str:
    """What one image adds: `split|label|pixel_sha256|mask_sha256`, the last empty without a mask."""
    return f"{split}|{'anomalous' if is_anomalous else 'normal'}|{pixel_sha256}|{mask_sha256}"


def content_digest(lines: Iterable[str]) -> str:
    """`sha256:` and 64 hex digits over the sorted lines of all images."""
    return "sha256:" + hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def version_id(name: str, digest: str) -> str:
    """`<name>-<12 hex>` of a pack's name and digest."""
    return f"{name}-{digest.removeprefix('sha256:')[:12]}"


def patients_digest(images: Iterable[tuple[str, str | None]]) -> str:
    """A hash over who is whose patient: what the intervals hang on beside the images.

    Args:
        images: of every image its line, and its patient (volume, slide); None where nothing tells.

    Returns:
        `sha256:` and 64 hex digits; `NO_PATIENTS` where no image's patient is known, and every
        image counts by itself.
    """
    images = tuple(images)
    if all(group is None for _, group in images):
        return NO_PATIENTS
    # The length keeps a line without a patient apart from one whose patient has an empty name.
    return content_digest(
        f"{line}|{'' if group is None else f'{len(group)}:{group}'}" for line, group in images
    )
