"""NIfTI volumes: what is refused, and that slices come as they are stored."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
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


def test_an_unknown_label_is_told_to_its_last_digit(path: Path) -> None:
    def told(value: np.generic) -> str:
        with pytest.raises(Unusable) as error:
            check_labels(Volume(raw_file(path)), np.array([0, value], value.dtype), (0, 1))
        return str(error.value).partition(": ")[2].partition(": ")[0]

    assert told(np.float32(1.0000001)) == "label 1.0000001, known are 0, 1"
    assert told(np.float64(0.1 + 0.2)) == "label 0.30000000000000004, known are 0, 1"
    assert told(np.float32(np.nan)) == "label nan, known are 0, 1"


# --- a label volume and its image ----------------------------------------------------------------

GRID = np.array([[-0.7, 0, 0, 90], [0, -0.8, 0, 70], [0, 0, 5, -30], [0, 0, 0, 1.0]])
VALUES = np.random.default_rng(5).integers(0, 3, (5, 6, 7)).astype(np.uint8)
ORIENTATIONS = [
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


def volume_of(path: Path, values: np.ndarray, affine: np.ndarray) -> Volume:
    return Volume(raw_file(save_nifti(path, values, affine)))


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_a_label_stored_in_another_orientation_is_turned_onto_its_image(
    order: tuple[int, ...], flips: tuple[int, ...], tmp_path: Path
) -> None:
    """nibabel stores the same labels in each of the 48 orientations: they come back as they lay."""
    image = volume_of(tmp_path / "image.nii", np.zeros(VALUES.shape, np.int16), GRID)
    ornt = np.array([*zip(order, flips, strict=True)])
    stored = nib.Nifti1Image(VALUES, GRID).as_reoriented(ornt)
    nib.save(stored, tmp_path / "label.nii")
    label = Volume(raw_file(tmp_path / "label.nii")).laid_on(image)
    assert label.is_turned == ((order, flips) != ((0, 1, 2), (1, 1, 1)))
    assert (label.shape, label.axes) == (image.shape, image.axes)
    np.testing.assert_array_equal(label.stored(), VALUES)
    np.testing.assert_array_equal(label.block(2, 5), VALUES[:, :, 2:5])
    np.testing.assert_array_equal(label.scaled(label.stored()[:, :, 3]), VALUES[:, :, 3])


def test_a_label_within_the_tolerance_lies_on_its_image(tmp_path: Path) -> None:
    image = volume_of(tmp_path / "image.nii", np.zeros(VALUES.shape, np.int16), GRID)
    near = GRID.copy()
    near[0, 3] += 0.09 * 0.7
    label = volume_of(tmp_path / "near.nii", VALUES, near)
    assert label.laid_on(image) is label


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda affine: affine + 0.2 * 0.7 * (np.arange(16).reshape(4, 4) == 3),
            "lies 0.2 voxels from",
        ),
        (lambda affine: affine @ np.diag([1.02, 1, 1, 1]), "lies 0.16 voxels from"),
        (lambda affine: affine @ np.diag([2, 1, 1, 1]), "other voxel sizes"),
        (lambda affine: np.eye(4) * 3, "other voxel sizes"),
    ],
)
def test_a_label_that_lies_elsewhere_is_refused(
    change: Callable[[np.ndarray], np.ndarray], message: str, tmp_path: Path
) -> None:
    image = volume_of(tmp_path / "image.nii", np.zeros((9, 9, 9), np.int16), GRID)
    label = volume_of(tmp_path / "label.nii", np.zeros((9, 9, 9), np.uint8), change(GRID))
    with pytest.raises(Unusable, match=message) as error:
        label.laid_on(image)
    for part in ("label.nii", "image.nii", "LPS", "resample", "9x9x9"):
        assert part in str(error.value)


def test_a_rotated_label_and_one_of_another_shape_are_refused(tmp_path: Path) -> None:
    image = volume_of(tmp_path / "image.nii", np.zeros((5, 6, 7), np.int16), GRID)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.8), -np.sin(0.8)], [np.sin(0.8), np.cos(0.8)]]
    with pytest.raises(Unusable, match="rotated"):
        volume_of(tmp_path / "a.nii", VALUES, turn @ np.diag([2, 2, 2, 1.0])).laid_on(image)
    with pytest.raises(Unusable, match=r"another shape: 5x6x6.*5x6x7"):
        volume_of(tmp_path / "b.nii", VALUES[:, :, :6], GRID).laid_on(image)
    with pytest.raises(Unusable, match="another shape along"):
        volume_of(tmp_path / "c.nii", VALUES.transpose(1, 0, 2), GRID).laid_on(image)


def test_an_affine_without_axes_and_voxels_of_colours_are_refused(tmp_path: Path) -> None:
    content = bytearray(save_nifti(tmp_path / "flat.nii", VALUES, GRID).read_bytes())
    content[280:328] = bytes(48)  # sform
    (tmp_path / "flat.nii").write_bytes(content)
    with pytest.raises(Unusable, match=r"flat\.nii: its affine gives no axes.*set sform"):
        Volume(raw_file(tmp_path / "flat.nii"))
    rgb = np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(Unusable, match=r"rgb\.nii: voxels of R/G/B, expected one whole"):
        Volume(raw_file(tmp_path / "rgb.nii"))
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.complex64), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(Unusable, match="voxels of complex64"):
        Volume(raw_file(tmp_path / "c.nii"))


@pytest.mark.parametrize("name", ["bomb.nii", "bomb.nii.gz"])
def test_a_header_that_promises_more_than_its_file_can_hold_is_refused(
    name: str, tmp_path: Path
) -> None:
    path = save_nifti(tmp_path / name, VALUES, GRID)
    content = bytearray(
        gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    )
    content[42:48] = np.array([32767, 32767, 4], "<i2").tobytes()
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(Unusable, match=r"truncated or damaged: \d+ bytes, expected 4294"):
        Volume(raw_file(path))
