"""Every file of a folder is used, counted under a reason, or an error: never dropped in silence."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import Pack, open_pack
from harness.common.errors import DataMissing, PackInvalid

from .conftest import changed, grey, pictures, save, square, write

LABELS = "{}/Ungood/label"


def refused(folder: Path, cache: Path, *accepted: str) -> PackInvalid:
    """The error that opening the folder ends in."""
    with pytest.raises(PackInvalid) as error:
        open_pack(folder, cache, accepted=frozenset(accepted))
    return error.value


def masks_of(folder: Path) -> list[Path]:
    """Every mask of a folder in the read-me's spelling."""
    return sorted(folder.glob("*/Ungood/label/*.png"))


def plain(tmp_path: Path, cache: Path) -> Pack:
    """The pack that every folder here should be."""
    return open_pack(write(tmp_path / "plain" / "own", pictures()), cache)


class TestMaskNames:
    @pytest.mark.parametrize(
        "name",
        [
            *("{}_mask", "{}-mask", "{}_MASK", "{}.mask", "{} Mask", "{}_masks", "{}_segmentation"),
            *("{}-Seg", "{}_gt", "{}_label", "{}_labels", "{}_ground_truth", "{}_GroundTruth"),
            *("mask_{}", "Mask-{}", "GT_{}", "segmentation_{}", "label.{}"),
        ],
    )
    def test_a_word_before_or_after_the_name_is_understood(
        self, name: str, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        for mask in masks_of(pack_folder):
            mask.rename(mask.with_name(f"{name.format(mask.stem)}.png"))
        found = open_pack(pack_folder, cache)
        assert found.version == plain(tmp_path, cache).version
        assert found.has_masks

    @pytest.mark.parametrize("ending", [".TIF", ".bmp", ".gif", ".pgm"])
    def test_a_mask_may_be_in_another_format(
        self, ending: str, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        for mask in masks_of(pack_folder):
            save(mask.with_suffix(ending), np.asarray(Image.open(mask)))
            mask.unlink()
        assert open_pack(pack_folder, cache).version == plain(tmp_path, cache).version

    @pytest.mark.parametrize(
        "folder", ["mask", "MASKS", "labels", "ground_truth", "gt", "segmentation", "anomaly-mask"]
    )
    def test_folders_of_masks_have_many_names(
        self, folder: str, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        for split in ("valid", "test"):
            (pack_folder / LABELS.format(split)).rename(pack_folder / split / "Ungood" / folder)
        assert open_pack(pack_folder, cache).version == plain(tmp_path, cache).version

    def test_masks_may_lie_among_the_images(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        for mask in masks_of(pack_folder):
            mask.rename(mask.parents[1] / "img" / f"{mask.stem}_mask.tif.png")
        assert open_pack(pack_folder, cache).version == plain(tmp_path, cache).version

    def test_several_masks_of_an_image_are_no_images(self, pack_folder: Path, cache: Path) -> None:
        for mask in masks_of(pack_folder):
            mask.rename(mask.parents[1] / "img" / f"{mask.stem}_mask_1.png")
        error = refused(pack_folder, cache)
        assert len(error.problems) == 6
        assert all("named like a mask in a folder of images" in one for one in error.problems)

    def test_a_folder_of_masks_needs_neither_class_nor_split_where_one_image_fits(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        (pack_folder / LABELS.format("valid")).rename(pack_folder / "valid/masks")
        (pack_folder / LABELS.format("test")).rename(pack_folder / "masks")
        assert open_pack(pack_folder, cache).version == plain(tmp_path, cache).version

    def test_a_mask_that_fits_two_images_is_not_given_to_one(
        self, pack_folder: Path, cache: Path
    ) -> None:
        (pack_folder / LABELS.format("test")).rename(pack_folder / "masks")
        save(pack_folder / "valid/good/img/00011_60.png", grey(99))
        problems = refused(pack_folder, cache).problems
        assert problems[0].startswith(
            "masks/00011_60.png: its folders and its name fit 2 images: "
            "test/Ungood/img/00011_60.png, valid/good/img/00011_60.png; lay it into"
        )

    def test_names_are_compared_in_one_form_of_unicode(self, tmp_path: Path, cache: Path) -> None:
        plan = [changed(one, name=f"Müller {one.name}") for one in pictures()]
        folder = write(tmp_path / "own", plan)
        for mask in masks_of(folder):
            decomposed = unicodedata.normalize("NFD", mask.name)
            assert decomposed != mask.name
            mask.rename(mask.with_name(decomposed))
        (folder / "groups.csv").write_text(
            unicodedata.normalize("NFD", "key,patient\ntest/good/img/Müller 00008_60.png,p1\n"),
            encoding="utf-8",
        )
        pack = open_pack(folder, cache)
        assert pack.version == plain(tmp_path, cache).version
        assert [sample.group for sample in pack.samples].count("p1") == 1

    def test_a_name_in_another_case_counts_where_nothing_else_fits(
        self, tmp_path: Path, cache: Path
    ) -> None:
        plan = [changed(one, name=f"IMG_{one.name}") for one in pictures()]
        folder = write(tmp_path / "own", plan)
        for mask in masks_of(folder):
            mask.rename(mask.with_name(f"{mask.stem.lower()}_Mask.PNG"))
        assert open_pack(folder, cache).version == plain(tmp_path, cache).version

    def test_the_name_as_it_stands_counts_before_the_word(
        self, pack_folder: Path, cache: Path
    ) -> None:
        base = pack_folder / "test/Ungood"
        other = np.roll(square(), 3, axis=1)
        save(base / "img/00011_60_seg.png", grey(50))
        save(base / "label/00011_60_seg.png", other)
        pack = open_pack(pack_folder, cache)
        (own,) = (one for one in pack.samples if one.key == "test/Ungood/img/00011_60_seg.png")
        (first,) = (one for one in pack.samples if one.key == "test/Ungood/img/00011_60.png")
        np.testing.assert_array_equal(pack.mask(own), other > 0)
        assert first.mask_path == base / "label/00011_60.png"

    @pytest.mark.parametrize("second", ["mask/00011_60.png", "label/00011_60_mask.png"])
    def test_two_masks_of_an_image_are_both_shown(
        self, second: str, pack_folder: Path, cache: Path
    ) -> None:
        save(pack_folder / "test/Ungood" / second, np.roll(square(), 1, axis=0))
        (problem,) = refused(pack_folder, cache).problems
        keys = sorted(["test/Ungood/label/00011_60.png", f"test/Ungood/{second}"])
        assert problem == (
            f"two files for one mask of test/Ungood/img/00011_60.png: {', '.join(keys)}"
        )

    def test_masks_of_no_image_are_an_error_until_they_are_accepted(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        save(pack_folder / "test/Ungood/label/volume-17.png", square())
        error = refused(pack_folder, cache)
        assert error.problems[0].startswith(
            "test/Ungood/label/volume-17.png: a mask that belongs to no image"
        )
        assert "--accept unmatched-masks" in error.fix
        pack = open_pack(pack_folder, cache, accepted={"unmatched-masks"})
        assert pack.version == plain(tmp_path, cache).version
        assert pack.card.left_out == {"unmatched-masks": 1}
        assert pack.card.accepted == ("unmatched-masks",)
        told = "Accepted (unmatched-masks): masks that belong to no image are left out: 1 file"
        assert told in pack.card.remarks

    def test_all_masks_of_other_names_never_make_an_image_level_benchmark(
        self, pack_folder: Path, cache: Path
    ) -> None:
        for number, mask in enumerate(masks_of(pack_folder)):
            mask.rename(mask.with_name(f"lesion no {number}.png"))
        problems = refused(pack_folder, cache).problems
        assert len(problems) == 6
        assert all("a mask that belongs to no image" in problem for problem in problems)


class TestFoldersThatSayLittle:
    @pytest.mark.parametrize("folder", ["annotations", "gt_png", "Ungood-mask", "mine"])
    def test_masks_in_a_folder_of_an_unknown_name_are_never_images(
        self, folder: str, pack_folder: Path, cache: Path
    ) -> None:
        for split in ("valid", "test"):
            (pack_folder / LABELS.format(split)).rename(pack_folder / split / "Ungood" / folder)
        found = refused(pack_folder, cache).problems
        problems = [one for one in found if "taken for images" in one]
        assert len(problems) == 2
        assert problems[0].startswith(
            f"test/Ungood/{folder}: 4 files taken for images, and called as images of test/Ungood"
        )

    def test_nor_are_they_where_the_folder_stands_above_the_class(
        self, pack_folder: Path, cache: Path
    ) -> None:
        moved = pack_folder / "test/lesion_png/Ungood"
        moved.parent.mkdir()
        (pack_folder / LABELS.format("test")).rename(moved)
        (problem, *_) = refused(pack_folder, cache).problems
        told = "test/lesion_png/Ungood: 4 files taken for images, and in a folder of masks by its"
        assert problem.startswith(told)

    def test_folders_of_patients_are_folders_of_images(self, tmp_path: Path, cache: Path) -> None:
        for number, picture in enumerate(pictures(masks=False)):
            kind = "Ungood" if picture.is_anomalous else "good"
            place = tmp_path / "own" / picture.split / kind / f"patient {number}"
            save(place / "slice 1.png", picture.pixels)
        pack = open_pack(tmp_path / "own", cache)
        expected = open_pack(write(tmp_path / "plain" / "own", pictures(masks=False)), cache)
        assert pack.version == expected.version

    def test_a_split_inside_another_is_no_split(self, pack_folder: Path, cache: Path) -> None:
        (pack_folder / "test/good/img").rename(pack_folder / "test/good/val")
        assert (
            "test/good/val: 3 images whose folders say test and valid: move them to one"
            in refused(pack_folder, cache).problems
        )

    def test_tables_and_cards_may_lie_in_the_folder_around_and_never_contradict(
        self, tmp_path: Path, cache: Path
    ) -> None:
        write(tmp_path / "outer" / "inner", pictures())
        (tmp_path / "outer/groups.csv").write_text("key,patient\ntest/good/img/00008_60.png,p1\n")
        (tmp_path / "outer/pack.toml").write_text('title = "outer"\n')
        pack = open_pack(tmp_path / "outer", cache)
        assert [sample.group for sample in pack.samples].count("p1") == 1
        (tmp_path / "outer/inner/pack.toml").write_text('title = "inner"\n')
        (problem,) = refused(tmp_path / "outer", cache).problems
        assert problem.startswith("several pack.toml that differ: ")


class TestMvtec:
    def folder(self, root: Path) -> Path:
        """Kinds of defects with masks beside the splits; one normal folder in test."""
        for picture in pictures():
            if picture.split == "valid":
                continue
            kind = (
                "good"
                if not picture.is_anomalous
                else ("scratch", "hole")[picture.pixels[0, 0] % 2]
            )
            save(root / picture.split / kind / f"{picture.name}.png", picture.pixels)
            if picture.mask is not None:
                save(root / "ground_truth" / kind / f"{picture.name}_mask.png", picture.mask)
        return root

    def test_its_layout_is_understood(self, tmp_path: Path, cache: Path) -> None:
        pack = open_pack(self.folder(tmp_path / "mvtec"), cache)
        usual = [one for one in pictures() if one.split != "valid"]
        expected = open_pack(write(tmp_path / "plain" / "mvtec", usual), cache)
        assert pack.version == expected.version
        assert pack.has_masks
        assert pack.card.release == (
            "A pack of its own: MVTec's order of folders (ground_truth beside test)."
        )

    def test_validation_images_without_masks_hear_of_ground_truth(
        self, pack_folder: Path, cache: Path
    ) -> None:
        for mask in masks_of(pack_folder):
            if mask.is_relative_to(pack_folder / "test"):
                moved = pack_folder / "ground_truth/Ungood" / f"{mask.stem}_mask.png"
                moved.parent.mkdir(parents=True, exist_ok=True)
                mask.rename(moved)
            else:
                mask.unlink()
        error = refused(pack_folder, cache)
        assert len(error.problems) == 2
        assert all("ground_truth/ beside the splits" in one for one in error.problems)
        assert "has_masks = false" in error.fix


class TestImages:
    @pytest.mark.parametrize("ending", [".PGM", ".webp", ".dib", ".gif", ".jp2", ".TIFF"])
    def test_formats_that_can_be_read_are_read(
        self, ending: str, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        image = pack_folder / "test/good/img/00008_60.png"
        options = {".webp": {"lossless": True}, ".jp2": {"irreversible": False}}
        pixels = np.asarray(Image.open(image))
        if ending == ".webp":  # knows colour alone
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        save(image.with_suffix(ending), pixels, **options.get(ending, {}))
        image.unlink()
        pack = open_pack(pack_folder, cache)
        assert pack.card.counts.test_normal == 3
        if ending != ".webp":
            assert pack.version == plain(tmp_path, cache).version

    def test_jfif_is_jpeg(self, pack_folder: Path, cache: Path) -> None:
        image = pack_folder / "test/good/img/00008_60.png"
        save(image.with_suffix(".jfif"), np.asarray(Image.open(image)), format="JPEG")
        image.unlink()
        assert open_pack(pack_folder, cache).card.counts.test_normal == 3

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("slice.dcm", b"x", "in a format that packs are not read from"),
            ("volume.nii.gz", b"x", "in a format that packs are not read from"),
            ("rest.zip", b"PK\x03\x04", "in a format that packs are not read from"),
            ("scan", b"\x89PNG\r\n\x1a\n", "PNG by its first bytes, and its name does not end so"),
            ("a.png.bak", b"\xff\xd8\xff\xe0", "JPEG by its first bytes"),
            ("IM0001", b"\0" * 128 + b"DICM", "DICOM by its first bytes"),
        ],
    )
    def test_other_formats_are_named_and_left_out_only_by_word(
        self, name: str, content: bytes, told: str, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        (pack_folder / "test/good/img" / name).write_bytes(content)
        error = refused(pack_folder, cache)
        assert error.problems[0].startswith(f"test/good/img/{name}: {told}")
        assert "--accept unread-formats" in error.fix
        pack = open_pack(pack_folder, cache, accepted={"unread-formats"})
        assert pack.version == plain(tmp_path, cache).version
        assert pack.card.left_out == {"unread-formats": 1}

    def test_two_files_of_one_name_are_two_images_only_by_word(
        self, pack_folder: Path, cache: Path
    ) -> None:
        save(pack_folder / "test/good/img/00008_60.bmp", grey(98))
        assert "--accept equal-names" in refused(pack_folder, cache).fix
        pack = open_pack(pack_folder, cache, accepted={"equal-names"})
        assert pack.card.counts.test_normal == 4
        assert pack.card.accepted == ("equal-names",)

    def test_one_mask_for_two_images_of_a_name_stays_an_error(
        self, pack_folder: Path, cache: Path
    ) -> None:
        save(pack_folder / "test/Ungood/img/00011_60.bmp", grey(98))
        problems = refused(pack_folder, cache, "equal-names").problems
        assert "fit 2 images" in problems[0]

    def test_images_called_like_masks_are_images_only_by_word(
        self, pack_folder: Path, cache: Path
    ) -> None:
        save(pack_folder / "test/good/img/liver_seg.png", grey(98))
        (problem,) = refused(pack_folder, cache).problems
        assert problem.startswith("test/good/img/liver_seg.png: named like a mask in a folder of")
        pack = open_pack(pack_folder, cache, accepted={"mask-like-images"})
        assert pack.card.counts.test_normal == 4

    def test_an_image_outside_the_splits_moves_nothing(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        save(pack_folder / "good/extra.png", grey(98))
        error = refused(pack_folder, cache)
        assert error.problems == (
            (
                "good/extra.png: a normal image outside the splits train, valid and test: move it"
                " into one of them, or away"
            ),
        )
        pack = open_pack(pack_folder, cache, accepted={"outside-splits"})
        assert pack.version == plain(tmp_path, cache).version

    def test_what_a_pack_accepts_may_stand_in_its_card(
        self, pack_folder: Path, cache: Path
    ) -> None:
        save(pack_folder / "test/CNV/x.png", grey(98))
        (pack_folder / "pack.toml").write_text('accepted = ["unclear-class"]\n')
        card = open_pack(pack_folder, cache).card
        assert (card.accepted, card.left_out) == (("unclear-class",), {"unclear-class": 1})
        (pack_folder / "pack.toml").write_text('accepted = ["everything"]\n')
        problems = refused(pack_folder, cache).problems
        assert "'everything' cannot be accepted; what can: equal-names, " in problems[0]

    def test_a_word_that_was_not_needed_is_not_recorded(
        self, pack_folder: Path, cache: Path
    ) -> None:
        pack = open_pack(pack_folder, cache, accepted={"unread-formats", "equal-names"})
        assert pack.card.accepted == ()


class TestNamesAndLinks:
    @pytest.mark.parametrize("place", ["test/good/img/M\udcfcller.png", "M\udcfcnchen/x.png"])
    def test_a_name_that_is_no_utf_8_is_refused_before_anything_is_read(
        self, place: str, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        save(tmp_path / "x.png", grey(98))
        path = pack_folder / place
        path.parent.mkdir(exist_ok=True)
        (tmp_path / "x.png").rename(path)
        error = refused(pack_folder, cache)
        shown = place.replace("\udcfc", r"\xfc").removesuffix("/x.png")
        assert error.problems[0].startswith(f"{shown}: its name is not UTF-8")
        str(error).encode()
        pack = open_pack(pack_folder, cache, accepted={"unusable-files"})
        assert pack.version == plain(tmp_path, cache).version
        assert pack.card.left_out == {"unusable-files": 1}

    @pytest.mark.parametrize(
        ("target", "reason"),
        [("x.png", "Too many levels of symbolic links"), ("nowhere.png", "No such file")],
    )
    def test_a_link_that_leads_nowhere_is_named(
        self, target: str, reason: str, pack_folder: Path, cache: Path
    ) -> None:
        (pack_folder / "test/good/img/x.png").symlink_to(target)
        (problem,) = refused(pack_folder, cache).problems
        assert problem.startswith(
            f"test/good/img/x.png: a link to {target} that leads nowhere ({reason}"
        )

    def test_a_pipe_is_never_read(self, pack_folder: Path, cache: Path) -> None:
        os.mkfifo(pack_folder / "test/good/img/x.png")
        (problem,) = refused(pack_folder, cache).problems
        assert problem == "test/good/img/x.png: a pipe, socket or device, not a file"

    def test_a_file_that_is_only_in_a_cloud_is_missed(self, pack_folder: Path, cache: Path) -> None:
        (pack_folder / "test/good/img/.00009_60.png.icloud").write_bytes(b"bplist00")
        (problem,) = refused(pack_folder, cache).problems
        assert problem.startswith("test/good/img/.00009_60.png.icloud: only in iCloud")

    def test_a_split_that_is_a_link_is_a_split(self, pack_folder: Path, cache: Path) -> None:
        good = pack_folder / "valid/good/img"
        for image in good.iterdir():
            image.unlink()
        good.rmdir()
        good.symlink_to("../../train/good/img")
        problems = refused(pack_folder, cache).problems
        assert len(problems) == 3
        assert all(one.startswith("identical pixels in train and valid") for one in problems)

    def test_links_in_a_circle_are_counted(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        (pack_folder / "train/good/img/up").symlink_to("../..")
        (pack_folder / "test/good/a").mkdir()
        (pack_folder / "test/good/b").mkdir()
        (pack_folder / "test/good/a/to-b").symlink_to("../b")
        (pack_folder / "test/good/b/to-a").symlink_to("../a")
        pack = open_pack(pack_folder, cache)
        assert pack.version == plain(tmp_path, cache).version
        assert pack.card.left_out == {"returning-links": 3}

    @pytest.mark.parametrize(
        "litter",
        [
            *(".DS_Store", "._00008_60.png", "Thumbs.db", "ehthumbs.db", "desktop.ini", "~$a.png"),
            *("__MACOSX/x.png", "@eaDir/x.png", ".ipynb_checkpoints/x.png", "#recycle/x.png"),
            *("@Recycle/x.png", "$RECYCLE.BIN/x.png", "System Volume Information/x.png"),
        ],
    )
    def test_litter_of_common_systems_is_counted(
        self, litter: str, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        path = pack_folder / "test/good/img" / litter
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
        pack = open_pack(pack_folder, cache)
        assert pack.version == plain(tmp_path, cache).version
        assert pack.card.left_out == {"litter": 1}


class TestFixesThatApply:
    def test_a_pack_without_train_hears_what_to_add(self, pack_folder: Path, cache: Path) -> None:
        for image in (pack_folder / "train/good/img").iterdir():
            image.unlink()
        error = refused(pack_folder, cache)
        assert error.problems == ("train holds no normal image",)
        assert "named above" not in error.fix
        assert "add the images that are missing" in error.fix

    def test_a_fix_names_every_way(self, pack_folder: Path, cache: Path) -> None:
        (pack_folder / "test/Ungood/label/00011_60.png").unlink()
        save(pack_folder / "good/extra.png", grey(98))
        (pack_folder / "pack.toml").write_text("colour = 3\n")
        fix = refused(pack_folder, cache).fix
        for part in ("mend pack.toml", "add the masks", "--accept outside-splits"):
            assert part in fix

    def test_an_archive_is_to_be_unpacked(self, tmp_path: Path, cache: Path) -> None:
        (tmp_path / "Brain_AD.zip").write_bytes(b"PK\x03\x04")
        with pytest.raises(DataMissing, match="a file, and a pack is a folder") as error:
            open_pack(tmp_path / "Brain_AD.zip", cache)
        assert "unpack it" in error.value.fix

    def test_a_card_may_begin_with_a_byte_order_mark_and_is_utf_8(
        self, pack_folder: Path, cache: Path
    ) -> None:
        (pack_folder / "pack.toml").write_bytes(b'\xef\xbb\xbftitle = "x"\n')
        assert open_pack(pack_folder, cache).card.title == "x"
        (pack_folder / "pack.toml").write_bytes('title = "x"\n'.encode("utf-16"))
        (problem,) = refused(pack_folder, cache).problems
        assert problem.startswith("pack.toml is no TOML: it is not UTF-8")


class TestTheVersionFollowsTheContent:
    def replaced(self, folder: Path) -> Path:
        """A training image in a format whose size tells nothing, as it is and with other pixels."""
        image = folder / "train/good/img/00001_60.png"
        path = image.with_suffix(".bmp")
        save(path, grey(60))
        image.unlink()
        return path

    def test_a_file_written_anew_with_its_old_size_and_time(
        self, pack_folder: Path, cache: Path
    ) -> None:
        path = self.replaced(pack_folder)
        before, status = open_pack(pack_folder, cache).version, path.stat()
        save(path, grey(61))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (
            status.st_size, status.st_mtime_ns,
        )  # fmt: skip
        assert open_pack(pack_folder, cache).version != before

    def test_another_file_moved_into_its_place(
        self, pack_folder: Path, tmp_path: Path, cache: Path
    ) -> None:
        path = self.replaced(pack_folder)
        before, status = open_pack(pack_folder, cache).version, path.stat()
        other = save(tmp_path / "other.bmp", grey(61))
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.rename(path)
        assert open_pack(pack_folder, cache).version != before

    def test_the_careful_have_everything_read_again(self, pack_folder: Path, cache: Path) -> None:
        version = open_pack(pack_folder, cache).version
        seen: list[tuple[int, int]] = []
        again = open_pack(
            pack_folder, cache, is_rehashing=True, on_progress=lambda *at: seen.append(at)
        )
        assert (again.version, seen[-1]) == (version, (20, 20))
