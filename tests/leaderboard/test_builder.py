"""The site as a whole: same bytes, complete without scripts, nothing asked of the network."""

from __future__ import annotations

import random
import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from harness.board.rows import summarise
from harness.board.site_data import Material
from harness.common.statuses import Status
from leaderboard.builder import build
from leaderboard.paper import read_paper
from tests.record_factory import NO_CGROUPS

VOID = {"meta", "link", "input", "br", "col", "img", "hr"}
SIX = ("brain", "liver", "resc", "oct2017", "rsna", "camelyon16")
DEMO = {"benchmark": "demo", "ranked": False, "unranked_reason": "demonstration pack"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attrs.get(attribute) is not None]


def pages(folder):
    return {path: Page(path.read_text()) for path in sorted(folder.rglob("*.html"))}


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def records(make_record):
    return [
        *(make_record(seed=s) for s in (0, 1)),
        make_record(entry="padim", title="PaDiM", benchmark="liver"),
        make_record(entry="rd4ad", title="RD4AD", isolation="none", params={"weights": "random"},
                    ranked=False, unranked_reason="random weights, not isolated"),
        make_record(entry="broken", title="Broken", status=Status.OUT_OF_MEMORY, detail="image 12"),
        make_record(entry="draem", title="DRAEM", metrics={("image_auroc", None): 0.7, ("pixel_auroc", "native"): None}),
        make_record(**DEMO),
        make_record(entry="ganomaly", title="GANomaly", benchmark="brain~ababab", ranked=False,
                    unranked_reason="not a known release of brain", pack__patients_stated="independent"),
        make_record(entry="ours", title="Ours", benchmark="clinic", visibility="hidden", track="sealed"),
    ]  # fmt: skip


def test_the_same_records_in_any_order_give_the_same_bytes(build_site, records):
    first = contents(build_site(records, "first"))
    shuffled = random.Random(0).sample(records, len(records))
    assert contents(build_site(shuffled, "second")) == first
    assert contents(build_site(records[::-1], "third")) == first
    assert len(first) > 10


def test_no_page_or_download_holds_a_value_that_is_no_number(build_site, records):
    for name, content in contents(build_site(records)).items():
        # The one sentence of the pages that speaks of NaN.
        rest = content.replace(Status.NON_FINITE.entry.sentence.encode(), b"")
        assert not re.search(rb"\b(NaN|nan|inf|Infinity|None)\b", rest), name


def test_tags_close_and_ids_are_unique(build_site, records):
    for path, page in pages(build_site(records)).items():
        ids = page.values("id")
        assert len(ids) == len(set(ids)), path


def test_every_internal_link_resolves(build_site, records):
    found = pages(build_site(records))
    checked = 0
    for path, page in found.items():
        for link in page.values("href") + page.values("src"):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, link)
            if parts.fragment and "=" not in parts.fragment:  # what a page is asked for is no id
                assert parts.fragment in found[target].values("id"), (path, link)
            checked += 1
    assert checked > 50


def test_no_page_asks_anything_of_the_network(build_site, records):
    folder = build_site(records)
    loading = {
        "script",
        "img",
        "iframe",
        "source",
        "video",
        "audio",
        "embed",
        "object",
        "form",
        "base",
    }
    for path, page in pages(folder).items():
        for tag, attrs in page.tags:
            if tag in loading | {"link"}:
                for name in ("src", "href", "data", "srcset", "action"):
                    assert not re.match(r"(https?:)?//", attrs.get(name) or ""), (path, attrs)
            assert not any(name.startswith("on") for name in attrs), (path, attrs)
            assert "style" not in attrs, (path, attrs)
    for name in ("site.css", "site.js"):
        text = re.sub(r"//.*|/\*.*?\*/", "", (folder / "static" / name).read_text())
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp|import\(|sendBeacon", text), (
            name
        )


def test_pages_are_complete_without_a_script(build_site, records):
    page = Page((build_site(records) / "index.html").read_text())
    hidden = [(tag, attrs.get("id")) for tag, attrs in page.tags if "hidden" in attrs]
    assert hidden == [("form", "filters")]
    text = " ".join(page.text)
    for shown in ("91.65", "96.97", "85.68", "32.82", "out_of_memory", "random weights", "77.26"):
        assert shown in text


def test_shown_values_are_those_of_the_records(build_site, make_record):
    record = make_record()
    folder = build_site([record])
    front = (folder / "index.html").read_text()
    entry = (folder / "entries/patchcore.html").read_text()
    for metric in record.metrics:
        text = f"{100 * metric.value:.2f}"
        assert text in entry
        if metric.grid != "paper":
            assert f"[{100 * metric.low:.2f}, {100 * metric.high:.2f}]" in entry
        if metric.id in ("image_auroc", "pixel_auroc", "pixel_pro") and metric.grid != "paper":
            assert f'data-k="{metric.value:.7g}"' in front
            assert text in front


def test_mean_and_deviation_over_seeds_are_shown(build_site, make_record):
    records = [
        make_record(seed=s, metrics={("image_auroc", None): v}) for s, v in ((0, 0.8), (1, 0.9))
    ]
    front = (build_site(records) / "index.html").read_text()
    assert re.search(r'data-k="0\.85">.*?85\.00</a><small>± 7\.07</small>', front)


def test_a_value_without_a_number_has_no_sort_key_and_tells_its_reason(build_site, make_record):
    record = make_record(metrics={("image_auroc", None): 0.7, ("pixel_auroc", "native"): None})
    front = (build_site([record]) / "index.html").read_text()
    cells = re.findall(r"<td[^>]*>(?:<a [^>]*>)?NA.*?</td>", front)
    assert cells
    assert all("data-k" not in cell for cell in cells)
    assert any("the entry gives no maps" in cell for cell in cells)


def test_the_paper_stands_beside_measured_rows_and_apart(build_site, make_record):
    front = (build_site([make_record()]) / "index.html").read_text()
    rows = re.findall(r'<tr class="paper" id="six.*?</tr>', front, re.S)
    methods = {value.method for value in read_paper()}
    assert len(methods) == 15
    assert len(rows) == 15 + 10  # Table 2 and Table 3
    assert all("as reported" in row for row in rows)
    patchcore = next(row for row in rows if ">PatchCore<" in row)
    for shown in ("91.65", "± 0.36", "96.97", "85.68", "60.28", "98.57", "69.34"):
        assert shown in patchcore


def test_the_difference_to_the_paper_is_taken_on_its_grid_alone(build_site, make_record):
    front = (build_site([make_record()]) / "index.html").read_text()
    row = re.search(r'<tr class="measured".*?</tr>', front, re.S)[0]
    # pixel AUROC: native 96.971, paper grid 96.512, reported 96.97
    assert re.search(r"96\.97</a><small>one seed</small><small>Δ −0\.46</small>", row)


def test_failed_runs_are_rows_with_status_and_remedy(build_site, make_record):
    records = [
        make_record(seed=0),
        make_record(seed=1, status=Status.WRONG_SHAPE, detail="image 7: [3, 4] for [4, 3]"),
        make_record(entry="gone", title="Gone", status=Status.START_TIMEOUT),
    ]
    folder = build_site(records)
    front = (folder / "index.html").read_text()
    assert "1 of 2 failed" in front
    assert "brain: start_timeout" in front
    page = unescape((folder / "entries/patchcore.html").read_text())
    assert "image 7: [3, 4] for [4, 3]" in page
    assert Status.WRONG_SHAPE.entry.remedy in page
    assert "91.65" in page  # the seed that ended well is still there


def test_the_demonstration_never_shares_a_table_with_the_six(build_site, make_record):
    front = (build_site([make_record(), make_record(**DEMO)]) / "index.html").read_text()
    tables = dict(re.findall(r'data-table="([a-z-]+)"(.*?)</table>', front, re.S))
    assert "demo.image_auroc" in tables["demo-localisation"]
    assert "demo." not in tables["six-localisation"]
    assert "demonstration, not a result" in front


def test_a_first_look_without_a_record_shows_the_paper_and_what_to_do(build_site):
    front = (build_site([]) / "index.html").read_text()
    assert "Nothing measured yet" in front
    assert "python -m harness.evaluate" in front
    assert "PatchCore" in front


def test_unranked_rows_say_why_and_take_no_place(build_site, make_record):
    record = make_record(isolation="none", ranked=False, params={"weights": "random"},
                         unranked_reason="random weights, not isolated")  # fmt: skip
    front = (build_site([record]) / "index.html").read_text()
    row = re.search(r'<tr class="measured".*?</tr>', front, re.S)[0]
    assert "unranked: random weights, not isolated" in row
    assert 'class="place' not in row


def test_a_row_of_the_same_user_is_ranked_and_says_in_text_what_was_missing(
    build_site, make_record
):
    site = build_site([make_record(isolation="same user", machine__measured=NO_CGROUPS)])
    row = re.search(r'<tr class="measured".*?</tr>', (site / "index.html").read_text(), re.S)[0]
    shown = re.sub(r"<[^>]*>", " ", row)  # what a phone shows and a screen reader says: no title
    assert "same user: memory and pids not bounded" in shown
    assert 'data-isolation="same user"' in row
    assert "unranked" not in shown
    assert "same user: memory and pids not bounded" in (site / "entries/patchcore.html").read_text()
    assert "memory and pids not bounded" in (site / "data/leaderboard.csv").read_text()


def test_hidden_packs_leak_nothing_but_rounded_aggregates(build_site, make_record):
    records = [
        make_record(benchmark="clinic", visibility="hidden", track="sealed", seed=s, entry="ours",
                    metrics={("image_auroc", None): v}, median_seconds=0.0312345,
                    interval=0.034, warnings=["42 levels"])
        for s, v in ((0, 0.8123456), (1, 0.8654321))
    ]  # fmt: skip
    failed = make_record(benchmark="clinic", visibility="hidden", track="sealed", entry="bad",
                         status=Status.BAD_FRAME, detail="image 12 holds a secret")  # fmt: skip
    folder = build_site([*records, failed])
    everything = b"\n".join(contents(folder).values()).decode()
    assert "84" in (folder / "entries/ours.html").read_text()
    secrets = [
        "0.8123", "81.23", "0.8654", "86.54", "83.88", "77.83", "0.0312", "secret", "42 levels",
        *(record.run_key for record in records), *(record.record_hash for record in records),
    ]  # fmt: skip
    assert [secret for secret in secrets if secret in everything] == []
    assert not (folder / "data/records").exists()


def test_a_hidden_record_is_not_copied_even_where_an_open_row_has_its_name(make_record, tmp_path):
    material = Material(
        rows=summarise([make_record()]), records=(make_record(visibility="hidden"),)
    )
    index = build(material, tmp_path, version="1", commit=None)
    assert not (index.parent / "data/records").exists()


def test_records_of_open_packs_can_be_downloaded_as_the_store_wrote_them(build_site, make_record):
    record = make_record()
    folder = build_site([record, make_record(seed=1, status=Status.GPU_LOST)])
    copies = sorted((folder / "data/records").rglob("*.json"))
    assert len(copies) == 1
    assert type(record).model_validate_json(copies[0].read_bytes()) == record


def contrast(first, second):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(a * b for a, b in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_enough_contrast_in_both_schemes(repository, scheme):
    css = (repository / "leaderboard/static/site.css").read_text()
    root = re.findall(r":root \{(.*?)\}", css, re.S)[scheme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", root))
    pairs = [
        *((ink, ground) for ink in ("ink", "muted", "accent", "bad") for ground in ("ground", "raised", "row")),
        ("paper-ink", "paper"), ("paper-ink", "row"), ("ink", "paper"), ("on-accent", "accent"),
        ("demo", "demo-ground"), ("paper", "paper-ink"),
    ]  # fmt: skip
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: round(value, 2) for pair, value in low.items() if value < 4.5} == {}


def test_tables_are_accessible(build_site, records):
    folder = build_site(records)
    for path, page in pages(folder).items():
        heads = [attrs for tag, attrs in page.tags if tag == "th"]
        scopes = {attrs.get("scope") for attrs in heads}
        assert scopes <= {"col", "row", "colgroup", "rowgroup"}, path
        regions = [attrs for tag, attrs in page.tags if attrs.get("role") == "region"]
        assert all(
            attrs.get("tabindex") == "0"
            and (attrs.get("aria-label") or attrs.get("aria-labelledby"))
            for attrs in regions
        )
    front = Page((folder / "index.html").read_text())
    assert len([tag for tag, _ in front.tags if tag == "caption"]) == len(
        [tag for tag, _ in front.tags if tag == "table"]
    )
