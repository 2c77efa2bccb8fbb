"""Golden hashes of the decoded arrays: a change of a pixel, or of a split, does not pass unseen.

They change with a recipe (raise its VERSION) and with a decoder: JPEG is decoded by Pillow's own
libjpeg-turbo, pinned by the lock file; another build may differ by a grey value.
"""

from __future__ import annotations

import hashlib

import pytest

from .conftest import ALL, Ready, pixels_of, rows_of

GOLDEN = {
    "brain": "a6b456d041e39e19",
    "liver": "e1452e44f7440f6c",
    "resc": "5877373a6646a630",
    "oct2017": "e6ab018b41ee64a8",
    "rsna": "3a4ce43823819bd0",
    "camelyon16": "bad7a2bad2b36855",
}


def digest(ready: Ready, name: str) -> str:
    """Over split, name, pixels and mask of every image, decoded anew."""
    folder = ready(name).folder
    found = hashlib.sha256()
    for row in rows_of(folder):
        found.update(f"{row['key']}|{row['group']}|".encode())
        for key in filter(None, (row["key"], row["mask_key"])):
            pixels = pixels_of(folder / key)
            found.update(f"{pixels.shape}".encode() + pixels.tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("name", ALL)
def test_every_pixel_and_every_place_is_as_it_was(name: str, ready: Ready) -> None:
    assert digest(ready, name) == GOLDEN[name]
