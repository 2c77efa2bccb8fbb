"""NIfTI volumes: what is refused, and that slices come as they are stored."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import nibabel as nib
import numpy as np
import pytest

from harness.benchmarks.prepare.raw import RawFile
from harness.benchmarks.prepare.recipe import Unusable
from harness.benchmarks.prepare.volumes import Volume, check_labels

from .raw_fixtures import BRATS_AFFINE, save_nifti


def raw_file(path: Path) -> RawFile:
    return RawFile(PurePosixPath(path.name), path)


@pytest.fixture(params=[".nii", ".nii.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    values = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    return save_nifti(tmp_path / f"volume{request.param}", values, BRATS_AFFINE)


def test_slices_come_as_they_are_stored(path: Path) -> None:
    volume = Volume(raw_file(path))
    values = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    assert volume.shape == (5, 6, 7)
    assert volume.axes == "LPS"
    block = volume.block(2, 5)
    assert block.dtype == np.int16
    np.testing.assert_array_equal(block, values[:, :, 2:5])
    np.testing.assert_array_equal(volume.stored(), values)


def test_slope_and_intercept_are_applied_to_the_part_that_is_asked_for(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    nib.save(image, tmp_path / "ct.nii")
    volume = Volume(raw_file(tmp_path / "ct.nii"))
    whole = np.asanyarray(nib.load(tmp_path / "ct.nii").dataobj)
    np.testing.assert_allclose(volume.scaled(volume.stored()[:, :, 1]), whole[:, :, 1])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_found_without_reading_it_whole(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(Unusable, match=path.name):
        Volume(raw_file(path))


def test_a_file_that_is_no_volume_is_refused(tmp_path: Path) -> None:
    for name, content in (("a.nii", b"not a volume" * 100), ("b.nii.gz", b"not gzip" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unusable, match=name):
            Volume(raw_file(tmp_path / name))


def test_more_or_fewer_than_three_axes_are_refused(tmp_path: Path) -> None:
    save_nifti(tmp_path / "four.nii", np.zeros((3, 3, 3, 2), np.int16), np.eye(4))
    with pytest.raises(Unusable, match="3x3x3x2, not a volume"):
        Volume(raw_file(tmp_path / "four.nii"))


def test_another_shape_is_named(path: Path) -> None:
    volume = Volume(raw_file(path))
    volume.check_shape((5, None, 7))
    with pytest.raises(Unusable, match=r"5x6x7 voxels, expected 5x6x\*|expected 4x\*x7"):
        volume.check_shape((4, None, 7))


def test_unknown_labels_are_named(path: Path) -> None:
    volume = Volume(raw_file(path))
    check_labels(volume, np.array([0, 1, 4]), (0, 1, 2, 4))
    with pytest.raises(Unusable, match=r"label 3, 7\.5, known are 0, 1, 2, 4"):
        check_labels(volume, np.array([0, 3, 7.5]), (0, 1, 2, 4))
