"""Pages of other regimes: what stands where, what is said of a difference, and that nothing is mixed."""

from __future__ import annotations

import csv
import json
import re

import pytest

from harness.board.overall_ranks import not_above_trivial
from harness.board.rows import summarise
from harness.board.site_data import OtherRegimes, is_trivial
from harness.board.suite_rows import whole_rows
from tests.leaderboard.test_builder import Page


def cells(path, row):
    """The texts of a row's cells by its anchor."""
    html = path.read_text()
    found = re.search(rf'<tr [^>]*id="{re.escape(row)}".*?</tr>', html, re.S)
    assert found, row
    told = re.findall(r"<td.*?</td>", found[0], re.S)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", each)).strip() for each in told]


def test_the_switch_leads_from_every_regime_to_every_other(example_site):
    pages = ["index.html", "unified.html", "few-shot.html", "zero-shot.html"]
    for name in pages:
        html = (example_site / name).read_text()
        (switch,) = re.findall(r'<nav class="regimes" .*?</nav>', html, re.S)
        assert re.findall(r'href="([^"]+)"', switch) == pages
        assert re.findall(r'href="([^"]+)"[^>]*aria-current', switch) == [name]


def test_a_unified_cell_has_its_sibling_and_difference_or_the_reason(
    example_material, example_site
):
    path = example_site / "unified.html"
    mean = cells(path, "unified-3-localisation.heron.trained-here.container")[0]
    found = next(
        each
        for key, differences in example_material.regimes.siblings.items()
        if key[1] == "heron"
        for each in differences
        if (each.member, each.metric) == ("mean", "image_auroc")
    )
    assert f"one-class {100 * found.sibling:.2f}" in mean
    points = f"{100 * found.difference:+.2f}".replace("-", "−")
    assert re.search(rf"Δ {re.escape(points)} \[[−+]?\d+\.\d\d, [−+]?\d+\.\d\d\]", mean)
    lonely = cells(path, "unified-3-localisation.nightjar.trained-here.container")
    assert "Δ NA: brain: no one-class run with images of 256x256" in lonely[0]
    assert any(each.endswith("Δ NA: no one-class run with images of 256x256") for each in lonely)


def test_the_main_table_is_the_same_with_and_without_other_regimes(make_record, build_site):
    usual = [make_record(), make_record(seed=1)]
    few = make_record(regime={"name": "few-shot", "shots": 4}, mark="few")
    before = (build_site(usual, name="a") / "index.html").read_text()
    regimes = OtherRegimes(rows=whole_rows([few]), records=(few,))
    after = (build_site(usual, name="b", regimes=regimes) / "index.html").read_text()
    tables = [re.findall(r"<table.*?</table>", html, re.S) for html in (before, after)]
    assert tables[0]
    assert tables[0] == tables[1]


def test_a_few_shot_row_stands_on_its_pages_and_is_marked_nowhere_as_one_class(
    make_record, build_site
):
    few = make_record(regime={"name": "few-shot", "shots": 4}, mark="few")
    site = build_site([], regimes=OtherRegimes(rows=whole_rows([few]), records=(few,)), paper=())
    assert "PatchCore" in " ".join(Page((site / "few-shot-4.html").read_text()).text)
    assert "PatchCore" in (site / "benchmarks/brain--regimes.html").read_text()
    assert "PatchCore" not in (site / "index.html").read_text()
    entry = (site / "entries/patchcore--few-shot.html").read_text()
    assert "Brain MRI, few-shot, k = 4" in entry
    assert "--train shots:4" in entry
    assert (site / "entries/patchcore.html").is_file()  # what links to the entry arrives


def test_each_part_of_a_suite_has_a_bar_of_its_own(example_material):
    material = example_material
    bars = {
        member: row
        for whole in material.regimes.rows
        if is_trivial(whole.row.metadata)
        for member, row in whole.parts
    }
    assert {*bars} == {"brain", "liver", "resc", "mean", None}
    # What is pooled and what is a mean stand in one place, and share no metric.
    assert not {m.id for m in bars["mean"].metrics} & {m.id for m in bars[None].metrics}
    marked = set()
    for whole in material.regimes.rows:
        for member, row in whole.parts if whole.row.regime.name == "unified" else ():
            for metric in row.metrics:
                bar = bars[member].metric(metric.id, metric.grid)
                if metric.grid == "paper" or metric.mean is None or bar is None or bar.mean is None:
                    continue
                key = (row.place, row.entry, row.track, metric.id)
                is_marked = key in material.not_above_trivial
                assert is_marked == (metric.mean <= bar.mean), key
                marked.add(is_marked)
    assert False in marked


def test_what_does_not_beat_a_trivial_baseline_is_marked_in_other_regimes_too(
    make_record, build_site
):
    one = ("image_auroc", None)
    grey = make_record(
        entry="grey", title="Mean grey", metrics={one: 0.6}, metadata={"family": "trivial"},
        regime={"name": None},
    )  # fmt: skip
    few = make_record(metrics={one: 0.6}, regime={"name": "few-shot", "shots": 4}, mark="few")
    rows = whole_rows([few])
    below = not_above_trivial((*summarise([grey]), *(whole.row for whole in rows)))
    regimes = OtherRegimes(rows=rows, records=(few,))
    site = build_site([grey], regimes=regimes, not_above_trivial=below)
    marked = cells(
        site / "few-shot-4.html", "shots-4-localisation.patchcore.trained-here.container"
    )
    assert "no better than Mean grey" in marked[0]
    assert "no better than Mean grey" in (site / "benchmarks/brain--regimes.html").read_text()
    assert "Trivial baselines, ▽" in (site / "few-shot-4.html").read_text()


def test_the_curve_has_its_numbers_in_a_table(example_site):
    html = (example_site / "few-shot.html").read_text()
    assert html.count('<div class="few-shot">') == 2
    head = re.search(r"Images</th>(.*?)</tr>", html)
    assert re.findall(r">(\w+)</th>", head[1]) == ["1", "2", "4", "8", "16", "all"]
    assert "<td>NA<small>not applicable</small></td>" in html


def test_downloads_tell_regime_and_member(example_site):
    with (example_site / "data/leaderboard.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    unified = [line for line in lines if line["regime"] == "unified"]
    assert {line["member"] for line in unified} == {"brain", "liver", "resc", "mean", ""}
    assert {line["suite"] for line in unified} == {"unified-3"}
    heron = [
        each for each in unified if each["entry"] == "heron" and each["metric"] == "image_auroc"
    ]
    for line in heron:
        difference = float(line["mean"]) - float(line["one_class"])
        assert difference == pytest.approx(float(line["one_class_difference"]))
        assert float(line["one_class_low"]) < difference < float(line["one_class_high"])
    assert {line["shots"] for line in lines if line["regime"] == "few-shot"} == {"1", "2", "4", "8", "16"}  # fmt: skip
    content = json.loads((example_site / "data/leaderboard.json").read_text())
    assert {row.get("member") for row in content["rows"]} >= {"brain", "mean", None}
    assert content["siblings"][0].keys() >= {"place", "member", "difference", "low", "reason"}


@pytest.mark.browser
def test_filters_and_their_address_work_on_the_page_of_a_regime(visit, example_site):
    page = visit().open(example_site / "unified.html", "bench=mean&q=heron")
    table = "table[data-table='unified-3-localisation']"
    assert page.locator(f"{table} tbody tr:not([hidden])").count() == 1
    assert page.locator(f"{table} th[data-group]:not([hidden])").count() == 1
    page.click(".regimes a:has-text('Few-shot')")
    assert page.url.endswith("few-shot.html#bench=mean&q=heron")
    page.click(".steps a:has-text('k = 4')")
    assert page.locator("h1").inner_text() == "A few normal images"


@pytest.mark.browser
def test_pages_of_regimes_fit_a_phone_and_need_no_script(visit, example_site):
    options = {"viewport": {"width": 390, "height": 800}}
    for name in ("unified", "few-shot", "few-shot-1", "zero-shot", "benchmarks/brain--regimes"):
        page = visit(java_script_enabled=False, **options).open(example_site / f"{name}.html")
        assert page.locator("nav.regimes").first.is_visible()
        assert page.locator("table").first.is_visible()
    page = visit(**options).open(example_site / "unified.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
