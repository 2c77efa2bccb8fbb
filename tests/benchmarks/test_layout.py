"""Every spelling of BMAD's layout is one and the same pack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from harness.benchmarks import Pack, open_pack
from harness.benchmarks.layout import find_root, read_layout
from harness.benchmarks.places import place_of
from harness.common.errors import PackInvalid

from .conftest import Picture, Spelling, pictures, readme, save, write


def spelled(image: str, mask: str, train: str, **words: str) -> Spelling:
    """A spelling from patterns with {split} and {cls}, and words that replace ours."""

    def spelling(picture: Picture) -> tuple[str, str]:
        cls = words.get("ungood", "Ungood") if picture.is_anomalous else words.get("good", "good")
        split = words.get(picture.split, picture.split)
        pattern = train if picture.split == "train" else image
        place = {"split": split, "Split": split.capitalize(), "cls": cls}
        return pattern.format(**place), mask.format(**place)

    return spelling


SPELLINGS = {
    "the read-me's": readme,
    "the released brain's, train without img": spelled(
        "{split}/{cls}/img", "{split}/{cls}/label", "train/good"
    ),
    "anomaly_mask": spelled(
        "{split}/{cls}/img", "{split}/{cls}/anomaly_mask", "train/good/img"
    ),
    "val and ungood": spelled(
        "{split}/{cls}/img", "{split}/{cls}/label", "train/good", valid="val", ungood="ungood"
    ),
    "no img folder": spelled("{split}/{cls}", "{split}/{cls}/label", "train/good"),
    "the liver's, class inside img": spelled(
        "{split}/img/{cls}", "{split}/label/{cls}", "train/good"
    ),
    "the liver's, deep inside other folders": spelled(
        "Liver/Train/hist_DIY/{split}/img/{cls}",
        "Liver/Train/hist_DIY/{split}/label/{cls}",
        "Liver/Train/hist_DIY/train/good",
    ),
    "RESC's": spelled(
        "{Split}/{split}/{cls}", "{Split}/{split}_label/{cls}", "Train/train/good", valid="val"
    ),
    "an archive's folder around it": spelled(
        "Brain_AD/BraTS2021_slice/{split}/{cls}/img",
        "Brain_AD/BraTS2021_slice/{split}/{cls}/label",
        "Brain_AD/BraTS2021_slice/train/good/img",
    ),
    "bad": spelled("{split}/{cls}", "{split}/{cls}/mask", "train/good", ungood="bad"),
    "shouting": spelled(
        "{split}/{cls}/IMG", "{split}/{cls}/LABEL", "TRAIN/GOOD",
        good="GOOD", ungood="UNGOOD", valid="VALID", test="TEST",
    ),
    "abnormal": spelled(
        "{split}/{cls}/images", "{split}/{cls}/masks", "train/normal",
        good="normal", ungood="abnormal", valid="validation",
    ),
    "train without a class folder": spelled(
        "{split}/{cls}/img", "{split}/{cls}/ground_truth", "train"
    ),
}  # fmt: skip


def labels(pack: Pack) -> dict[str, bool]:
    """Label of every test image by its pixels."""
    return {sample.pixel_sha256: sample.is_anomalous for sample in pack.split("test")}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_gives_the_same_pack(
    spelling: Spelling, tmp_path: Path, cache: Path
) -> None:
    plain = open_pack(write(tmp_path / "a" / "own", pictures()), cache)
    other = open_pack(write(tmp_path / "b" / "own", pictures(), spelling), cache)
    assert other.version == plain.version
    assert other.card.counts == plain.card.counts
    assert labels(other) == labels(plain)
    for sample in other.samples:
        assert (sample.mask_path is not None) == sample.is_anomalous


@pytest.mark.parametrize("suffix", ["_mask", "_label"])
def test_a_mask_may_carry_a_suffix_and_another_extension(
    suffix: str, tmp_path: Path, cache: Path
) -> None:
    plain = open_pack(write(tmp_path / "a" / "own", pictures()), cache)
    folder = write(tmp_path / "b" / "own", pictures())
    for mask in sorted(folder.glob("*/Ungood/label/*.png")):
        mask.rename(mask.with_name(f"{mask.stem}{suffix}.png"))
    assert open_pack(folder, cache).version == plain.version


def test_litter_of_other_programs_is_passed_over(pack_folder: Path, cache: Path) -> None:
    version = open_pack(pack_folder, cache).version
    (pack_folder / "test/good/img/.DS_Store").write_bytes(b"x")
    (pack_folder / "test/good/img/._00008_60.png").write_bytes(b"x")
    (pack_folder / "test/good/img/Thumbs.db").write_bytes(b"x")
    (pack_folder / "__MACOSX/test/good").mkdir(parents=True)
    (pack_folder / "__MACOSX/test/good/00099_60.png").write_bytes(b"x")
    (pack_folder / "README.txt").write_text("hello")
    (pack_folder / "figure.png").write_bytes(b"no image at all")
    assert open_pack(pack_folder, cache).version == version


def test_other_files_inside_the_splits_are_counted_in_the_card(
    pack_folder: Path, cache: Path
) -> None:
    (pack_folder / "test/good/notes.csv").write_text("a,b")
    (pack_folder / "test/good/viewer.ini").write_bytes(b"x")
    (pack_folder / "README.txt").write_text("hello")
    (pack_folder / "test/.DS_Store").write_text("x")
    card = open_pack(pack_folder, cache).card
    assert any("2 files that are not images" in remark for remark in card.remarks)
    assert card.left_out == {"beside-the-splits": 1, "litter": 1, "no-images": 2}


def test_folders_linked_together_read_like_folders(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "own", pictures())
    linked = tmp_path / "linked" / "own"
    linked.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (linked / split).symlink_to(folder / split)
    (folder / "test" / "loop").symlink_to(folder)
    assert open_pack(linked, cache).version == open_pack(folder, cache).version


def test_images_in_a_folder_of_no_class_are_a_problem_and_never_taken_for_normal(
    tmp_path: Path, cache: Path
) -> None:
    folder = write(tmp_path / "own", pictures(masks=False))
    for split in ("train", "test"):
        save(folder / split / "CNV" / "CNV-1-1.png", pictures()[0].pixels)
    with pytest.raises(PackInvalid) as error:
        open_pack(folder, cache)
    assert sorted(error.value.problems) == [
        f"{split}/CNV: 1 image in a folder that says neither normal (`good`) nor abnormal (`Ungood`)"
        for split in ("test", "train")
    ]


@pytest.mark.parametrize(
    ("path", "split", "is_anomalous", "is_mask", "name"),
    [
        ("train/good/img/1.png", "train", False, False, "1"),
        ("Train/train/good/1.png", "train", False, False, "1"),
        ("Train/hist_DIY/test/img/Ungood/1.png", "test", True, False, "hist_DIY/1"),
        ("Val/val_label/Ungood/1.png", "valid", True, True, "1"),
        ("test/Ungood/anomaly_mask/1.png", "test", True, True, "1"),
        ("test/Ungood/label/img/1.png", "test", True, True, "1"),
        ("test/good/Ungood/1.png", "test", None, False, "1"),
        ("train/CNV/1.png", "train", None, False, "CNV/1"),
        ("train/1.png", "train", False, False, "1"),
        ("good/1.png", None, False, False, "1"),
    ],
)
def test_folders_say_split_class_and_kind(
    path: str, split: str | None, is_anomalous: bool | None, is_mask: bool, name: str
) -> None:
    place = place_of(PurePosixPath(path))
    assert (place.split, place.is_anomalous, place.is_mask, place.name) == (
        split, is_anomalous, is_mask, name,
    )  # fmt: skip


def test_a_folder_of_several_packs_is_not_one_of_them(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "data" / "one", pictures())
    write(tmp_path / "data" / "two", pictures())
    assert [root.name for root in find_root(tmp_path / "data")] == ["one", "two"]
    with pytest.raises(PackInvalid, match="several packs: one, two"):
        open_pack(tmp_path / "data", cache)


def test_a_folder_without_images_says_what_was_expected(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackInvalid, match="expected train/good"):
        open_pack(tmp_path / "empty", cache)


def test_masks_without_an_image_are_named_with_the_nearest_image(pack_folder: Path) -> None:
    mask = pack_folder / "test/Ungood/label/00011_60.png"
    mask.with_name("00011_60x.png").write_bytes(mask.read_bytes())
    (problem,) = read_layout(pack_folder).problems
    assert problem.kind == "unmatched-masks"
    assert problem.text.startswith(
        "test/Ungood/label/00011_60x.png: a mask that belongs to no image"
        " (the nearest is test/Ungood/img/00011_60.png); a mask is called as its image, or with"
    )


Order = Callable[[list[Picture]], list[Picture]]


@pytest.mark.parametrize("order", [list, lambda p: p[::-1]], ids=["forwards", "backwards"])
def test_the_order_of_writing_makes_no_difference(
    order: Order, tmp_path: Path, cache: Path
) -> None:
    plain = open_pack(write(tmp_path / "a" / "own", pictures()), cache)
    other = open_pack(write(tmp_path / "b" / "own", order(pictures())), cache)
    assert other.version == plain.version
    assert [s.key for s in other.samples] == [s.key for s in plain.samples]
