"""Which mask belongs to which image: by the folder that it lies in, and by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MASK_FOLDERS = frozenset(
    {"label", "labels", "mask", "masks", "anomaly_mask", "anomaly_masks", "ground_truth", "gt"}
)
"""Names of folders that hold masks; case never matters."""
MASK_SUFFIXES = ("_mask", "_label", "_seg", "_gt")
"""What a mask may be called after its image's name."""


def mask_of(
    masks: Mapping[tuple[str, bool, str], Sequence[str]], image: tuple[str, bool, str]
) -> str | None:
    """The mask of an image: of its split, class and name, or of that name and a suffix.

    Args:
        masks: files of the folders of masks, by split, class and name without extension.
        image: split, class and name of the image.
    """
    split, is_anomalous, name = image
    found = masks.get(image)
    if found is None:
        for suffix in MASK_SUFFIXES:
            found = found or masks.get((split, is_anomalous, name + suffix))
    return found[0] if found else None
