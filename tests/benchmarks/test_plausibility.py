"""Packs whose masks and images are stored unusually: what is read, remarked on and refused.

The first cases are those of public bug reports, each with its right value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from harness.benchmarks.opening import open_pack
from harness.benchmarks.pack import Pack
from harness.common.errors import PackInvalid

from .conftest import save

MASK = np.zeros((32, 32), np.uint8)
MASK[8:14, 10:17] = 255
LESION = 42  # pixels

Writer = Callable[[Path], object]
"""Writes one mask to a path without ending."""


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 200, (32, 32), dtype=np.uint8)


def packed(root: Path, mask: Writer | None = None) -> Path:
    """6 training, 2 + 2 validation and 4 + 4 test images; masks written by `mask`."""
    number = 0
    for split, normal, abnormal in (("train", 6, 0), ("valid", 2, 2), ("test", 4, 4)):
        for kind, count in (("good", normal), ("Ungood", abnormal)):
            for i in range(count):
                number += 1
                save(root / split / kind / "img" / f"{i}.png", grey(number))
                if kind == "Ungood":
                    path = root / split / kind / "label" / str(i)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    (mask or png(MASK))(path)
    return root


def png(values: np.ndarray) -> Writer:
    return lambda path: save(path.with_suffix(".png"), values)


def tiff(values: np.ndarray, **options: object) -> Writer:
    return lambda path: tifffile.imwrite(path.with_suffix(".tif"), values, **options)


def palette(path: Path) -> None:
    image = Image.fromarray(MASK // 255).convert("P")
    image.putpalette([0, 0, 100, 255, 0, 0])
    image.save(path.with_suffix(".png"))


def lesions(pack: Pack) -> set[int]:
    return {int(pack.mask(one).sum()) for one in pack.samples if one.is_anomalous}


def remark(pack: Pack, part: str) -> str:
    """The card's only remark with these words."""
    (found,) = (one for one in pack.card.remarks if part in one)
    return found


@pytest.mark.parametrize(
    "writer",
    [
        png(MASK),
        tiff(MASK > 0),
        tiff(MASK > 0, photometric="miniswhite"),
        palette,
        tiff(np.stack([(MASK > 0).astype(np.uint16)] * 3, -1), photometric="rgb"),
        tiff((MASK > 0).astype(np.uint16), byteorder=">"),
        tiff((MASK / 255).astype(np.float32), compression="zlib", byteorder=">"),
    ],
    ids=["png", "bilevel", "white is zero", "palette", "deep", "big-endian", "float"],
)
def test_the_lesion_is_where_the_stored_value_is_above_zero(
    writer: Writer, tmp_path: Path, cache: Path
) -> None:
    pack = open_pack(packed(tmp_path / "own", writer), cache)
    assert lesions(pack) == {LESION}
    assert pack.version == open_pack(packed(tmp_path / "plain"), cache, benchmark="own").version
    assert not pack.doubts


def test_white_as_zero_is_remarked_on(tmp_path: Path, cache: Path) -> None:
    pack = open_pack(packed(tmp_path / "own", tiff(MASK > 0, photometric="miniswhite")), cache)
    assert "the stored values are taken" in remark(pack, "6 masks have 0 for white")


def test_a_lesion_in_the_alpha_channel_alone_is_refused(tmp_path: Path, cache: Path) -> None:
    rgba = np.full((32, 32, 4), 255, np.uint8)
    rgba[..., 3] = MASK
    with pytest.raises(PackInvalid) as error:
        open_pack(packed(tmp_path / "own", png(rgba)), cache)
    text = str(error.value)
    assert "test/Ungood/label/0.png: an alpha channel that contradicts the values" in text
    assert "these mark 1024 pixels, it marks 42" in text


def test_a_tiff_whose_next_page_leads_nowhere_is_named(tmp_path: Path, cache: Path) -> None:
    root = packed(tmp_path / "own")
    path = root / "test/good/img/1.png"
    with Image.open(path) as image:
        image.save(path.with_suffix(".tif"))
    path.unlink()
    path = path.with_suffix(".tif")
    raw = bytearray(path.read_bytes())
    first = struct.unpack("<I", raw[4:8])[0]
    end = first + 2 + 12 * struct.unpack("<H", raw[first : first + 2])[0]
    raw[end : end + 4] = struct.pack("<I", len(raw) - 40)
    path.write_bytes(raw)
    with pytest.raises(PackInvalid, match=r"test/good/img/1\.tif: .*(unreadable|more than one)"):
        open_pack(root, cache)


# --- implausible masks ---------------------------------------------------------------------------


def test_a_lesion_that_fills_every_image_is_said_aloud(tmp_path: Path, cache: Path) -> None:
    pack = open_pack(packed(tmp_path / "own", png(np.full_like(MASK, 255))), cache)
    (doubt,) = pack.doubts
    assert doubt.startswith("All 6 masks mark every pixel of the image")
    assert doubt in pack.card.remarks


def test_inverted_masks_are_said_aloud(tmp_path: Path, cache: Path) -> None:
    pack = open_pack(packed(tmp_path / "own", png(255 - MASK)), cache)
    assert pack.doubts == (
        (
            "All 6 masks mark more than half of the image, 6 of them its whole edge, as inverted"
            " masks do"
        ),
    )


def test_one_large_lesion_is_counted_and_no_word_is_said_of_edges(
    tmp_path: Path, cache: Path
) -> None:
    root = packed(tmp_path / "own")
    large = np.zeros_like(MASK)
    large[2:, 2:] = 255
    save(root / "test/Ungood/label/3.png", large)
    (doubt,) = open_pack(root, cache).doubts
    assert doubt == "1 of 6 masks mark more than half of the image"


def test_an_empty_mask_of_an_abnormal_image_is_refused(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(PackInvalid, match="is abnormal and its mask is empty"):
        open_pack(packed(tmp_path / "own", png(MASK * 0)), cache)


def test_lossy_masks_say_how_many_pixels_lie_between(tmp_path: Path, cache: Path) -> None:
    writer: Writer = lambda path: save(path.with_suffix(".jpg"), MASK, quality=50)  # noqa: E731
    root = packed(tmp_path / "own", writer)
    pack = open_pack(root, cache)
    between = 0
    for path in root.rglob("label/*.jpg"):
        with Image.open(path) as image:
            values = np.asarray(image)
        between += int(((values >= 64) & (values < 192)).sum())
    (doubt,) = pack.doubts
    assert "6 masks are lossy files (JPEG, WebP): values from 128 on are lesion" in doubt
    assert f"{between} pixels lie between 64 and 191" in doubt


# --- notes -------------------------------------------------------------------------------------


def turned(path: Path, pixels: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    save(path, pixels, exif=exif)


def test_orientation_notes_of_images_are_remarked_on(tmp_path: Path, cache: Path) -> None:
    root = packed(tmp_path / "own")
    turned(root / "train/good/img/0.png", grey(1), 6)
    pack = open_pack(root, cache)
    assert pack.version == open_pack(packed(tmp_path / "plain"), cache, benchmark="own").version
    assert "taken as they are stored" in remark(
        pack, "1 image has a note that they are to be turned"
    )


def test_an_image_and_its_mask_that_are_turned_differently_are_refused(
    tmp_path: Path, cache: Path
) -> None:
    root = packed(tmp_path / "own")
    with Image.open(root / "test/Ungood/img/0.png") as image:
        pixels = np.array(image)
    turned(root / "test/Ungood/img/0.png", pixels, 6)
    with pytest.raises(
        PackInvalid, match=r"its mask .*label/0\.png have the orientation notes 6 and 1"
    ):
        open_pack(root, cache)
    turned(root / "test/Ungood/label/0.png", MASK, 6)
    assert lesions(open_pack(root, cache)) == {LESION}


def test_alpha_that_says_nothing_and_alpha_that_varies_are_told_apart(
    tmp_path: Path, cache: Path
) -> None:
    root = packed(tmp_path / "own")
    for i, alpha in enumerate((np.full_like(MASK, 255), MASK)):
        save(root / f"train/good/img/{i}.png", np.dstack([grey(i + 50), alpha]))
    pack = open_pack(root, cache)
    remark(pack, "1 image has an alpha channel that is the same everywhere")
    remark(pack, "1 image has an alpha channel that varies")


def test_what_was_read_is_remembered_with_its_notes(tmp_path: Path, cache: Path) -> None:
    root = packed(tmp_path / "own", png(255 - MASK))
    turned(root / "train/good/img/0.png", grey(1), 3)
    first, second = open_pack(root, cache), open_pack(root, cache)
    assert (first.card, first.doubts) == (second.card, second.doubts)
