"""Real medical images, read as they are (skipped where the folder is absent)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from harness.benchmarks import Pack, find_packs, open_pack, stage_training

pytestmark = pytest.mark.packs


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packs")


@pytest.fixture(scope="module")
def packs(packs_folder: Path, cache: Path) -> dict[str, Pack]:
    return {
        name: open_pack(folder, cache, benchmark=name)
        for name, folder in find_packs(packs_folder).items()
    }


def test_all_three_are_found(packs: dict[str, Pack]) -> None:
    assert list(packs) == ["brain", "camelyon16", "oct2017"]


def counts(pack: Pack) -> tuple[int, ...]:
    c = pack.card.counts
    return c.train, c.valid_normal, c.valid_anomalous, c.test_normal, c.test_anomalous


def test_counts_are_those_of_the_folders_own_description(packs: dict[str, Pack]) -> None:
    assert counts(packs["brain"]) == (243, 30, 30, 148, 200)
    assert counts(packs["camelyon16"]) == (25, 4, 4, 16, 40)
    assert counts(packs["oct2017"]) == (6, 2, 3, 3, 30)


def test_patients_are_known_and_disjoint_in_brain(packs: dict[str, Pack]) -> None:
    card = packs["brain"].card
    assert card.group_unit == "patient"
    assert (card.groups.valid, card.groups.test) == (13, 42)
    assert not any("are in both" in remark for remark in card.remarks)


def test_slides_and_subclasses_are_read_off_the_names(packs: dict[str, Pack]) -> None:
    assert packs["camelyon16"].card.group_unit == "slide"
    assert {s.group for s in packs["camelyon16"].split("test")} == {"tumor_001", "tumor_073"}
    subclasses = {s.subclass for s in packs["oct2017"].split("test") if s.is_anomalous}
    assert subclasses == {"CNV", "DME", "DRUSEN"}


def test_stand_ins_are_never_called_the_published_benchmark(packs: dict[str, Pack]) -> None:
    for pack in packs.values():
        assert any("not the published benchmark" in remark for remark in pack.card.remarks)


def test_masks_fit_their_images(packs: dict[str, Pack]) -> None:
    pack = packs["brain"]
    for sample in pack.split("test"):
        mask = pack.mask(sample)
        assert mask.shape == pack.image(sample).shape == (256, 256)
        assert mask.any() == sample.is_anomalous


# Mean and standard deviation of the grey values (luma of colour images), as the folder's own
# description gives them; either direction counts as a give-away.
@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [("brain", 0.56, 0.61), ("oct2017", 0.53, 0.51), ("camelyon16", 0.74, 0.65)],
)
def test_trivial_baselines_are_those_of_the_folders_own_description(
    name: str, mean: float, deviation: float, packs: dict[str, Pack]
) -> None:
    pack = packs[name]
    samples = pack.split("test")
    labels = [sample.is_anomalous for sample in samples]
    values = [
        np.asarray(Image.fromarray(pack.image(sample)).convert("L"), float) for sample in samples
    ]
    for expected, score in ((mean, np.mean), (deviation, np.std)):
        found = roc_auc_score(labels, [score(pixels) for pixels in values])
        assert max(found, 1 - found) == pytest.approx(expected, abs=0.006)


def test_the_second_opening_is_quick(packs: dict[str, Pack], cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    pack = packs["brain"]
    again = open_pack(pack.root, cache, benchmark="brain", on_progress=lambda *at: seen.append(at))
    assert again == pack
    assert seen == []


def test_training_images_are_staged_under_opaque_names(packs: dict[str, Pack], cache: Path) -> None:
    for pack in packs.values():
        files = list(stage_training(pack, cache).iterdir())
        assert len(files) == pack.card.counts.train
        assert not any("TCGA" in path.name or "NORMAL" in path.name for path in files)


def saturation(pixels: np.ndarray) -> float:
    """Mean saturation, 0 to 1: what a stain does first of all to a patch."""
    return float(np.asarray(Image.fromarray(pixels).convert("HSV"))[..., 1].mean() / 255)


def test_camelyons_normal_test_slide_is_stained_unlike_the_training_slides(
    packs: dict[str, Pack],
) -> None:
    """Why most methods lie below chance there (baselines/README.md)."""
    pack = packs["camelyon16"]
    by_slide: dict[tuple[str, bool], list[float]] = {}
    for split in ("train", "test"):
        for sample in pack.split(split):
            found = by_slide.setdefault((sample.group, sample.is_anomalous), [])
            found.append(saturation(pack.image(sample)))
    means = {slide: np.mean(values) for slide, values in by_slide.items()}
    training = means["tumor_004", False], means["tumor_064", False]
    assert training == pytest.approx((0.34, 0.24), abs=0.01)
    assert means["tumor_073", False] == pytest.approx(0.49, abs=0.01)
    assert means["tumor_001", True] == pytest.approx(0.33, abs=0.01)
    assert [s.group for s in pack.split("test") if not s.is_anomalous] == ["tumor_073"] * 16
