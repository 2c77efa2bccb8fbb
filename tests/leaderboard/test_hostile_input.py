"""What a stranger writes into an entry's description is shown as text and nothing else."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from harness.common.foreign_text import is_unseen
from harness.common.statuses import Status

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'


@pytest.fixture
def hostile(make_record):
    return make_record(
        entry="../../etc/passwd" + SCRIPT,
        title=SCRIPT + IMAGE,
        benchmark="x" + IMAGE,
        params={"weights": SCRIPT, "name": "{{ 7 * 7 }}"},
        unranked_reason=IMAGE,
        ranked=False,
        metadata={
            "paper": "javascript:alert(3)",
            "code": "JaVaScRiPt:alert(4)",
            "licence": IMAGE,
            "authors": [SCRIPT, "\u202eevil"],
            "description": SCRIPT,
            "deviations": [{"what": SCRIPT, "why": IMAGE}, "not a table", {"what": 1}],
            "family": {"a": SCRIPT},
        },
        warnings=[SCRIPT],
    )


OURS = re.compile(
    r'<script src="(\.\./)?static/[a-z-]+\.js"( data-b="[^"<>]*")?></script>'
    r'|<script type="application/json" id="index">[^<]*</script>'
)


def html(folder):
    return {path: path.read_text() for path in folder.rglob("*.html")}


def test_no_tag_or_handler_of_theirs_is_in_a_page(build_site, hostile, make_record):
    failed = make_record(entry="bad", status=Status.CRASHED, detail=SCRIPT + IMAGE)
    for path, text in html(build_site([hostile, failed])).items():
        assert "<script" not in OURS.sub("", text), path
        assert "<img" not in text, path


def test_their_template_syntax_is_text(build_site, hostile):
    texts = html(build_site([hostile])).values()
    assert any("{{ 7 * 7 }}" in text for text in texts)


def test_only_http_and_https_links_are_links(build_site, hostile):
    for text in html(build_site([hostile])).values():
        for link in re.findall(r'href="([^"]*)"', text):
            assert re.match(
                r"(https?://|\.\./|[a-z]+/|[a-z0-9-]+\.html|feed\.xml|#|data:,)", link
            ), link


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "data:text/html,x", "//evil.example", "http://", "ftp://a.example",
     "file:///etc/passwd", "https://a.example/\nx", "https://[", " https://a.example", 7, None],
)  # fmt: skip
def test_other_addresses_are_dropped_to_text(build_site, make_record, link):
    page = build_site([make_record(metadata={"paper": link})]) / "entries/patchcore.html"
    assert "nofollow" not in page.read_text()


def test_an_http_link_is_kept(build_site, make_record):
    link = "https://arxiv.org/abs/2106.08265?a=1&b=2"
    page = build_site([make_record(metadata={"paper": link})]) / "entries/patchcore.html"
    assert 'href="https://arxiv.org/abs/2106.08265?a=1&amp;b=2"' in page.read_text()


def test_no_file_leaves_the_site(build_site, hostile, tmp_path):
    folder = build_site([hostile])
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} == {"site"}
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", name) for name in names)
    assert all(".." not in name for name in names)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n@", " ="])
def test_no_cell_of_the_csv_is_a_formula(build_site, make_record, start):
    text = start + "HYPERLINK(1)"
    record = make_record(title=text, ranked=False, unranked_reason=text, metadata={"paper": text})
    content = (build_site([record]) / "data/leaderboard.csv").read_bytes().decode()
    lines = list(csv.DictReader(io.StringIO(content, newline="")))
    assert lines[0]["title"] == "'" + text.strip()
    assert lines[0]["unranked_reason"].startswith("'")
    numbers = re.compile(r"-?[0-9.]+(e-?[0-9]+)?")
    for line in lines:
        for cell in line.values():
            assert not cell.startswith(("=", "+", "@", "\t", "\r", "\n", " ")), line
            assert not cell.startswith("-") or numbers.fullmatch(cell), line


def test_the_json_keeps_their_text_as_it_is(build_site, hostile):
    content = json.loads((build_site([hostile]) / "data/leaderboard.json").read_text())
    assert content["rows"][0]["title"] == SCRIPT + IMAGE


UNSEEN = "a\x1b[2J\x9b\u202eb\u200b\u00adc\U000e0041\ufe0f"


def test_what_cannot_be_seen_is_written_out_on_every_page(build_site, make_record):
    made = make_record(
        title=UNSEEN, params={"weights": UNSEEN, UNSEEN: 1}, unranked_reason=UNSEEN, ranked=False,
        metadata={"description": UNSEEN, "authors": [UNSEEN], "licence": UNSEEN,
                  "deviations": [{"what": UNSEEN, "why": UNSEEN}]},
        warnings=[UNSEEN],
    )  # fmt: skip
    failed = make_record(entry="bad", status=Status.CRASHED, detail=UNSEEN)
    folder = build_site([made, failed])
    pages = html(folder)
    assert any(r"a\x1b[2J\u009b\u202eb\u200b\u00adc\U000e0041\ufe0f" in t for t in pages.values())
    others = [folder / "data/leaderboard.csv", folder / "data/leaderboard.json"]
    for path, text in [*pages.items(), *((path, path.read_text()) for path in others)]:
        assert not [each for each in text if each != "\n" and is_unseen(each)], path
