"""Suites from files, and what a run sees of several packs: one size, one mode, no name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.benchmarks import BENCHMARKS, demo_pack, stage_training
from harness.benchmarks.delivery import delivered
from harness.benchmarks.pixels import pixel_hash
from harness.benchmarks.regime_pack import in_regime, shares
from harness.benchmarks.suites import Suite, find_suite, shipped_suites
from harness.common.errors import UsageError
from harness.records.regime import Regime
from tests.suite_factory import PAIR, pair_file, pair_pack, second_pack

UNIFIED = Regime(name="unified", suite="unified-9", delivery="256")


def test_the_boards_suites_are_of_known_benchmarks() -> None:
    suites = shipped_suites()
    assert suites["unified-3"].members == ("brain", "liver", "resc")
    assert set(suites["unified-6"].members) == set(BENCHMARKS) - {"demo"}
    assert all(suite.is_shipped for suite in suites.values())


def test_a_file_makes_a_suite_of_ones_own(tmp_path: Path) -> None:
    suite = find_suite(str(pair_file(tmp_path)))
    assert suite == Suite("demo-pair", "Generated packs", PAIR, is_shipped=False)


@pytest.mark.parametrize(
    ("name", "members", "problem"),
    [
        ("unified-4", PAIR, "a name that begins with unified- is the board's own"),
        ("brain", PAIR, "brain is the name of a benchmark"),
        ("mine", ("demo",), "at least 2"),
        ("mine", ("demo", "demo"), "a member is named twice"),
        ("mine", ("demo", "mean"), "mean stands for the mean"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(
    tmp_path: Path, name: str, members: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        find_suite(str(pair_file(tmp_path, name, members)))


def test_a_suite_that_nobody_knows_lists_those_that_there_are() -> None:
    with pytest.raises(UsageError) as error:
        find_suite("unified-5")
    assert "unified-3, unified-6" in str(error.value.fix)


@pytest.mark.parametrize("shape", [(128, 128), (300, 500, 3), (64, 700)])
def test_an_image_is_delivered_by_antialiased_bilinear_interpolation(
    shape: tuple[int, ...],
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = delivered(pixels, "256")
    assert (found.shape, found.dtype, found.flags.c_contiguous) == ((256, 256, 3), np.uint8, True)
    channels = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
    told = torch.from_numpy(channels).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(
        told, (256, 256), mode="bilinear", align_corners=False, antialias=True
    )
    difference = found - expected[0].permute(1, 2, 0).numpy()
    assert np.abs(difference).max() <= 1.01  # Pillow rounds after each of the two directions
    assert delivered(pixels, "native") is pixels


def test_a_suite_is_what_its_members_are_without_their_names(tmp_path: Path) -> None:
    first, second = demo_pack(tmp_path), second_pack(tmp_path)
    seen = pair_pack(tmp_path)
    assert [member.name for member in seen.members] == list(PAIR)
    assert shares(seen) == {"demo": 0.5, "demo-b": 0.5}
    assert len(seen.samples) == len(first.samples) + len(second.samples)
    assert seen.card.counts.test_anomalous == 80
    assert seen.card.groups.test == 40
    for sample in seen.split("test")[::37]:
        origin = seen.origin(sample)
        assert sample.key == f"{origin.pack.name}/{origin.sample.key}"
        assert (sample.height, sample.width) == (256, 256)
        native = origin.pack.image(origin.sample)
        np.testing.assert_array_equal(seen.image(sample), delivered(native, "256"))
        assert seen.mask(sample).shape == native.shape[:2]


def test_its_version_hangs_on_its_members_whatever_their_order(tmp_path: Path) -> None:
    packs = (demo_pack(tmp_path), second_pack(tmp_path))
    suite = Suite("demo-pair", "", PAIR, is_shipped=False)
    one, _ = in_regime(packs, UNIFIED, 0, suite)
    other, _ = in_regime(packs[::-1], UNIFIED, 7, suite)
    third, _ = in_regime(
        (packs[0], demo_pack(tmp_path, seed="c", name="demo-b")), UNIFIED, 0, suite
    )
    assert (one.version, one.patients) == (other.version, other.patients)
    assert one.version != third.version


def test_a_suite_of_packs_that_are_no_known_release_is_marked(tmp_path: Path) -> None:
    packs = (demo_pack(tmp_path), replace(second_pack(tmp_path), name="brain~abc123"))
    ours = Suite("unified-9", "", ("demo", "brain"), is_shipped=True)
    seen, _ = in_regime(packs, UNIFIED, 0, ours)
    assert seen.name.startswith("unified-9~")
    assert seen.card.name == "unified-9"


def test_one_hidden_member_hides_the_suite(tmp_path: Path) -> None:
    seen = pair_pack(tmp_path, visibility="hidden")
    assert seen.card.visibility == "hidden"
    assert not seen.card.images_may_be_shown


def test_training_images_are_called_by_what_is_delivered(tmp_path: Path) -> None:
    seen = pair_pack(tmp_path)
    files = sorted(stage_training(seen, tmp_path).iterdir())
    assert len(files) == 128
    for path in files[::11]:
        with Image.open(path) as image:
            assert image.mode == "RGB"
            pixels = np.asarray(image)
        assert path.stem == pixel_hash(pixels)[:20]


def test_a_few_shot_run_sees_its_images_the_test_split_and_no_other(tmp_path: Path) -> None:
    pack = demo_pack(tmp_path)
    seen, regime = in_regime([pack], Regime(name="few-shot", shots=2), seed=1)
    assert [len(seen.split(name)) for name in ("train", "valid", "test")] == [2, 0, 80]
    assert regime.drawn is not None
    assert sorted(regime.drawn) == [sample.key for sample in seen.split("train")]
    assert len(list(stage_training(seen, tmp_path).iterdir())) == 2
    assert seen.training_mark != pack.training_mark
    assert in_regime([pack], Regime(name="one-class"), seed=1)[0] is pack
