"""Hits, misses and false alarms: each where it is, in a colour and a line of its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from harness.board.outlines import FALSE_ALARM, HIT, MISSED, Line, boundaries, outlined

GREY = np.full((256, 256, 3), 110, np.uint8)
KINDS = (HIT, MISSED, FALSE_ALARM)


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((256, 256), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def drawn_in(picture: np.ndarray, line: Line) -> np.ndarray:
    """Pixels that are nearly of this colour."""
    return np.abs(picture.astype(int) - line.colour).max(axis=2) < 40


NOTHING = np.zeros((256, 256), np.bool_)
REGION = box(60, 180, 80, 190)
EDGE = ndimage.binary_dilation(REGION, iterations=4) & ~ndimage.binary_erosion(REGION, iterations=4)


@pytest.mark.parametrize(
    ("lesion", "found", "kind"),
    [(REGION, REGION, HIT), (REGION, NOTHING, MISSED), (NOTHING, REGION, FALSE_ALARM)],
    ids=["hit", "missed", "false alarm"],
)
def test_each_kind_lies_on_its_edge_alone_and_no_other_is_drawn(lesion, found, kind) -> None:
    picture = outlined(GREY, lesion, found)
    line = drawn_in(picture, kind)
    assert line.any()
    assert not (line & ~EDGE).any()
    assert (picture[~EDGE] == 110).all()
    assert not any(drawn_in(picture, other).any() for other in KINDS if other is not kind)


def test_the_lines_differ_without_their_colours() -> None:
    pieces = []
    for lesion, found, kind in (
        (REGION, REGION, HIT), (REGION, NOTHING, MISSED), (NOTHING, REGION, FALSE_ALARM),
    ):  # fmt: skip
        line = drawn_in(outlined(GREY, lesion, found), kind)
        _, number = ndimage.label(line, np.ones((3, 3)))
        pieces.append((number, line.sum()))
    (solid, _), (dashed, dash_area), (dotted, dot_area) = pieces
    assert solid == 1
    assert 10 < dashed < dotted / 2
    assert dash_area / dashed > 2 * dot_area / dotted


def test_a_lesion_that_is_found_in_part_shows_all_three() -> None:
    picture = outlined(GREY, box(60, 180, 60, 140), box(60, 180, 100, 200))
    assert drawn_in(picture, MISSED)[:, :98].any()
    assert drawn_in(picture, FALSE_ALARM)[:, 150:].any()
    assert drawn_in(picture, HIT)[:, 97:143].any()


def test_boundaries_go_round_every_part_and_every_hole_once() -> None:
    draw = np.random.default_rng(0)
    region = draw.random((20, 30)) < 0.4
    inside = np.pad(region, 1).astype(int)
    edges = np.abs(np.diff(inside, axis=0)).sum() + np.abs(np.diff(inside, axis=1)).sum()
    loops = list(boundaries(region))
    assert sum(map(len, loops)) == edges
    area = 0.0
    for loop in loops:
        steps = np.abs(np.diff(np.concatenate([loop, loop[:1]]), axis=0)).sum(axis=1)
        assert (steps == 1).all()  # closed, along the pixels' edges
        x, y = loop.T
        area += (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
    assert area == region.sum()  # shoelace: holes turn the other way


def test_a_region_of_one_pixel_is_drawn_and_an_empty_one_is_not() -> None:
    assert drawn_in(outlined(GREY, box(9, 10, 9, 10), NOTHING), MISSED).any()
    assert (outlined(GREY, NOTHING, NOTHING) == GREY).all()
