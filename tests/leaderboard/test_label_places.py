"""Names of circles: none covers another or a circle, none leaves the frame, whatever the circles are."""

from __future__ import annotations

import math
import random
from itertools import combinations

import pytest

from leaderboard.label_places import (
    LEADER_FROM,
    RINGS,
    Box,
    Circle,
    place_labels,
    text_width,
)

FRAME = Box(30, 60, 1050, 480)


def scattered(seed: int, count: int, *, spread: float = 1.0) -> tuple[list[Circle], list[float]]:
    draw = random.Random(seed)
    circles = [
        Circle(
            540 + spread * draw.uniform(-470, 470),
            270 + spread * draw.uniform(-180, 180),
            draw.uniform(3, 22),
        )
        for _ in range(count)
    ]
    return circles, [draw.uniform(20, 160) for _ in range(count)]


CASES = {
    "alone": ([Circle(500, 200, 10)], [80.0]),
    "scattered": scattered(1, 40),
    "crowded": scattered(2, 40, spread=0.25),
    "all at one place": ([Circle(500, 200, 12)] * 40, [90.0] * 40),
    "in a row": ([Circle(60 + 22 * n, 300, 9) for n in range(40)], [110.0] * 40),
    "in a corner": ([Circle(55, 85, 22)] * 12, [120.0] * 12),
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def placed(request):
    circles, widths = CASES[request.param]
    return circles, widths, place_labels(circles, widths, FRAME)


def overlap(one: Box, other: Box) -> bool:
    across = min(one.right, other.right) - max(one.left, other.left)
    return across > 0 and min(one.bottom, other.bottom) > max(one.top, other.top)


def apart(box: Box, circle: Circle) -> float:
    """Between a box and a circle, by points on its edge: an oracle of another kind than the search's."""
    shares = [n / 30 for n in range(31)]
    edge = [
        (box.left + s * (box.right - box.left), y) for s in shares for y in (box.top, box.bottom)
    ]
    edge += [
        (x, box.top + s * (box.bottom - box.top)) for s in shares for x in (box.left, box.right)
    ]
    return min(math.hypot(x - circle.x, y - circle.y) for x, y in edge) - circle.radius


def test_every_name_has_a_place_as_wide_as_it_is_inside_the_frame(placed):
    circles, widths, labels = placed
    assert len(labels) == len(circles)
    for width, label in zip(widths, labels, strict=True):
        assert label.box.right - label.box.left == pytest.approx(width)
        assert label.box.left >= FRAME.left
        assert label.box.right <= FRAME.right
        assert label.box.top >= FRAME.top
        assert label.box.bottom <= FRAME.bottom
        assert label.box.left <= label.x <= label.box.right


def test_no_name_covers_another(placed):
    for one, other in combinations([label.box for label in placed[2]], 2):
        assert not overlap(one, other)


def test_no_name_covers_a_circle(placed):
    circles, _, labels = placed
    for label in labels:
        assert min(apart(label.box, circle) for circle in set(circles)) > 0
        for circle in set(circles):  # nor holds one
            assert not (
                label.box.left < circle.x < label.box.right
                and label.box.top < circle.y < label.box.bottom
            )


def test_a_name_away_from_its_circle_has_a_line_to_it(placed):
    circles, _, labels = placed
    for circle, label in zip(circles, labels, strict=True):
        if label.leader is None:
            assert apart(label.box, circle) < LEADER_FROM
            continue
        x, y, *end = label.leader
        box = label.box
        assert math.hypot(x - circle.x, y - circle.y) == pytest.approx(circle.radius)
        assert end[0] in (box.left, box.right) or end[1] in (box.top, box.bottom)
        assert (box.left <= end[0] <= box.right, box.top <= end[1] <= box.bottom) == (True, True)


def test_of_circles_that_are_no_crowd_no_line_runs_under_a_name():
    circles, widths = CASES["scattered"]
    labels = place_labels(circles, widths, FRAME)
    leaders = [label.leader for label in labels if label.leader is not None]
    assert leaders
    for x, y, to_x, to_y in leaders:
        for share in (n / 40 for n in range(1, 40)):
            at = (x + share * (to_x - x), y + share * (to_y - y))
            for box in (label.box for label in labels):
                assert not (box.left < at[0] < box.right and box.top < at[1] < box.bottom)


def test_the_same_circles_give_the_same_places(placed):
    circles, widths, labels = placed
    assert place_labels(circles, widths, FRAME) == labels


def test_a_circle_alone_has_its_name_at_its_side():
    [label] = place_labels([Circle(500, 200, 10)], [80.0], FRAME)
    assert label.box.left == pytest.approx(510, abs=RINGS[0])
    assert (label.anchor, label.leader) == ("start", None)


def test_a_name_keeps_off_the_lines_of_the_plot_where_it_can():
    [label] = place_labels([Circle(500, 200, 5)], [80.0], FRAME, [(300.0, 200.0, 900.0, 200.0)])
    assert label.box.bottom <= 200 or label.box.top >= 200


def test_where_there_is_no_room_a_name_is_left_out_and_the_others_stay():
    small = Box(0, 0, 200, 60)
    labels = place_labels([Circle(100, 30, 8)] * 40, [60.0] * 40, small)
    named = [label for label in labels if label is not None]
    assert 0 < len(named) < 40
    for one, other in combinations(named, 2):
        assert not overlap(one.box, other.box)


def test_a_name_in_letters_that_are_not_known_gets_the_widest_room():
    assert text_width("肝臓") >= text_width("MM") > text_width("il")
    assert text_width("") == 0
