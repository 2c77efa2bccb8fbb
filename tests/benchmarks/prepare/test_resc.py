"""RESC in both of its layouts: cases by name, slices by number, labels of three grades."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.benchmarks.prepare import resc
from harness.benchmarks.prepare.recipe import Item, Options
from harness.common.errors import RawDataInvalid

from . import raw_fixtures as fixtures
from .conftest import Preparing, Ready, keys_of, pixels_of, rows_of


def test_train_is_the_normal_slices_of_the_training_set(ready: Ready) -> None:
    folder = ready("resc").folder
    assert keys_of(folder, "train", False) == sorted(
        f"t{case}_{z}" for case in (1, 2, 3) for z in (1, 3)
    )
    rows = [row for row in rows_of(folder) if row["split"] == "train"]
    assert {row["group"] for row in rows} == {"P0012", "P0077"}


def test_judged_slices_are_numbered_by_their_case(ready: Ready) -> None:
    folder = ready("resc").folder
    names = keys_of(folder, "valid", False) + keys_of(folder, "test", False)
    names += keys_of(folder, "valid", True) + keys_of(folder, "test", True)
    cases = resc.splits.names("resc_val_cases")
    expected = {cases.index(case) + 1 for case in fixtures.resc_valid()}
    assert {int(name.partition("_")[0]) for name in names} == expected
    assert len(names) == 16


def test_pixels_are_copied_and_all_grades_are_lesion(ready: Ready) -> None:
    folder = ready("resc").folder
    for row in rows_of(folder):
        case = next(
            name for name in (*fixtures.RESC_TRAIN, *fixtures.resc_valid())
            if name in row["details"]["file"]
        )  # fmt: skip
        image, label = fixtures.resc_pair(case, row["details"]["slice"])
        np.testing.assert_array_equal(pixels_of(folder / row["key"]), image)
        assert row["is_anomalous"] == bool(label.any())
        if row["is_anomalous"]:
            mask = pixels_of(folder / row["mask_key"])
            np.testing.assert_array_equal(mask, 255 * (label > 0))
            assert set(np.unique(label)) == {0, 128, 191, 255}


def test_both_layouts_give_the_same_pack(
    ready: Ready, preparing: Preparing, tmp_path: Path
) -> None:
    prepared = preparing("resc", raw=(fixtures.p_net(tmp_path / "pnet"),))
    assert prepared.card.version == ready("resc").card.version


def items() -> list[Item]:
    names = resc.splits.names("resc_val_cases")
    found = [
        Item(
            f"{case}_{number}", name, (case * 128 + number) % 1920 < 834,
            name.partition("_")[0], pool="validation", at=(number,),
        )
        for case, name in enumerate(names)
        for number in range(128)
    ]  # fmt: skip
    return sorted(found, key=lambda item: item.key)


def test_the_paper_variant_has_the_papers_sizes() -> None:
    placed = resc.assign(items(), Options(raw=())).placed
    sizes = [
        sum(p.split == split and p.item.is_anomalous == label for p in placed)
        for split, label in (("valid", False), ("valid", True), ("test", False), ("test", True))
    ]
    assert sizes == [45, 70, 1041, 764]
    # 115 is no multiple of 128: slices of one volume are on both sides, whatever the rule.
    assert len({p.item.case for p in placed if p.split == "valid"}) > 1


def test_one_patient_with_one_volume_is_valid_in_the_disjoint_variant() -> None:
    some = [item for item in items() if True]
    mixed = [Item(i.key, i.case, i.at[0] % 2 == 0, i.group, pool=i.pool, at=i.at) for i in some]
    placed = resc.assign(mixed, Options(raw=(), variant="disjoint")).placed
    valid = {p.item.group for p in placed if p.split == "valid"}
    assert len(valid) == 1
    assert sum(p.split == "valid" for p in placed) == 128
    assert sum(p.split == "test" for p in placed) == 1792
    assert valid.isdisjoint({p.item.group for p in placed if p.split == "test"})


def test_a_resplit_takes_its_patients_from_both_parts(preparing: Preparing) -> None:
    prepared = preparing("resc", variant="resplit", salt="0123456789abcdef!")
    rows = rows_of(prepared.folder)
    groups = {
        split: {r["group"] for r in rows if r["split"] == split}
        for split in ("train", "valid", "test")
    }
    assert groups["valid"]
    assert groups["test"]
    assert not groups["train"] & (groups["valid"] | groups["test"])
    assert not groups["valid"] & groups["test"]
    assert not any(r["is_anomalous"] for r in rows if r["split"] == "train")


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    return fixtures.challenge(tmp_path / "raw", slices=2)


def problem_of(preparing: Preparing, raw: Path) -> str:
    with pytest.raises(RawDataInvalid) as error:
        preparing("resc", raw=(raw,), volume_slices=2, is_keeping_on=False)
    problems = [p for p in error.value.problems if "no images" not in p and "and " not in p[:4]]
    return "\n".join(problems)


def folder_of(raw: Path, kind: str, number: int = 0) -> Path:
    return raw / "Edema_validationset" / kind / fixtures.resc_valid()[number]


def test_labels_numbered_otherwise_than_images_are_refused(
    preparing: Preparing, challenge: Path
) -> None:
    place = folder_of(challenge, "original_images")
    place = place.with_name(place.name + ".img")
    (place / "2.bmp").rename(place / "3.bmp")
    (place / "1.bmp").rename(place / "2.bmp")
    (place / "3.bmp").rename(place / "0.bmp")
    text = problem_of(preparing, challenge)
    assert "slices 0 to 2 (2) have images, 1 to 2 (2) labels" in text


def test_a_volume_that_lacks_slices_is_refused(preparing: Preparing, challenge: Path) -> None:
    name = fixtures.RESC_TRAIN[0]
    for kind, ending in (("original_images", ".img"), ("label_images", "_labelMark")):
        (challenge / "Edema_trainingset" / kind / f"{name}{ending}" / "2.bmp").unlink()
    assert f"{name}: slices 1 to 1 (1), not 1 to 2" in problem_of(preparing, challenge)


def test_labels_of_other_values_and_images_of_other_sizes_are_refused(
    preparing: Preparing, challenge: Path
) -> None:
    label = folder_of(challenge, "label_images").with_name(fixtures.resc_valid()[0] + "_labelMark")
    fixtures.save(label / "1.bmp", np.full((1024, 512), 77, np.uint8))
    fixtures.save(label / "2.bmp", np.zeros((512, 512), np.uint8))
    text = problem_of(preparing, challenge)
    assert "1.bmp: label 77, known are (0, 128, 191, 255)" in text
    assert "2.bmp: 512x512 pixels, expected 512x1024" in text


def test_a_damaged_picture_is_named_and_can_be_left_out(
    preparing: Preparing, challenge: Path, tmp_path: Path
) -> None:
    name = fixtures.RESC_TRAIN[0]
    image = challenge / "Edema_trainingset/original_images" / f"{name}.img" / "1.bmp"
    image.write_bytes(image.read_bytes()[:1000])
    with pytest.raises(RawDataInvalid) as error:
        preparing("resc", raw=(challenge,), volume_slices=2, is_keeping_on=False, limit_cases=99)
    assert [p for p in error.value.problems if f"{name}.img/1.bmp: unreadable" in p]
    prepared = preparing("resc", raw=(challenge,), volume_slices=2, limit_cases=99)
    assert not any(name in row["details"]["file"] for row in rows_of(prepared.folder))
    assert any("Prepared without" in r and "1.bmp" in r for r in prepared.card.remarks)


def test_a_coloured_picture_is_refused_unless_its_channels_are_equal(
    preparing: Preparing, challenge: Path
) -> None:
    name = fixtures.RESC_TRAIN[0]
    path = challenge / "Edema_trainingset/original_images" / f"{name}.img" / "1.bmp"
    grey = fixtures.resc_pair(name, 1)[0]
    fixtures.save(path, np.stack([grey] * 3, axis=2))
    assert preparing("resc", raw=(challenge,), volume_slices=2, limit_cases=99, name="three").card
    coloured = np.stack([grey, grey, 255 - grey], axis=2)
    fixtures.save(path, coloured)
    with pytest.raises(RawDataInvalid, match="a colour image, expected grey"):
        preparing("resc", raw=(challenge,), volume_slices=2, limit_cases=99, is_keeping_on=False)
