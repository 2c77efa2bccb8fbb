"""The split data: what was checked in, and what must hold of it."""

from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path

import pytest

from harness.benchmarks.prepare import camelyon16, expected, splits
from harness.benchmarks.prepare.recipe import Options
from harness.benchmarks.spec import SplitCounts
from harness.benchmarks.specs import BENCHMARKS

FOLDER = Path(splits.__file__).parent / "splits"
BRAIN = ("brain_train_ids", "brain_valid_normal_ids", "brain_test_normal_ids", "brain_valid_abnormal_ids")  # fmt: skip
RESC = ("resc_train_cases", "resc_val_cases", "resc_challenge_test_cases")


def test_the_files_are_those_that_were_checked_in() -> None:
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    stated = {line.split()[1]: line.split()[0] for line in lines}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FOLDER.iterdir()
        if path.suffix in (".txt", ".csv")
    }
    assert found == stated


@pytest.mark.parametrize(("file", "count"), [*zip(BRAIN, (424, 39, 162, 11), strict=True)])
def test_brain_lists_have_their_lengths(file: str, count: int) -> None:
    names = splits.names(file)
    assert len(names) == len(set(names)) == count
    assert list(names) == sorted(names)


def test_no_brain_patient_stands_in_two_lists() -> None:
    for one, two in combinations(BRAIN, 2):
        assert not set(splits.names(one)) & set(splits.names(two))
    # 625 patients have tumour-free slices; 615 + 11 have none.
    assert 1251 - 424 - 39 - 162 == 615 + 11


def test_resc_patients_are_in_one_set_each() -> None:
    patients = [{name.partition("_")[0] for name in splits.names(file)} for file in RESC]
    assert [len(splits.names(file)) for file in RESC] == [70, 15, 15]
    assert [len(found) for found in patients[:2]] == [35, 10]
    for one, two in combinations(patients, 2):
        assert not one & two


def test_camelyon_lists_are_bmads() -> None:
    counts = {file: len(splits.patches(file)) for file, _, _ in camelyon16.LISTS}
    assert list(counts.values()) == [5088, 117, 105, 1026, 1008]
    slides = [{patch.slide for patch in splits.patches(file)} for file, _, _ in camelyon16.LISTS]
    assert [len(found) for found in slides] == [159, 13, 5, 114, 43]
    assert "normal_086" not in slides[0]
    judged = set().union(*slides[1:])
    assert not judged & {"test_049", "test_114", "test_125"}
    assert not (slides[1] | slides[2]) & (slides[3] | slides[4])
    assert len(judged) == 127


def test_camelyon_patches_lie_on_a_grid_and_do_not_overlap() -> None:
    seen: dict[str, set[tuple[int, int]]] = {}
    for file, _, _ in camelyon16.LISTS:
        for patch in splits.patches(file):
            assert patch.x % 64 == patch.y % 64 == 0
            taken = seen.setdefault(patch.slide, set())
            assert not any(
                (patch.x + dx, patch.y + dy) in taken
                for dx in range(-192, 193, 64)
                for dy in range(-192, 193, 64)
            )
            taken.add((patch.x, patch.y))


def test_the_known_validation_images_of_oct2017() -> None:
    names = splits.names("oct2017_valid_known")
    kinds = [name.partition("-")[0] for name in names]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "NORMAL": 8, "CNV": 6, "DME": 4, "DRUSEN": 6,
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "demo"])
def test_the_counts_of_the_paper_variant_follow_from_those_of_the_source(name: str) -> None:
    source = expected.SOURCES[name]
    counts = expected.expected_counts(name, Options(raw=()))
    assert counts is not None
    judged_normal = counts.valid_normal + counts.test_normal
    judged_abnormal = counts.valid_anomalous + counts.test_anomalous
    if name == "liver":
        assert counts.train == source["BTCV slices with liver"]
        assert judged_normal == source["LiTS slices with liver and without tumour"]
        assert judged_abnormal == source["LiTS slices with tumour"]
    elif name == "resc":
        assert counts.train == source["training slices, normal"]
        assert judged_normal == source["validation slices, normal"]
        assert judged_abnormal == source["validation slices, abnormal"]
    elif name == "rsna":
        assert counts.train + judged_normal == source["Normal"]
        assert judged_abnormal == sum(source.values()) - source["Normal"]
    elif name == "oct2017":
        assert counts.train == source["train/NORMAL"]
        assert judged_normal == source["valid/NORMAL"] + source["test/NORMAL"]
    elif name == "camelyon16":
        assert counts == SplitCounts(*[len(splits.patches(f)) for f, _, _ in camelyon16.LISTS])
    else:
        # 39 + 11 * 4 and 640 + 615 * 5
        assert (counts.valid_anomalous, counts.test_anomalous) == (11 * 4, 615 * 5)
        assert counts.valid_normal == 39
