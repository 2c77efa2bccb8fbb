"""The demo pack: the same bytes everywhere, and worth measuring on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from harness.benchmarks import Pack, demo_pack, stage_training
from harness.benchmarks.demo import generate
from harness.benchmarks.specs.demo import SPEC

# A changed pixel is a new demo pack: raise the generator's version with this.
GOLDEN = "demo-4e6eda221ed5"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def pack(cache: Path) -> Pack:
    return demo_pack(cache)


@pytest.fixture(scope="module")
def images(pack: Pack) -> npt.NDArray[np.uint8]:
    """The test images, [80, 128, 128]."""
    return np.stack([pack.image(sample) for sample in pack.split("test")])


@pytest.fixture(scope="module")
def masks(pack: Pack) -> npt.NDArray[np.bool_]:
    """Their masks, [80, 128, 128]."""
    return np.stack([pack.mask(sample) for sample in pack.split("test")])


def test_the_pack_is_the_golden_one(pack: Pack) -> None:
    assert pack.version == GOLDEN
    assert {pack.digest} == set(SPEC.generated)
    assert pack.name == "demo"


def test_it_holds_what_its_spec_says(pack: Pack) -> None:
    counts = pack.card.counts
    assert (counts.train, counts.valid_normal, counts.valid_anomalous) == (64, 12, 12)
    assert (counts.test_normal, counts.test_anomalous) == (40, 40)
    assert (pack.card.groups.train, pack.card.groups.valid, pack.card.groups.test) == (32, 6, 20)
    assert pack.card.images_may_be_shown
    assert pack.card.sizes == ("128x128",)
    assert pack.card.mode == "L"


def test_no_patient_is_in_two_splits(pack: Pack) -> None:
    groups = [{s.group for s in pack.split(split)} for split in ("train", "valid", "test")]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_every_test_patient_has_normal_and_abnormal_slices(pack: Pack) -> None:
    labels: dict[str, list[bool]] = {}
    for sample in pack.split("test"):
        labels.setdefault(sample.group, []).append(sample.is_anomalous)
    assert all(sorted(values) == [False, False, True, True] for values in labels.values())


def test_trivial_scores_are_near_chance(
    images: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]
) -> None:
    labels = masks.any(axis=(1, 2))
    values = images.astype(np.float64)
    for name, score in {
        "mean grey": values.mean(axis=(1, 2)),
        "standard deviation": values.std(axis=(1, 2)),
        "foreground area": (images > 0).mean(axis=(1, 2)),
        "tissue area": (images > 20).mean(axis=(1, 2)),
    }.items():
        assert 0.4 < roc_auc_score(labels, score) < 0.6, name


def test_the_grey_value_alone_does_not_find_lesions(
    images: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]
) -> None:
    assert 0.15 < roc_auc_score(masks.ravel(), images.ravel()) < 0.85


def test_lesions_are_there_to_be_found(
    images: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]
) -> None:
    areas = masks[masks.any(axis=(1, 2))].mean(axis=(1, 2))
    assert areas.min() > 0.003
    assert areas.max() < 0.15
    assert areas.max() / areas.min() > 10


def test_masks_mark_what_differs_from_the_healthy_slice() -> None:
    from harness.benchmarks.phantom import Head

    for patient in range(3):
        head = Head(f"test patient {patient}")
        healthy = head.draw(0, 0.2, is_anomalous=False)
        ill = head.draw(0, 0.2, is_anomalous=True)
        assert not healthy.mask.any()
        difference = np.abs(ill.pixels.astype(int) - healthy.pixels)
        # Blur and shading come after the lesion: beyond its edge little is left of it.
        assert difference[ill.mask].mean() > 10
        assert np.median(difference[ill.mask]) >= 4
        assert difference[~ill.mask].mean() < 0.2


def test_another_seed_gives_another_pack_that_nobody_has_seen(pack: Pack, cache: Path) -> None:
    other = demo_pack(cache, seed="a secret", name="sealed-demo", visibility="hidden")
    assert other.name == "sealed-demo"
    assert other.card.visibility == "hidden"
    assert not other.card.images_may_be_shown
    assert not {s.pixel_sha256 for s in other.samples} & {s.pixel_sha256 for s in pack.samples}
    assert demo_pack(cache, seed="a secret", name="sealed-demo", visibility="hidden") == other
    assert "secret" not in str(other.root)


def test_neither_hash_seed_nor_threads_change_a_byte() -> None:
    program = (
        "import hashlib; from harness.benchmarks.demo import generate; "
        "d = hashlib.sha256(); n = 0\n"
        "for image in generate():\n"
        "    d.update(image.drawing.pixels.tobytes()); n += 1\n"
        "    if n == 4: break\n"
        "print(d.hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed, "NPY_DISABLE_CPU_FEATURES": off},
            capture_output=True, check=True, text=True, cwd=Path(__file__).parents[2],
        ).stdout
        for seed, off in (("1", ""), ("2", "AVX2 FMA3 AVX512F"))
    }  # fmt: skip
    assert len(printed) == 1


def test_slices_come_in_a_fixed_order() -> None:
    first = [next(generate()) for _ in range(2)]
    assert first[0].split == "train"
    assert (first[0].drawing.pixels == first[1].drawing.pixels).all()


def test_its_training_images_can_be_staged(pack: Pack, cache: Path) -> None:
    assert len(list(stage_training(pack, cache).iterdir())) == 64
