"""Grey values: scaling, the colour map, equalisation; each against another way to compute it."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.benchmarks.prepare.grey import bone_map, equalised, lesion_mask, to_grey

# The published definition of `bone`: corners of a piecewise-linear curve a channel.
BONE = (
    (("0", "0"), ("0.746032", "0.652778"), ("1", "1")),
    (("0", "0"), ("0.365079", "0.319444"), ("0.746032", "0.777778"), ("1", "1")),
    (("0", "0"), ("0.365079", "0.444444"), ("1", "1")),
)


def exact(corners: tuple[tuple[str, str], ...], index: int) -> int:
    x = Fraction(index, 255)
    points = [(Fraction(a), Fraction(b)) for a, b in corners]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return int((y0 + (x - x0) / (x1 - x0) * (y1 - y0)) * 255)
    raise AssertionError


def test_the_colour_map_is_its_published_definition() -> None:
    table = bone_map()
    assert table.shape == (256, 3)
    for index in range(256):
        assert table[index].tolist() == [exact(corners, index) for corners in BONE]
    known = {0: [0, 0, 0], 64: [56, 55, 77], 128: [112, 123, 143], 255: [255, 255, 255]}
    assert {index: table[index].tolist() for index in known} == known


def test_the_colour_map_is_the_one_that_the_release_was_drawn_with() -> None:
    colormaps = pytest.importorskip("matplotlib").colormaps
    drawn = colormaps["bone"](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_array_equal(bone_map(), drawn)


def test_a_slice_is_scaled_to_its_own_range() -> None:
    values = np.array([[-5, 0], [5, 15]], np.int16)
    # 256 * (v - min) / 20, truncated, at most 255
    assert to_grey(values).tolist() == [[0, 64], [128, 255]]


def test_a_constant_slice_becomes_black() -> None:
    assert not to_grey(np.full((3, 3), 1000, np.int16)).any()


@given(arrays.arrays(np.int16, (4, 5)))
def test_whole_numbers_are_scaled_without_rounding(values: np.ndarray) -> None:
    low, high = int(values.min()), int(values.max())
    expected = [
        [min(255, 256 * (int(v) - low) // (high - low)) if high > low else 0 for v in row]
        for row in values
    ]
    assert to_grey(values).tolist() == expected


@given(arrays.arrays(np.int16, (4, 5), elements=st.integers(-3000, 3000)))
def test_scaled_volumes_give_the_same_grey_as_whole_numbers(values: np.ndarray) -> None:
    np.testing.assert_array_equal(to_grey(values.astype(np.float64)), to_grey(values))


def test_equalisation_of_four_pixels_by_hand() -> None:
    grey = np.array([[0, 10], [10, 20], [30, 40]], np.uint8)
    # counts 2, 1, 1, 1 of N = 5: t = 102, 153, 204, 255; the first is below 150: 0.8 t + 30
    assert equalised(grey).tolist() == [[0, 111], [111, 153], [204, 255]]


def test_equalisation_leaves_black_slices_alone() -> None:
    assert not equalised(np.zeros((4, 4), np.uint8)).any()


@given(arrays.arrays(np.uint8, (5, 6)))
def test_equalisation_is_the_formula_pixel_by_pixel(grey: np.ndarray) -> None:
    values = grey.reshape(-1).tolist()
    total = sum(value > 0 for value in values)
    expected = []
    for value in values:
        below = sum(0 < other <= value for other in values)
        level = 255 * below // total if value and total else 0
        expected.append((4 * level + 150) // 5 if 1 <= level < 150 else level)
    assert equalised(grey).reshape(-1).tolist() == expected


def test_lesions_are_the_named_labels_or_all() -> None:
    labels = np.array([[0, 1, 2, 4]])
    assert lesion_mask(labels).tolist() == [[False, True, True, True]]
    assert lesion_mask(labels, 2).tolist() == [[False, False, True, False]]
