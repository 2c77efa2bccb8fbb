"""Camelyon16: patches at the coordinates, what lies outside a slide, the audit of the labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from harness.benchmarks.prepare import annotations, camelyon16, splits
from harness.benchmarks.prepare.recipe import Options, Unusable
from harness.common.errors import RawDataInvalid

from . import raw_fixtures as fixtures
from .conftest import Preparing, Ready, form_of, keys_of, pixels_of, rows_of


def test_the_fixture_is_a_pyramid_that_openslide_opens(raw: dict[str, Path]) -> None:
    path = raw["camelyon16"] / "testing/images/test_001.tif"
    with openslide.OpenSlide(path) as slide:
        assert slide.level_count == 3
        assert slide.properties[openslide.PROPERTY_NAME_VENDOR] == "generic-tiff"


def test_a_patch_is_cut_around_its_centre(ready: Ready, raw: dict[str, Path]) -> None:
    folder = ready("camelyon16").folder
    for row in rows_of(folder):
        x, y = row["details"]["x_center"], row["details"]["y_center"]
        if x == fixtures.SLIDE_SIDE - 64:
            continue
        pixels = tifffile.imread(raw["camelyon16"] / row["files"][0], key=0)
        assert form_of(folder / row["key"])[0] == "RGB"
        np.testing.assert_array_equal(
            pixels_of(folder / row["key"]), pixels[y - 128 : y + 128, x - 128 : x + 128]
        )


def test_what_lies_outside_the_slide_is_black(ready: Ready, raw: dict[str, Path]) -> None:
    folder = ready("camelyon16").folder
    row = next(r for r in rows_of(folder) if r["details"]["x_center"] == fixtures.SLIDE_SIDE - 64)
    image = pixels_of(folder / row["key"])
    pixels = tifffile.imread(raw["camelyon16"] / row["files"][0], key=0)
    assert not image[:, 192:].any()
    assert not image[:64].any()
    np.testing.assert_array_equal(image[64:, :192], pixels[:192, -192:])


def test_a_name_is_the_row_of_its_list_and_its_group_the_slide(ready: Ready) -> None:
    folder = ready("camelyon16").folder
    assert keys_of(folder, "test", True) == ["0", "1", "2", "3", "4", "5"]
    rows = {row["key"]: row["group"] for row in rows_of(folder)}
    assert rows["test/Ungood/img/2.png"] == "test_002"
    assert rows["train/good/img/39.png"] == "normal_010"


def flat(slides: Path, place: Path) -> Path:
    """All slides in one folder, as some mirrors have them."""
    (place / "images").mkdir(parents=True)
    for path in slides.rglob("*.tif"):
        shutil.copy(path, place / "images")
    return place


def test_slides_may_lie_in_one_folder(
    ready: Ready, preparing: Preparing, raw: dict[str, Path], tmp_path: Path
) -> None:
    place = flat(raw["camelyon16"], tmp_path / "raw")
    assert preparing("camelyon16", raw=(place,)).card.version == ready("camelyon16").card.version


def test_missing_and_broken_slides_are_named_with_their_patches(
    preparing: Preparing, raw: dict[str, Path], tmp_path: Path
) -> None:
    place = flat(raw["camelyon16"], tmp_path / "raw")
    (place / "images/test_002.tif").unlink()
    with pytest.raises(RawDataInvalid, match=r"test_002\.tif is missing \(6 patches\)"):
        preparing("camelyon16", raw=(place,), is_keeping_on=False)
    broken = place / "images/test_003.tif"
    broken.write_bytes(broken.read_bytes()[:4000])
    with pytest.raises(RawDataInvalid, match=r"images/test_003\.tif"):
        preparing("camelyon16", raw=(place,), limit_cases=99, is_keeping_on=False)
    prepared = preparing("camelyon16", raw=(place,))
    assert not {"test_002", "test_003"} & {row["group"] for row in rows_of(prepared.folder)}


def test_bmads_slides_are_all_asked_for(tmp_path: Path) -> None:
    survey = camelyon16.survey(Options(raw=(tmp_path,)))
    missing = {problem.text.partition(".tif")[0] for problem in survey.problems}
    assert len(missing) == 159 + 127
    assert not {"normal_086", "test_049", "test_114", "test_125"} & missing


def test_the_totals_are_those_of_bmads_lists() -> None:
    items = sorted(
        (item for case in camelyon16._items().values() for item in case), key=lambda item: item.key
    )
    placed = camelyon16.assign(items, Options(raw=())).placed
    counts = [
        sum(p.split == split and p.item.is_anomalous == label for p in placed)
        for split, label in (("train", False), ("valid", False), ("valid", True), ("test", False),
                             ("test", True))
    ]  # fmt: skip
    assert counts == [5088, 117, 105, 1026, 1008]


def test_a_resplit_deals_out_slides() -> None:
    items = sorted(
        (item for case in camelyon16._items().values() for item in case), key=lambda item: item.key
    )
    options = Options(raw=(), variant="resplit", salt="0123456789abcdef!")
    placed = camelyon16.assign(items, options).placed
    groups = {
        split: {p.item.group for p in placed if p.split == split}
        for split in ("train", "valid", "test")
    }
    assert not groups["train"] & (groups["valid"] | groups["test"])
    assert not groups["valid"] & groups["test"]
    sizes = [
        sum(p.split == split and p.item.is_anomalous == label for p in placed)
        for split, label in (("valid", False), ("valid", True), ("test", False), ("test", True))
    ]
    assert sizes[0] == 117
    assert sizes[2] == 1026
    assert sizes[1] > 50
    assert sizes[3] > 950
    assert len({(p.split, p.item.is_anomalous, p.name) for p in placed}) == len(placed)


def test_outlines_are_drawn_where_they_lie(tmp_path: Path) -> None:
    path = fixtures.outlines(
        tmp_path / "test_001.xml",
        [
            ("Tumor", [(900, 900), (1100, 900), (1100, 1100), (900, 1100)]),
            ("_2", [(990, 990), (1010, 990), (1010, 1010), (990, 1010)]),
        ],
    )
    tumours, holes = annotations.read_outlines(path)
    assert (len(tumours), len(holes)) == (1, 1)
    inside = annotations.covered(tumours, holes, (1000, 1000), 256)
    assert not inside[128, 128]  # the hole
    assert inside[100, 100]
    assert inside[28:228, 28:228].mean() > 0.98 - 21 * 21 / 200**2
    assert not inside[:27].any()
    assert not annotations.covered(tumours, holes, (2000, 2000), 256).any()


SQUARE = [(900, 900), (1100, 900), (1100, 1100), (900, 1100)]


@pytest.mark.parametrize("group", ["_0", "_1", "Tumor", "tumor", "metastases"])
def test_groups_of_tumour_are_tumour(group: str, tmp_path: Path) -> None:
    path = fixtures.outlines(tmp_path / "a.xml", [(group, SQUARE)])
    inside = annotations.covered(*annotations.read_outlines(path), (1000, 1000), 256)
    assert inside[128, 128]


@pytest.mark.parametrize("group", ["_2", "Exclusion", "None", "normal"])
def test_groups_that_are_excluded_are_no_tumour_and_are_cut_out_of_one(
    group: str, tmp_path: Path
) -> None:
    path = fixtures.outlines(tmp_path / "a.xml", [(group, SQUARE)])
    assert not annotations.covered(*annotations.read_outlines(path), (1000, 1000), 256).any()
    around = [(500, 500), (1500, 500), (1500, 1500), (500, 1500)]
    path = fixtures.outlines(tmp_path / "b.xml", [("Tumor", around), (group, SQUARE)])
    inside = annotations.covered(*annotations.read_outlines(path), (1000, 1000), 256)
    assert not inside[128, 128]
    assert inside[5, 5]


def test_unknown_groups_are_an_error_that_lists_them(
    preparing: Preparing, raw: dict[str, Path], tmp_path: Path
) -> None:
    outlines = [("Tumor", SQUARE), ("ROI", SQUARE), ("ROI", SQUARE), ("Nec\x85rosis", SQUARE)]
    fixtures.outlines(tmp_path / "xml/test_001.xml", outlines)
    with pytest.raises(RawDataInvalid) as error:
        preparing("camelyon16", xml=tmp_path / "xml", is_keeping_on=False, limit_cases=4)
    text = str(error.value)
    assert r"test_001.xml: outlines of unknown groups: 'Nec\u0085rosis' (1), 'ROI' (2)" in text
    assert "known are _0, _1, tumor" in text
    assert "_2, exclusion" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<no xml", "unreadable"),
        ("", "unreadable"),
        ("<?xml version='1.0' encoding='nonsense'?><a/>", "unreadable"),
        ('<a><Annotation PartOfGroup="_0"><Coordinate X="a" Y="1"/></Annotation></a>', "numbers X"),
        (
            '<a><Annotation PartOfGroup="_0"><Coordinate X="1e400" Y="1"/></Annotation></a>',
            "farther",
        ),
        ('<a><Annotation PartOfGroup="_0"><Coordinate X="nan" Y="1"/></Annotation></a>', "farther"),
    ],
)
def test_an_outline_file_that_cannot_be_read_is_named(
    content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(Unusable, match=rf"a\.xml: .*{message}.*download"):
        annotations.read_outlines(tmp_path / "a.xml")


def test_the_audit_counts_labels_that_the_outlines_contradict(
    preparing: Preparing, raw: dict[str, Path], tmp_path: Path
) -> None:
    square = [(950, 550), (1100, 550), (1100, 1100), (950, 1100)]
    fixtures.outlines(tmp_path / "xml/test_001.xml", [("Tumor", square)])
    fixtures.outlines(tmp_path / "xml/test_002.xml", [("_0", [(100, 100), (300, 100), (300, 300)])])
    (tmp_path / "xml/test_003.xml").write_text("<no xml")
    prepared = preparing("camelyon16", xml=tmp_path / "xml")
    audit = " ".join(remark for remark in prepared.card.remarks if "utline" in remark)
    # test_001: both abnormal centres inside, no normal one. test_002: neither, and a normal one.
    assert "2 of 4 abnormal patches have their centre outside" in audit
    assert "1 of 8 normal patches of outlined slides touch one" in audit
    assert "1 outline files cannot be read: test_003.xml" in audit


def test_the_documented_discrepancies_stand_in_the_card(ready: Ready) -> None:
    text = " ".join(ready("camelyon16").card.remarks)
    for fact in ("three different totals", "normal_086", "test_049", "tissue of tumour slides"):
        assert fact in text
    assert len(splits.patches("camelyon16_train_good")) == 5088
