"""Masks and images are read as they are stored: each kind is written by a library from a known array.

The oracles are the arrays; tifffile, imagecodecs, pydicom and Pillow write the files. What cannot
be read exactly is refused with what was found and a fix.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from harness.benchmarks.pixels import decode_image, decode_mask, read_image, read_labels, read_mask
from harness.benchmarks.stored import MOST_PIXELS, Note, UnreadableImage

from .conftest import grey, save, square

LESION = square(32, 24) > 0
LABELS = np.where(LESION, np.arange(24) % 3 + 1, 0)  # 0 to 3, each above 0 in the lesion alone
COMPRESSIONS = (None, "zlib", "lzw", "packbits")


def assert_lesion(path: Path) -> None:
    np.testing.assert_array_equal(read_mask(path)[0], LESION, err_msg=path.name)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", ["bool", "u1", "u2", "u4", "i2", "i4", "f4"])
def test_a_tiff_of_one_channel_gives_its_values(
    dtype: str, photometric: str, compression: str | None, byteorder: str, tmp_path: Path
) -> None:
    values = (LABELS * (1 if dtype in ("bool", "u1") else 7)).astype(dtype)
    path = tmp_path / "a.tif"
    try:
        tifffile.imwrite(
            path, values, photometric=photometric, compression=compression, byteorder=byteorder
        )
    except (NotImplementedError, ValueError):
        pytest.skip("tifffile does not write that")
    refused = {"<": ("u4", "i2", "i4"), ">": ("u2", "u4", "i2", "i4")}[byteorder]
    if dtype in refused if photometric == "miniswhite" else (dtype, byteorder) == ("u4", ">"):
        with pytest.raises(UnreadableImage, match=r"a TIFF with one channel of .*bits .*which is"):
            read_mask(path)
        return
    assert_lesion(path)
    np.testing.assert_array_equal(read_labels(path), values)
    has_note = Note.WHITE_IS_ZERO in decode_mask(path).notes
    assert has_note == (photometric == "miniswhite")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_a_tiff_of_few_bits_gives_its_values(bits: int, photometric: str, tmp_path: Path) -> None:
    values = np.minimum(LABELS, 2**bits - 1).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, bitspersample=bits, photometric=photometric)
    np.testing.assert_array_equal(read_labels(path), values)
    assert_lesion(path)


def test_a_bilevel_fax_gives_its_values(tmp_path: Path) -> None:
    """Group 4, in which 0 is white as in every fax: the stored bit counts."""
    Image.fromarray(LESION).save(tmp_path / "a.tif", compression="group4")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        is_white_zero = file.pages[0].photometric == 0
    expected = ~LESION if is_white_zero else LESION
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif")[0], expected)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_a_channel_lose_no_small_value(
    channels: int, compression: str | None, byteorder: str, tmp_path: Path
) -> None:
    values = np.repeat(LABELS[..., None], channels, axis=2).astype(np.uint16)
    path = tmp_path / "a.tif"
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(
        path, values, photometric="rgb", compression=compression, byteorder=byteorder, **extra
    )
    mask, levels = read_mask(path)
    np.testing.assert_array_equal(mask, LESION)
    assert levels == 3
    with pytest.raises(UnreadableImage, match="more than 8 bits a channel, namely 16"):
        read_image(path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [1, 256, 257, 9999])
def test_a_png_of_sixteen_bits_gives_its_values(channels: int, scale: int, tmp_path: Path) -> None:
    values = np.repeat(LABELS[..., None] * scale, channels, axis=2).astype(np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(values if channels > 1 else values[..., 0]))
    np.testing.assert_array_equal(read_labels(path), LABELS * scale)
    assert read_mask(path)[1] == 3


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_planes_of_eight_bits_are_read_and_deeper_ones_refused(
    planar: str, compression: str | None, tmp_path: Path
) -> None:
    pixels = np.stack([grey(1), grey(2), grey(3)], axis=2)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0).copy()
    options: dict[str, Any] = {
        "photometric": "rgb", "planarconfig": planar, "compression": compression,
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)
    tifffile.imwrite(tmp_path / "b.tif", stored.astype(np.uint16), **options)
    if planar == "separate":
        with pytest.raises(UnreadableImage, match="3 channels in planes of 16 bits"):
            read_mask(tmp_path / "b.tif")
    else:
        np.testing.assert_array_equal(read_mask(tmp_path / "b.tif")[0], pixels.max(axis=2) > 0)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f2", "u8", "c8"])
def test_a_tiff_that_is_not_read_is_told_by_what_it_holds(
    dtype: str, bigtiff: bool, byteorder: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LABELS.astype(dtype), bigtiff=bigtiff, byteorder=byteorder)
    bits = np.dtype(dtype).itemsize * 8
    told = f"a TIFF with one channel of .*{bits} bits"
    if bigtiff and byteorder == ">":
        told = "a big-endian BigTIFF"
    with pytest.raises(UnreadableImage, match=f"{told}.*, which is not read: save it"):
        read_mask(path)


def test_floating_point_masks_are_read_where_their_numbers_are_whole(tmp_path: Path) -> None:
    values = LABELS.astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert_lesion(tmp_path / "a.tif")
    for wrong in (0.25, np.nan, np.inf):
        values[0, 0] = wrong
        tifffile.imwrite(tmp_path / "b.tif", values)
        with pytest.raises(UnreadableImage, match=f"1 of them no whole ones, such as {wrong}"):
            read_mask(tmp_path / "b.tif")


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f4"])
def test_negative_values_are_refused(dtype: str, tmp_path: Path) -> None:
    values = LABELS.astype(dtype)
    values[0, 0] = -1
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(UnreadableImage, match="negative values, down to -1"):
        read_mask(tmp_path / "a.tif")


def test_large_numbers_do_not_become_negative(tmp_path: Path) -> None:
    values = np.where(LESION, 2**32 - 1, 0).astype(np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), values)


# --- palettes ----------------------------------------------------------------------------------


def paletted(path: Path, indices: np.ndarray, colours: list[int], **options: Any) -> Path:
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    image.putpalette(colours)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_index_is_the_value_and_not_its_colour(name: str, bits: int, tmp_path: Path) -> None:
    options = {"bits": bits} if name == "a.png" else {}
    path = paletted(tmp_path / name, LESION, [0, 0, 100, 255, 0, 0], **options)
    assert_lesion(path)
    np.testing.assert_array_equal(read_labels(path), LESION)


def test_a_palette_whose_black_is_not_index_0_has_two_readings(tmp_path: Path) -> None:
    path = paletted(tmp_path / "a.png", LESION, [255, 255, 255, 0, 0, 0])
    with pytest.raises(UnreadableImage, match="black is index 1, expected 0"):
        read_mask(path)
    assert_lesion(paletted(tmp_path / "b.png", LESION, [0] * 6))  # says nothing: the index counts


# --- alpha -------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("channels", [2, 4])
def test_an_alpha_channel_that_contradicts_a_mask_is_refused(
    channels: int, deep: bool, tmp_path: Path
) -> None:
    values = np.full((*LESION.shape, channels), 255, np.uint16 if deep else np.uint8)
    values[..., -1] = LESION
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    with pytest.raises(UnreadableImage, match="these mark 768 pixels, it marks 12"):
        read_mask(tmp_path / "a.png")
    values[..., :-1] = LESION[..., None]
    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(values))
    assert_lesion(tmp_path / "b.png")
    assert decode_mask(tmp_path / "b.png").notes == {Note.VARYING_ALPHA}


@pytest.mark.parametrize("alpha", [0, 1, 255])
def test_an_alpha_channel_that_is_the_same_everywhere_says_nothing(
    alpha: int, tmp_path: Path
) -> None:
    values = np.full((*LESION.shape, 4), alpha, np.uint8)
    values[..., :3] = LESION[..., None] * 255
    save(tmp_path / "a.png", values)
    assert_lesion(tmp_path / "a.png")
    assert decode_mask(tmp_path / "a.png").notes == {Note.ALPHA}
    assert decode_image(tmp_path / "a.png").notes == {Note.ALPHA}


def test_channels_without_a_name_are_refused_in_a_mask(tmp_path: Path) -> None:
    values = np.zeros((*LESION.shape, 5), np.uint8)
    values[..., 4] = LESION
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unspecified"] * 2
    )
    with pytest.raises(UnreadableImage, match="more channels than grey, RGB and alpha"):
        read_mask(tmp_path / "a.tif")
    assert decode_image(tmp_path / "a.tif").notes == {Note.MORE_CHANNELS}


# --- lossy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_a_lossy_mask_is_lesion_from_128_on_and_tells_what_lies_between(
    name: str, tmp_path: Path
) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[9:30, 11:40] = 255
    decoded = decode_mask(save(tmp_path / name, mask, quality=60))
    assert decoded.notes == {Note.LOSSY}
    assert decoded.levels == 1
    with Image.open(tmp_path / name) as image:
        values = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(decoded.mask, values >= 128)
    assert decoded.uncertain_pixels == ((values >= 64) & (values < 192)).sum()


def test_a_lossy_mask_without_a_clear_lesion_is_refused(tmp_path: Path) -> None:
    for name, value in (("labels", 40), ("grey", 120)):
        path = save(tmp_path / f"{name}.jpg", np.where(LESION, value, 0).astype(np.uint8))
        with pytest.raises(
            UnreadableImage, match=r"a lossy JPEG whose greatest value is \d+, with"
        ):
            read_mask(path)
    with pytest.raises(UnreadableImage, match="labels in a lossy JPEG"):
        read_labels(save(tmp_path / "a.jpg", LESION.astype(np.uint8) * 255))


def test_a_tiff_of_jpeg_tiles_is_lossy_and_a_lossless_webp_is_not(tmp_path: Path) -> None:
    mask = np.kron(LESION, np.ones((16, 16))).astype(np.uint8) * 255
    tifffile.imwrite(tmp_path / "a.tif", mask, compression="jpeg")
    assert decode_mask(tmp_path / "a.tif").notes == {Note.LOSSY}
    path = save(tmp_path / "a.webp", LABELS.astype(np.uint8), lossless=True)
    assert decode_mask(path).notes == set()
    assert_lesion(path)


# --- what a viewer does and a reader does not ---------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "b.tif", "a.webp"])
def test_orientation_notes_turn_nothing(name: str, orientation: int, tmp_path: Path) -> None:
    pixels = LABELS.astype(np.uint8)
    if name.endswith(".tif"):
        tifffile.imwrite(
            tmp_path / name, pixels, compression="zlib" if name == "b.tif" else None,
            extratags=[(274, "H", 1, orientation, True)],
        )  # fmt: skip
    else:
        exif = Image.Exif()
        exif[274] = orientation
        save(tmp_path / name, pixels, exif=exif, lossless=True)
    decoded = decode_image(tmp_path / name)
    shown = decoded.pixels if decoded.pixels.ndim == 2 else decoded.pixels[..., 0]
    np.testing.assert_array_equal(shown, pixels)
    assert decoded.orientation == decode_mask(tmp_path / name).orientation == orientation
    assert (Note.TURNED in decoded.notes) == (orientation != 1)


def test_an_image_whose_white_is_0_is_shown_as_a_viewer_shows_it(tmp_path: Path) -> None:
    pixels = grey(3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), 255 - pixels)
    tifffile.imwrite(tmp_path / "b.tif", pixels > 99, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), (pixels <= 99) * np.uint8(255))


@pytest.mark.parametrize("greatest", [1, 3, 7, 200, 255, 300, 4095, 65535])
def test_a_pgm_gives_its_values_whatever_it_states_as_white(greatest: int, tmp_path: Path) -> None:
    values = np.minimum(LABELS, greatest)
    values[0, 0] = greatest
    head = f"P5 {values.shape[1]} {values.shape[0]} {greatest}\n".encode()
    path = tmp_path / "a.pgm"
    path.write_bytes(head + values.astype(">u2" if greatest > 255 else "u1").tobytes())
    np.testing.assert_array_equal(read_labels(path), values)
    if greatest < 256:
        np.testing.assert_array_equal(
            read_image(path), np.rint(values / greatest * 255).astype(np.uint8)
        )


def test_a_bitmap_in_which_1_is_black_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(LESION).save(tmp_path / "a.pbm")
    with pytest.raises(UnreadableImage, match="1 is black"):
        read_mask(tmp_path / "a.pbm")
    np.testing.assert_array_equal(read_image(tmp_path / "a.pbm"), LESION * np.uint8(255))


# --- refusals ----------------------------------------------------------------------------------


def test_what_lies_where_an_image_should_is_named(tmp_path: Path) -> None:
    for content, message in (
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"Git LFS pointer.*git lfs pull"),
        (b"PK\x03\x04" + bytes(99), "a ZIP archive.*unpack"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"anything", "not the beginning of an image"),
    ):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(UnreadableImage, match=message):
            read_image(tmp_path / "a.png")
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(UnreadableImage, match=r"unreadable \(.*\): see that the file is there"):
            read_image(path)


def test_a_header_that_promises_too_much_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = int(MOST_PIXELS**0.5) + 100
    png, bmp, pgm, tiff = (tmp_path / f"a.{name}" for name in ("png", "bmp", "pgm", "tif"))
    for path in (png, bmp, tiff):
        save(path, grey(1))
    pgm.write_bytes(f"P5 {side} {side} 255\n".encode())
    content = bytearray(png.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    png.write_bytes(content)
    content = bytearray(bmp.read_bytes())
    content[18:26] = side.to_bytes(4, "little") * 2
    bmp.write_bytes(content)
    with tifffile.TiffFile(tiff, mode="r+") as file:
        for tag in (256, 257):
            file.pages[0].tags[tag].overwrite(side)
    for path in (png, bmp, pgm, tiff):
        with pytest.raises(UnreadableImage, match=rf"{side}x{side} pixels, expected at most 89"):
            read_image(path)


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 5}, {"tile": (16, 16)}])
def test_a_tiff_whose_parts_do_not_cover_it_is_not_read_as_black(
    layout: dict[str, Any], compression: str | None, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey(1, 40, 40), compression=compression, **layout)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), grey(1, 40, 40))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags[257].overwrite(60)
    with pytest.raises(
        UnreadableImage, match=r"a TIFF of \d+ strips or tiles, expected 12 for 40x60"
    ):
        read_image(tmp_path / "a.tif")


def test_formats_that_run_programs_are_not_tried(tmp_path: Path) -> None:
    Image.fromarray(grey(1)).save(tmp_path / "a.png", format="EPS")
    with pytest.raises(UnreadableImage, match="unreadable"):
        read_image(tmp_path / "a.png")
