"""Charts as inline SVG: colours of the page, no noise, nobody's text taken for markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from harness.board.rows import summarise
from harness.board.site_data import BandedCurve
from harness.common.statuses import Status
from leaderboard import charts, sparks
from leaderboard.figures import CURVES, Line, cost_figure, cost_front, curve_figures

BAD = '</title><script>alert(1)</script> "#010101" & x'


def line(name, title="A", grid=None, kind="roc"):
    curve = BandedCurve(
        kind, grid, (0.0, 0.2, 1.0), (0.0, 0.8, 1.0), (0.0, 1.0), (0.0, 0.9), (0.1, 1.0)
    )
    return Line(name=name, title=title, page="entries/a.html", seed=0, curves=(curve,))


@pytest.fixture
def figures(make_record):
    rows = summarise([make_record(title=BAD), make_record(entry="b", title="B", gpu_mib=None)])
    return [
        cost_figure("cost", "brain", rows),
        *curve_figures("brain", [line("a", BAD), line("b")]),
    ]


def test_a_chart_is_one_well_formed_drawing_with_a_title(figures):
    for figure in figures:
        root = ElementTree.fromstring(str(figure.svg))
        assert root.tag == "svg"
        assert root.get("role") == "img"
        assert root.find("title").text == figure.title
        labelled = root.get("aria-labelledby").split()
        assert [root.find(tag).get("id") for tag in ("title", "desc")] == labelled


def test_no_colour_but_the_pages_own_stands_in_a_chart(figures):
    for figure in figures:
        used = set(re.findall(r'(?:fill|stroke)="([^"]*)"', figure.svg))
        assert all(re.fullmatch(r"none|transparent|var\(--[a-z0-9]+\)", each) for each in used), (
            used
        )
        assert "style=" not in figure.svg


def test_the_page_knows_every_colour_that_a_chart_uses(figures, repository):
    css = (repository / "leaderboard/static/site.css").read_text()
    used = {name for figure in figures for name in re.findall(r"var\(--([a-z0-9]+)\)", figure.svg)}
    used |= {f"s{n}" for n in range(charts.SERIES_COLOURS)}
    for scheme in re.findall(r":root \{(.*?)\}", css, re.S)[:2]:
        assert [name for name in used if f"--{name}:" not in scheme] == []


def test_the_name_of_an_entry_stays_text(figures):
    for figure in figures:
        assert "<script" not in figure.svg


def test_lines_beyond_the_first_five_are_there_and_not_shown_at_first():
    [figure] = curve_figures("brain", [line(f"m{n}") for n in range(7)])
    for place in range(7):
        found = re.findall(rf'data-s="{place}"([^>]*)', figure.svg)
        assert len(found) == 2  # the line and its band
        assert all(('class="off"' in rest) == (place >= 5) for rest in found)


def test_every_kind_of_curve_has_its_own_drawing_with_its_own_key():
    lines = [line("a", grid=grid, kind=kind) for kind, grid in CURVES]
    drawn = curve_figures("brain", lines)
    assert len({figure.key for figure in drawn}) == len(CURVES)


def test_the_same_chart_drawn_twice_has_the_same_bytes(figures, make_record):
    again = curve_figures("brain", [line("a", BAD), line("b")])
    assert [figure.svg for figure in again] == [figure.svg for figure in figures[1:]]


def test_without_times_or_values_there_is_no_cost_figure(make_record):
    rows = summarise([make_record(metrics={("image_auroc", None): None})])
    assert cost_figure("cost", "brain", rows) is None


def numbers(svg):
    return [float(number) for number in re.findall(r"[\d.]+", re.search(r' d="M([^"]*)"', svg)[1])]


def test_a_spark_fills_its_box_and_marks_the_chosen_point():
    drawn = str(sparks.curve([(0, 5.0), (10, 1.0), (20, 3.0)], marked=10))
    xs, ys = numbers(drawn)[::2], numbers(drawn)[1::2]
    assert (min(xs), max(xs)) == (sparks.MARGIN, sparks.WIDTH - sparks.MARGIN)
    assert (min(ys), max(ys)) == (sparks.MARGIN, sparks.HEIGHT - sparks.MARGIN)
    assert f'cx="{xs[1]:.1f}"' in drawn


@pytest.mark.parametrize("points", [[], [(1, 2.0)]])
def test_too_few_points_make_no_spark(points):
    assert sparks.curve(points) == ""


def test_the_bars_of_places_are_as_high_as_their_shares():
    drawn = str(sparks.places((0.75, 0.25, 0.001)))
    heights = [float(h) for h in re.findall(r"v-([\d.]+)", drawn)]
    assert heights == [0.75 * (sparks.PLACES_HEIGHT - 2), 0.25 * (sparks.PLACES_HEIGHT - 2)]
    assert sparks.places(()) == ""


def test_the_front_holds_what_nothing_beats_in_both_and_no_trivial_row(make_record):
    def run(entry, auroc, seconds, **options):
        metrics = {("image_auroc", None): auroc}
        return make_record(
            entry=entry, title=entry, metrics=metrics, median_seconds=seconds, **options
        )

    rows = summarise(
        [
            run("fast", 0.7, 0.01), run("slow", 0.9, 0.1), run("slower", 0.85, 0.2),
            run("even", 0.7, 0.02), run("grey", 0.65, 0.001, metadata={"family": "trivial"}),
            run("failed", 0.99, 0.01, status=Status.CRASHED),
        ]
    )  # fmt: skip
    assert [(each.title, each.told) for each in cost_front(rows)] == [
        ("fast", "70.00, 0.010 s"), ("slow", "90.00, 0.100 s"),
    ]  # fmt: skip
