"""BraTS2021 to brain: which slices go where, what they look like, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from harness.benchmarks import open_pack
from harness.benchmarks.prepare import brain, expected, splits
from harness.benchmarks.prepare.grey import bone_map
from harness.benchmarks.prepare.recipe import Options
from harness.benchmarks.spec import KnownCounts, SplitCounts
from harness.common.errors import RawDataInvalid

from . import raw_fixtures as fixtures
from .conftest import Preparing, Ready, form_of, keys_of, pixels_of, rows_of


def test_slices_go_where_the_lists_say(ready: Ready) -> None:
    folder = ready("brain").folder
    train, valid, test = fixtures.TRAIN_IDS, fixtures.VALID_NORMAL_IDS, fixtures.TEST_NORMAL_IDS
    assert keys_of(folder, "train", False) == sorted(
        f"{number}_{z}" for position, number in enumerate(train) for z in range(60, 64 + position)
    )
    assert keys_of(folder, "valid", False) == sorted(f"{number}_60" for number in valid)
    assert keys_of(folder, "test", False) == sorted(
        f"{number}_{z}" for number in test for z in (60, 61, 62)
    )
    assert keys_of(folder, "valid", True) == sorted(
        f"{number}_{z}" for number in fixtures.VALID_ABNORMAL_IDS for z in (60, 70, 80, 90)
    )
    assert keys_of(folder, "test", True) == sorted(
        f"{number}_{z}" for number in fixtures.UNLISTED_IDS for z in (60, 68, 76, 84, 92)
    )


def test_a_picture_is_the_stored_slice_through_the_colour_map(
    ready: Ready, raw: dict[str, Path]
) -> None:
    folder = ready("brain").folder
    number, z = fixtures.UNLISTED_IDS[0], 68
    case = raw["brain"] / f"BraTS2021_{number}" / f"BraTS2021_{number}"
    stored = np.asarray(nib.load(f"{case}_flair.nii.gz").dataobj)[:, :, z].astype(int)
    grey = np.minimum(255, 256 * (stored - stored.min()) // (stored.max() - stored.min()))
    image = pixels_of(folder / f"test/Ungood/img/{number}_{z}.png")
    assert image.shape == (240, 240, 3)
    np.testing.assert_array_equal(image, bone_map()[grey])
    # The marker lies at rows x 0..4 and columns y 0..8: neither turned nor mirrored.
    assert image[:5, :9].min() > 0
    assert not image[:5, -9:].any()


def test_a_mask_is_every_label_and_nothing_but_0_and_255(
    ready: Ready, raw: dict[str, Path]
) -> None:
    folder = ready("brain").folder
    number, z = fixtures.VALID_ABNORMAL_IDS[0], 70
    case = raw["brain"] / f"BraTS2021_{number}" / f"BraTS2021_{number}"
    labels = np.asarray(nib.load(f"{case}_seg.nii.gz").dataobj)[:, :, z]
    assert set(np.unique(labels)) == {0, 1, 2, 4}
    mask = folder / f"valid/Ungood/label/{number}_{z}.png"
    assert form_of(mask) == ("L", (240, 240))
    np.testing.assert_array_equal(pixels_of(mask), 255 * (labels > 0))


def test_valid_and_test_share_no_patient_and_no_image(ready: Ready, tmp_path: Path) -> None:
    pack = open_pack(ready("brain").folder, tmp_path / "cache")
    groups = {split: {s.group for s in pack.split(split)} for split in ("train", "valid", "test")}
    assert groups["valid"].isdisjoint(groups["test"])
    assert groups["train"].isdisjoint(groups["valid"] | groups["test"])
    assert pack.card.shared_images == ()
    assert pack.card.group_unit == "patient"


def test_the_documented_discrepancies_stand_in_the_card(ready: Ready) -> None:
    text = " ".join(ready("brain").card.remarks)
    for fact in ("10 of its 615 abnormal test patients (50 images)", "order of a set", "1 : 4.8",
                 "whole-tumour", "without its alpha"):  # fmt: skip
        assert fact in text


def lists_cut_to_the_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = {
        "brain_train_ids": fixtures.TRAIN_IDS,
        "brain_valid_normal_ids": fixtures.VALID_NORMAL_IDS,
        "brain_valid_abnormal_ids": fixtures.VALID_ABNORMAL_IDS,
        "brain_test_normal_ids": fixtures.TEST_NORMAL_IDS,
    }
    monkeypatch.setattr(splits, "names", lists.__getitem__)
    spec = dataclasses.replace(
        expected.BENCHMARKS["brain"], counts=(KnownCounts("fixture", SplitCounts(15, 2, 8, 9, 15)),)
    )
    monkeypatch.setitem(expected.BENCHMARKS, "brain", spec)
    sources = {"brain": {"cases": 13, "patients with a tumour-free slice": 8}}
    monkeypatch.setattr(expected, "SOURCES", sources)


def test_a_whole_download_passes_the_strict_counts(
    preparing: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists_cut_to_the_fixture(monkeypatch)
    prepared = preparing("brain", is_keeping_on=False, is_strict=True)
    assert not prepared.skipped
    assert not any(one.is_different for one in prepared.comparisons)
    assert not any("Prepared without" in remark for remark in prepared.card.remarks)


def test_strict_counts_name_every_number_that_differs(
    preparing: Preparing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lists_cut_to_the_fixture(monkeypatch)
    monkeypatch.setattr(expected, "SOURCES", {"brain": {"cases": 1251}})
    with pytest.raises(RawDataInvalid) as error:
        preparing("brain", is_keeping_on=False, is_strict=True)
    assert error.value.problems == ("source, cases: 13, expected 1251",)
    assert "--strict-counts" in error.value.fix
    assert not (tmp_path / "out").exists()


def test_cases_of_the_lists_that_are_not_there_are_named(preparing: Preparing) -> None:
    with pytest.raises(RawDataInvalid) as error:
        preparing("brain", is_keeping_on=False)
    text = str(error.value)
    assert "the download has 21 problems" in text  # 20 of 626, and how many more
    assert "and 606 more of this kind (missing)" in text
    assert "braintumorsegmentation.org" in error.value.fix
    assert "--keep-going" in error.value.fix


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return fixtures.brats_case(tmp_path / "raw", fixtures.UNLISTED_IDS[0], range(56, 104))


def problem_of(preparing: Preparing, raw: Path) -> str:
    with pytest.raises(RawDataInvalid) as error:
        preparing("brain", raw=(raw,), limit_cases=9, is_keeping_on=False)
    return str(error.value)


def test_a_label_stored_another_way_round_is_turned_onto_its_image(
    preparing: Preparing, case: Path, tmp_path: Path
) -> None:
    straight = preparing("brain", raw=(tmp_path / "raw",), limit_cases=1)
    path = next(case.glob("*_seg.nii.gz"))
    turned = nib.as_closest_canonical(nib.load(path))
    assert nib.aff2axcodes(turned.affine) == ("R", "A", "S")
    fixtures.save_nifti(path, np.array(turned.dataobj), turned.affine)
    prepared = preparing("brain", raw=(tmp_path / "raw",), limit_cases=1, out=tmp_path / "turned")
    assert prepared.card.version == straight.card.version
    assert any("1 label volume was stored in another" in one for one in prepared.card.remarks)


def test_a_label_that_lies_elsewhere_is_refused(
    preparing: Preparing, case: Path, tmp_path: Path
) -> None:
    path = next(case.glob("*_seg.nii.gz"))
    label = nib.load(path)
    moved = label.affine.copy()
    moved[2, 3] += 1
    fixtures.save_nifti(path, np.asanyarray(label.dataobj), moved)
    assert "_seg.nii.gz: the label volume lies 1 voxels from it" in problem_of(
        preparing, tmp_path / "raw"
    )


def test_a_volume_stored_another_way_round_is_refused(preparing: Preparing, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1, 1, 1])
    fixtures.brats_case(tmp_path / "raw", "00002", range(56, 104), affine=affine)
    assert "stored as RAS, BraTS2021 is LPS" in problem_of(preparing, tmp_path / "raw")


def test_labels_of_a_later_edition_are_refused(preparing: Preparing, tmp_path: Path) -> None:
    fixtures.brats_case(tmp_path / "raw", "00002", range(56, 104), labels=(1, 2, 3))
    assert "label 3, known are 0, 1, 2, 4" in problem_of(preparing, tmp_path / "raw")


def test_a_truncated_volume_is_found_before_any_picture_is_made(
    preparing: Preparing, case: Path, tmp_path: Path
) -> None:
    path = next(case.glob("*_flair.nii.gz"))
    path.write_bytes(path.read_bytes()[:-2000])
    assert "_flair.nii.gz: truncated" in problem_of(preparing, tmp_path / "raw")
    assert not list((tmp_path / "out").glob("*"))


def test_two_different_files_for_one_case_are_refused_and_equal_ones_are_not(
    preparing: Preparing, case: Path, tmp_path: Path
) -> None:
    assert case.is_dir()
    second = tmp_path / "raw" / "BraTS2021_00002"  # Kaggle's separate archives nest once more
    copy = second / "again" / "BraTS2021_00002_seg.nii.gz"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((second / copy.name).read_bytes())
    assert preparing("brain", raw=(tmp_path / "raw",), limit_cases=1, name="equal").card
    copy.write_bytes(copy.read_bytes()[:-1] + b"\7")
    text = problem_of(preparing, tmp_path / "raw")
    assert "different files for one thing" in text
    assert "again/BraTS2021_00002_seg.nii.gz" in text


def test_a_slice_without_tumour_where_there_must_be_one_contradicts_the_lists(
    preparing: Preparing, tmp_path: Path
) -> None:
    fixtures.brats_case(tmp_path / "raw", "00002", set(range(56, 104)) - {76})
    text = problem_of(preparing, tmp_path / "raw")
    assert "00002_76: an abnormal patient's slice has no tumour" in text


def test_archives_that_were_not_unpacked_are_pointed_at(
    preparing: Preparing, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "BraTS2021_Training_Data.tar").write_bytes(b"")
    with pytest.raises(RawDataInvalid) as error:
        preparing("brain", raw=(tmp_path / "raw",), is_keeping_on=False)
    assert "unpack the archives" in str(error.value)
    assert "BraTS2021_00495: flair and seg" in str(
        brain.survey(Options(raw=(tmp_path / "raw",))).problems
    )


def test_other_modalities_and_slices_make_packs_of_their_own(
    preparing: Preparing, tmp_path: Path
) -> None:
    for number in ("00002", "00006", fixtures.TRAIN_IDS[0], fixtures.TEST_NORMAL_IDS[0]):
        fixtures.brats_case(
            tmp_path / "raw", number, range(70 if number > "00002" else 56, 104),
            modalities=("flair", "t1ce"),
        )  # fmt: skip
    prepared = preparing(
        "brain", raw=(tmp_path / "raw",), modality="t1ce", slices=(64, 84), limit_cases=9
    )
    assert prepared.name == "brain-t1ce-64-84-limited"
    assert prepared.card.base == "brain"
    assert prepared.card.modality.startswith("MRI, T1CE")
    # Every eighth slice from 64 on; where there is no tumour, none is taken.
    assert keys_of(prepared.folder, "test", True) == [
        "00002_64", "00002_72", "00002_80", "00006_72", "00006_80",
    ]  # fmt: skip
    assert {row["details"]["z"] for row in rows_of(prepared.folder)} <= set(range(64, 84))
    assert all(one.expected is None for one in prepared.comparisons)


def test_a_resplit_deals_patients_out_anew(preparing: Preparing, ready: Ready) -> None:
    first = preparing("brain", variant="resplit", salt="a secret of the maintainer", name="a")
    other = preparing("brain", variant="resplit", salt="another one of another day", name="b")
    paper = ready("brain")
    lists = [
        {(row["group"], row["split"]) for row in rows_of(prepared.folder)}
        for prepared in (first, other, paper)
    ]
    assert lists[0] != lists[1]
    assert lists[0] != lists[2]
    for found in lists:
        assert len({group for group, _ in found}) == len(found)  # no patient in two splits
