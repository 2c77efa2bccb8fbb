"""Any folder of images to a pack: splits by patients, sealed packs that say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import open_pack
from harness.benchmarks.prepared_files import REPORT_NAME
from harness.common.errors import RawDataInvalid, UsageError

from . import raw_fixtures as fixtures
from .conftest import Preparing, form_of, pixels_of, rows_of


def picture(number: int, size: tuple[int, int] = (40, 32), *, colour: bool = False) -> np.ndarray:
    """Noise [height, width] of a width and height."""
    width, height = size
    shape = (height, width, 3) if colour else (height, width)
    return fixtures.random(f"own {number}").integers(1, 256, shape, dtype=np.uint8)


def lesion(size: tuple[int, int] = (40, 32)) -> np.ndarray:
    mask = np.zeros(size[::-1], np.uint8)
    mask[8:16, 10:20] = 255
    return mask


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """20 healthy patients with two images each, 8 ill ones with one of each kind."""
    raw = tmp_path / "ours"
    for patient in range(20):
        for number in range(2):
            name = f"p{patient:03d}_{number}"
            fixtures.save(raw / "normal" / f"{name}.png", picture(10 * patient + number))
    for patient in range(20, 28):
        name = f"p{patient:03d}_0"
        fixtures.save(raw / "normal" / f"{name}.png", picture(1000 + patient))
        fixtures.save(raw / "abnormal/img" / f"p{patient:03d}_1.tif", picture(2000 + patient))
        fixtures.save(raw / "abnormal/label" / f"p{patient:03d}_1_mask.png", lesion())
    return raw


RULE = r"(?P<patient>p\d+)_"


def prepared(preparing: Preparing, raw: Path, **changes: object):
    options = {"name": "ours", "patient_rule": RULE, "is_keeping_on": False, **changes}
    name = options.pop("name")
    return preparing("folder", raw=(raw,), name=name, **options)


def test_patients_are_dealt_out_and_the_ill_never_train(
    preparing: Preparing, own: Path, tmp_path: Path
) -> None:
    made = prepared(preparing, own)
    pack = open_pack(made.folder, tmp_path / "cache")
    assert pack.name == "ours"
    assert pack.card.group_unit == "patient"
    groups = {split: {s.group for s in pack.split(split)} for split in ("train", "valid", "test")}
    assert not groups["train"] & (groups["valid"] | groups["test"])
    assert not groups["valid"] & groups["test"]
    ill = {f"p{number:03d}" for number in range(20, 28)}
    assert not groups["train"] & ill
    assert len(groups["train"]) == 12  # of 20 healthy ones, 0.1 to valid and 0.3 to test
    assert pack.card.counts.valid_anomalous == 2  # of 8, in the same proportion
    assert pack.card.counts.test_anomalous == 6
    assert pack.has_masks


def test_a_folder_that_is_split_already_keeps_its_splits(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    for number, place in enumerate(("train/good", "val/good", "val/bad", "test/good", "test/bad")):
        fixtures.save(raw / place / f"{number}.png", picture(number))
    made = prepared(preparing, raw)
    assert {Path(row["key"]).parts[0]: row["source"] for row in rows_of(made.folder)}.keys() == {
        "train", "valid", "test",
    }  # fmt: skip
    assert made.card.counts.train == 1
    assert made.card.has_masks is False


def test_patients_who_are_all_ill_train_with_their_normal_images(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    for patient in range(10):
        for number in range(3):
            fixtures.save(raw / f"good/p{patient}_{number}.png", picture(10 * patient + number))
        fixtures.save(raw / f"Ungood/p{patient}_9.png", picture(500 + patient))
    made = prepared(preparing, raw)
    rows = rows_of(made.folder)
    assert {row["group"] for row in rows if row["split"] == "train"}
    assert not any(row["is_anomalous"] for row in rows if row["split"] == "train")
    assert any("Every patient has abnormal images: 6" in remark for remark in made.card.remarks)


def test_patients_may_stand_in_a_table_beside_the_images(
    preparing: Preparing, own: Path, tmp_path: Path
) -> None:
    lines = [
        f"{path.relative_to(own).as_posix()},someone-{path.stem[:4]}"
        for path in sorted(own.rglob("*")) if path.is_file() and "label" not in path.parts
    ]  # fmt: skip
    (own / "groups.csv").write_text("key,patient\n" + "\n".join(lines) + "\n")
    pack = open_pack(prepared(preparing, own, patient_rule="").folder, tmp_path / "cache")
    assert all(sample.group.startswith("someone-p") for sample in pack.samples)


def test_what_a_card_beside_the_images_says_is_taken_over(
    preparing: Preparing, own: Path, tmp_path: Path
) -> None:
    (own / "pack.toml").write_text(
        'title = "Ours"\nlicence = "CC BY 4.0"\ncitation = "Us, 2026"\nimages_may_be_shown = true\n'
    )
    card = open_pack(prepared(preparing, own).folder, tmp_path / "cache").card
    assert (card.title, card.licence, card.images_may_be_shown) == ("Ours", "CC BY 4.0", True)


def test_a_sealed_pack_has_one_size_one_mode_and_names_that_say_nothing(
    preparing: Preparing, own: Path, tmp_path: Path
) -> None:
    fixtures.save(own / "normal/p900_0.png", picture(9000, (80, 64), colour=True))
    made = prepared(preparing, own, is_hidden=True, size=(40, 32), salt="0123456789abcdef!")
    pack = open_pack(made.folder, tmp_path / "cache")
    assert pack.card.visibility == "hidden"
    assert not pack.card.images_may_be_shown
    for sample in pack.samples:
        assert form_of(sample.image_path) == ("RGB", (40, 32))
        assert len(sample.image_path.stem) == 20
        assert not sample.group.startswith("p")
    assert pack.card.group_unit == "patient"
    assert len({sample.group for sample in pack.samples}) == 29
    names = " ".join(sample.key for sample in pack.samples)
    assert "p0" not in names


def test_another_salt_gives_other_names_and_another_split(preparing: Preparing, own: Path) -> None:
    keys = [
        {row["source"]: row["key"] for row in rows_of(made.folder)}
        for made in (
            prepared(preparing, own, is_hidden=True, salt=salt, name=name)
            for salt, name in (("0123456789abcdef!", "a"), ("another secret salt", "b"))
        )
    ]
    assert not set(keys[0].values()) & set(keys[1].values())


def test_masks_follow_their_images_to_another_size(
    preparing: Preparing, own: Path, tmp_path: Path
) -> None:
    made = prepared(preparing, own, size=(20, 16))
    row = next(row for row in rows_of(made.folder) if row["mask_key"])
    mask = pixels_of(made.folder / row["mask_key"])
    assert mask.shape == (16, 20)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[4:8, 5:10].all()
    assert mask.sum() == 255 * 20
    assert open_pack(made.folder, tmp_path / "cache").card.sizes == ("20x16",)


def test_sizes_that_differ_are_refused_in_a_sealed_pack(preparing: Preparing, own: Path) -> None:
    fixtures.save(own / "normal/p900_0.png", picture(9000, (80, 64)))
    with pytest.raises(RawDataInvalid, match=r"40x32 \(56\), 80x64 \(1\). --size 40x32"):
        prepared(preparing, own, is_hidden=True)
    assert prepared(preparing, own).card.sizes is None  # an open pack may have two


def test_masks_that_are_missing_empty_or_of_another_size_are_all_named(
    preparing: Preparing, own: Path
) -> None:
    labels = own / "abnormal/label"
    (labels / "p020_1_mask.png").unlink()
    fixtures.save(labels / "p021_1_mask.png", np.zeros((32, 40), np.uint8))
    fixtures.save(labels / "p022_1_mask.png", np.full((16, 20), 255, np.uint8))
    (own / "abnormal/img/p023_1.tif").write_bytes(b"no image")
    (own / "elsewhere").mkdir()
    fixtures.save(own / "elsewhere/x.png", picture(1))
    with pytest.raises(RawDataInvalid) as error:
        prepared(preparing, own)
    text = str(error.value)
    for message in ("p020_1.tif: its mask is missing", "p021_1.tif: its mask is empty",
                    "p022_1.tif: its mask has another size", "p023_1.tif: unreadable",
                    "elsewhere: 1 image in a folder that says neither"):  # fmt: skip
        assert message in text


class TestSeveralFolders:
    def test_equal_names_in_two_raw_folders_stay_apart(
        self, preparing: Preparing, tmp_path: Path
    ) -> None:
        for root, seed in (("A", 0), ("B", 100)):
            for number in range(4):
                fixtures.save(tmp_path / root / f"good/{number}.png", picture(seed + number))
                bad = picture(seed + number + 50)
                fixtures.save(tmp_path / root / f"bad/{number}.png", bad)
                mask = np.roll(lesion(), (number, seed // 50), (0, 1))
                fixtures.save(tmp_path / root / f"bad/label/{number}.png", mask)
        raw = (tmp_path / "A", tmp_path / "B")
        made = preparing("folder", raw=raw, name="two", shares=(0.2, 0.3))
        pack = open_pack(made.folder, tmp_path / "cache")
        assert (sum(not one.is_anomalous for one in pack.samples), len(pack.samples)) == (8, 16)
        for row in rows_of(made.folder):
            root, _, rest = row["source"].partition("/")
            np.testing.assert_array_equal(
                pixels_of(made.folder / row["key"]), pixels_of(tmp_path / root / rest)
            )
            if row["mask_key"]:
                own = tmp_path / root / "bad/label" / Path(rest).name
                np.testing.assert_array_equal(
                    pixels_of(made.folder / row["mask_key"]) > 0, pixels_of(own) > 0
                )

    def test_masks_of_one_folder_are_never_laid_on_the_images_of_another(
        self, preparing: Preparing, tmp_path: Path
    ) -> None:
        for root, number in (("A", 1), ("B", 2)):
            for name in range(4):
                fixtures.save(tmp_path / root / f"good/{name}.png", picture(10 * number + name))
            fixtures.save(tmp_path / root / "bad/0.png", picture(50 + number))
        fixtures.save(tmp_path / "B/bad/label/0.png", lesion())
        with pytest.raises(RawDataInvalid, match=r"A/bad/0.png: its mask is missing"):
            preparing(
                "folder", raw=(tmp_path / "A", tmp_path / "B"), name="two", is_keeping_on=False
            )

    def test_a_folder_of_masks_is_no_raw_folder(
        self, preparing: Preparing, own: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(RawDataInvalid, match="a folder of masks: give the one that holds it"):
            prepared(preparing, own / "abnormal/label")


def test_names_that_would_be_one_file_are_told_apart(preparing: Preparing, tmp_path: Path) -> None:
    raw, long = tmp_path / "ours", "é" * 110
    names = ["p01.png", "p01.bmp", "p01-2.png", "a_b.png", "a/b.png"]
    names += [f"{'/'.join('x' * 100 for _ in range(3))}/{tail}.png" for tail in "yz"]
    names += [f"{long}1.png", f"{long}2.png"]
    for split in ("train", "test"):
        for number, name in enumerate(names):
            path = raw / split / "good" / name
            fixtures.save(path, picture(number + 100 * (split == "test")))
    fixtures.save(raw / "test/bad/p01.png", picture(999))
    with pytest.raises(RawDataInvalid, match=r"two files for one image.*p01.bmp, .*p01.png"):
        prepared(preparing, raw)
    made = prepared(preparing, raw, accepted=("equal-names",))
    pack = open_pack(made.folder, tmp_path / "cache")
    assert pack.card.counts.train == pack.card.counts.test_normal == len(names)
    assert max(len(path.name.encode()) for path in made.folder.rglob("*.png")) <= 210
    assert made.accepted == ("equal-names",)


def test_a_stray_image_never_deals_the_splits_anew(preparing: Preparing, tmp_path: Path) -> None:
    raw = tmp_path / "ours"
    for number, (split, kind) in enumerate(
        [("train", "good"), ("train", "good"), ("valid", "good"), ("test", "good"), ("test", "bad")]
    ):
        fixtures.save(raw / split / kind / f"{number}.png", picture(number))
    version = prepared(preparing, raw, out=tmp_path / "before").card.version
    fixtures.save(raw / "good/extra.png", picture(9))
    with pytest.raises(RawDataInvalid, match="--accept outside-splits") as error:
        prepared(preparing, raw)
    assert "good/extra.png: a normal image outside the splits" in str(error.value)
    made = prepared(preparing, raw, accepted=("outside-splits",))
    assert made.card.version == version
    assert (made.left_out, made.accepted) == ({"outside-splits": 1}, ("outside-splits",))
    assert "Accepted (outside-splits): images outside the splits are left out" in made.card.remarks
    report = json.loads((made.folder / REPORT_NAME).read_text())
    assert report["left_out"] == {"outside-splits": 1}
    assert report["options"]["accepted"] == ["outside-splits"]


def test_identical_images_are_dealt_to_one_split(
    preparing: Preparing, own: Path, tmp_path: Path
) -> None:
    for patient in range(20):
        fixtures.save(own / "normal" / f"p{100 + patient}_0.png", picture(10 * patient))
    pack = open_pack(prepared(preparing, own).folder, tmp_path / "cache")
    assert (
        pack.card.counts.train + pack.card.counts.valid_normal + pack.card.counts.test_normal == 68
    )
    split_of = {sample.pixel_sha256: sample.split for sample in pack.samples}
    assert all(split_of[sample.pixel_sha256] == sample.split for sample in pack.samples)


def test_a_normal_image_with_a_marked_mask_is_named(preparing: Preparing, own: Path) -> None:
    fixtures.save(own / "normal/label/p000_0.png", lesion())
    told = r"normal/p000_0.png: its mask marks 80 pixels, and it is a normal image"
    with pytest.raises(RawDataInvalid, match=told):
        prepared(preparing, own)


def test_a_pack_is_not_made_inside_its_raw_folder_nor_of_an_earlier_one(
    preparing: Preparing, own: Path
) -> None:
    with pytest.raises(UsageError, match="would lie inside the raw folder") as refused:
        prepared(preparing, own, out=own / "packs")
    assert refused.value.fix == "give an --out outside of every --raw"
    with pytest.raises(UsageError, match="so its files would be read twice"):
        preparing("folder", raw=(own, own / "normal"), name="twice")
    made = prepared(preparing, own)
    made.folder.rename(own / "earlier")
    with pytest.raises(RawDataInvalid, match=r"earlier: a pack that harness.prepare made lies in"):
        prepared(preparing, own)


def test_what_the_files_of_masks_and_images_said_stands_in_the_card(
    preparing: Preparing, own: Path
) -> None:
    """The pack's own files are PNG without notes, so nothing there would tell."""
    turned = Image.Exif()
    turned[274] = 6
    image = own / "normal/p000_0.png"
    fixtures.save(image, pixels_of(image), exif=turned)
    uncertain = 0
    for path in sorted((own / "abnormal/label").iterdir())[:3]:
        fixtures.save(path.with_suffix(".jpg"), lesion(), quality=40)
        path.unlink()
        values = pixels_of(path.with_suffix(".jpg"))
        uncertain += int(((values >= 64) & (values < 192)).sum())
    remarks = " ".join(prepared(preparing, own).card.remarks)
    assert "1 image has a note that they are to be turned" in remarks
    assert "3 masks are lossy files (JPEG, WebP): values from 128 on are lesion" in remarks
    assert f"{uncertain} pixels lie between 64 and 191" in remarks


def test_an_image_and_a_mask_that_are_turned_differently_are_refused(
    preparing: Preparing, own: Path
) -> None:
    turned = Image.Exif()
    turned[274] = 3
    path = next((own / "abnormal/label").iterdir())
    fixtures.save(path, lesion(), exif=turned)
    with pytest.raises(RawDataInvalid, match=r"orientation notes 1 and 3 \(EXIF\)"):
        prepared(preparing, own)
