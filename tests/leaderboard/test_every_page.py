"""One page of every kind in a real browser: width, complaints, pictures, barriers, spoken names."""

from __future__ import annotations

from importlib.resources import files

import pytest

from tests.leaderboard.page_kinds import one_of_each

pytestmark = pytest.mark.browser

WIDE, PHONE = {"width": 1440, "height": 844}, {"width": 390, "height": 844}
AXE = "axe.run(document, {resultTypes: ['violations'], preload: false, rules: {'target-size': {enabled: true}}})"
"""All rules that are on, WCAG 2.1 A and AA and best practice, and WCAG 2.2's size of targets."""
UNCLEAR = """() => {
    const pictured = e => [...e.querySelectorAll('img')].map(img => img.alt).join(' ');
    const told = e => (e.getAttribute('aria-label') || e.textContent.trim() || pictured(e)).trim();
    const all = selector => [...document.querySelectorAll(selector)];
    const named = e => e.matches('[aria-label], [aria-labelledby]');
    return [
        ...all('main a').filter(e => !/[\\p{L}\\p{N}]/u.test(told(e))).map(e => 'link: ' + e.outerHTML),
        ...all('main table').filter(e => !e.caption && !named(e) && !named(e.closest('[role=region]') || e))
            .map(e => 'table: ' + e.outerHTML),
        ...all('main svg').filter(e => !e.closest('[aria-hidden]') && !(['img', 'group'].includes(e.getAttribute('role')) && named(e)))
            .map(e => 'figure: ' + e.outerHTML),
        ...all('.place').filter(e => getComputedStyle(e, '::before').content !== (e.matches('.by-mean') ? '"place by mean "' : '"rank "') && e.offsetParent)
            .map(e => 'mark: ' + e.outerHTML),
    ].map(e => e.slice(0, 160));
}"""
"""Links that are said as a sign alone, tables and figures without a name, marks that do not say «rank»."""
MOST_READ = {"index.html", "benchmarks/*", "entries/*, failed runs", "compare.html#four"}


@pytest.fixture(scope="session")
def kinds(example_site):
    found = one_of_each(example_site)
    assert len(found) > 20
    return found


def test_every_kind_of_page_is_among_those_looked_at(kinds):
    assert {
        "index.html", "benchmarks/*", "benchmarks/*--regimes", "benchmarks/*, hidden", "entries/*",
        "entries/*, failed runs", "compare.html#two", "compare.html#four", "compare/*", "cost.html", "updates.html",
        "guide.html", "status.html", "paper.html", "unified.html", "few-shot.html", "few-shot-N.html",
        "zero-shot.html", "side-by-side/*",
    } <= set(kinds)  # fmt: skip


# 640 is 1280 at a zoom of 200 %, 320 at 400 % (WCAG 1.4.10, reflow).
@pytest.mark.parametrize("width", [1440, 820, 640, 390, 320])
def test_no_page_is_wider_than_its_window(visit, kinds, width):
    visited = visit(viewport={"width": width, "height": 844})
    too_wide = {}
    for kind, (path, address) in kinds.items():
        page = visited.open(path, address)
        wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if wide > 0:
            too_wide[kind] = wide
    assert too_wide == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_complains_or_asks_the_network_and_all_pictures_load(visit, kinds, scheme):
    visited = visit(color_scheme=scheme)
    broken = {}
    for kind, (path, address) in kinds.items():
        page = visited.open(path, address)
        page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        page.evaluate("Promise.allSettled([...document.images].map(image => image.decode()))")
        if count := page.evaluate("[...document.images].filter(i => !i.naturalWidth).length"):
            broken[kind] = count
    assert broken == {}
    # `visit` holds that no request left and no console line was written


def test_every_list_of_a_form_shows_what_is_chosen(visit, kinds):
    visited = visit()
    blank = {}
    for kind, (path, address) in kinds.items():
        page = visited.open(path, address)
        names = page.eval_on_selector_all(
            "form select", "all => all.filter(e => e.selectedIndex < 0).map(e => e.name)"
        )
        if names:
            blank[kind] = names
    assert blank == {}


def test_what_is_spoken_of_links_tables_and_figures_tells_them_apart(visit, kinds):
    visited = visit()
    unclear = {}
    for kind, (path, address) in kinds.items():
        if found := visited.open(path, address).evaluate(UNCLEAR):
            unclear[kind] = found
    assert unclear == {}


def barriers(visited, path, address):
    page = visited.open(path, address)
    if path.name == "compare.html" and "," in address:
        page.wait_for_selector("#compared table")
    # Text under a watermark has no contrast to measure; that of the page itself has.
    page.evaluate("document.querySelector('.watermark').remove()")
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    return [
        f"{each['id']} at {len(each['nodes'])}: {each['nodes'][0]['html'][:160]}: {each['nodes'][0]['failureSummary'][:300]}"
        for each in page.evaluate(AXE)["violations"]
    ]


@pytest.mark.parametrize(
    ("scheme", "viewport", "looked_at"),
    [
        ("light", WIDE, None),
        ("dark", PHONE, MOST_READ),
        pytest.param("light", PHONE, None, marks=pytest.mark.slow),
        pytest.param("dark", WIDE, None, marks=pytest.mark.slow),
        pytest.param("dark", PHONE, None, marks=pytest.mark.slow),
    ],
    ids=["light-wide", "dark-phone-most-read", "light-phone", "dark-wide", "dark-phone"],
)
def test_an_accessibility_checker_finds_no_barrier(visit, kinds, scheme, viewport, looked_at):
    visited = visit(color_scheme=scheme, viewport=viewport, bypass_csp=True)
    found = {
        kind: faults
        for kind, (path, address) in kinds.items()
        if (looked_at is None or kind in looked_at) and (faults := barriers(visited, path, address))
    }
    assert found == {}
