"""What readers come for, each found within two clicks of the front page, in a real browser."""

from __future__ import annotations

import posixpath
import re
from html import unescape

import pytest

from harness.common.statuses import Status

pytestmark = pytest.mark.browser


@pytest.fixture
def reader_of(visit):
    return lambda folder: Reader(folder, visit().open(folder / "index.html"))


@pytest.fixture
def reader(reader_of, example_site):
    return reader_of(example_site)


class Reader:
    """Follows links by their text, as a reader does, and counts the clicks.

    What it reads is the file, which is all that there is without JavaScript; every link is clicked
    in the window too, where the scripts run, and leads to the same place.
    """

    def __init__(self, folder, window):
        self.folder, self.page, self.anchor, self.clicks = folder, "index.html", "", 0
        self.window = window

    @property
    def html(self):
        return (self.folder / self.page).read_text()

    @property
    def text(self):
        """What stands at the anchor: its element to the end of the page."""
        html = self.html
        if self.anchor:
            html = html[html.index(f'id="{self.anchor}"') :]
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())

    def click(self, told, *, after=""):
        html = self.html
        html = html[html.index(after) :] if after else html
        found = [
            href
            for href, content in re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', html, re.S)
            if unescape(re.sub(r"<[^>]*>", "", content)).strip() == told
        ]
        assert found, (told, self.page)
        self.window.locator(f'a[href="{found[0]}"]').filter(visible=True).first.click()
        path, _, anchor = unescape(found[0]).partition("#")
        if path:
            self.page = posixpath.normpath(posixpath.join(posixpath.dirname(self.page), path))
        self.anchor = anchor if "=" not in anchor else ""
        self.clicks += 1
        assert self.clicks <= 2
        there = (self.folder / self.page).as_uri() + (f"#{anchor}" if anchor else "")
        assert self.window.url == there
        return self


def test_which_method_is_best_for_brain_lesions_and_whether_the_lead_is_real(reader):
    reader.click("Brain MRI", after="is the lead real?")
    assert reader.page == "benchmarks/brain.html"
    assert re.search(
        r"PRO, trained here: \S.* (and the lead is real|cannot be told from \S)", reader.text
    )
    assert re.search(r"Rank Method Mean 95 % interval Likely places Rank stability", reader.text)


def test_what_it_costs_to_run(reader):
    reader.click("Seconds, memory, AUROC", after="What does it cost")
    assert "Seconds per image (log)" in reader.text
    assert "Peak GPU memory in GiB" in reader.text


def test_how_a_row_was_made_and_how_to_rerun_it(reader):
    reader.click("Heron").click("rerun")
    assert reader.page == "entries/heron.html"
    assert re.match(
        r".{0,80}git checkout \S+ python -m harness\.evaluate baselines/heron --benchmark",
        reader.text,
    )
    whole = Reader(reader.folder, reader.window)
    whole.page = reader.page
    for told in (
        "trained here",
        "in a container",
        "Identity",
        "Pack version",
        "Harness commit",
        "learning_rate",
    ):
        assert told in whole.text


def test_how_far_it_is_from_what_the_paper_reported(reader):
    reader.click("Measured minus reported", after="what the paper reported?")
    assert re.search(
        r"Heron .*?−\d\.\d\d \d\d\.\d\d ± \d\.\d\d paper \d\d\.\d\d ± \d\.\d\d", reader.text
    )


def test_where_it_fails_in_pictures(reader):
    reader.click("Heron")
    assert "Worst" in reader.text
    assert "False alarm" in reader.text
    assert reader.html.count("<img") >= 8


def test_how_a_row_is_cited(reader):
    reader.click("Heron").click("cite")
    assert reader.page == "entries/heron.html"
    assert re.match(
        r".{0,60}Cite @misc\{heron-\S+, title = .*@misc\{pack-.*@misc\{harness-", reader.text
    )


def test_where_all_fail_on_the_same_images(reader, reader_of):
    reader.click("Brain MRI", after="in pictures?")
    assert reader.page == "side-by-side/brain.html"
    assert reader.html.count("<img") > 20
    again = reader_of(reader.folder).click("Brain MRI", after="is the lead real?")
    assert "The hardest images" in again.text


def test_why_a_run_failed_and_what_to_do(reader):
    reader.click("runs that failed")
    assert reader.page == "status.html"
    assert re.search(r"[a-z_]+ \d+ runs? \S.*? Remedy: \w", reader.text)
    assert re.search(r"Method Benchmark Track Seed What the harness saw \S", reader.text)


def test_why_my_own_run_failed_and_what_i_do_now(reader_of, build_site, make_record):
    log = {"path": "brain/mine/seed-2.log", "lines": ["ValueError: no such layer"]}
    failed = make_record(
        entry="mine", title="Mine", seed=2, status=Status.CRASHED, detail="exit code 1",
        outcome__log=log,
    )  # fmt: skip
    site = build_site([make_record(), failed])
    found = reader_of(site).click("runs that failed").click("Mine", after="Look for your own")
    assert found.text.startswith('id="of-mine"> Mine Brain MRI, seed 2 crashed')
    reader = reader_of(site).click("runs that failed").click("Mine", after='id="crashed"')
    assert reader.page == "entries/mine.html"
    assert reader.anchor == "failed-brain-trained-here-container-2"
    assert re.search(
        r"Seed 2 : it crashed crashed What happened The entry ended by itself with an error\."
        r" What the harness saw exit code 1 What to do Read the end of its log;.*"
        r" End of its log .*ValueError: no such layer"
        r" See it yourself On the same images \(Brain MRI\)\. The whole log is printed\."
        r" git checkout \S+ python -m harness\.check baselines/mine --benchmark brain --data-root DIR"
        r" --seed 2 --engine docker --device cuda:0 --preset bmad",
        reader.text,
    )


def test_what_is_new_since_a_date(reader):
    reader.click("What is new")
    days = re.findall(r'<section id="d([\d-]+)">', reader.html)
    assert days == sorted(days, reverse=True)
    assert len(days) > 3
    before = reader.text.index(f" {days[1]} ")
    assert re.search(r"(new|replaced) \S.* on \S.*: Image AUROC \d\d\.\d\d", reader.text[:before])


def test_whether_two_methods_differ(reader):
    reader.click("Compare")
    assert re.search(r"is better (than|by)|cannot be told apart", reader.text)
