"""Near-duplicates: found through noise and small shifts of grey, and not where images differ."""

from __future__ import annotations

import numpy as np
import pytest

from harness.benchmarks import demo_pack
from harness.benchmarks.likeness import look_of, near_duplicates

from .conftest import grey


def smooth(seed: int, side: int = 96) -> np.ndarray:
    coarse = grey(seed, 8, 8).astype(float)
    return np.kron(coarse, np.ones((side // 8, side // 8))).astype(np.uint8)


def test_the_hash_is_the_sign_of_the_step_between_neighbours() -> None:
    image = np.zeros((8, 9), np.uint8)
    image[0] = [0, 1, 2, 1, 0, 1, 2, 3, 4]
    bits = f"{look_of(image).difference_hash:064b}"
    assert bits == "11001111" + "0" * 56


def test_noise_does_not_hide_a_duplicate_and_another_image_is_none() -> None:
    first = [smooth(number) for number in range(20)]
    noise = np.random.Generator(np.random.PCG64(1)).integers(-3, 4, first[0].shape)
    copies = [np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8) for image in first[:5]]
    others = [smooth(number) for number in range(100, 110)]
    twins = near_duplicates([look_of(i) for i in first], [look_of(i) for i in copies + others])
    assert [(twin.index, twin.other) for twin in twins] == [(n, n) for n in range(5)]


def test_images_that_are_black_in_the_same_places_are_no_duplicates() -> None:
    empty = [np.zeros((64, 64), np.uint8), np.full((64, 64), 90, np.uint8)]
    assert look_of(empty[0]).difference_hash == look_of(empty[1]).difference_hash
    assert not near_duplicates([look_of(empty[0])], [look_of(empty[1])])


def test_colour_is_looked_at_as_grey() -> None:
    image = smooth(3)
    colour = np.repeat(image[:, :, np.newaxis], 3, axis=2)
    assert look_of(colour).difference_hash == look_of(image).difference_hash


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_like_nothing(sizes: tuple[int, int]) -> None:
    looks = [look_of(smooth(number)) for number in range(3)]
    assert near_duplicates(looks[: sizes[0]], looks[: sizes[1]]) == []


def test_the_demo_pack_has_no_near_duplicates_across_its_splits(cache) -> None:
    pack = demo_pack(cache)
    looks = {
        split: [look_of(pack.image(sample)) for sample in pack.split(split)]
        for split in ("train", "valid", "test")
    }
    assert not near_duplicates(looks["train"], looks["test"])
    assert not near_duplicates(looks["valid"], looks["test"])
