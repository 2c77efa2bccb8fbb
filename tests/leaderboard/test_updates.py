"""What is new: the page, the feed and the badges."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date

import pytest

from harness.board.change_log import ChangeLog, row_changes_since

ATOM = "{http://www.w3.org/2005/Atom}"
AUROC = ("image_auroc", None)


@pytest.fixture
def told(build_site, make_record):
    first = make_record(metrics={AUROC: 0.8})
    again = [first, make_record(seed=1, metrics={AUROC: 0.9})]
    log = ChangeLog(changes=row_changes_since(ChangeLog(), [first], {}, date(2026, 3, 2)))
    more = row_changes_since(log, again, {}, date(2026, 4, 1))
    return build_site(again, log=ChangeLog(changes=(*log.changes, *more)))


def test_the_newest_day_stands_first_with_what_changed_since(told):
    page = (told / "updates.html").read_text()
    assert page.index('id="d2026-04-01"') < page.index('id="d2026-03-02"')
    assert "Image AUROC 85.00 (before 80.00)" in page
    assert "seeds 0 → 0, 1" in page
    assert 'href="entries/patchcore.html"' in page


def test_the_feed_is_atom_with_identifiers_of_its_own_and_links_to_the_page(told):
    feed = ET.fromstring((told / "feed.xml").read_bytes())
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    assert [e.findtext(f"{ATOM}updated") for e in entries] == [
        "2026-04-01T00:00:00Z", "2026-03-02T00:00:00Z",
    ]  # fmt: skip
    assert len({e.findtext(f"{ATOM}id") for e in entries}) == 2
    page = (told / "updates.html").read_text()
    for entry in entries:
        path, _, anchor = entry.find(f"{ATOM}link").get("href").partition("#")
        assert path == "updates.html"
        assert f'id="{anchor}"' in page


def test_a_hostile_title_is_text_in_feed_and_badge(build_site, make_record):
    title = 'A<b>&"\u202e]]>'
    record = make_record(title=title, metrics={AUROC: 0.8})
    log = ChangeLog(changes=row_changes_since(ChangeLog(), [record], {}, date(2026, 3, 2)))
    site = build_site([record], log=log)
    entry = ET.fromstring((site / "feed.xml").read_bytes()).find(f"{ATOM}entry")
    assert entry.findtext(f"{ATOM}title").startswith('A<b>&"')
    assert "\u202e" not in (site / "feed.xml").read_text()
    ET.fromstring((site / "badges" / "patchcore.svg").read_bytes())


def test_without_a_log_the_page_says_how_a_row_gets_there(build_site, make_record):
    page = (build_site([make_record()]) / "updates.html").read_text()
    assert "python -m harness.publish add" in page


def test_a_badge_names_the_best_rank(example_site):
    badges = {path.stem: path.read_text() for path in (example_site / "badges").iterdir()}
    assert any("rank 1 on" in text or "rank 1= on" in text for text in badges.values())
    assert "no rank" in badges["canary"]
