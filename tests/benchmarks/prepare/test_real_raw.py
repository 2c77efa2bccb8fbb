"""Real files of the sources' formats (skipped where the folder is absent)."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import nibabel as nib
import numpy as np
import openslide
import pytest

from harness.benchmarks.prepare import camelyon16, liver, recipe
from harness.benchmarks.prepare.grey import to_grey
from harness.benchmarks.prepare.pictures import read_grey
from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Unusable
from harness.benchmarks.prepare.volumes import Volume, check_labels

from .conftest import Preparing, pixels_of, rows_of

pytestmark = pytest.mark.packs


@pytest.fixture(scope="module")
def folder(packs_folder: Path) -> Path:
    return packs_folder / "raw"


def raw_file(path: Path) -> RawFile:
    return RawFile(PurePosixPath(path.name), path)


def test_a_real_brats_volume_has_the_shape_and_axes_that_the_recipe_asks_for(folder: Path) -> None:
    volume = Volume(raw_file(folder / "nifti/brats_gli_00001_000/BraTS-GLI-00001-000-t2f.nii.gz"))
    assert (volume.shape, volume.axes) == ((240, 240, 155), "LPS")
    grey = to_grey(volume.block(80, 81)[:, :, 0])
    assert grey.min() == 0
    assert grey.max() == 255
    assert 0.2 < (grey > 0).mean() < 0.6  # a head on black


def test_a_real_flair_with_a_real_segmentation_becomes_brain_slices(
    folder: Path, preparing: Preparing, tmp_path: Path
) -> None:
    case = tmp_path / "raw" / "BraTS2021_00002"
    case.mkdir(parents=True)
    source = folder / "nifti/tcga_du_7294"
    shutil.copy(source / "TCGA-DU-7294_fla_bet.nii.gz", case / "BraTS2021_00002_flair.nii.gz")
    shutil.copy(source / "simple.nii.gz", case / "BraTS2021_00002_seg.nii.gz")
    prepared = preparing("brain", raw=(tmp_path / "raw",), limit_cases=1, slices=(60, 100))
    seg = np.asarray(nib.load(source / "simple.nii.gz").dataobj)
    rows = rows_of(prepared.folder)
    assert {row["details"]["z"] for row in rows} == {
        z for z in (60, 68, 76, 84, 92) if seg[:, :, z].any()
    }
    for row in rows:
        mask = pixels_of(prepared.folder / row["mask_key"])
        np.testing.assert_array_equal(mask > 0, seg[:, :, row["details"]["z"]] > 0)


def test_a_real_ct_is_cut_to_its_liver(folder: Path) -> None:
    image = Volume(raw_file(folder / "nifti/totalsegmentator/example_ct_sm.nii.gz"))
    labels = Volume(raw_file(folder / "nifti/totalsegmentator/example_seg.nii.gz"))
    image.check_shape(labels.shape)
    inside = labels.stored() == 5  # this collection's label of the liver
    z = int(inside.sum(axis=(0, 1)).argmax())
    assert inside[:, :, z].sum() > 100
    values = image.scaled(image.stored()[:, :, z])
    pixels = liver.picture(values, inside[:, :, z], liver.ABDOMEN_HU, is_processed=True)
    assert pixels.dtype == np.uint8
    assert not pixels[~inside[:, :, z][::-1]].any()
    assert pixels.max() == 255
    with pytest.raises(Unusable, match="label"):
        check_labels(labels, labels.stored(), liver.LITS_LABELS)


def test_every_real_volume_is_read_as_nibabel_reads_it(folder: Path) -> None:
    for path in sorted((folder / "nifti").rglob("*.nii*")):
        whole = np.asanyarray(nib.load(path).dataobj)
        if whole.ndim != 3:
            with pytest.raises(Unusable, match="not a volume"):
                Volume(raw_file(path))
            continue
        volume = Volume(raw_file(path))
        z = whole.shape[2] // 2
        np.testing.assert_array_equal(volume.block(z, z + 1)[:, :, 0], whole[:, :, z])
        np.testing.assert_array_equal(volume.scaled(volume.stored()[:, :, z]), whole[:, :, z])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CT_small.dcm", "int16, expected 8 bits"),
        ("MR_small.dcm", "int16, expected 8 bits"),
        ("MR_small_bigendian.dcm", "int16, expected 8 bits"),
        ("MR_truncated.dcm", "MR_truncated.dcm"),
        ("SC_rgb_jpeg_dcmtk.dcm", "expected one grey image"),
        ("JPEG2000.dcm", "expected 8 bits"),
        ("JPEG-lossy.dcm", "JPEG-lossy.dcm"),
        ("JPGExtended.dcm", "JPGExtended.dcm"),
    ],
)
def test_real_dicom_files_that_are_no_8_bit_grey_are_refused_with_the_reason(
    name: str, message: str, folder: Path
) -> None:
    with pytest.raises(Unusable, match=message):
        read_grey(raw_file(folder / "dicom/pydicom" / name), None)


def test_real_dicom_series_are_refused_where_they_are_deep(folder: Path) -> None:
    for path in [*(folder / "dicom/chaos_ct3").iterdir(), *(folder / "dicom/vs_seg_mr").iterdir()]:
        with pytest.raises(Unusable, match="expected 8 bits"):
            read_grey(raw_file(path), None)


def test_real_pyramids_are_opened_and_what_is_none_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with openslide.OpenSlide(folder / "tiff/openslide/boxes.tiff") as slide:
        assert slide.level_count == 4
        patch = camelyon16._patch(slide, 150, 125)
        whole = np.array(slide.read_region((22, -3), 0, (256, 256)))
    assert patch.shape == (256, 256, 3)
    np.testing.assert_array_equal(patch[10:], whole[10:, :, :3])
    assert not patch[:3].any()  # above the slide
    bad = raw_file(folder / "tiff/openslide/unopenable.tiff")
    case = recipe.Case("test_001", "", {"slide": bad}, ())
    with pytest.raises(Unusable, match=r"unopenable\.tiff"):
        list(camelyon16.render(case, [], recipe.Options(raw=())))


def test_real_scans_are_grey_and_real_stained_tiles_are_not(folder: Path) -> None:
    for path in sorted((folder / "oct_fluid_png/img").iterdir()):
        assert read_grey(raw_file(path)).shape == (512, 512)
    with pytest.raises(Unusable, match="a colour image"):
        read_grey(raw_file(next((folder / "tiff/pcam").glob("5a00*.tif"))))
