"""The made-up example: marked wherever one looks, never mixed with records, the same every time."""

from __future__ import annotations

import json
import re

import pytest

from harness.common.errors import StoreUnusable, UsageError
from harness.publishing.picture_check import card_problems
from harness.publishing.site_build import build_site
from harness.site import main
from leaderboard.builder import build, site_files
from tests.leaderboard.test_builder import Page


def test_every_page_says_that_it_is_made_up(example_site):
    pages = sorted(example_site.rglob("*.html"))
    assert len(pages) > 20
    for path in pages:
        page = Page(path.read_text())
        text = " ".join(page.text)
        assert "[made-up data]" in text, path  # the title
        assert "Made-up data." in text, path
        assert any("watermark" in (attrs.get("class") or "") for _, attrs in page.tags), path


def test_every_download_says_that_it_is_made_up(example_site):
    content = json.loads((example_site / "data/leaderboard.json").read_text())
    assert content["is_made_up"] is True
    lines = (example_site / "data/leaderboard.csv").read_text().splitlines()
    assert all(line.startswith(('"made up, ', "made up, ")) for line in lines[1:])
    records = list((example_site / "data/records").rglob("*.json"))
    assert len(records) > 100
    assert all("made-up data" in path.read_text() for path in records)


def test_a_real_site_says_nothing_of_the_kind(build_site, make_record):
    for path in build_site([make_record()]).rglob("*.html"):
        assert "made-up data" not in path.read_text()


def test_the_example_never_takes_the_place_of_a_real_site_nor_the_reverse(
    example_material, build_site, make_record, tmp_path
):
    real = build_site([make_record()])
    before = (real / "index.html").read_bytes()
    with pytest.raises(StoreUnusable, match="holds a site of records"):
        build(example_material, real, version="1", commit=None)
    assert (real / "index.html").read_bytes() == before
    made_up = build(example_material, tmp_path / "example", version="1", commit=None).parent
    with pytest.raises(StoreUnusable, match="holds a made-up example"):
        build_site([make_record()], name="example")
    assert "made-up" in (made_up / "index.html").read_text()


@pytest.mark.parametrize(
    "more", [[], ["--out", "x", "--results", "r"], ["--out", "x", "--records", "r"]]
)
def test_the_example_takes_no_records_and_needs_a_folder_of_its_own(more):
    with pytest.raises(UsageError, match="the example takes no records"):
        main(["--example", *more])


def test_the_results_folder_is_not_read(tmp_path, example_site, make_record):
    text = (example_site / "index.html").read_text()
    assert "PatchCore" not in text
    assert "91.65" not in re.sub(r"<[^>]*>", "", text)
    assert build_site(tmp_path / "results", tmp_path / "site", published=tmp_path).is_file()


def test_the_same_material_gives_the_same_bytes(example_material):
    options = {"version": "1", "commit": None, "default_limits": {}}
    assert site_files(example_material, **options) == site_files(example_material, **options)


def test_pictures_are_copied_once_and_shown_where_they_may_be(example_site):
    brain = (example_site / "side-by-side/brain.html").read_text()
    shown = set(re.findall(r'src="\.\./(pictures/[0-9a-f]+\.webp)"', brain))
    assert len(shown) > 10
    assert all((example_site / path).is_file() for path in shown)
    assert not (example_site / "side-by-side/rsna.html").exists()
    everything = "".join(path.read_text() for path in example_site.rglob("*.html"))
    assert all(path.name in everything for path in (example_site / "pictures").iterdir())


def test_its_pictures_are_such_as_the_harness_draws_with_maps_also_where_there_are_no_masks(
    example_material, tmp_path
):
    records = {record.run_key: record for record in example_material.records}
    shown, called = set(), set()
    for key, gallery in example_material.galleries.items():
        folder = tmp_path / key.removeprefix("sha256:")
        folder.mkdir()
        for name, content in gallery.files.items():
            (folder / name).write_bytes(content)
        assert list(card_problems(gallery.card, records[key], folder)) == []
        if any(picture.map for picture in gallery.card.pictures):
            shown.add(records[key].pack.benchmark)
        called |= {picture.is_called for picture in gallery.card.pictures}
    assert shown == {"brain", "oct2017", "camelyon16"}
    assert called == {True, False}
    assert not example_material.has_local_pictures
