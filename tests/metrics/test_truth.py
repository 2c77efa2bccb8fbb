"""The compiled ground truth against scipy.ndimage.label and the masks themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from harness.metrics import GroundTruth, TruthImage
from harness.metrics.errors import WrongDtype, WrongKey, WrongShape
from harness.metrics.kernels.resize import nearest_rows
from tests.metrics.oracles import Case, Split, random_cases

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))


def painted(truth: GroundTruth, grid: str, image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kind, 8-connected and 4-connected region (-1: none) of every pixel of one image."""
    part = getattr(truth, grid)
    lengths, kinds = part.segments(image)
    runs = slice(part.run_offsets[image], part.run_offsets[image + 1])
    labels = np.full((2, len(lengths)), -1)
    labels[:, kinds >= 2] = part.run_regions[:, runs]
    shape = part.shapes[image]
    return tuple(np.repeat(row, lengths).reshape(shape) for row in (kinds, *labels))


def same_partition(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal up to the numbers of the regions (theirs: 0 = none)."""
    pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_segments_and_regions_of_any_mask_are_those_of_scipy(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    mask = data.draw(arrays.arrays(bool, shape))
    image = data.draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 2)))
    blank = np.zeros(shape, np.float32)
    truth = Split([Case(~mask, blank), Case(mask, blank, image)]).truth()
    kinds, eight, four = painted(truth, "native", 1)
    assert np.array_equal(kinds, 2 * mask + (image > 0))
    for ours, structure, row in ((eight, np.ones((3, 3)), 0), (four, None, 1)):
        labels, count = ndimage.label(mask, structure)
        assert same_partition(ours, np.where(mask, labels, 0))
        before = ndimage.label(~mask, structure)[1]
        sizes = truth.native.region_sizes[row][before:]
        assert sorted(sizes) == sorted(np.bincount(labels.ravel())[1:])
        assert len(sizes) == count
    shown = truth.native.foreground_sizes
    for region in np.unique(eight[mask]):
        assert shown[region] == np.sum((eight == region) & (image > 0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(300, 520), (97, 256), (256, 700), (512, 512)]))
def test_the_paper_grid_takes_nearest_pixels_and_counts_lost_regions(
    seed: int, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.002
    image = (rng.random(shape) < 0.5).astype(np.uint8)
    truth = Split([Case(mask, np.zeros(shape, np.float32), image)]).truth()
    rows = np.floor((np.arange(256) + 0.5) * shape[0] / 256).astype(int)
    columns = np.floor((np.arange(256) + 0.5) * shape[1] / 256).astype(int)
    kinds, eight, _ = painted(truth, "paper", 0)
    assert np.array_equal(kinds, (2 * mask + image)[rows][:, columns])
    assert same_partition(eight, ndimage.label(kinds >= 2, np.ones((3, 3)))[0])
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    left = np.unique(labels[rows][:, columns])
    assert truth.paper.regions_lost == count - np.count_nonzero(left)
    assert truth.native.region_sizes[0].size == count


def test_nearest_rows_are_those_of_the_half_pixel_rule() -> None:
    assert nearest_rows(256).tolist() == list(range(256))
    assert nearest_rows(512).tolist() == list(range(1, 512, 2))
    assert nearest_rows(128).tolist() == [row // 2 for row in range(256)]


def test_a_pack_of_256_by_256_has_one_grid() -> None:
    truth = Split([Case(np.eye(256) > 0, np.zeros((256, 256), np.float32))]).truth()
    assert truth.is_one_grid
    assert truth.paper.regions_lost == 0


def test_a_truth_is_the_same_after_saving_and_in_any_order(tmp_path: Path) -> None:
    images = Split(random_cases(np.random.default_rng(0), background=0.2)).images
    first = GroundTruth.compile(images, has_masks=True, pack_version="v1")
    second = GroundTruth.compile(images[::-1], has_masks=True, pack_version="v1")
    for name, truth in (("a", first), ("b", second)):
        truth.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = GroundTruth.load(tmp_path / "a")
    assert loaded.digest == first.digest
    assert loaded.pack_version == "v1"
    assert loaded.paper.regions_lost == first.paper.regions_lost
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_damaged_or_foreign_file_is_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    path.write_bytes(b"half a fi")
    assert GroundTruth.load(path) is None
    np.savez(path, header=np.frombuffer(b'{"format": "another"}', np.uint8))
    assert GroundTruth.load(path) is None


def test_an_image_level_pack_is_compiled_without_reading_an_image() -> None:
    def unreadable() -> np.ndarray:
        raise AssertionError("an image was read")

    image = TruthImage("a", True, "a", None, unreadable, None)
    truth = GroundTruth.compile([image], has_masks=False)
    assert not truth.has_masks
    assert truth.native is None


def test_progress_is_told_after_every_image() -> None:
    told = []
    images = Split(random_cases(np.random.default_rng(0), 3)).images
    GroundTruth.compile(images, has_masks=True, on_progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_two_images_of_one_key_are_refused() -> None:
    images = Split(random_cases(np.random.default_rng(0), 2)).images
    with pytest.raises(WrongKey, match="one key"):
        GroundTruth.compile([images[0], images[0]], has_masks=True)


def test_a_mask_of_another_shape_and_an_image_of_another_dtype_are_refused() -> None:
    blank = np.zeros((4, 5), np.uint8)
    with pytest.raises(WrongShape, match=r"mask is \(5, 4\)"):
        Split([Case(np.zeros((5, 4), bool), blank, blank)]).truth()
    with pytest.raises(WrongDtype, match="float32"):
        Split([Case(blank > 0, blank, blank.astype(np.float32))]).truth()
    with pytest.raises(WrongShape, match="shape"):
        Split([Case(blank > 0, blank, np.zeros((4, 5, 3, 1), np.uint8))]).truth()
