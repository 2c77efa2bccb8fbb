"""Pictures at full size: what is said of each, its own address, and marks that need no colour."""

from __future__ import annotations

import re
from html import unescape
from importlib.resources import files

import pytest

from harness.board.site_data import Alarms, Gallery, GalleryCard, Picture
from leaderboard import formats, outcomes
from tests.leaderboard.test_hostile_input import IMAGE, OURS, SCRIPT

FILES = {f"{name}.webp": name.encode() for name in "abc"}
HERON = "full-size/heron--brain-trained-here-container.html"


def picture(**told):
    given = {
        "role": "same", "image": "i0", "is_anomalous": True, "subclass": None, "score": 0.25, "beyond": 0.5,
        "localisation": None, "size": (256, 200), "shown": "a.webp", "truth": None, "map": None,
    }  # fmt: skip
    return Picture(**(given | told))


def card(record, *pictures, **told):
    return GalleryCard(record.run_key, None, None, "score", 1, pictures, **told)


def one_page(build_site, record, *pictures, alarms=None, **told):
    """The page of a row with these pictures."""
    shown = Gallery(card(record, *pictures, **told), FILES)
    folder = build_site([record], galleries={record.run_key: shown}, alarms=alarms or {})
    [page] = (folder / "full-size").iterdir()
    return page.read_text()


def text_of(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


@pytest.mark.parametrize(
    ("is_anomalous", "is_called", "word", "here"),
    [
        (True, True, "hit", "found here"),
        (True, False, "missed", "missed here"),
        (False, True, "false alarm", "false alarm here"),
        (False, False, "passed", "correctly passed here"),
    ],
)
def test_what_a_run_made_of_an_image_is_said_in_words(
    build_site, make_record, is_anomalous, is_called, word, here
):
    shown = picture(
        is_anomalous=is_anomalous, is_called=is_called, lesion=0.027 if is_anomalous else None
    )
    page = one_page(build_site, make_record(), shown, threshold=0.3, threshold_from="validation")
    image = "Lesion 2.7 % of the image" if is_anomalous else "No lesion"
    section = text_of(page[page.index('<section class="picture-plate"') :])
    assert re.match(rf"Image 1 of 1 . {word} {image}; {here}\.", section)


def test_a_head_tells_how_many_methods_find_the_lesion(build_site, make_record):
    told = {"brain": {"i0": Alarms(called=3, of=8)}}
    shown = picture(is_called=False, lesion=0.0003, truth="b.webp", map="c.webp", found=0.5)
    page = text_of(
        one_page(
            build_site, make_record(), shown, alarms=told, threshold=0.3, threshold_from="test"
        )
    )
    assert (
        "Lesion less than 0.1 % of the image; missed here; found by 3 of 8 methods. Shown as: the same"
        " for every method. Score 0.25, below the threshold 0.3. The map marks 50.0 % of the lesion’s"
        " pixels. 50 % of the normal images score higher."
    ) in page
    assert (
        "from a score of 0.3 on: the threshold with the best F1 on the test images themselves."
    ) in page


def test_a_score_next_to_its_threshold_is_told_apart_from_it(make_record):
    shown = picture(score=0.61234, is_called=False)
    told = outcomes.score_told(
        shown, card(make_record(), shown, threshold=0.61235, threshold_from="test")
    )
    assert told == "score 0.61234, below the threshold 0.61235"
    assert formats.told_apart(-2.0, -2.0) == ("−2", "−2")


def test_a_card_without_a_threshold_shows_as_before(build_site, make_record):
    page = one_page(build_site, make_record(), picture(truth="b.webp", map="c.webp"))
    assert "picture-mark" not in page
    assert "threshold" not in text_of(page)
    assert "Anomalous. Shown as: the same for every method. Score 0.25." in text_of(page)


def test_an_image_that_is_shown_for_two_reasons_is_one_section_with_its_map(
    build_site, make_record
):
    # The hardest images are chosen by their scores, so that their maps may not have been kept.
    both = (picture(role="hard"), picture(role="worst", map="c.webp"), picture(image="i1"))
    page = one_page(build_site, make_record(), *both)
    assert re.findall(r'id="(i-[^"]*)"', page) == ["i-i0", "i-i1"]
    assert "Shown as: among the hardest, worst." in text_of(page)
    assert page.count("Anomaly map of the same image") == 1


def test_previous_and_next_are_plain_anchors_and_the_ends_have_one(build_site, make_record):
    page = one_page(build_site, make_record(), *(picture(image=f"i{n}") for n in range(3)))
    steps = re.findall(r'href="#(i-i\d)" rel="(prev|next)"', page)
    assert steps == [
        ("i-i1", "next"), ("i-i0", "prev"), ("i-i2", "next"), ("i-i1", "prev"),
    ]  # fmt: skip


def test_what_strangers_wrote_into_a_card_is_text(build_site, make_record):
    shown = picture(image=SCRIPT + IMAGE, subclass=SCRIPT + IMAGE, is_called=True)
    record = make_record(entry="evil" + IMAGE, title=SCRIPT + IMAGE)
    page = one_page(build_site, record, shown, threshold=0.1, threshold_from="test")
    assert "<script" not in OURS.sub("", page)
    [image] = re.findall(r"<img [^>]*>", page)
    assert re.match(
        r'<img src="\.\./pictures/[0-9a-f]+\.webp" alt="Anomalous test image \(&lt;', image
    )
    assert re.findall(r'id="(i-[^"]*)"', page) == [f"i-{formats.file_stem(SCRIPT + IMAGE)}"]


def test_every_picture_leads_to_its_own_section(example_site):
    checked = 0
    for name in ("side-by-side/brain.html", "side-by-side/oct2017.html", "entries/heron.html", "benchmarks/brain.html"):  # fmt: skip
        page = (example_site / name).read_text()
        images = re.findall(r"<img [^>]*>", page)
        links = re.findall(r'<a href="\.\./(full-size/[^"#]*)#(i-[^"]*)"><img [^>]*alt="([^"]*)"', page)  # fmt: skip
        assert len(images) == len(links) > 5, name
        for path, anchor, alt in links:
            assert (
                f'<section class="picture-plate" id="{anchor}"' in (example_site / path).read_text()
            )
            assert re.match(r".+[:,] .+", alt)
            checked += 1
    assert checked > 80


def test_the_name_of_a_tile_says_image_method_and_what_happens(example_site):
    page = (example_site / "side-by-side/brain.html").read_text()
    names = re.findall(
        r'alt="Image \d, anomaly map, (\S.*?): (hit|missed|false alarm|passed)"', page
    )
    assert len(names) == len({method for method, _ in names}) * 7
    assert {"hit", "missed", "passed"} <= {happened for _, happened in names}


def test_every_same_image_leads_to_all_methods_and_back(example_site):
    page = (example_site / HERON).read_text()
    links = re.findall(r'href="\.\./side-by-side/brain\.html#(i-[^"]*)"', page)
    together = (example_site / "side-by-side/brain.html").read_text()
    assert len(links) == 7
    for anchor in links:
        assert re.search(rf'<th scope="col" id="{anchor}">Image \d<small>', together)


def test_pages_of_pictures_are_small_and_say_neither_none_nor_nan(example_site):
    pages = list((example_site / "full-size").iterdir())
    assert len(pages) > 10
    for path in pages:
        page = path.read_text()
        assert len(page) < 300_000
        assert not re.search(r"\b(None|NaN|nan)\b", page)


def test_local_pictures_are_marked_on_every_page(build_site, make_record):
    said = "may not be published"
    for path in build_site([make_record()], has_local_pictures=True).rglob("*.html"):
        assert path.read_text().count(said) == 1, path
    plain = build_site([make_record()], name="plain")
    assert all(said not in path.read_text() for path in plain.rglob("*.html"))


# ---- in a browser ---------------------------------------------------------------------------


@pytest.mark.browser
def test_the_slider_lays_the_map_over_the_image_and_stays_in_the_address(visit, example_site):
    page = visit().open(example_site / HERON)
    slider, over = page.get_by_label("Opacity of the map").first, page.locator(".over")
    assert over.first.evaluate("e => getComputedStyle(e).opacity") == "0.5"
    box = page.locator(".picture-laid img").first.bounding_box()
    assert over.first.bounding_box() == box
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "60"
    assert over.last.evaluate("e => getComputedStyle(e).opacity") == "0.6"
    assert page.url.endswith(".html?o=60")  # in the query: no anchor of an image is touched
    page.locator("a[rel=next]").first.click()
    assert re.search(r"\?o=60#i-[0-9a-f]+$", page.url)
    address = page.url
    page = visit().page
    page.goto(address)
    assert page.locator(".picture-plate:target h2").inner_text().startswith("Image 2 of ")
    assert page.locator(".over").nth(1).evaluate("e => getComputedStyle(e).opacity") == "0.6"
    top = page.locator(".picture-plate:target").bounding_box()["y"]
    assert 0 <= top < 60


@pytest.mark.browser
def test_arrow_keys_go_from_image_to_image(visit, example_site):
    page = visit().open(example_site / HERON)
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        seen.append(page.evaluate("document.activeElement.innerText.split(' of')[0]"))
        assert page.locator(":target").count() == 1
    assert seen == ["Image 1", "Image 2", "Image 3", "Image 2"]
    page.get_by_label("Opacity of the map").nth(1).focus()
    before = page.url.partition("#")[2]
    page.keyboard.press("ArrowRight")  # on a slider the key is the slider's
    assert page.url.partition("#")[2] == before
    page.keyboard.press("End")
    assert page.get_by_label("Opacity of the map").first.input_value() == "100"


@pytest.mark.browser
@pytest.mark.parametrize("query", ["?o=999", "?o=%3Cscript%3E", "?o=-5", "?o="])
def test_a_value_that_makes_no_sense_is_the_default(visit, example_site, query):
    page = visit().page
    page.goto((example_site / HERON).as_uri() + query)
    assert page.get_by_label("Opacity of the map").first.input_value() == "50"


@pytest.mark.browser
def test_an_address_opens_at_its_image_without_scripts(visit, example_site):
    page = visit(java_script_enabled=False).page
    anchors = re.findall(r'id="(i-[^"]*)"', (example_site / HERON).read_text())
    page.goto(f"{(example_site / HERON).as_uri()}?o=20#{anchors[4]}")
    assert 0 <= page.locator(f"#{anchors[4]}").bounding_box()["y"] < 60
    assert page.locator(".picture-laid").first.is_visible()
    assert page.locator("input[type=range]").count() == 0


@pytest.mark.browser
def test_where_a_lesion_was_missed_is_two_clicks_from_the_front(visit, example_site):
    page = visit().open(example_site / "index.html")
    page.locator(".questions li", has_text="in pictures?").get_by_role(
        "link", name="Brain MRI"
    ).click()
    page.get_by_role("link", name=re.compile("missed$")).first.click()
    plate = page.locator(".picture-plate:target")
    assert plate.locator("h2").inner_text().endswith("missed")
    assert re.match(
        r"Lesion [\d.]+ % of the image; missed here; found by \d of 8 methods",
        plate.locator(".picture-head").inner_text(),
    )
    assert plate.get_by_role("img", name="lesion outlined").first.is_visible()
    assert plate.get_by_role("img", name=re.compile("^Anomaly map")).is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_differ_in_shape_and_filling_and_can_be_read(visit, example_site, scheme):
    page = visit(color_scheme=scheme).open(example_site / HERON)
    looks = page.locator(".picture-marks i").evaluate_all(
        "all => all.map(e => { const s = getComputedStyle(e);"
        " return [s.borderRadius, s.backgroundColor === 'rgba(0, 0, 0, 0)'].join(); })"
    )
    assert len(looks) == len(set(looks)) == 4
    page = visit(color_scheme=scheme, bypass_csp=True).open(example_site / HERON)
    page.evaluate("document.querySelector('.watermark').remove()")
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    barriers = [each for each in found["violations"] if each["id"] != "region"]  # of every page
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in barriers] == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [1440, 390, 320])
def test_pictures_keep_their_size_or_that_of_the_window(visit, example_site, width):
    page = visit(viewport={"width": width, "height": 844}).open(example_site / HERON)
    wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0
    shown = page.locator(".picture-views img").first
    assert shown.bounding_box()["width"] == pytest.approx(
        int(shown.get_attribute("width")) if width == 1440 else width - 28.8, abs=1
    )
