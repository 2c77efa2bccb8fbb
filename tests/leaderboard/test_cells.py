"""What is behind every value: its address, its line on the entry's page, its panel in a browser."""

from __future__ import annotations

import itertools
import json
import re
from html import unescape

import pytest

from harness.common.statuses import Status
from leaderboard import cell_panels
from leaderboard.cells import Cell
from leaderboard.smaller_svg import smaller

BROWSER = pytest.mark.browser
MOST_BYTES = 300_000
VALUE = re.compile(r'<td[^>]*>(?:<b [^>]*>[^<]*</b>)?<a href="([^"#]*)#([^"]*)">')
PANEL = "dialog[open]"


def values(site, path):
    """Page and anchor that every value of a page leads to."""
    return VALUE.findall((site / path).read_text())


def panel_data(site, stem):
    text = (site / f"data/cells/{stem}.js").read_text()
    return json.loads(text[text.index("] = ") + 4 : -2])


def test_every_value_of_every_table_leads_to_a_line_that_is_there(example_site):
    pages = ["index.html", "unified.html", "few-shot-4.html", "zero-shot.html", "paper.html"]
    pages += [f"benchmarks/{path.name}" for path in (example_site / "benchmarks").iterdir()]
    ids, count = {}, 0
    for path in pages:
        for address, anchor in values(example_site, path):
            target = (example_site / path).parent / address
            if target not in ids:
                ids[target] = set(re.findall(r' id="([^"]*)"', target.read_text()))
            assert unescape(anchor) in ids[target], (path, address, anchor)
            count += 1
    assert count > 800


def test_a_value_of_every_kind_is_a_link_and_what_was_not_run_is_none(build_site, make_record):
    level = {("image_auroc", None): 0.8, ("pixel_pro", "native"): None}
    records = [
        make_record(metrics=level),
        make_record(entry="padim", title="PaDiM", benchmark="liver"),
        make_record(entry="bad", title="Bad", status=Status.CRASHED),
    ]
    front = (build_site(records, paper=()) / "index.html").read_text()
    cells = re.findall(r'<td(?: class="([a-z ]*)")?[^>]*>(.*?)</td>', front, re.S)
    kinds = {"": set(), "na": set(), "failed": set(), "none": set()}
    for kind, content in cells:
        shown = kind.removesuffix("g").strip()
        if shown in kinds and not content.isdigit():  # the number of seeds
            kinds[shown].add("<a href=" in content)
    assert kinds == {"": {True}, "na": {True}, "failed": {True}, "none": {False}}


def test_the_panel_says_what_the_entrys_page_says(example_site):
    data = panel_data(example_site, "heron")
    page = (example_site / "entries/heron.html").read_text()
    place, line = data["lines"]["brain.pixel_pro"]
    row = re.search(r'<tr id="brain.pixel_pro">.*?</tr>', page, re.S)[0]
    for told in (
        line["mean"],
        line["std"],
        line["interval"],
        line["units"],
        *itertools.chain(*line["seeds"]),
    ):
        assert told in row
    assert f"<dt>PRO</dt><dd>{' '.join(line['why'])}</dd>" in unescape(page)
    section = data["sections"][place]
    assert section["title"] == "Brain MRI"
    assert section["cite"] in unescape(page)
    assert all((example_site / path).is_file() for _, path in section["records"])
    assert len(section["records"]) == len(line["seeds"]) == len(section["seeds"])


def test_every_page_and_script_of_the_example_is_small(example_site):
    sizes = {
        path.relative_to(example_site): path.stat().st_size
        for path in example_site.rglob("*")
        if path.suffix in (".html", ".js")
    }
    largest = max(sizes, key=sizes.get)
    assert sizes[largest] < MOST_BYTES, (largest, sizes[largest])


def test_what_does_not_fit_goes_from_the_logs_to_whole_sections(
    build_site, make_record, monkeypatch
):
    failed = make_record(entry="many", seed=9, status=Status.CRASHED)
    records = [
        make_record(entry="many", benchmark=f"b{n}", seed=s) for n in range(3) for s in (0, 1)
    ]
    whole = panel_data(build_site([*records, failed]), "many")
    assert whole["isWhole"]
    size = 1500
    while size < 60_000:
        monkeypatch.setattr(cell_panels, "MOST_BYTES", size)
        folder = build_site([*records, failed], f"at-{size}")
        data = panel_data(folder, "many")
        assert (folder / "data/cells/many.js").stat().st_size <= size
        assert data["sections"] == whole["sections"][: len(data["sections"])] or not data["isWhole"]
        assert all(
            whole["lines"][key][1]["mean"] == line["mean"]
            for key, (_, line) in data["lines"].items()
        )
        size *= 3


def test_of_a_hidden_pack_the_panel_holds_what_the_page_may_show_and_no_more(
    build_site, make_record
):
    hidden = {"benchmark": "clinic", "visibility": "hidden", "track": "sealed", "entry": "ours"}
    metric = ("image_auroc", None)
    records = [
        make_record(**hidden, seed=s, metrics={metric: v}, interval=0.034)
        for s, v in ((0, 0.8123456), (1, 0.8654321))
    ]
    failed = make_record(
        **{**hidden, "entry": "bad"}, status=Status.BAD_FRAME, detail="image 12 holds a secret"
    )
    folder = build_site([*records, failed])
    data = panel_data(folder, "ours")
    [(_, line)] = data["lines"].values()
    assert line["mean"] == "84"
    assert not {"seeds", "interval", "units"} & set(line)
    [section] = data["sections"]
    assert section["isHidden"]
    assert not {"records", "seeds"} & set(section)
    text = (folder / "data/cells/bad.js").read_text() + json.dumps(data)
    for secret in ("secret", "81.23", "0.8123", *(record.run_key for record in records)):
        assert secret not in text


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("the entry gives no maps", "the entry gives no maps"),
        ("the method gives no anomaly map", "the method gives no anomaly map"),
        ("no threshold of the validation split is known", "no threshold of the validation …"),
        ("one-word-that-is-longer-than-the-cell", "one-word-that-is-longer-than-the …"),
    ],
)
def test_a_long_reason_is_cut_between_words(reason, shown):
    assert Cell("NA", "na", small=reason).brief == shown
    assert Cell("failed", "failed", small=reason).brief == reason


def test_a_drawing_in_fewer_bytes_has_the_same_points():
    svg = (
        '<g><g a="1"><line transform="translate(4,-2)" x2="0" y2="7" stroke="s"/>'
        '<line x2="3" y2="0" stroke="s"/><line x2="1" y2="2" stroke="t"/></g></g>'
        '<path d="M0,270L1.1,157.3L1.0,103.4L12,103.4Z" fill="f"/><path d="M0,0C1,2 3,4 5,6"/>'
    )
    made = smaller(svg)
    assert made == (
        '<g a="1"><path d="M4,-2v7M0,0h3" stroke="s"/><path d="M0,0l1,2" stroke="t"/></g>'
        '<path d="M0,270l1.1-112.7-.1-53.9 11 0z" fill="f"/><path d="M0,0C1,2 3,4 5,6"/>'
    )


# ---- in a browser ------------------------------------------------------------------------


def panel_text(page):
    page.wait_for_selector(PANEL)
    return page.inner_text(PANEL)


def cell(page, row, key):
    return page.locator(f"tr[id$='.{row}.trained-here.container'] td > a[href$='#{key}']").first


@BROWSER
def test_a_click_opens_what_is_behind_a_value_and_escape_leads_back(visit, example_site):
    page = visit().open(example_site / "index.html", "q=heron")
    cell(page, "heron", "brain.pixel_pro").click()
    text = panel_text(page)
    line = panel_data(example_site, "heron")["lines"]["brain.pixel_pro"][1]
    assert "Heron, Brain MRI: PRO" in text
    for told in (line["mean"], line["interval"], *line["why"], *itertools.chain(*line["seeds"])):
        assert told in text
    assert page.url.endswith("#q=heron&cell=heron/brain.pixel_pro")
    assert page.get_attribute(PANEL, "aria-labelledby") == "cell-title"
    assert page.evaluate("document.activeElement.textContent") == "Close"
    page.keyboard.press("Escape")
    assert page.locator(PANEL).count() == 0
    assert page.url.endswith("#q=heron")
    assert page.evaluate("document.activeElement.hash") == "#brain.pixel_pro"


@BROWSER
@pytest.mark.parametrize("path", ["index.html", "benchmarks/brain.html", "few-shot-4.html"])
def test_values_are_reached_and_opened_by_keyboard_alone(visit, example_site, path):
    page = visit().open(example_site / path)
    first = page.locator("tr[data-source=measured] td > a").first
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('td').cellIndex") > 1
    wanted = page.evaluate("document.activeElement.hash")
    page.keyboard.press("Enter")
    panel_text(page)
    assert page.url.endswith(wanted.replace("#", "/"))
    page.keyboard.press("Enter")  # on the button that closes
    assert page.evaluate("document.activeElement.hash") == wanted
    stops = page.locator("tr[data-source] td > a[tabindex='0']").count()
    assert stops <= page.locator("tr[data-source]").count()


@BROWSER
def test_the_address_of_a_value_opens_its_panel_again(visit, example_site):
    address = "view=dice&cell=heron/liver.dice_max"
    page = visit().open(example_site / "index.html", address)
    assert "Heron, Liver CT: Best Dice (oracle)" in panel_text(page)
    assert page.is_visible("#six-dice")
    page.click(f"{PANEL} .cell-head button")
    assert page.url.endswith("#view=dice")
    page.evaluate("location.hash = 'cell=heron/brain.seconds'")
    assert "Seconds per image" in panel_text(page)


@BROWSER
@pytest.mark.parametrize(
    "address",
    ["cell=nobody/x.y", "cell=%3Cscript%3E/1", "cell=__proto__/toString", "cell=../../x/y"],
)
def test_an_address_of_no_value_is_answered_in_words(visit, example_site, address):
    page = visit().open(example_site / "index.html", address)
    assert "No row here is called" in panel_text(page)


@BROWSER
def test_an_address_of_a_row_without_that_value_leads_to_its_page(visit, example_site):
    page = visit().open(example_site / "index.html", "cell=heron/toString")
    assert "stands on the entry’s page" in panel_text(page)


@BROWSER
def test_a_failed_run_says_its_status_remedy_and_end_of_log(visit, build_site, make_record):
    failed = make_record(
        entry="bad", title="Bad", seed=1, status=Status.CRASHED, detail="exit code 1",
        outcome__log={"path": "brain/bad/seed-1.log", "lines": ["Traceback", "MemoryError: <b>no</b>"]},
    )  # fmt: skip
    page = visit().open(build_site([make_record(entry="bad", title="Bad"), failed]) / "index.html")
    page.locator("td.failed > a").first.click()
    text = panel_text(page)
    for told in ("Seed 1: crashed", "exit code 1", "Remedy: ", "MemoryError: <b>no</b>"):
        assert told in text


@BROWSER
def test_names_and_texts_of_strangers_are_text_in_the_panel(visit, build_site, make_record):
    title = '<img src=x onerror=alert(1)>"><script>alert(2)</script>'
    record = make_record(
        entry="evil", title=title, warnings=[title], ranked=False, unranked_reason=title,
        metadata={"authors": [title]},
    )  # fmt: skip
    page = visit().open(build_site([record], paper=()) / "index.html")
    page.locator("td > a").first.click()
    assert title in panel_text(page)
    assert page.locator(f"{PANEL} img, {PANEL} script").count() == 0


@BROWSER
def test_without_scripts_a_value_leads_to_its_line_also_among_the_folded_ones(visit, example_site):
    visited = visit(java_script_enabled=False)
    page = visited.open(example_site / "benchmarks/brain.html")
    cell(page, "heron", "brain.aupimo").click()
    assert page.url.endswith("entries/heron.html#brain.aupimo")
    line = page.locator("[id='brain.aupimo']")
    assert line.is_visible()
    assert "AUPIMO" in line.inner_text()


@BROWSER
def test_a_row_is_cited_in_two_clicks(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.evaluate(
        "document.addEventListener('copy', () => { window.copied = String(getSelection()); })"
    )
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    cell(page, "heron", "brain.image_auroc").click()
    panel_text(page)
    page.click("text=Copy BibTeX")
    names = re.findall(r"@misc\{([^,]*),", page.evaluate("copied"))
    assert names == ["heron-brain", "pack-brain", "harness-0000000000"]


@BROWSER
def test_the_section_of_curves_keeps_its_curves(visit, example_site):
    page = visit().open(example_site / "benchmarks/brain.html")
    page.click(".jump a[href='#curves']")
    assert page.locator("#curve-choices input:checked").count() == 5


@BROWSER
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (820, "dark"), (390, "dark")])
def test_an_open_panel_has_no_serious_barrier_and_fits(visit, example_site, width, scheme):
    from importlib.resources import files

    visited = visit(viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)
    page = visited.open(example_site / "benchmarks/brain.html", "cell=heron/brain.pixel_pro")
    panel_text(page)
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")
    page.evaluate("document.querySelector('.watermark').remove()")
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate("axe.run('dialog', {resultTypes: ['violations'], preload: false})")
    serious = [
        (each["id"], each["nodes"][0]["html"][:200])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
