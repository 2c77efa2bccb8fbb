"""Charts as inline SVG: colours of the page, no noise, nobody's text taken for markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from harness.board.rows import summarise
from harness.board.site_data import BandedCurve
from harness.common.statuses import Status
from leaderboard import axes, charts, sparks
from leaderboard.cost_plot import cost_plot
from leaderboard.figures import CURVES, Line, curve_figures

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
        cost_plot("cost", "brain", rows).figure,
        *curve_figures("brain", [line("a", BAD), line("b")]),
    ]


def test_a_chart_is_one_well_formed_drawing_with_a_title(figures):
    for figure in figures:
        root = ElementTree.fromstring(str(figure.svg))
        assert root.tag == "svg"
        # A screen reader does not look into a picture, and the cost plot has links.
        assert root.get("role") == ("group" if root.findall(".//a") else "img")
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
    assert cost_plot("cost", "brain", rows) is None


def test_the_bars_of_places_are_as_high_as_their_shares():
    drawn = str(sparks.places((0.75, 0.25, 0.001)))
    heights = [float(h) for h in re.findall(r"v-([\d.]+)", drawn)]
    assert heights == [0.75 * (sparks.PLACES_HEIGHT - 2), 0.25 * (sparks.PLACES_HEIGHT - 2)]
    assert sparks.places(()) == ""


@pytest.fixture
def costed(make_record):
    """Rows of (entry, image AUROC, seconds) as the plot of their cost."""

    def made(*runs, **options):
        records = [
            make_record(
                entry=entry, title=entry, metrics={("image_auroc", None): auroc},
                median_seconds=seconds, **options,
            )
            for entry, auroc, seconds in runs
        ]  # fmt: skip
        return cost_plot("cost", "brain", summarise(records))

    return made


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
    plot = cost_plot("cost", "brain", rows)
    assert [(each.title, each.auroc, each.seconds) for each in plot.front] == [
        ("fast", "70.00", "0.010"), ("slow", "90.00", "0.100"),
    ]  # fmt: skip
    assert [line.title for line in plot.lines] == ["grey", "fast", "even", "slow", "slower"]


def circles_of(plot):
    root = ElementTree.fromstring(str(plot.figure.svg))
    return {
        link.find("title").text.partition(",")[0]: [
            float(link.find("circle").get(name)) for name in ("cx", "cy", "r")
        ]
        for link in root.iter("a")
    }


def test_a_circle_stands_at_its_seconds_and_auroc(costed):
    found = circles_of(costed(("a", 0.6, 0.01), ("b", 0.7, 0.1), ("c", 0.9, 1.0)))
    (ax, ay, _), (bx, by, _), (cx, cy, _) = found["a"], found["b"], found["c"]
    assert bx - ax == pytest.approx(cx - bx, abs=0.2)  # ten times the seconds, twice
    assert (by - cy) == pytest.approx(2 * (ay - by), abs=0.2)  # twice the points, upwards


def test_a_circle_leads_to_its_entry_from_every_page(costed):
    figure = costed(("a", 0.6, 0.01)).figure
    assert re.findall(r'href="([^"]*)"', figure.at("")) == ["entries/a.html"]
    assert re.findall(r'href="([^"]*)"', figure.at("../")) == ["../entries/a.html"]


def test_no_name_of_an_entry_makes_a_link_of_its_own(costed):
    for name in ("javascript:alert(1)", '"><a href="javascript:alert(1)">x', "../../etc/passwd"):
        figure = costed((name, 0.6, 0.01)).figure
        [link] = ElementTree.fromstring(str(figure.at("../"))).iter("a")
        assert re.fullmatch(r"\.\./entries/[a-z0-9._-]+\.html", link.get("href")), name
        assert not link.get("href").startswith("../entries/.")


def test_forty_equal_rows_are_forty_circles_with_their_names(costed):
    plot = costed(*((f"method-{n}", 0.9, 0.1) for n in range(40)))
    links = list(ElementTree.fromstring(str(plot.figure.svg)).iter("a"))
    assert {link.find("text").text for link in links} == {f"method-{n}" for n in range(40)}
    assert plot.unnamed == 0


def test_a_run_that_took_no_measurable_time_is_not_on_a_logarithmic_scale(costed):
    assert costed(("a", 0.9, 0.0)) is None


@pytest.mark.parametrize(
    ("values", "is_log", "ticks"),
    [
        ([0, 800], False, (0, 200, 400, 600, 800)),
        ([0.11, 0.93], False, (0.2, 0.4, 0.6, 0.8)),
        ([-3, 2], False, (-3, -2, -1, 0, 1, 2)),
        ([0.002, 3], True, (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)),
    ],
)
def test_ticks_are_round_and_on_the_scale(values, is_log, ticks):
    made = axes.scale(values, 0, 100, is_log=is_log)
    assert made.ticks == pytest.approx(ticks)
    assert [made.at(values[0]), made.at(values[1])] == pytest.approx([0, 100])


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("value", [1e-9, 0.5, 1.0, 1e12])
def test_a_single_value_stands_in_the_middle(value, is_log):
    made = axes.scale([value, value], 0, 100, room=10, is_log=is_log)
    assert made.at(value) == pytest.approx(50)
    assert made.low < value < made.high


def test_room_is_left_at_both_ends_and_no_tick_stands_above_what_can_be():
    made = axes.scale([50, 100], 200, 0, room=20, most=100)
    assert (made.at(50), made.at(100)) == pytest.approx((180, 20))
    assert made.high > 100 >= max(made.ticks)
