"""Opening a folder: all problems at once, a stable version id, a card, one mode, a memory."""

from __future__ import annotations

import os
import shutil
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import Pack, open_pack
from harness.common.errors import DataMissing, PackInvalid

from .conftest import Picture, changed, grey, pictures, save, square, write


def problems_of(folder: Path, cache: Path, **options: str) -> tuple[str, ...]:
    """The problems that opening the folder reports."""
    with pytest.raises(PackInvalid) as error:
        open_pack(folder, cache, **options)  # type: ignore[arg-type]
    return error.value.problems


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path under a folder with its size and time stamp."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}


def test_samples_carry_label_split_patient_mask_and_pixels(pack_folder: Path, cache: Path) -> None:
    pack = open_pack(pack_folder, cache, benchmark="brain")
    assert [len(pack.split(split)) for split in ("train", "valid", "test")] == [3, 4, 7]
    assert pack.has_masks
    by_name = {picture.name: picture for picture in pictures()}
    for sample in pack.samples:
        picture = by_name[sample.image_path.stem]
        assert (sample.split, sample.is_anomalous) == (picture.split, picture.is_anomalous)
        assert sample.group == picture.name.split("_")[0]
        np.testing.assert_array_equal(pack.image(sample), picture.pixels)
        expected = np.zeros((12, 10), bool) if picture.mask is None else picture.mask > 0
        np.testing.assert_array_equal(pack.mask(sample), expected)
    assert [sample.key for sample in pack.samples] == sorted(sample.key for sample in pack.samples)


def test_every_kind_of_problem_is_listed_in_one_go(tmp_path: Path, cache: Path) -> None:
    plan = pictures()
    folder = write(tmp_path / "own", plan)
    bad = folder / "test/Ungood"
    (bad / "label/00011_60.png").unlink()
    save(bad / "label/00012_60.png", square(13, 10))
    save(bad / "label/00013_60.png", square() * 0)
    save(folder / "test/good/label/00008_60.png", square())
    (folder / "test/good/img/00009_60.png").write_bytes(b"\x89PNG no more")
    save(folder / "test/good/img/00001_99.png", plan[0].pixels)  # a training image
    save(folder / "test/good/img/00014_99.png", plan[13].pixels)  # abnormal elsewhere
    save(folder / "test/good/img/00010_60.bmp", grey(77))
    save(folder / "train/Ungood/img/00099_60.png", grey(78))
    save(folder / "valid/other/00098_60.png", grey(79))
    (folder / "pack.toml").write_text('visibility = "secret"\ncolour = 3\n')
    found = problems_of(folder, cache)
    expected = [
        "pack.toml, visibility:",
        "pack.toml, colour:",
        "valid/other: 1 image in a folder that says neither",
        "two files for one image: test/good/img/00010_60.bmp, test/good/img/00010_60.png",
        "train holds 1 abnormal images",
        "test/good/img/00009_60.png: unreadable",
        "test/Ungood/img/00011_60.png: its mask is missing",
        "test/Ungood/img/00012_60.png is 10x12, its mask test/Ungood/label/00012_60.png is 10x13",
        "test/Ungood/img/00013_60.png is abnormal and its mask is empty",
        "test/good/img/00008_60.png is normal and its mask marks 12 pixels",
        (
            "identical pixels, once normal and once abnormal: "
            "test/Ungood/img/00014_60.png = test/good/img/00014_99.png"
        ),
        (
            "identical pixels in train and test: "
            "test/good/img/00001_99.png = train/good/img/00001_60.png"
        ),
    ]
    for text in expected:
        assert sum(problem.startswith(text) for problem in found) == 1, text
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("without", "problem"),
    [
        (("train", False), "train holds no normal image"),
        (("test", False), "test holds no normal image"),
        (("test", True), "test holds no abnormal image"),
    ],
)
def test_a_split_that_cannot_be_scored_is_a_problem(
    without: tuple[str, bool], problem: str, tmp_path: Path, cache: Path
) -> None:
    rest = [p for p in pictures() if (p.split, p.is_anomalous) != without]
    assert problem in problems_of(write(tmp_path / "own", rest), cache)


def test_a_validation_split_may_be_absent_but_not_empty(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "own", [p for p in pictures() if p.split != "valid"])
    pack = open_pack(folder, cache)
    assert pack.split("valid") == ()
    assert pack.card.groups.valid is None
    assert any("no validation split" in remark for remark in pack.card.remarks)
    (folder / "valid" / "good").mkdir(parents=True)
    assert problems_of(folder, cache) == ("valid holds no image (remove the folder to go without)",)


def test_long_lists_of_one_kind_are_cut_and_counted(tmp_path: Path, cache: Path) -> None:
    extra = [Picture("test", True, f"{n:05d}_60", grey(n)) for n in range(100, 130)]
    found = problems_of(write(tmp_path / "own", [*pictures(), *extra]), cache)
    assert len(found) == 21
    assert found[-1] == "and 10 more of this kind (mask missing)"


def test_a_missing_folder_is_missing_data(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataMissing):
        open_pack(tmp_path / "nowhere", cache)


class TestVersion:
    """The version id follows splits, labels, pixels and masks, and nothing else."""

    def test_follows_its_published_definition(self, pack_folder: Path, cache: Path) -> None:
        import hashlib

        lines = []
        for p in pictures():
            pixels = hashlib.sha256(b"L,10,12," + p.pixels.tobytes()).hexdigest()
            mask = ""
            if p.mask is not None:
                bits = (p.mask > 0).astype(np.uint8).tobytes()
                mask = hashlib.sha256(b"mask,10,12," + bits).hexdigest()
            label = "anomalous" if p.is_anomalous else "normal"
            lines.append(f"{p.split}|{label}|{pixels}|{mask}")
        digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
        assert open_pack(pack_folder, cache).version == f"own-{digest[:12]}"

    def test_is_stable_under_renaming_and_packing_anew(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        version = open_pack(pack_folder, cache, benchmark="brain").version
        moved = tmp_path / "elsewhere" / "Brain Copy"
        shutil.copytree(pack_folder, moved)
        for number, path in enumerate(sorted(moved.rglob("*.png"))):
            with Image.open(path) as image:
                image.load()
            image.save(path, compress_level=number % 10, dpi=(72, 72))
        assert open_pack(moved, cache, benchmark="brain").version == version

    def test_is_stable_under_renaming_of_all_images(self, tmp_path: Path, cache: Path) -> None:
        renamed = [changed(p, name=f"x{p.name[::-1]}") for p in pictures()]
        one = open_pack(write(tmp_path / "a/own", pictures()), cache)
        two = open_pack(write(tmp_path / "b/own", renamed), cache)
        assert one.version == two.version

    def test_does_not_depend_on_empty_masks_of_normal_images(
        self, pack_folder: Path, cache: Path
    ) -> None:
        version = open_pack(pack_folder, cache).version
        for path in sorted(pack_folder.glob("*/good/img/*.png")):
            save(path.parents[1] / "label" / path.name, square() * 0)
        assert open_pack(pack_folder, cache).version == version

    @pytest.mark.parametrize(
        "change",
        [
            lambda plan: changed(plan[8], pixels=plan[8].pixels ^ 1),
            lambda plan: changed(plan[12], mask=np.roll(plan[12].mask, 1, axis=1)),
            lambda plan: changed(plan[8], split="valid"),
            lambda plan: changed(plan[8], is_anomalous=True, mask=square()),
        ],
        ids=["pixel", "mask", "split", "label"],
    )
    def test_changes_with_what_is_measured(
        self, change: object, tmp_path: Path, cache: Path
    ) -> None:
        plan = pictures()
        one = open_pack(write(tmp_path / "a/own", plan), cache)
        new = change(plan)  # type: ignore[operator]
        plan = [new if p.name == new.name else p for p in plan]
        assert open_pack(write(tmp_path / "b/own", plan), cache).version != one.version


class TestMemory:
    """A pack is decoded once; the folder is never written to."""

    def test_the_folder_stays_untouched(self, pack_folder: Path, cache: Path) -> None:
        before = snapshot(pack_folder)
        open_pack(pack_folder, cache)
        assert snapshot(pack_folder) == before

    def test_the_second_opening_reads_no_image(self, pack_folder: Path, cache: Path) -> None:
        seen: list[tuple[int, int]] = []
        first = open_pack(pack_folder, cache, on_progress=lambda *at: seen.append(at))
        assert seen == [(n, 20) for n in range(1, 21)]  # 14 images, 6 masks
        seen.clear()
        assert open_pack(pack_folder, cache, on_progress=lambda *at: seen.append(at)) == first
        assert seen == []

    def test_a_changed_file_alone_is_read_again(self, pack_folder: Path, cache: Path) -> None:
        first = open_pack(pack_folder, cache)
        save(pack_folder / "test/good/img/00008_60.png", grey(500))
        seen: list[tuple[int, int]] = []
        second = open_pack(pack_folder, cache, on_progress=lambda *at: seen.append(at))
        assert seen == [(1, 1)]
        assert second.version != first.version

    def test_a_mended_file_is_no_problem_any_more(self, pack_folder: Path, cache: Path) -> None:
        path = pack_folder / "test/good/img/00008_60.png"
        good = path.read_bytes()
        path.write_bytes(good[:40])
        assert len(problems_of(pack_folder, cache)) == 1
        path.write_bytes(good)
        open_pack(pack_folder, cache)

    def test_a_damaged_memory_is_made_anew(self, pack_folder: Path, cache: Path) -> None:
        version = open_pack(pack_folder, cache).version
        for path in cache.rglob("*.json"):
            path.write_text(path.read_text()[:100])
        assert open_pack(pack_folder, cache).version == version

    def test_many_may_open_one_pack_at_once(self, pack_folder: Path, cache: Path) -> None:
        start = threading.Barrier(6)

        def opened(_: int) -> str:
            start.wait()
            return open_pack(pack_folder, cache).version

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(opened, range(6)))) == 1
        assert not list(cache.rglob(".*"))

    def test_a_file_that_changes_while_in_use_is_named(
        self, pack_folder: Path, cache: Path
    ) -> None:
        pack = open_pack(pack_folder, cache)
        sample = pack.split("test")[0]
        sample.image_path.write_bytes(b"gone")
        with pytest.raises(PackInvalid, match="changed while in use"):
            pack.image(sample)


class TestMode:
    """All images of a pack are delivered in one mode, so that it cannot tell them apart."""

    def test_grey_packs_stay_grey(self, pack_folder: Path, cache: Path) -> None:
        pack = open_pack(pack_folder, cache)
        assert pack.card.mode == "L"
        assert {pack.image(sample).ndim for sample in pack.samples} == {2}

    def test_a_mixture_becomes_rgb(self, tmp_path: Path, cache: Path) -> None:
        plan = pictures()
        colour = np.stack([grey(1), grey(2), grey(3)], axis=2)
        plan[-1] = changed(plan[-1], pixels=colour)
        pack = open_pack(write(tmp_path / "own", plan), cache)
        assert pack.card.mode == "RGB"
        assert {pack.image(sample).shape for sample in pack.samples} == {(12, 10, 3)}
        assert any("13 grey and 1 colour" in remark for remark in pack.card.remarks)
        first = pack.split("train")[0]
        np.testing.assert_array_equal(pack.image(first)[:, :, 1], plan[0].pixels)

    def test_grey_stored_as_rgb_is_the_same_pack_as_a_mixture(
        self, tmp_path: Path, cache: Path
    ) -> None:
        as_rgb = [changed(p, pixels=np.stack([p.pixels] * 3, axis=2)) for p in pictures()]
        mixed = [as_rgb[0], *pictures()[1:]]
        one = open_pack(write(tmp_path / "a/own", as_rgb), cache)
        two = open_pack(write(tmp_path / "b/own", mixed), cache)
        assert one.version == two.version

    def test_a_grey_image_and_its_rgb_copy_are_the_same_image(
        self, tmp_path: Path, cache: Path
    ) -> None:
        plan = pictures()
        plan[-5] = changed(plan[-5], pixels=np.stack([plan[0].pixels] * 3, axis=2))
        found = problems_of(write(tmp_path / "own", plan), cache)
        assert "identical pixels in train and test" in found[0]


class TestLeaks:
    """Identical images across splits."""

    @pytest.fixture
    def leaking(self, tmp_path: Path) -> Path:
        plan = pictures()
        plan[10] = changed(plan[10], pixels=plan[5].pixels, mask=plan[5].mask)
        return write(tmp_path / "own", plan)

    def test_are_a_problem_that_says_how_to_allow_them(self, leaking: Path, cache: Path) -> None:
        (problem,) = problems_of(leaking, cache)
        assert "identical pixels in valid and test" in problem
        assert 'shared_images = ["valid+test"]' in problem

    def test_are_counted_where_the_card_allows_them(self, leaking: Path, cache: Path) -> None:
        (leaking / "pack.toml").write_text('shared_images = ["valid+test"]\n')
        remarks = open_pack(leaking, cache).card.remarks
        assert "1 image of valid is also in test, byte for byte" in remarks

    def test_known_ones_of_the_released_brain_set_are_allowed(
        self, leaking: Path, cache: Path
    ) -> None:
        remarks = open_pack(leaking, cache, benchmark="brain").card.remarks
        assert "1 image of valid is also in test, byte for byte" in remarks

    def test_repeats_inside_a_split_are_counted(self, pack_folder: Path, cache: Path) -> None:
        save(pack_folder / "train/good/img/00001_61.png", pictures()[0].pixels)
        remarks = open_pack(pack_folder, cache).card.remarks
        assert "1 repeated image inside train" in remarks

    def test_patients_in_two_splits_are_counted(self, pack_folder: Path, cache: Path) -> None:
        save(pack_folder / "test/good/img/00001_61.png", grey(900))
        save(pack_folder / "test/good/img/00002_61.png", grey(901))
        remarks = open_pack(pack_folder, cache, benchmark="brain").card.remarks
        assert "2 patients are in both train and test" in remarks


class TestCard:
    """pack.toml: made where it lacks, honoured where it is, checked against the images."""

    def test_a_made_card_lies_in_the_cache_and_is_cautious(
        self, pack_folder: Path, cache: Path
    ) -> None:
        pack = open_pack(pack_folder, cache)
        document = tomllib.loads((cache / "cards" / pack.version / "pack.toml").read_text())
        assert document["name"] == "own"
        assert document["visibility"] == "open"
        assert document["images_may_be_shown"] is False
        assert document["version"] == pack.version
        assert document["counts"] == {
            "train": 3, "valid_normal": 2, "valid_anomalous": 2,
            "test_normal": 3, "test_anomalous": 4,
        }  # fmt: skip
        assert document["sizes"] == ["10x12"]
        assert "group_unit" not in document

    def test_a_made_card_can_be_copied_into_the_folder(
        self, pack_folder: Path, cache: Path
    ) -> None:
        pack = open_pack(pack_folder, cache)
        shutil.copy(cache / "cards" / pack.version / "pack.toml", pack_folder)
        assert open_pack(pack_folder, cache).card == pack.card

    def test_a_stated_card_is_honoured(self, pack_folder: Path, cache: Path) -> None:
        (pack_folder / "pack.toml").write_text(
            'name = "our-mri"\nlicence = "ours \\"only\\""\n'
            "name_rules = ['(?P<patient>\\d{4})\\d_\\d+']\n"
        )
        pack = open_pack(pack_folder, cache)
        assert pack.name == "our-mri"
        assert pack.version.startswith("our-mri-")
        assert pack.card.visibility == "open"
        assert pack.card.licence == 'ours "only"'
        assert pack.card.groups.test == 2  # 0000x and 0001x
        assert {sample.group for sample in pack.samples} == {"0000", "0001"}

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ('version = "own-000000000000"', "states version = 'own-000000000000', found 'own-"),
            ('mode = "RGB"', "states mode = 'RGB', found 'L'"),
            (("[counts]\ntrain = 4\nvalid_normal = 2\nvalid_anomalous = 2\ntest_normal = 3\n"
             "test_anomalous = 4"), 'states counts = {"train":4,'),
        ],
    )  # fmt: skip
    def test_what_is_stated_must_be_so(
        self, line: str, problem: str, pack_folder: Path, cache: Path
    ) -> None:
        (pack_folder / "pack.toml").write_text(line + "\n")
        (found,) = problems_of(pack_folder, cache)
        assert problem in found

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("name = ", "pack.toml is no TOML"),
            ('name = "Two Words"', "pack.toml, name"),
            ('name_rules = ["("]', "is no regular expression"),
            ('name_rules = ["x+"]', "has no group patient"),
            ('shared_images = ["train+train"]', "pack.toml, shared_images"),
        ],
    )
    def test_a_card_that_cannot_be_read_is_a_problem(
        self, text: str, problem: str, pack_folder: Path, cache: Path
    ) -> None:
        (pack_folder / "pack.toml").write_text(text)
        (found,) = problems_of(pack_folder, cache)
        assert problem in found

    def test_a_card_of_another_benchmark_is_a_problem(self, pack_folder: Path, cache: Path) -> None:
        (pack_folder / "pack.toml").write_text('name = "liver"')
        (found,) = problems_of(pack_folder, cache, benchmark="brain")
        assert "says that this is liver, but it was opened as brain" in found

    def test_the_folder_names_a_pack_of_ones_own(self, tmp_path: Path, cache: Path) -> None:
        pack = open_pack(write(tmp_path / "Our MRI (2024)", pictures()), cache)
        assert pack.name == "our-mri-2024"

    def test_a_hidden_pack_needs_one_image_size(self, tmp_path: Path, cache: Path) -> None:
        plan = pictures()
        plan[7] = changed(plan[7], pixels=grey(7, 12, 11))
        folder = write(tmp_path / "own", plan)
        assert open_pack(folder, cache).card.sizes == ("10x12", "11x12")
        (folder / "pack.toml").write_text('visibility = "hidden"\n')
        assert problems_of(folder, cache) == (
            "a hidden pack needs one image size; it has 2: 10x12 (13), 11x12 (1)",
        )

    def test_a_hidden_pack_is_never_shown(self, pack_folder: Path, cache: Path) -> None:
        card = pack_folder / "pack.toml"
        independent = 'patients = "independent"\n'
        card.write_text(f'name = "camelyon16"\nvisibility = "hidden"\n{independent}')
        assert not open_pack(pack_folder, cache).card.images_may_be_shown
        card.write_text('visibility = "hidden"\nimages_may_be_shown = true\n')
        assert problems_of(pack_folder, cache) == (
            "pack.toml: a hidden pack's images are never shown",
        )

    def test_a_sealed_pack_says_whose_its_images_are(self, pack_folder: Path, cache: Path) -> None:
        card = pack_folder / "pack.toml"
        card.write_text('name = "ours"\nvisibility = "hidden"\n')
        (told,) = problems_of(pack_folder, cache)
        assert "14 are of nobody known" in told
        assert 'patients = "independent"' in told
        card.write_text('name = "ours"\nvisibility = "hidden"\npatients = "independent"\n')
        pack = open_pack(pack_folder, cache)
        assert pack.card.patients == "independent"
        assert any("as the pack's maker states" in remark for remark in pack.card.remarks)
        card.write_text('name = "ours"\nvisibility = "hidden"\npatients = "unknown"\n')
        assert "patients" in problems_of(pack_folder, cache)[0]

    def test_no_patient_of_a_sealed_pack_is_in_two_splits(
        self, pack_folder: Path, cache: Path
    ) -> None:
        rule = "name_rules = ['(?P<patient>\\d{4})\\d_\\d+']\n"
        card = pack_folder / "pack.toml"
        card.write_text(f'name = "ours"\nvisibility = "hidden"\n{rule}')
        (told,) = problems_of(pack_folder, cache)
        assert "in more than one split of a sealed pack" in told
        card.write_text(f'name = "ours"\n{rule}')
        assert open_pack(pack_folder, cache).card.groups.test == 2

    def test_sizes_that_may_tell_the_class_are_remarked(self, tmp_path: Path, cache: Path) -> None:
        plan = pictures()
        plan[7] = changed(plan[7], pixels=grey(7, 12, 11))
        remarks = open_pack(write(tmp_path / "own", plan), cache).card.remarks
        assert (
            "Image sizes differ in the test split and may tell the class: "
            "normal 10x12 (2), 11x12 (1); abnormal 10x12 (4)" in remarks
        )

    def test_masks_of_several_labels_are_remarked(self, pack_folder: Path, cache: Path) -> None:
        labels = square()
        labels[2, 3] = 57
        save(pack_folder / "test/Ungood/label/00011_60.png", labels)
        remarks = open_pack(pack_folder, cache).card.remarks
        assert "1 masks hold more than one value above zero: any value > 0 is lesion" in remarks


class TestMasks:
    """With masks, without, and where the benchmark says which it must be."""

    def test_a_pack_without_masks_is_image_level(self, tmp_path: Path, cache: Path) -> None:
        pack = open_pack(write(tmp_path / "own", pictures(masks=False)), cache)
        assert not pack.has_masks
        assert not pack.mask(pack.split("test")[0]).any()

    def test_a_pixel_level_benchmark_needs_them(self, tmp_path: Path, cache: Path) -> None:
        folder = write(tmp_path / "own", pictures(masks=False))
        assert len(problems_of(folder, cache, benchmark="brain")) == 6

    def test_an_image_level_benchmark_ignores_them(self, pack_folder: Path, cache: Path) -> None:
        pack = open_pack(pack_folder, cache, benchmark="camelyon16")
        assert not pack.has_masks
        assert "6 masks were ignored: this benchmark is image level" in pack.card.remarks
        assert pack.card.left_out == {"masks-of-an-image-level-benchmark": 6}

    def test_masks_of_three_forms_give_one_version(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        version = open_pack(pack_folder, cache).version
        for path in sorted(pack_folder.glob("*/Ungood/label/*.png")):
            with Image.open(path) as image:
                mask = np.asarray(image) > 0
            Image.fromarray(mask).save(path)
        assert open_pack(pack_folder, cache).version == version


class TestGroups:
    """Patients, volumes and slides by file name."""

    def renamed(self, tmp_path: Path, cache: Path, names: dict[int, str], benchmark: str) -> Pack:
        plan = [changed(p, name=names.get(n, p.name)) for n, p in enumerate(pictures(masks=False))]
        return open_pack(write(tmp_path / "own", plan), cache, benchmark=benchmark)

    def test_unknown_patients_are_each_their_own(self, pack_folder: Path, cache: Path) -> None:
        pack = open_pack(pack_folder, cache)
        assert all(sample.group == sample.key for sample in pack.samples)
        assert pack.card.groups.test is None
        assert "Patients are unknown: intervals are over images" in pack.card.remarks

    def test_a_mixture_is_reported(self, tmp_path: Path, cache: Path) -> None:
        names = {n: f"CNV-{n // 2}-1" if n > 9 else f"NORMAL-{n}-1" for n in range(13)}
        names |= {11: "CNV-5-2", 13: "odd one"}
        pack = self.renamed(tmp_path, cache, names, "oct2017")
        assert pack.card.groups.test is None
        assert pack.card.groups.train == 3
        assert (
            "The patients of 1 of 14 images are unknown: each of these images counts as one of "
            "its own" in pack.card.remarks
        )
        odd = next(s for s in pack.samples if s.key.endswith("odd one.png"))
        assert odd.group == odd.key

    def test_subclasses_are_those_of_abnormal_images(self, tmp_path: Path, cache: Path) -> None:
        names = {10: "CNV-1-1", 11: "DME-2-1", 12: "DRUSEN-3-1", 0: "NORMAL-4-1"}
        pack = self.renamed(tmp_path, cache, names, "oct2017")
        found = {sample.image_path.stem: sample.subclass for sample in pack.samples}
        assert [found[names[n]] for n in (10, 11, 12, 0)] == ["CNV", "DME", "DRUSEN", None]


def test_permission_to_list_is_needed(
    pack_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def guarded(path: os.PathLike[str] | str) -> object:
        if str(path).endswith("Ungood/img"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = problems_of(pack_folder, cache)
    assert sum("cannot be listed (Permission denied)" in problem for problem in found) == 2
