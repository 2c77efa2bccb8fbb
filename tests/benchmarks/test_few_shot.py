"""The few-shot draw is nested, spread over patients, and hangs on seed and pixels alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from harness.benchmarks import Pack, Sample, demo_pack, open_pack
from harness.benchmarks.few_shot import draw_shots
from harness.common.errors import UsageError
from harness.records.regime import SHOTS

from .conftest import Picture, grey, write


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return demo_pack(tmp_path_factory.mktemp("cache"))


def hashes(samples: tuple[Sample, ...]) -> list[str]:
    return [sample.pixel_sha256 for sample in samples]


def test_a_larger_draw_holds_every_smaller_one(pack: Pack) -> None:
    training = pack.split("train")
    draws = [draw_shots(training, shots, seed=3).keys for shots in SHOTS]
    for smaller, larger in pairwise(draws):
        assert larger[: len(smaller)] == smaller
    assert len(set(draws[-1])) == 16
    assert set(draws[-1]) <= {sample.key for sample in training}


def test_other_seeds_draw_other_images_and_in_the_end_all(pack: Pack) -> None:
    training = pack.split("train")
    draws = [draw_shots(training, 4, seed) for seed in range(60)]
    assert draws[0] == draw_shots(training, 4, 0)
    assert len({draw.digest for draw in draws}) > 55
    seen = Counter(key for draw in draws for key in draw.keys)
    assert len(seen) == len(training)  # 240 drawn of 64: one is missed with a chance of 0.025 each
    assert max(seen.values()) < 15


def test_no_patient_has_a_second_image_before_every_other_has_one(tmp_path: Path) -> None:
    pictures = [
        Picture("train", is_anomalous=False, name=f"{patient:05d}_{slice_}", pixels=grey(number))
        for number, (patient, slice_) in enumerate(
            [(1, slice_) for slice_ in range(9)] + [(2, 0), (3, 0), (4, 0)]
        )
    ]
    pictures += [
        Picture(split, is_anomalous=bad, name=f"{90 + number:05d}_0", pixels=grey(50 + number))
        for number, (split, bad) in enumerate(
            [("valid", False), ("valid", True), ("test", False), ("test", True)]
        )
    ]
    card = 'name_rules = ["(?P<patient>\\\\d{5})_\\\\d"]\nhas_masks = false\n'
    folder = write(tmp_path / "own", pictures)
    (folder / "pack.toml").write_text(card)
    training = open_pack(folder, tmp_path / "cache").split("train")
    for seed in range(20):
        drawn = draw_shots(training, 8, seed)
        assert len({sample.group for sample in drawn.samples[:4]}) == 4
        assert drawn.of_unknown_patient == 0


def test_an_unknown_patient_is_counted_and_files_may_be_called_anything(pack: Pack) -> None:
    training = pack.split("train")
    alone = [replace(sample, group=sample.key) for sample in training]
    assert draw_shots(alone, 8, 0).of_unknown_patient == 8
    renamed = [
        replace(sample, key=f"x{number}", group=f"p{sample.group}")
        for number, sample in enumerate(reversed(training))
    ]
    plain, other = draw_shots(training, 16, 5), draw_shots(renamed, 16, 5)
    assert hashes(plain.samples) == hashes(other.samples)
    assert plain.digest == other.digest


def test_more_shots_than_images_are_an_error_with_the_fix(pack: Pack) -> None:
    with pytest.raises(UsageError, match="16 training images are asked for, and there are 5"):
        draw_shots(pack.split("train")[:5], 16, 0)
