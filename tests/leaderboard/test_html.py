"""Every page is valid HTML: a strict parser finds no error, and ids and labels fit."""

from __future__ import annotations

import html5lib
import pytest

from harness.common.statuses import Status
from leaderboard.builder import STATIC

SECTIONING = {"p", "small", "span", "a", "b", "i", "strong", "em", "code", "h1", "h2", "h3", "dt", "summary", "label", "button", "figcaption"}  # fmt: skip
BLOCK = {"div", "p", "table", "ul", "ol", "dl", "section", "figure", "details", "form", "h2", "h3"}


def parsed(path):
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text(encoding="utf-8"))


def children_outside(root, inside, forbidden):
    for element in root.iter():
        if element.tag in inside:
            yield from (e.tag for e in element.iter() if e is not element and e.tag in forbidden)


@pytest.fixture(scope="session")
def all_pages(example_site):
    return {path.relative_to(example_site): parsed(path) for path in example_site.rglob("*.html")}


def test_a_strict_parser_finds_no_error_on_any_page(all_pages):
    assert len(all_pages) > 20


def test_a_strict_parser_finds_no_error_with_failures_and_hostile_texts(build_site, make_record):
    records = [
        make_record(entry="a & b <c>", title='"><b>', benchmark='x" <y>'),
        make_record(entry="bad", status=Status.CRASHED, detail="<i> & \x00 \x1b"),
    ]
    for path in build_site(records).rglob("*.html"):
        parsed(path)


def test_no_block_stands_inside_a_line_of_text(all_pages):
    for path, root in all_pages.items():
        assert list(children_outside(root, SECTIONING - {"label"}, BLOCK)) == [], path


def test_no_link_or_button_stands_inside_another(all_pages):
    for path, root in all_pages.items():
        assert (
            list(children_outside(root, {"a", "button"}, {"a", "button", "input", "select"})) == []
        ), path


def test_lists_and_tables_hold_what_they_may(all_pages):
    allowed = {
        "ul": {"li"}, "ol": {"li"}, "dl": {"div", "dt", "dd"}, "tr": {"td", "th"},
        "thead": {"tr"}, "tbody": {"tr"}, "table": {"caption", "colgroup", "thead", "tbody"},
        "select": {"option"},
    }  # fmt: skip
    for path, root in all_pages.items():
        for element in root.iter():
            if element.tag in allowed:
                assert {child.tag for child in element} <= allowed[element.tag], (path, element.tag)


def test_every_reference_to_an_id_is_to_one_that_is_there_once(all_pages):
    for path, root in all_pages.items():
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids)), path
        for element in root.iter():
            for name in ("aria-labelledby", "for"):
                for target in (element.get(name) or "").split():
                    assert target in ids, (path, target)


def test_every_row_of_a_table_has_as_many_cells_as_its_head(all_pages):
    for path, root in all_pages.items():
        for table in root.iter("table"):
            body = {sum(int(c.get("colspan", 1)) for c in row) for row in table.find("tbody")}
            assert len(body) == 1, path
            width = sum(int(cell.get("colspan", 1)) for cell in table.find("thead")[0])
            assert body == {width}, path


def test_every_picture_has_a_text_and_a_size(all_pages):
    shown = [image for root in all_pages.values() for image in root.iter("img")]
    assert shown
    for image in shown:
        assert image.get("alt")
        assert image.get("width")
        assert image.get("height")


def test_static_files_are_all_that_pages_load(all_pages):
    for path, root in all_pages.items():
        loaded = [
            e.get("src") or e.get("href") for tag in ("script", "link") for e in root.iter(tag)
        ]
        names = {each.rpartition("/")[2] for each in filter(None, loaded) if "data:" not in each}
        names.discard("feed.xml")  # named, and loaded by nobody
        assert {"site.css", "site.js"} <= names <= set(STATIC), path
