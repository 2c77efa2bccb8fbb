"""BTCV and LiTS to liver: which slices, what they look like, and every layout of a download."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from harness.benchmarks import open_pack
from harness.benchmarks.prepare import liver
from harness.benchmarks.prepare.recipe import Item, Options
from harness.common.errors import RawDataInvalid

from . import raw_fixtures as fixtures
from .conftest import Preparing, Ready, keys_of, pixels_of, rows_of


def stored(raw: Path, name: str) -> np.ndarray:
    return np.asarray(nib.load(next(raw.rglob(name))).dataobj)


def by_hand(values: np.ndarray, inside: np.ndarray, window: tuple[int, int] | None) -> np.ndarray:
    """The specified steps, one pixel at a time."""
    height, width = values.shape
    clipped = [
        [min(max(int(v), window[0]), window[1]) if window else int(v) for v in row]
        for row in values
    ]
    low = min(map(min, clipped))
    high = max(map(max, clipped))
    grey = [
        [min(255, 256 * (clipped[x][y] - low) // (high - low)) if inside[x][y] else 0
         for y in range(width)]
        for x in range(height)
    ][::-1]  # fmt: skip
    counts = [0] * 256
    for row in grey:
        for value in row:
            counts[value] += value > 0
    total = sum(counts)
    table = [0] * 256
    for value in range(1, 256):
        level = 255 * sum(counts[1 : value + 1]) // total
        table[value] = int(0.8 * level + 30) if 1 <= level < 150 else level
    return np.array([[table[value] for value in row] for row in grey], np.uint8)


def test_slices_with_liver_are_taken_from_both_collections(ready: Ready) -> None:
    folder = ready("liver").folder
    assert keys_of(folder, "train", False) == sorted(
        f"{number:04d}_{z}" for number in (1, 2) for z in range(1, 6)
    )
    judged = keys_of(folder, "valid", False) + keys_of(folder, "test", False)
    abnormal = keys_of(folder, "valid", True) + keys_of(folder, "test", True)
    assert sorted(abnormal) == sorted(f"{number}_{z}" for number in (0, 1, 2) for z in (2, 3))
    assert sorted(judged) == sorted(f"{number}_{z}" for number in (0, 1, 2) for z in (1, 4, 5))


def test_lits_is_windowed_cut_out_turned_over_and_equalised(
    ready: Ready, raw: dict[str, Path]
) -> None:
    row = next(row for row in rows_of(ready("liver").folder) if row["source"] == "1_2")
    image = pixels_of(ready("liver").folder / row["key"])
    values = stored(raw["liver"], "volume-1.nii")[:, :, 2]
    labels = stored(raw["liver"], "segmentation-1.nii")[:, :, 2]
    np.testing.assert_array_equal(image, by_hand(values, labels > 0, (-200, 250)))


def test_btcv_keeps_its_full_range_as_bmads_code_has_it(ready: Ready, raw: dict[str, Path]) -> None:
    image = pixels_of(ready("liver").folder / "train/good/img/0002_3.png")
    values = stored(raw["liver"], "img0002.nii.gz")[:, :, 3]
    labels = stored(raw["liver"], "label0002.nii.gz")[:, :, 3]
    np.testing.assert_array_equal(image, by_hand(values, labels == 6, None))


def test_the_lesion_is_turned_over_with_its_image(ready: Ready, raw: dict[str, Path]) -> None:
    row = next(row for row in rows_of(ready("liver").folder) if row["source"] == "1_2")
    mask = pixels_of(ready("liver").folder / row["mask_key"])
    labels = stored(raw["liver"], "segmentation-1.nii")[:, :, 2]
    np.testing.assert_array_equal(mask, 255 * (labels[::-1] == 2))
    assert mask.any()
    assert row["details"]["axes"] == "RAS"


def test_the_papers_text_clips_both_collections(preparing: Preparing, raw: dict[str, Path]) -> None:
    prepared = preparing("liver", window="paper-text")
    assert prepared.name == "liver-m200to250hu"
    image = pixels_of(prepared.folder / "train/good/img/0002_3.png")
    values = stored(raw["liver"], "img0002.nii.gz")[:, :, 3]
    labels = stored(raw["liver"], "label0002.nii.gz")[:, :, 3]
    np.testing.assert_array_equal(image, by_hand(values, labels == 6, (-200, 250)))
    assert any("-200..250 HU for both" in remark for remark in prepared.card.remarks)


def test_the_unprocessed_version_shows_the_whole_slice(
    preparing: Preparing, raw: dict[str, Path]
) -> None:
    prepared = preparing("liver", is_processed=False, window=(-100.0, 400.0))
    assert prepared.name == "liver-unprocessed-m100to400hu"
    image = pixels_of(prepared.folder / "train/good/img/0001_1.png")
    values = np.clip(stored(raw["liver"], "img0001.nii.gz")[:, :, 1].astype(int), -100, 400)
    np.testing.assert_array_equal(image, np.minimum(255, 256 * (values[::-1] + 100) // 500))


def items(volumes: int = 11, slices: int = 20) -> list[Item]:
    return sorted(
        (
            Item(
                f"{number}_{z}", f"lits-{number:04d}", z % 3 == 0, f"lits-{number:04d}", pool="lits"
            )
            for number in range(volumes)
            for z in range(slices)
        ),
        key=lambda item: item.key,
    )


def test_the_paper_variant_has_the_papers_sizes() -> None:
    some = [
        Item(f"{n % 11}_{n}", "c", n < 733, f"v{n % 11}", pool="lits") for n in range(733 + 926)
    ]
    placed = liver.assign(some, Options(raw=())).placed
    sizes = [
        sum(p.split == split and p.item.is_anomalous == label for p in placed)
        for split, label in (("valid", False), ("valid", True), ("test", False), ("test", True))
    ]
    assert sizes == [93, 73, 833, 660]


def test_whole_volumes_go_to_valid_in_the_disjoint_variant() -> None:
    some = items()
    placed = liver.assign(some, Options(raw=(), variant="disjoint")).placed
    groups = {
        split: {p.item.group for p in placed if p.split == split} for split in ("valid", "test")
    }
    assert groups["valid"].isdisjoint(groups["test"])
    valid = [p.item for p in placed if p.split == "valid"]
    assert {item.is_anomalous for item in valid} == {False, True}
    assert len(some) * 0.1 <= len(valid) < len(some) * 0.1 + 20
    assert len(placed) == len(some)


def test_slices_of_one_volume_in_both_splits_are_a_known_leak_of_the_paper_variant(
    ready: Ready, preparing: Preparing, tmp_path: Path
) -> None:
    pack = open_pack(ready("liver").folder, tmp_path / "cache")
    assert any("volumes are in both valid and test" in remark or "1 volume is in both valid" in remark
               for remark in pack.card.remarks)  # fmt: skip
    assert any("in both valid and test" in leak for leak in pack.card.known_leaks)
    disjoint = preparing("liver", variant="disjoint")
    assert not any("in both" in leak for leak in disjoint.card.known_leaks)


def test_every_layout_of_a_download_gives_the_same_pack(
    ready: Ready, preparing: Preparing, tmp_path: Path
) -> None:
    codalab = fixtures.lits(tmp_path / "codalab", kaggle=False)
    synapse = fixtures.btcv(tmp_path / "synapse")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in synapse.rglob("*.nii.gz"):
        if "Testing" not in path.parts:
            path.rename(flat / path.name)
    prepared = preparing("liver", raw=(flat, codalab))
    assert prepared.card.version == ready("liver").card.version


def test_a_volume_and_a_label_of_other_sizes_are_refused(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.lits(fixtures.btcv(tmp_path / "raw"), numbers=(0,))
    label = raw / "segmentations/segmentation-0.nii"
    fixtures.save_nifti(label, np.zeros((512, 512, 3), np.uint8), np.eye(4))
    with pytest.raises(RawDataInvalid) as error:
        preparing("liver", raw=(raw,), limit_cases=9, is_keeping_on=False)
    text = str(error.value)
    assert "segmentation-0.nii: the label volume has another shape: 512x512x3 voxels" in text
    assert "volume-0.nii, 512x512x6 voxels" in text


def test_a_label_that_is_stored_flipped_gives_the_same_pack_and_the_card_says_how_many(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.lits(fixtures.btcv(tmp_path / "raw", numbers=(1,)), numbers=(0, 1))
    straight = preparing("liver", raw=(raw,), limit_cases=9)
    for name, ornt in (
        ("segmentation-0.nii", [[1, -1], [0, 1], [2, -1]]),
        ("label0001.nii.gz", [[0, -1], [1, 1], [2, 1]]),
    ):
        path = next(raw.rglob(name))
        stored = nib.load(path).as_reoriented(np.array(ornt))
        fixtures.save_nifti(path, np.array(stored.dataobj), stored.affine)
    turned = preparing("liver", raw=(raw,), limit_cases=9, out=tmp_path / "turned")
    assert turned.card.version == straight.card.version
    said = "2 label volumes were stored in another orientation than the image"
    assert any(said in remark for remark in turned.card.remarks)
    assert not any("another orientation" in remark for remark in straight.card.remarks)


def test_labels_that_are_not_the_collections_are_refused(
    preparing: Preparing, tmp_path: Path
) -> None:
    raw = fixtures.btcv(tmp_path / "raw", numbers=(1,))
    fixtures.lits(raw, numbers=(0,))
    for name, value, message in (
        ("segmentation-0.nii", 6, "label 6, known are 0, 1, 2"),
        ("label0001.nii.gz", 0, "no slice holds liver"),
    ):
        path = next(raw.rglob(name))
        fixtures.save_nifti(path, np.full((512, 512, 6), value, np.uint8), fixtures.CT_AFFINE)
        with pytest.raises(RawDataInvalid) as error:
            preparing("liver", raw=(raw,), limit_cases=9, is_keeping_on=False)
        assert message in str(error.value)


def test_missing_volumes_are_named_as_the_collections_name_them(
    preparing: Preparing, raw: dict[str, Path]
) -> None:
    with pytest.raises(RawDataInvalid) as error:
        preparing("liver", is_keeping_on=False)
    text = str(error.value)
    assert "BTCV: img0003.nii.gz and label0003.nii.gz" in text
    assert "and 16 more of this kind (missing)" in text  # 28 + 8, of which 20 are listed
    assert "synapse.org" in error.value.fix


def test_unlabelled_volumes_are_not_asked_for() -> None:
    assert len(liver.BTCV_VOLUMES) == 30
    assert not {11, 20, 61} & set(liver.BTCV_VOLUMES)
