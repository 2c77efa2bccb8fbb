"""BMAD's own archives and the forms that others re-host: recognised, and told what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.benchmarks import BENCHMARKS, find_packs, open_pack
from harness.benchmarks.card import Counts
from harness.benchmarks.copies import copy_of
from harness.benchmarks.discovery import nothing_found
from harness.benchmarks.layout import FoundImage
from harness.common.errors import PackInvalid

from .conftest import Picture, pictures, write
from .test_layout import spelled

# Folder, then the folders inside it as each archive has them.
ARCHIVES = {
    "Brain_AD/BraTS2021_slice": (
        "brain", spelled("{split}/{cls}/img", "{split}/{cls}/label", "train/good"),
        "class folders with img inside",
    ),
    "Liver_AD/hist_DIY": (
        "liver", spelled("{split}/img/{cls}", "{split}/label/{cls}", "train/good"),
        "the liver's order of folders",
    ),
    "RESC_AD/RESC": (
        "resc",
        spelled("{Split}/{split}/{cls}", "{Split}/{split}_label/{cls}", "Train/train/good", valid="val"),
        "RESC's order of folders",
    ),
    "RetinaRESC_AD": (
        "resc", spelled("{split}/{cls}/img", "{split}/{cls}/anomaly_mask", "train/good"),
        "class folders with img inside",
    ),
    "RetinaOCT2017_AD/OCT2017": (
        "oct2017", spelled("{split}/{cls}", "", "train/good", valid="val"), "class folders alone",
    ),
    "Chest_AD/Chest-RSNA": (
        "rsna", spelled("{split}/{cls}", "", "train/good", valid="val"), "class folders alone",
    ),
    "Histopathology_AD/camelyon16_256": (
        "camelyon16", spelled("{split}/{cls}", "", "train/good"), "class folders alone",
    ),
    "3918150265_Brain_AD": (
        "brain", spelled("{split}/{cls}/img", "{split}/{cls}/label", "train/good"),
        "class folders with img inside",
    ),
}  # fmt: skip


def plan(benchmark: str) -> list[Picture]:
    """The tiny pack, with masks where the benchmark has them."""
    return pictures(masks=BENCHMARKS[benchmark].has_masks)


@pytest.mark.parametrize("folder", ARCHIVES)
def test_archives_and_repacks_are_found_and_their_order_is_told(
    folder: str, tmp_path: Path, cache: Path
) -> None:
    benchmark, spelling, order = ARCHIVES[folder]
    write(tmp_path / folder, plan(benchmark), spelling)
    found = find_packs(tmp_path)
    assert list(found) == [benchmark]
    release = open_pack(found[benchmark], cache, benchmark=benchmark).card.release
    assert release.startswith("The images per split are those of no known release: ")
    assert order in release


@pytest.mark.parametrize("folder", ARCHIVES)
def test_valid_and_test_alone_say_what_is_missing_and_where_it_is(
    folder: str, tmp_path: Path, cache: Path
) -> None:
    benchmark, spelling, _ = ARCHIVES[folder]
    write(tmp_path / folder, [one for one in plan(benchmark) if one.split != "train"], spelling)
    found = find_packs(tmp_path)
    with pytest.raises(PackInvalid) as error:
        open_pack(found[benchmark], cache, benchmark=benchmark)
    told = error.value.problems[-1]
    size = BENCHMARKS[benchmark].table1
    assert size is not None
    assert f"is {benchmark} with test and valid alone" in told
    assert "re-hosted for few-shot work" in told
    assert f"missing: train ({size[0]} images by Table 1)" in told
    assert f"python -m harness.prepare {benchmark} --raw" in told
    assert "add the splits that are missing" in error.value.fix


@pytest.mark.parametrize("name", sorted(set(BENCHMARKS) - {"demo"}))
def test_known_counts_are_told_by_their_origin(name: str) -> None:
    spec = BENCHMARKS[name]
    images = [FoundImage("test/good/img/1.png", "test", False, None)]
    for known in spec.counts:
        counts = Counts(**vars(known.counts))
        told = copy_of(spec, counts, images)
        assert told.startswith(f"The images per split and class of {known.origin}: class folders")
        moved = Counts(
            train=counts.train + counts.valid_normal,
            valid_normal=0,
            valid_anomalous=0,
            test_normal=counts.test_normal,
            test_anomalous=counts.test_anomalous + counts.valid_anomalous,
        )
        assert copy_of(spec, moved, images).startswith(
            "A re-hosted copy whose validation images went to train and test"
        )
        short = counts.model_copy(update={"train": counts.train - 1})
        assert "of a known release only" in copy_of(spec, short, images)


def test_a_data_root_without_packs_says_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "Brain_AD").mkdir()
    (tmp_path / "holiday").mkdir()
    write(tmp_path / "ours", pictures())
    (tmp_path / "Liver_AD.zip").write_bytes(b"PK\x03\x04")
    assert find_packs(tmp_path) == {}
    error = nothing_found(tmp_path)
    for told in (
        "Brain_AD is named like brain and holds no two of train, valid and test",
        "holiday is named like no benchmark and holds no splits",
        f"ours is a pack of no known name: give it with --pack {tmp_path / 'ours'}",
        "not unpacked: Liver_AD.zip",
    ):
        assert told in error.what
    assert "retina_oct2017" in error.fix
