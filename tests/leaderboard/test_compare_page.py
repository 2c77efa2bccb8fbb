"""Two to four rows beside each other: what the data hold, and the page in a real browser."""

from __future__ import annotations

import json
import re
from itertools import combinations

import pytest

from leaderboard import compare_data, compare_page
from leaderboard.downloads import row_key
from leaderboard.row_pairs import compared_benchmarks

BROWSER = pytest.mark.browser
FIRST = "table[data-table='six-localisation'] tr[data-source='measured']"


def data_of(folder, name):
    text = (folder / "data" / "compare" / f"{name}.js").read_text()
    assert text.isascii()
    return json.loads(text.partition(" = ")[2].partition("] = ")[2].rstrip(";\n"))


def stored(material, benchmark, metric, one, other):
    """The stored difference of two entries, the one less the other, with its interval."""
    for column in material.comparisons[benchmark].columns:
        for each in column.differences if column.metric == metric else ():
            if (each.one, each.other) == (one, other):
                return each.difference, each.low, each.high, each.verdict
            if (each.one, each.other) == (other, one):
                turned = {"one": "other", "other": "one"}.get(each.verdict, each.verdict)
                return -each.difference, -each.high, -each.low, turned
    raise AssertionError((one, other))


def test_the_data_hold_every_stored_difference_and_verdict(example_site, example_material):
    data = data_of(example_site, "brain")
    metric = [each["title"] for each in data["metrics"]].index("PRO")
    known, numbers = data["pairs"][metric]["known"], data["pairs"][metric]["numbers"]
    compared = 0
    for at, (one, other) in enumerate(combinations(data["methods"], 2)):
        if known[at] == "?":
            assert (
                one["unranked"]
                or other["unranked"]
                or "NA" in (one["values"][metric][0], other["values"][metric][0])
            )
            continue
        *told, verdict = stored(example_material, "brain", "pixel_pro", one["key"], other["key"])
        assert numbers[3 * at : 3 * at + 3] == [round(10_000 * number) for number in told]
        assert {"one": "+", "other": "-"}.get(verdict, known[at]) == known[at]
        assert (verdict == "undecided") == (known[at] in "=~")
        compared += 1
    assert compared >= 15


def test_rows_that_take_no_rank_stand_with_their_local_differences_and_say_so(example_site):
    data = data_of(example_site, "demo")
    assert all(each["label"].endswith("(unranked)") for each in data["methods"])
    assert {each["unranked"] for each in data["methods"]} == {"demonstration pack"}
    assert "?" not in data["pairs"][0]["known"]
    assert all(number is not None for number in data["pairs"][0]["numbers"])


def test_of_a_hidden_pack_verdicts_are_told_and_no_difference(example_site):
    data = data_of(example_site, "harbour-ct")
    assert set(data["pairs"][0]["known"]) <= set("+-=")
    assert {number for pair in data["pairs"] for number in pair["numbers"]} == {None}
    for each in data["methods"]:
        assert (each["params"], each["command"], each["curves"]) == ({}, "", None)
    pairs = (example_site / "compare" / "harbour-ct.html").read_text()
    assert not re.search(r"<td>[^<]*\d\.\d", pairs)


def test_a_board_that_is_too_large_loses_curves_then_metrics_then_rows_and_says_so(
    example_material, monkeypatch
):
    whole = len(script(example_material, "brain"))
    said = []
    for most in (whole - 1, whole // 2, 20_000, 9_000):
        monkeypatch.setattr(compare_data, "MOST_BYTES", most)
        text = script(example_material, "brain")
        assert len(text) <= most
        said.append(json.loads(text.partition("] = ")[2].rstrip(";\n"))["leftOut"])
    assert "bands of the curves" in said[0]
    assert "metrics" in said[2]
    assert "rows" in said[3]


def script(material, name):
    compared = next(each for each in compared_benchmarks(material) if each.name == name)
    runs = {}
    for record in material.records:
        runs.setdefault(row_key(record), []).append(record)
    beside = compare_data.Beside(None, "", "", "")
    return compare_data.compare_script(compared, beside, material, runs, {}).text


def test_a_table_of_pairs_has_every_pair_once_or_those_of_the_first_rows(
    example_material, monkeypatch
):
    brain = next(each for each in compared_benchmarks(example_material) if each.name == "brain")
    count = len(brain.members)
    monkeypatch.setattr(compare_page, "MOST_PAIRS", count * (count - 1) // 2)
    assert compare_page._most_rows(count) == count
    monkeypatch.setattr(compare_page, "MOST_PAIRS", count * (count - 1) // 2 - 1)
    assert compare_page._most_rows(count) == count - 1


# ---- in a browser ------------------------------------------------------------------------


@BROWSER
def test_two_methods_are_compared_with_a_verdict_in_two_clicks(
    visit, example_site, example_material
):
    page = visit().open(example_site / "index.html")
    row = page.locator(FIRST).filter(has=page.locator(".name", has_text="Heron")).first
    row.get_by_role("checkbox", name="Compare Heron").click()
    page.get_by_role("link", name="Compare with all others").click()
    page.wait_for_selector("#compared table")
    assert page.url.partition("#")[2].startswith("m=heron")
    cell = page.locator("#compared tr", has_text="Otter").locator("td").nth(2).inner_text()
    difference, low, high, verdict = stored(
        example_material, "brain", "pixel_pro", "heron", "otter"
    )
    assert verdict == "one"
    assert cell == (
        f"Heron is better than Otter by {100 * difference:.2f} points"
        f" [{100 * low:.2f}, {100 * high:.2f}]."
    )


@BROWSER
def test_four_rows_at_most_are_ticked_and_the_bar_leads_to_them(visit, example_site):
    page = visit(viewport={"width": 390, "height": 844}).open(example_site / "index.html")
    boxes = page.locator(f"{FIRST} .choose input")
    for n in range(4):
        boxes.nth(n).focus()
        page.keyboard.press("Space")  # no mouse is needed
    assert boxes.nth(4).is_disabled()
    page.select_option("[name=bench]", "liver")
    page.get_by_role("link", name="Compare 4").click()
    page.wait_for_selector("#compared table")
    assert page.input_value("#choice [name=b]") == "liver"
    assert len(page.locator(".verdict-list").all()) == 6
    page.select_option("#choice [name=m3]", "")
    page.wait_for_function("document.querySelectorAll('.verdict-list').length === 3")
    assert page.url.count(",") + page.url.count("%2C") == 2


@BROWSER
def test_everything_of_two_rows_stands_beside_each_other(visit, example_site):
    page = visit().open(example_site / "compare.html", "m=heron,otter&b=brain")
    page.wait_for_selector("#compared table")
    heads = page.locator("#compared h2").all_inner_texts()
    assert heads == [
        "Verdict", "Metrics", "Differences", "Curves", "The same images", "Cost",
        "Hyper-parameters that differ", "Rerun",
    ]  # fmt: skip
    assert page.locator("#compared .overlaid polyline[data-s='1']").count() == 5
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.evaluate("Promise.allSettled([...document.images].map(image => image.decode()))")
    assert page.locator(".full-size img").count() == 21
    assert page.evaluate(
        "[...document.images].every(i => i.naturalWidth === Number(i.getAttribute('width')))"
    )
    assert "harness.evaluate baselines/otter" in page.locator(".command").nth(1).inner_text()


@BROWSER
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("m=nobody,heron&b=brain", "No row here is called “nobody”"),
        ("m=heron&b=atlantis", "No benchmark here is called “atlantis”"),
        ("m=otter,heron&b=demo", "Otter has no result on Demonstration pack; it has on Brain MRI"),
        ("m=heron,otter,nightjar,birchbark,kestrel-ad&b=brain", "Four rows are the most; Kestrel-AD"),
        ("m=%3Cscript%3Ealert(1)%3C/script%3E", "No row here is called “<script>alert(1)</script>”"),
        ("m=__proto__,heron&b=constructor", "No row here is called “__proto__”"),
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_answered_in_words(visit, example_site, address, said):
    page = visit().open(example_site / "compare.html", address)
    assert said in page.locator("#told").inner_text()


@BROWSER
def test_a_comparison_is_copied_as_link_latex_markdown_and_bibtex(visit, example_site):
    page = visit().open(example_site / "compare.html", "m=heron,otter&b=brain")
    page.wait_for_selector(".copy-row")
    page.evaluate(
        "document.addEventListener('copy', () => { window.copied = String(getSelection()); })"
    )
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    copied = {}
    for name in ("link", "LaTeX", "Markdown", "BibTeX"):
        page.get_by_role("button", name=f"Copy {name}").click()
        copied[name] = page.evaluate("copied")
    assert copied["link"] == page.url
    assert "Metric & Heron & Otter & Heron less Otter \\\\" in copied["LaTeX"]
    rows = [line for line in copied["LaTeX"].splitlines() if line.endswith("\\\\")]
    assert {line.count("&") for line in rows} == {3}
    assert "% PRO: Heron is better than Otter by" in copied["LaTeX"]
    assert "made-up data" in copied["LaTeX"]
    table = [line for line in copied["Markdown"].splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in table} == {3}
    assert re.findall(r"@misc\{([^,]*),", copied["BibTeX"]) == [
        "heron-brain", "otter-brain", "pack-brain", "harness-0000000000",
    ]  # fmt: skip


@BROWSER
def test_without_scripts_the_pairs_and_their_verdicts_are_there(
    visit, example_site, example_material
):
    visited = visit(java_script_enabled=False)
    page = visited.open(example_site / "compare.html")
    assert page.is_hidden("#choice")
    assert page.locator(".of-benchmark table.pairs").count() == 8
    page.locator(".of-benchmark[data-b=brain] > p a").click()
    difference, low, high, _ = stored(example_material, "brain", "pixel_pro", "heron", "otter")
    row = page.locator("tr", has_text="Heron and Otter")
    assert row.locator("td").nth(2).inner_text() == (
        f"Heron by {100 * difference:.2f} [+{100 * low:.2f}, +{100 * high:.2f}]"
    )
