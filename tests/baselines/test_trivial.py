"""The trivial baselines: what they measure, and that each is a row."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from baselines.kit.trivial import STATISTICS, grey
from harness.entries.opening import open_folder

from .conftest import BASELINES, open_baseline


def test_each_statistic_is_a_folder_and_each_folder_a_statistic() -> None:
    folders = {path.name.removeprefix("trivial-") for path in BASELINES.glob("trivial-*")}
    assert folders == set(STATISTICS)


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_a_row_answers_with_its_statistic_and_no_map(name: str) -> None:
    folder = BASELINES / f"trivial-{name}"
    table = open_folder(folder).table
    assert (table.family, table.trains, table.maps) == ("trivial", False, False)
    model = open_baseline(folder).make()
    image = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    assert model.predict(image) == (None, STATISTICS[name](image))


def test_grey_is_pillows_luma() -> None:
    colour = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(grey(colour), np.asarray(Image.fromarray(colour).convert("L")))
    np.testing.assert_array_equal(grey(colour[..., 0]), colour[..., 0])


def test_the_numbers_by_hand() -> None:
    image = np.zeros((32, 32), np.uint8)
    image[8:24, 8:24] = 100
    image[0] = 255
    measured = {name: one(image) for name, one in STATISTICS.items()}
    assert measured["mean-grey"] == pytest.approx((256 * 100 + 32 * 255) / 1024)
    assert measured["foreground-area"] == (256 + 32) / 1024
    assert measured["border-share"] == 1.0  # the frame, two pixels wide, is black or white
    assert measured["image-size"] == 1024
    assert measured["standard-deviation"] == pytest.approx(float(image.astype(float).std()))
    image[:, 0] = 7
    assert STATISTICS["border-share"](image) == 1 - 32 / (1024 - 28 * 28)


def test_a_colour_image_is_lit_where_one_channel_is() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, 0, 2] = 1
    assert STATISTICS["foreground-area"](image) == 1 / 16
