"""Drawing: sizes, the colour scale, and contours that lie on the lesion's edge."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from harness.board import pictures


@pytest.mark.parametrize(
    ("shape", "fitted"),
    [
        ((512, 1024), (256, 512)), ((1024, 512), (512, 256)), ((128, 128), (256, 256)),
        ((3, 1800), (1, 512)), ((240, 200), (256, 213)), ((300, 240), (300, 240)),
    ],
)  # fmt: skip
def test_the_longer_side_of_a_picture_is_the_images_own_from_256_to_512(shape, fitted):
    assert pictures.fitted_size(*shape) == fitted
    assert pictures.reduced(np.zeros(shape, np.float16)).shape == fitted
    assert pictures.shown_image(np.zeros(shape, np.uint8)).shape == (*fitted, 3)


def test_a_reduced_map_keeps_the_mean_of_the_area_that_a_pixel_covers():
    values = np.arange(1024 * 1024, dtype=np.float32).reshape(1024, 1024)
    blocks = values.reshape(512, 2, 512, 2).mean(axis=(1, 3))
    assert np.allclose(pictures.reduced(values), blocks, rtol=1e-6)


def test_the_ends_of_the_scale_are_the_ends_of_the_run():
    drawn = pictures.heat_map(np.array([[-5.0, 2.0, 4.0, 9.0]]), 2.0, 4.0)
    assert drawn[0, :2].tolist() == [list(pictures.SCALE[0])] * 2
    assert drawn[0, 2:].tolist() == [list(pictures.SCALE[-1])] * 2


def test_a_constant_run_is_drawn_dark():
    drawn = pictures.heat_map(np.full((2, 2), 7.0), 7.0, 7.0)
    assert (drawn == pictures.SCALE[0]).all()


def test_brightness_rises_along_the_scale_so_that_it_reads_in_grey():
    luma = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in pictures.SCALE]
    assert all(b > a for a, b in pairwise(luma))


def test_the_sites_colour_bar_has_the_same_stops(repository):
    css = (repository / "leaderboard/static/site.css").read_text()
    bar = re.search(r"linear-gradient\(to right, (.*?)\);", css)[1]
    stops = [tuple(map(int, stop.split())) for stop in re.findall(r"rgb\(([\d ]+)\)", bar)]
    assert stops == list(pictures.SCALE)


def test_a_contour_lies_inside_the_edge_and_its_halo_outside():
    mask = np.zeros((256, 256), np.bool_)
    mask[60:120, 80:200] = True
    drawn = pictures.with_contour(np.full((256, 256, 3), 90, np.uint8), mask, (255, 0, 0))
    line = (drawn == (255, 0, 0)).all(axis=2)
    halo = (drawn == (0, 0, 0)).all(axis=2)
    assert line[mask].sum() == line.sum() > 0
    assert line[60, 100]
    assert not line[90, 140]
    assert halo[59, 100]
    assert (drawn[90, 140] == 90).all()


def test_a_lesion_smaller_than_a_shown_pixel_is_still_outlined():
    mask = np.zeros((2048, 2048), np.bool_)
    mask[1000, 1000] = True
    plain = np.zeros((512, 512, 3), np.uint8)
    assert (pictures.with_contour(plain, mask, (255, 0, 0)) == (255, 0, 0)).all(axis=2).any()


def test_a_picture_is_a_small_webp_file():
    content = pictures.webp(np.zeros((256, 256, 3), np.uint8))
    assert Image.open(io.BytesIO(content)).format == "WEBP"
    assert len(content) < 2000
