"""The version id of a pack: a hash over splits, labels, decoded pixels and binarised masks.

Reading a pack and preparing one both make it, from the same lines, so that a pack can be
held to the version that its maker wrote down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def version_line(split: str, *, is_anomalous: bool, pixel_sha256: str, mask_sha256: str) -> str:
    """What one image adds: `split|label|pixel_sha256|mask_sha256`, the last empty without a mask."""
    return f"{split}|{'anomalous' if is_anomalous else 'normal'}|{pixel_sha256}|{mask_sha256}"


def version_id(name: str, lines: Iterable[str]) -> str:
    """`<name>-<12 hex>` over the sorted lines of all images."""
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    return f"{name}-{digest[:12]}"
