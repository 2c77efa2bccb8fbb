"""What may be left out of a folder, or taken another way, only where its owner says so.

Each of these changes a benchmark's count, a mask or a split, so each is an error until it is
accepted, with `--accept REASON` or `accepted = ["REASON"]` in `pack.toml`. What was accepted
stands in the pack's card and in the records.
"""

from __future__ import annotations

ACCEPTABLE = {
    "equal-names": "files of one name are images of their own",
    "mask-like-images": "files named like masks, in folders of images, are images",
    "outside-splits": "images outside the splits are left out",
    "unclear-class": "images that are neither normal nor abnormal by their folders are left out",
    "unmatched-masks": "masks that belong to no image are left out",
    "unread-formats": "images in formats that are not read are left out",
    "unusable-files": "links that lead nowhere and names that are no UTF-8 are left out",
}
"""What accepting each reason means."""


def known_reason(reason: str) -> str:
    """The reason itself.

    Raises:
        ValueError: it is none that can be accepted; the message names them all.
    """
    if reason not in ACCEPTABLE:
        raise ValueError(f"{reason!r} cannot be accepted; what can: {', '.join(ACCEPTABLE)}")
    return reason
