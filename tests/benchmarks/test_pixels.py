"""Decoding: formats and modes that say the same give the same pixels; the rest is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks.pixels import (
    in_mode,
    mask_hash,
    pixel_hash,
    read_image,
    read_mask,
)
from harness.benchmarks.stored import UnreadableImage

from .conftest import grey, save, square

GREY = grey(1)
COLOUR = np.stack([grey(1), grey(2), grey(3)], axis=2)
ALPHA = grey(4)[:, :, np.newaxis]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_formats_give_the_pixels_back(
    pixels: np.ndarray, suffix: str, tmp_path: Path
) -> None:
    read = read_image(save(tmp_path / f"a{suffix}", pixels))
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize(("pixels", "shape"), [(GREY, (12, 10)), (COLOUR, (12, 10, 3))])
def test_jpeg_gives_what_pillow_decodes(
    pixels: np.ndarray, shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = save(tmp_path / "a.jpg", pixels)
    assert read_image(path).shape == shape
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(path), np.asarray(image))


def test_alpha_is_dropped_and_not_blended(tmp_path: Path) -> None:
    rgba = save(tmp_path / "a.png", np.concatenate([COLOUR, ALPHA], axis=2))
    grey_alpha = save(tmp_path / "b.png", np.concatenate([GREY[:, :, np.newaxis], ALPHA], axis=2))
    np.testing.assert_array_equal(read_image(rgba), COLOUR)
    np.testing.assert_array_equal(read_image(grey_alpha), GREY)


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(256))])
def test_a_palette_gives_its_colours(transparency: int | bytes | None, tmp_path: Path) -> None:
    image = Image.fromarray(GREY).convert("P")
    image.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **options)
    expected = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_a_palette_of_greys_is_grey(tmp_path: Path) -> None:
    image = Image.fromarray(GREY).convert("P")
    image.putpalette([i for i in range(256) for _ in range(3)])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), bits * np.uint8(255))


def test_grey_stored_as_colour_stays_as_stored(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", in_mode(GREY, "RGB"))).shape == (12, 10, 3)


def test_the_orientation_note_of_a_camera_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", GREY, exif=exif)
    np.testing.assert_array_equal(read_image(path), GREY)


def deep_colour_png(path: Path) -> None:
    """A 16-bit RGB PNG, written by hand since Pillow writes none."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    rows = b"".join(b"\0" + bytes(2 * 6) for _ in range(2))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    body = header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    deep_colour_png(tmp_path / "colour.png")
    deep = GREY.astype(np.uint16) * 257
    paths = [
        tmp_path / "colour.png",
        save(tmp_path / "a.png", deep),
        save(tmp_path / "a.tif", deep),
        save(tmp_path / "b.tif", GREY.astype(np.int32)),
        save(tmp_path / "c.tif", GREY.astype(np.float32)),
    ]
    for path in paths:
        with pytest.raises(UnreadableImage, match="8 bits"):
            read_image(path)


def test_other_colour_spaces_are_refused(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImage, match="CMYK"):
        read_image(tmp_path / "a.jpg")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(GREY)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(UnreadableImage, match="more than one frame"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_unreadable(suffix: str, share: float, tmp_path: Path) -> None:
    path = save(tmp_path / f"a{suffix}", grey(1, 64, 64))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UnreadableImage):
        read_image(path)


def test_a_text_file_with_an_image_name_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UnreadableImage, match="unreadable"):
        read_image(tmp_path / "a.png")


def masks_of_one_lesion(folder: Path) -> list[Path]:
    """The same lesion in every form that masks come in."""
    lesion = square() > 0
    palette = Image.fromarray(lesion.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    palette.save(folder / "palette.png")
    Image.fromarray(lesion).save(folder / "bit.png")
    rgb = np.zeros((12, 10, 3), np.uint8)
    rgb[lesion] = (0, 0, 1)
    opaque = np.full((12, 10, 1), 255, np.uint8)
    return [
        folder / "palette.png",
        folder / "bit.png",
        save(folder / "one.png", lesion.astype(np.uint8)),
        save(folder / "full.bmp", square()),
        save(folder / "deep.png", lesion.astype(np.uint16) * 300),
        save(folder / "integers.tif", lesion.astype(np.int32) * 70000),
        save(folder / "rgb.png", rgb),
        save(folder / "rgba.png", np.concatenate([rgb, opaque], axis=2)),
    ]


def test_masks_are_lesion_wherever_the_native_value_is_above_zero(tmp_path: Path) -> None:
    for path in masks_of_one_lesion(tmp_path):
        mask, levels = read_mask(path)
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, square() > 0, err_msg=path.name)
        assert levels == 1


def test_a_mask_of_three_labels_says_so(tmp_path: Path) -> None:
    labels = square()
    labels[2, 3], labels[2, 4] = 57, 121
    mask, levels = read_mask(save(tmp_path / "a.png", labels))
    np.testing.assert_array_equal(mask, square() > 0)
    assert levels == 3


def test_hashes_tell_shape_and_mode_apart() -> None:
    flat = np.zeros((2, 6), np.uint8)
    hashes = {pixel_hash(flat), pixel_hash(flat.reshape(6, 2)), pixel_hash(flat.reshape(2, 2, 3))}
    assert len(hashes) == 3
    assert mask_hash(flat > 0) not in hashes


def test_the_pixel_hash_is_the_documented_one() -> None:
    import hashlib

    expected = hashlib.sha256(b"L,10,12," + GREY.tobytes()).hexdigest()
    assert pixel_hash(GREY) == expected
    expected = hashlib.sha256(b"RGB,10,12," + COLOUR.tobytes()).hexdigest()
    assert pixel_hash(COLOUR) == expected
