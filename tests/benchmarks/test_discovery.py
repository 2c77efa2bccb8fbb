"""Finding packs by the names that BMAD's copies carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.benchmarks import BENCHMARKS, find_packs, open_pack
from harness.common.errors import DataMissing, UsageError

from .conftest import pictures, write

# Folder names as BMAD's authors, its archives and its users' copies have them.
NAMES = {
    "Brain": "brain",
    "brain": "brain",
    "BraTS2021_slice": "brain",
    "Brain_AD": "brain",
    "Liver": "liver",
    "hist_DIY": "liver",
    "Liver_AD": "liver",
    "RESC": "resc",
    "Retina_RESC_AD": "resc",
    "OCT2017": "oct2017",
    "Retina_OCT2017_AD": "oct2017",
    "RSNA": "rsna",
    "Chest-RSNA": "rsna",
    "Chest_AD": "rsna",
    "Chest-AD": "rsna",
    "camelyon16": "camelyon16",
    "camelyon16_256": "camelyon16",
    "Histopathology_AD": "camelyon16",
}


@pytest.mark.parametrize(("folder", "benchmark"), NAMES.items())
def test_known_folder_names_are_found(folder: str, benchmark: str, tmp_path: Path) -> None:
    write(tmp_path / folder, pictures())
    assert find_packs(tmp_path) == {benchmark: tmp_path / folder}


def test_archives_unpacked_side_by_side_are_found(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "Brain_AD/BraTS2021_slice", pictures())
    write(tmp_path / "BMAD/Chest_AD/Chest-RSNA", pictures(masks=False))
    write(tmp_path / "Liver/Train/hist_DIY", pictures())
    (tmp_path / "RESC").mkdir()
    write(tmp_path / "holiday photos", pictures())
    found = find_packs(tmp_path)
    assert found == {
        "brain": tmp_path / "Brain_AD",
        "liver": tmp_path / "Liver",
        "rsna": tmp_path / "BMAD/Chest_AD",
    }
    for benchmark, folder in found.items():
        assert open_pack(folder, cache, benchmark=benchmark).card.name == benchmark


def test_a_card_makes_any_folder_a_pack(tmp_path: Path) -> None:
    write(tmp_path / "a", pictures())
    (tmp_path / "a/pack.toml").write_text('name = "our-mri"\n')
    write(tmp_path / "B 2", pictures())
    (tmp_path / "B 2/pack.toml").write_text("")
    assert find_packs(tmp_path) == {"b-2": tmp_path / "B 2", "our-mri": tmp_path / "a"}


def test_the_card_counts_before_the_folder_name(tmp_path: Path) -> None:
    write(tmp_path / "Brain", pictures())
    (tmp_path / "Brain/pack.toml").write_text('name = "our-mri"\n')
    assert list(find_packs(tmp_path)) == ["our-mri"]


def test_two_folders_of_one_benchmark_are_not_chosen_between(tmp_path: Path) -> None:
    write(tmp_path / "Brain", pictures())
    write(tmp_path / "BraTS2021", pictures())
    with pytest.raises(UsageError, match="two folders are brain"):
        find_packs(tmp_path)


def test_a_shallower_folder_counts_before_a_deeper_one(tmp_path: Path) -> None:
    write(tmp_path / "Brain", pictures())
    write(tmp_path / "backup/Brain", pictures())
    assert find_packs(tmp_path) == {"brain": tmp_path / "Brain"}


def test_a_missing_data_root_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="--data-root"):
        find_packs(tmp_path / "nowhere")


def test_no_folder_name_belongs_to_two_benchmarks() -> None:
    folders = [folder for spec in BENCHMARKS.values() for folder in spec.folders]
    assert len(folders) == len(set(folders))
