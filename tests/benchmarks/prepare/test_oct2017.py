"""OCT2017 from Kaggle's and Mendeley's folders: splits, sizes, patients."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.benchmarks import open_pack
from harness.benchmarks.prepare import oct2017, splits
from harness.benchmarks.prepare.recipe import Item, Options
from harness.common.errors import RawDataInvalid

from . import raw_fixtures as fixtures
from .conftest import Preparing, Ready, form_of, keys_of, pixels_of, rows_of


def test_the_folders_are_the_split(ready: Ready) -> None:
    folder = ready("oct2017").folder
    assert len(keys_of(folder, "train", False)) == 14
    assert [len(keys_of(folder, "valid", label)) for label in (False, True)] == [2, 6]
    assert [len(keys_of(folder, "test", label)) for label in (False, True)] == [6, 18]
    assert not any("CNV-9" in name for name in keys_of(folder, "train", False))


def test_every_image_is_brought_to_one_size(ready: Ready, raw: dict[str, Path]) -> None:
    folder = ready("oct2017").folder
    sizes = {form_of(path)[1] for path in folder.rglob("*.png")}
    assert sizes == {(512, 496)}
    widths = {form_of(path)[1][0] for path in raw["oct2017"].rglob("*.jpeg")}
    assert widths == {512, 768, 1024, 1536}


def test_an_image_of_that_size_keeps_its_pixels(ready: Ready, raw: dict[str, Path]) -> None:
    folder = ready("oct2017").folder
    for row in rows_of(folder):
        source = pixels_of(raw["oct2017"] / row["files"][0])
        if source.shape == (496, 512):
            np.testing.assert_array_equal(pixels_of(folder / row["key"]), source)


def test_the_image_size_tells_nothing_any_more(ready: Ready, tmp_path: Path) -> None:
    card = open_pack(ready("oct2017").folder, tmp_path / "cache").card
    assert card.sizes == ("512x496",)
    assert any("brought to 512x496" in remark for remark in card.remarks)
    assert any("8 normal and 24 abnormal" in remark for remark in card.remarks)


def test_patients_in_two_splits_are_kept_in_the_paper_variant_and_said(
    ready: Ready, tmp_path: Path
) -> None:
    card = open_pack(ready("oct2017").folder, tmp_path / "cache").card
    assert any("1 patient is in both train and test" in remark for remark in card.remarks)


def test_training_images_of_judged_patients_are_dropped_in_the_disjoint_variant(
    preparing: Preparing, tmp_path: Path
) -> None:
    prepared = preparing("oct2017", variant="disjoint")
    pack = open_pack(prepared.folder, tmp_path / "cache")
    assert pack.card.counts.train == 12  # two images of patient 100
    assert pack.card.counts.test_normal == 6
    assert any("2 images were left out" in remark for remark in pack.card.remarks)
    assert not any("in both" in remark for remark in pack.card.remarks)


def test_mendeleys_copy_gives_its_validation_images_by_name_and_rank(
    preparing: Preparing, tmp_path: Path
) -> None:
    prepared = preparing("oct2017", raw=(fixtures.mendeley_oct(tmp_path / "raw"),))
    names = keys_of(prepared.folder, "valid", False) + keys_of(prepared.folder, "valid", True)
    known = {Path(name).stem for name in splits.names("oct2017_valid_known")}
    assert known < set(names)
    assert Counter(name.partition("-")[0] for name in names) == dict.fromkeys(oct2017.CLASSES, 8)
    test = keys_of(prepared.folder, "test", True)
    assert not set(test) & set(names)
    # 12 more each; the 2, 4 and 2 that are unknown come out of them.
    assert Counter(name.partition("-")[0] for name in test) == {"CNV": 10, "DME": 8, "DRUSEN": 10}
    assert any("no val folder" in remark for remark in prepared.card.remarks)


def test_a_nested_copy_of_everything_makes_no_difference(
    ready: Ready, preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.kaggle_oct(tmp_path / "raw")
    fixtures.kaggle_oct(raw / "oct2017" / "OCT2017 ")
    assert preparing("oct2017", raw=(raw,)).card.version == ready("oct2017").card.version


def test_a_name_that_contradicts_its_folder_and_an_empty_folder_are_named(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.kaggle_oct(tmp_path / "raw")
    test = raw / "OCT2017 " / "test"
    first, *_ = sorted((test / "CNV").iterdir())
    first.rename(test / "DME" / first.name)
    for path in (test / "DRUSEN").iterdir():
        path.unlink()
    with pytest.raises(RawDataInvalid) as error:
        preparing("oct2017", raw=(raw,), is_keeping_on=False)
    text = str(error.value)
    assert f"test/DME/{first.name}: is not called DME-<patient>-<number>" in text
    assert "test/DRUSEN: no images" in text


def test_a_truncated_image_is_named(preparing: Preparing, tmp_path: Path) -> None:
    raw = fixtures.kaggle_oct(tmp_path / "raw")
    path = next((raw / "OCT2017 " / "val" / "CNV").iterdir())
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(RawDataInvalid, match=f"{path.name}: unreadable"):
        preparing("oct2017", raw=(raw,), is_keeping_on=False)


def test_a_resplit_draws_few_images_of_many_patients() -> None:
    items = sorted(
        (
            Item(f"{part}/{kind}-{patient}-{n}", "c", kind != "NORMAL", str(patient),
                 kind if kind != "NORMAL" else None, pool=part)
            for offset, kind in enumerate(oct2017.CLASSES)
            for patient in range(1000 * offset, 1000 * offset + 400)
            for n in range(5)
            for part in ["train" if n < 4 else "test"]
        ),
        key=lambda item: item.key,
    )  # fmt: skip
    options = Options(raw=(), variant="resplit", salt="0123456789abcdef!")
    placed = oct2017.assign(items, options).placed
    test = [p.item for p in placed if p.split == "test"]
    assert Counter(item.subclass or "NORMAL" for item in test) == dict.fromkeys(
        oct2017.CLASSES, 242
    )
    assert max(Counter(item.group for item in test).values()) <= 2
    groups = {
        split: {p.item.group for p in placed if p.split == split}
        for split in ("train", "valid", "test")
    }
    assert not groups["train"] & groups["test"]
    assert not groups["valid"] & groups["test"]
