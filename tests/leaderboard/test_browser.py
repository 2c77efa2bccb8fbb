"""The site in a real browser, from disk and offline: sorting, filters, addresses, looks, barriers."""

from __future__ import annotations

import re

import pytest

from harness.common.statuses import Status

pytestmark = pytest.mark.browser

TABLE = "table[data-table='six-localisation']"
IN_VIEW = ".view:not([hidden]) table[data-table]"
SHOWN = f"{TABLE} tbody tr[data-source]:not([hidden])"


def names(page, selector=SHOWN):
    return page.eval_on_selector_all(selector + " .name", "all => all.map(e => e.textContent)")


def column(page, key, selector=SHOWN):
    """Sort keys of a column as they stand, None for a cell without a number."""
    return page.evaluate(
        """([table, key, rows]) => {
            const head = document.querySelector(table).tHead;
            const all = [...head.rows[0].cells].flatMap(c => c.dataset.key ? [c.dataset.key] : Array(c.colSpan).fill(null));
            const second = [...head.rows[1].cells].map(c => c.dataset.key);
            const keys = all.map(k => k === null ? second.shift() : k);
            const place = keys.indexOf(key);
            return [...document.querySelectorAll(rows)].map(r => r.cells[place].dataset.k ?? null);
        }""",
        [TABLE, key, selector],
    )


def press(page, key):
    page.click(f"{TABLE} th[data-key='{key}'] button")


def numbers_then_missing(values):
    numbers = [float(value) for value in values if value is not None]
    assert values[len(numbers) :] == [None] * (len(values) - len(numbers))
    return numbers


@pytest.mark.parametrize("key", ["brain.pixel_pro", "rsna.image_auroc", "average"])
def test_numbers_sort_both_ways_and_what_is_missing_stays_last(visit, example_site, key):
    page = visit().open(example_site / "index.html")
    before = names(page)
    seen = []
    for direction in ("first", "second"):
        press(page, key)
        values = column(page, key)
        assert None in values
        found = numbers_then_missing(values)
        assert len(found) > 5
        seen.append(found)
        head = page.get_attribute(f"{TABLE} th[data-key='{key}']", "aria-sort")
        is_rising = found == sorted(found)
        assert is_rising != (found == sorted(found, reverse=True))
        assert head == ("ascending" if is_rising else "descending"), direction
    assert seen[0] == seen[1][::-1]
    assert page.locator(f"{TABLE} [aria-sort]").count() == 1
    press(page, key)  # the third press restores the page's own order
    assert names(page) == before
    assert page.locator("[aria-sort]").count() == 0


def test_names_sort_as_words(visit, example_site):
    page = visit().open(example_site / "index.html")
    press(page, "method")
    assert names(page) == sorted(names(page), key=str.lower)


def test_failed_and_missing_values_never_rank_above_numbers(visit, build_site, make_record):
    records = [
        make_record(entry="a", title="A", metrics={("image_auroc", None): 0.2}),
        make_record(entry="b", title="B", metrics={("image_auroc", None): None}),
        make_record(entry="c", title="C", status=Status.CRASHED),
        make_record(entry="d", title="D", metrics={("image_auroc", None): 0.9}),
        make_record(entry="e", title="E", benchmark="liver"),
    ]
    page = visit().open(build_site(records, paper=()) / "index.html")
    for expected in (["D", "A"], ["A", "D"]):
        press(page, "brain.image_auroc")
        assert names(page)[:2] == expected
        assert set(names(page)[2:]) == {"B", "C", "E"}


def test_a_table_can_be_sorted_by_keyboard_alone(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.focus(f"{TABLE} th[data-key='method'] button")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('th').dataset.key") == "average"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert page.get_attribute(f"{TABLE} th[data-key='average']", "aria-sort") == "descending"


def test_a_button_that_sorts_names_the_benchmark_of_its_column(visit, example_site):
    page = visit().open(example_site / "index.html")
    named = page.locator(f"{TABLE} th button").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert "Sort by Brain MRI: Image AUROC" in named
    assert len(set(named)) == len(named)


def test_the_first_tab_stop_leads_past_the_head(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize(
    ("field", "value", "attribute"),
    [
        ("track", "open", "data-track"), ("isolation", "same user", "data-isolation"), ("family", "flow", "data-family"),
        ("methods", "bmad", "data-methods"), ("pre", "imagenet", "data-pre"), ("maps", "no", "data-maps"),
        ("labels", "abnormal", "data-labels"), ("labels", "foreign", "data-labels"),
        ("seen", "images", "data-seen"), ("seen", "none", "data-seen"),
    ],
)  # fmt: skip
def test_a_filter_leaves_the_rows_that_fit(visit, example_site, field, value, attribute):
    page = visit().open(example_site / "index.html")
    everything = page.locator(SHOWN).count()
    page.select_option(f"[name={field}]", value)
    rows = page.locator(SHOWN)
    assert 0 < rows.count() < everything
    assert {rows.nth(n).get_attribute(attribute) for n in range(rows.count())} == {value}
    total = page.locator(f"{IN_VIEW} tbody tr[data-source]").count()
    shown = page.locator(f"{IN_VIEW} tbody tr[data-source]:not([hidden])").count()
    assert page.inner_text("#count") == f"{shown} of {total} rows"
    again = visit().open(example_site / "index.html", page.url.partition("#")[2])
    assert again.locator(SHOWN).count() == rows.count()
    assert again.input_value(f"[name={field}]") == value
    page.click("button[type=reset]")
    assert page.locator(SHOWN).count() == everything
    assert page.input_value(f"[name={field}]") == ""
    assert "#" not in page.url


def test_headings_stand_over_what_is_shown_of_their_group_in_the_pages_own_order(
    visit, build_site, make_record
):
    titles = {"padim": "PaDiM", "dinomaly": "Dinomaly", "stfpm": "STFPM"}
    records = [make_record(entry=name, title=title) for name, title in titles.items()]
    page = visit().open(build_site(records) / "index.html")
    heading = f"{TABLE} tr.heading:not([hidden])"
    groups = ["BMAD’s fifteen", "Methods since BMAD", "As the paper reports"]
    assert page.locator(heading).all_inner_texts() == groups
    assert names(page)[:3] == ["PaDiM", "STFPM", "Dinomaly"]
    press(page, "method")
    assert page.locator(heading).count() == 0
    assert names(page) == sorted(names(page), key=str.lower)
    press(page, "method")
    press(page, "method")
    assert page.locator(heading).all_inner_texts() == groups
    page.select_option("[name=methods]", "since")
    assert page.locator(heading).all_inner_texts() == ["Methods since BMAD"]
    assert names(page) == ["Dinomaly"]


def test_rows_views_and_texts_are_filtered(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.check("input[value=measured]", force=True)
    assert "paper" not in page.eval_on_selector_all(SHOWN, "all => all.map(e => e.dataset.source)")
    page.check("input[value=paper]", force=True)
    assert set(page.eval_on_selector_all(SHOWN, "all => all.map(e => e.dataset.source)")) == {
        "paper"
    }
    page.check("input[value=all]", force=True)
    page.fill("[name=q]", "memory bank heron")
    assert names(page) == ["Heron"]
    page.fill("[name=q]", "")
    page.check("input[value=dice]", force=True)
    assert page.is_hidden("#six-localisation")
    assert page.is_visible("#six-dice")


def test_one_benchmark_can_be_looked_at_alone(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.select_option("[name=bench]", "liver")
    heads = page.eval_on_selector_all(
        f"{TABLE} thead tr:nth-child(2) th:not([hidden])", "all => all.map(e => e.dataset.key)"
    )
    assert heads == ["liver.image_auroc", "liver.pixel_auroc", "liver.pixel_pro", "liver.seconds"]
    widths = page.eval_on_selector_all(
        SHOWN, "all => all.map(r => [...r.cells].filter(c => !c.hidden).length)"
    )
    assert set(widths) == {10}  # method, average, four, track, had learned from, seeds, status
    assert page.is_hidden("#demo")
    page.select_option("[name=bench]", "demo")
    assert page.is_visible("#demo")
    assert page.is_hidden("#six")


def test_another_view_keeps_no_order_that_it_has_no_column_for(visit, example_site):
    page = visit().open(example_site / "index.html")
    press(page, "brain.pixel_pro")
    assert "sort=brain.pixel_pro" in page.url
    page.check("[name=view][value=dice]", force=True)
    assert "sort=" not in page.url
    page.select_option("[name=family]", "memory bank")
    assert "view=dice&family=memory+bank" in page.url


def test_a_view_is_an_address_that_can_be_opened_again(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.select_option("[name=family]", "memory bank")
    page.fill("[name=q]", "imagenet")
    press(page, "brain.image_auroc")
    shown, address = names(page), page.url
    assert re.search(r"#family=memory\+bank&q=imagenet&sort=brain\.image_auroc&dir=desc$", address)
    other = visit()
    page = other.open(example_site / "index.html", address.partition("#")[2])
    assert names(page) == shown
    assert page.input_value("[name=family]") == "memory bank"
    assert (
        page.get_attribute(f"{TABLE} th[data-key='brain.image_auroc']", "aria-sort") == "descending"
    )


@pytest.mark.parametrize(
    "address",
    ["view=nonsense&rows=1&track=x&sort=no.such&dir=up", "sort=toString&dir=asc", "%", "bench=%3Cscript%3E", "=&==", "family=__proto__"],
)  # fmt: skip
def test_an_address_that_makes_no_sense_shows_the_default_view(visit, example_site, address):
    page = visit().open(example_site / "index.html")
    plain = names(page)
    page = visit().open(example_site / "index.html", address)
    assert names(page) == plain
    assert page.is_visible("#six-localisation")


def test_every_row_has_an_address_that_shows_it(visit, example_site):
    page = visit().open(example_site / "index.html")
    links = page.eval_on_selector_all(
        ".here", "all => all.map(a => a.getAttribute('href').slice(1))"
    )
    assert len(links) == page.locator("table[data-table] tbody tr[data-source]").count()
    for link in (links[0], next(link for link in links if link.startswith("six-dice."))):
        page = visit().open(example_site / "index.html", link)
        row = page.locator(f"[id='{link}']")
        assert row.is_visible()
        box = row.bounding_box()
        heads = row.evaluate(
            "e => Math.max(...[...e.closest('table').tHead.querySelectorAll('th')]"
            ".map(th => th.getBoundingClientRect().bottom))"
        )
        assert heads <= box["y"] <= 800
        ground = row.locator("th").evaluate("e => getComputedStyle(e).backgroundColor")
        assert ground != page.locator(SHOWN + " th").last.evaluate(
            "e => getComputedStyle(e).backgroundColor"
        )


def test_curves_can_be_chosen_and_the_choice_has_an_address(visit, example_site):
    page = visit().open(example_site / "benchmarks/brain.html")
    lines = "#curves .curve path[data-s]"

    def drawn(page):
        return set(
            page.eval_on_selector_all(
                lines, "all => all.filter(e => e.getClientRects().length).map(e => e.dataset.s)"
            )
        )

    assert drawn(page) == {"0", "1", "2", "3", "4"}
    boxes = page.locator("#curve-choices input")
    name = boxes.nth(6).get_attribute("value")
    boxes.nth(0).uncheck()
    boxes.nth(6).check()
    assert drawn(page) == {"1", "2", "3", "4", "6"}
    assert page.url.endswith(name)
    page = visit().open(example_site / "benchmarks/brain.html", f"curves={name}")
    assert drawn(page) == {"6"}


def test_a_command_can_be_copied(visit, example_site):
    page = visit().open(example_site / "entries/heron.html")
    page.evaluate(
        "document.addEventListener('copy', () => { window.copied = String(getSelection()); })"
    )
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.locator(".result .command button").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("copied").startswith("git checkout ")


def test_without_scripts_everything_is_there(visit, example_site):
    page = visit(java_script_enabled=False).open(example_site / "index.html")
    assert page.is_hidden("#filters")
    for table in page.locator("table[data-table]").all():
        assert table.is_visible()
    page = visit(java_script_enabled=False).open(example_site / "benchmarks/brain.html")
    assert page.locator("#curves svg[role=img]").count() == 5
    assert page.locator("#curve-choices li:visible").count() == 5


def test_in_a_narrow_window_the_first_column_stays_in_sight(visit, example_site):
    page = visit(viewport={"width": 700, "height": 844}).open(example_site / "index.html")
    region = page.locator(f".scroll:has({TABLE})")
    region.evaluate("e => e.scrollLeft = 600")
    cell = page.locator(SHOWN + " th").first.bounding_box()
    assert abs(cell["x"] - region.bounding_box()["x"]) < 2
    assert cell["width"] < 700 / 2


def test_on_a_phone_a_row_is_a_card_whose_values_say_what_they_are(visit, example_site):
    page = visit(viewport={"width": 390, "height": 844}).open(example_site / "index.html")
    line = page.locator(SHOWN).first
    cell = line.locator("td[data-label='Brain MRI: Pixel AUROC']")
    said = cell.evaluate("e => getComputedStyle(e, '::before').content")
    assert said == '"Brain MRI: Pixel AUROC"'
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes(line))
    page.get_by_label("Order by").first.select_option(label="Brain MRI: PRO")
    values = page.locator(SHOWN).evaluate_all(
        "all => all.map(e => e.querySelector(\"td[data-label='Brain MRI: PRO']\").dataset.k)"
    )
    numbers = [float(value) for value in values if value]
    assert len(numbers) > 5
    assert numbers == sorted(numbers, reverse=True)
    assert "sort=brain.pixel_pro" in page.url


def boxes(line):
    """Where the cells of a row are that are in sight."""
    cells = line.locator("td")
    return [box for each in cells.all() if (box := each.bounding_box()) is not None]


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_and_charts_follow_the_colour_scheme(visit, example_site, scheme):
    page = visit(color_scheme=scheme).open(example_site / "benchmarks/brain.html")
    style = "e => { const s = getComputedStyle(e); return [s.backgroundColor, s.color, s.fill, s.stroke]; }"
    ground, ink, _, _ = page.locator("body").evaluate(style)
    assert (luminance(ground) > 0.5) == (scheme == "light")
    assert (luminance(ink) > 0.5) == (scheme == "dark")
    title = page.locator("#curves svg text").last.evaluate(style)[2]
    assert abs(luminance(title) - luminance(ground)) > 0.4
    line = page.locator("#curves path[data-s='0'][stroke]").first.evaluate(style)[3]
    light, dark = sorted((luminance(line), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 3


def test_on_paper_tables_are_whole_and_controls_are_gone(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.emulate_media(media="print")
    assert page.is_hidden("#filters")
    assert page.is_hidden("nav[aria-label=Site]")
    region = page.locator(".scroll").first
    assert region.evaluate("e => getComputedStyle(e).overflow") == "visible"
    assert page.is_visible(".made-up-note")


def test_a_hostile_name_is_text(visit, build_site, make_record):
    title = '<img src=x onerror=alert(1)>"><script>alert(2)</script>'
    record = make_record(
        entry="evil", title=title, metadata={"paper": "javascript:alert(3)", "description": title}
    )
    folder = build_site([record, make_record(entry="other", title=title)])
    visited = visit()
    page = visited.open(folder / "index.html")
    assert names(page).count(title) == 2
    press(page, "method")
    page.fill("[name=q]", "<script>")
    for name in ("entries/evil.html", "benchmarks/brain.html", "cost.html", "paper.html"):
        page = visited.open(folder / name)
        assert page.locator("main img, main script").count() == 0
    # `visit` holds that no dialog opened
