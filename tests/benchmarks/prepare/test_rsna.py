"""RSNA: DICOM pixels, the class table, the released sizes, patients by RSNA's mapping."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import open_pack
from harness.benchmarks.prepare import rsna
from harness.benchmarks.prepare.pictures import read_grey
from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Item, Options, Unusable
from harness.common.errors import RawDataInvalid, UsageError

from . import raw_fixtures as fixtures
from .conftest import Preparing, Ready, form_of, keys_of, pixels_of, rows_of


def raw_file(path: Path) -> RawFile:
    return RawFile(PurePosixPath(path.name), path)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return pixels_of(buffer)


def test_pixels_are_those_of_the_file_whatever_its_coding(ready: Ready) -> None:
    folder = ready("rsna").folder
    numbers = {chest.identifier: number for number, chest in enumerate(fixtures.chests())}
    for row in rows_of(folder):
        number = numbers[row["source"]]
        expected = fixtures.chest_pixels(number)
        if number % 11 != 5:
            expected = jpeg(expected)
        if number % 13 == 7:
            expected = 255 - expected
        assert form_of(folder / row["key"]) == ("L", (1024, 1024))
        np.testing.assert_array_equal(pixels_of(folder / row["key"]), expected)


def test_each_image_is_taken_once_though_the_table_repeats_it(ready: Ready) -> None:
    rows = rows_of(ready("rsna").folder)
    assert len(rows) == len({row["source"] for row in rows}) == len(fixtures.chests())
    assert Counter(row["subclass"] for row in rows) == {
        None: 12, "Lung_Opacity": 4, "No-Not-Normal": 6,
    }  # fmt: skip


def test_file_names_do_not_tell_the_class(ready: Ready, tmp_path: Path) -> None:
    names = keys_of(ready("rsna").folder, "test", True)
    assert not any("Opacity" in name or "Normal" in name for name in names)
    pack = open_pack(ready("rsna").folder, tmp_path / "cache")
    assert {s.subclass for s in pack.split("test") if s.is_anomalous} == {
        "Lung_Opacity", "No-Not-Normal",
    }  # fmt: skip


def items() -> list[Item]:
    kinds = [kind for kind, count in rsna.SOURCE.items() for _ in range(count)]
    return [
        Item(f"id{n:06d}", "c", kind != "Normal", f"p{n // 2}", rsna.SUBCLASSES.get(kind))
        for n, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [("released", (8000, 70, 1420, 781, 16413)), ("paper-text", (8000, 745, 745, 106, 17088))],
)
def test_the_sizes_of_the_release_and_of_the_papers_text(rule: str, sizes: tuple[int, ...]) -> None:
    placed = rsna.assign(items(), Options(raw=(), valid_rule=rule)).placed
    counts = Counter((p.split, p.item.is_anomalous) for p in placed)
    assert tuple(
        counts[slot]
        for slot in (("train", False), ("valid", False), ("valid", True), ("test", False),
                     ("test", True))
    ) == sizes  # fmt: skip
    assert Counter(p.item.subclass for p in placed if p.split == "valid" and rule == "released") in (
        {None: 70, "Lung_Opacity": 479, "No-Not-Normal": 941}, {},
    )  # fmt: skip


def test_patients_are_in_one_split_each_where_they_are_known() -> None:
    placed = rsna.assign(items(), Options(raw=(), variant="disjoint", nih_mapping=Path("x"))).placed
    groups = {
        split: {p.item.group for p in placed if p.split == split}
        for split in ("train", "valid", "test")
    }
    assert not groups["train"] & (groups["valid"] | groups["test"])
    assert not groups["valid"] & groups["test"]
    assert 7900 < sum(p.split == "train" for p in placed) <= 8000
    assert not any(p.item.is_anomalous for p in placed if p.split == "train")


def test_no_disjoint_split_without_knowing_the_patients(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.rsna(tmp_path / "raw", fixtures.chests(3, 2, 2), mapping=False)
    with pytest.raises(UsageError, match="needs to know the patients") as error:
        preparing("rsna", raw=(raw,), variant="disjoint")
    assert "pneumonia-challenge-dataset-mappings_2018.json" in error.value.fix
    assert preparing("rsna", raw=(raw,)).card is not None


def test_a_mapping_that_does_not_know_an_image_or_is_none_is_refused(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.rsna(tmp_path / "raw", fixtures.chests(3, 2, 2))
    path = raw / rsna.MAPPING
    entries = json.loads(path.read_text())
    for content, message in (
        (json.dumps(entries[1:]), f"does not know {entries[0]['subset_img_id']}"),
        ('{"no": "list"}', "not RSNA's mapping"),
        ("no json", "not RSNA's mapping"),
    ):
        path.write_text(content)
        with pytest.raises(RawDataInvalid, match=message):
            preparing("rsna", raw=(raw,), variant="disjoint", is_keeping_on=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return fixtures.rsna(tmp_path / "raw", fixtures.chests(4, 2, 2))


def problem_of(preparing: Preparing, raw: Path) -> str:
    with pytest.raises(RawDataInvalid) as error:
        preparing("rsna", raw=(raw,), is_keeping_on=False)
    return str(error.value)


def test_everything_that_is_wrong_with_the_tables_is_listed(
    preparing: Preparing, small: Path
) -> None:
    chests = fixtures.chests(4, 2, 2)
    table, boxes = small / rsna.CLASS_TABLE, small / rsna.BOX_TABLE
    table.write_text(
        table.read_text() + f"{chests[0].identifier},Lung Opacity\nnobody,Normal\n"
        f"{chests[1].identifier},Unheard Of\n"
    )
    boxes.write_text(boxes.read_text() + f"{chests[2].identifier},1,1,1,1,1\n")
    text = problem_of(preparing, small)
    assert f"{chests[0].identifier} has two classes" in text
    assert f"{chests[1].identifier} is 'Unheard Of'" in text
    assert f"{chests[2].identifier} contradicts" in text
    assert "nobody.dcm is missing" in text


def test_without_the_class_table_nothing_can_be_done(preparing: Preparing, small: Path) -> None:
    (small / rsna.CLASS_TABLE).unlink()
    assert f"{rsna.CLASS_TABLE} is missing" in problem_of(preparing, small)


def test_a_truncated_file_is_named(preparing: Preparing, small: Path) -> None:
    path = sorted((small / "stage_2_train_images").iterdir())[2]
    for share in (0.5, 0.02):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        assert path.name in problem_of(preparing, small)


def test_what_is_no_8_bit_grey_image_of_the_right_size_is_refused(tmp_path: Path) -> None:
    path = fixtures.dicom(tmp_path / "small.dcm", fixtures.chest_pixels(1, 64), compressed=False)
    with pytest.raises(Unusable, match="64x64 pixels, expected 1024x1024"):
        read_grey(raw_file(path), rsna.SHAPE)
    assert read_grey(raw_file(path), None).shape == (64, 64)
    (tmp_path / "none.dcm").write_bytes(b"no dicom" * 100)
    with pytest.raises(Unusable, match=r"none\.dcm"):
        read_grey(raw_file(tmp_path / "none.dcm"), None)


def test_the_documented_discrepancies_stand_in_the_card(ready: Ready) -> None:
    text = " ".join(ready("rsna").card.remarks)
    for fact in ("70 + 1,420", "1 : 1", "no split", "781 normal", "ChestX-ray8", "View position"):
        assert fact in text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04zip", " is a ZIP archive, expected UTF-8 text: unpack it"),
        ("patientId,class\n".encode("utf-16"), " is UTF-16, expected UTF-8 text: save it as UTF-8"),
        (b"patientId,class\nM\xfcller,Normal\n", ", line 2: not UTF-8 (byte 0xfc)"),
        (b'patientId,class\n"a,Normal\nb,Normal\n', ", line 2: a quotation mark"),
        (b"id,kind\na,Normal\n", " begins with 'id,kind', without patientId and class"),
        (b"patientId,class\na,Normal,x\n", ", line 2: 3 of 2 fields"),
        (b"patientId,class\na,Healthy\n", ": a is 'Healthy', expected one of Normal, Lung Opacity"),
    ],
)
def test_a_table_that_is_none_is_named_with_what_it_is(
    content: bytes, told: str, preparing: Preparing, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / rsna.CLASS_TABLE).write_bytes(content)
    with pytest.raises(RawDataInvalid) as error:
        preparing("rsna", raw=(tmp_path / "raw",), is_keeping_on=False)
    assert f"  - {rsna.CLASS_TABLE}{told}" in str(error.value)


def test_the_other_tables_are_read_as_strictly(preparing: Preparing, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / rsna.CLASS_TABLE).write_text("patientId,class\na,Normal\n")
    (tmp_path / "raw" / rsna.BOX_TABLE).write_text('patientId,Target\na,"0\nb,0\n')
    (tmp_path / "raw" / rsna.MAPPING).write_bytes("[]".encode("utf-16"))
    with pytest.raises(RawDataInvalid) as error:
        preparing("rsna", raw=(tmp_path / "raw",), is_keeping_on=False)
    assert f"{rsna.BOX_TABLE}, line 2: a quotation mark" in str(error.value)
    assert f"{rsna.MAPPING} is UTF-16, expected UTF-8 text" in str(error.value)


def test_raw_files_that_no_image_is_made_of_are_counted(
    preparing: Preparing, raw: dict[str, Path], tmp_path: Path
) -> None:
    copied = tmp_path / "raw"
    shutil.copytree(raw["rsna"], copied)
    before = preparing("rsna", raw=(copied,), is_dry=True).left_out
    (copied / "stage_2_train_images/.DS_Store").write_text("x")
    (copied / "stage_2_train_images/nobody.dcm").write_bytes(b"x")
    (copied / "notes").write_text("x")
    after = preparing("rsna", raw=(copied,), is_dry=True).left_out
    assert after == before | {
        ".dcm": before.get(".dcm", 0) + 1, "no ending": before.get("no ending", 0) + 1, "litter": 1,
    }  # fmt: skip
