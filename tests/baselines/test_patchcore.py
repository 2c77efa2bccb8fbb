"""PatchCore's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.kit import memory_bank
from baselines.kit.memory_bank import MemoryBank

from .conftest import (
    BASELINES,
    Baseline,
    Listener,
    module_of,
    open_baseline,
    slice_image,
)


@pytest.fixture(scope="module")
def patchcore() -> Baseline:
    return open_baseline(BASELINES / "patchcore")


def naive_coreset(points: np.ndarray, size: int, start: int) -> list[int]:
    """Every distance anew in every round."""
    chosen = [start]
    while len(chosen) < size:
        to_chosen = np.linalg.norm(points[:, None] - points[chosen][None], axis=2).min(axis=1)
        chosen.append(int(to_chosen.argmax()))
    return chosen


def some_points() -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, size=(200, 8)).astype(np.float32)


@pytest.mark.parametrize("copy_bytes", [1 << 22, 4 * 8 * 7])
def test_greedy_selection_is_that_of_the_naive_way(
    patchcore: Baseline, copy_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_bank, "COPY_BYTES", copy_bytes)
    points = some_points()
    select = module_of(patchcore).select_coreset
    chosen = select(torch.from_numpy(points.copy()), 40, torch.tensor([17]))
    assert chosen.tolist() == naive_coreset(points.astype(np.float64), 40, 17)


def test_selection_from_several_starts_is_that_of_the_naive_way(patchcore: Baseline) -> None:
    points = some_points()
    starts = [5, 60, 61, 199]
    select = module_of(patchcore).select_coreset
    chosen = select(torch.from_numpy(points.copy()), 40, torch.tensor(starts)).tolist()
    far = np.linalg.norm(points[:, None] - points[starts][None], axis=2).mean(axis=1)
    expected: list[int] = []
    while len(expected) < 40:
        expected.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(points - points[expected[-1]], axis=1))
    assert chosen == expected


def test_selection_takes_equal_points_once_each(patchcore: Baseline) -> None:
    chosen = module_of(patchcore).select_coreset(torch.ones(9, 4), 9, torch.tensor([3]))
    assert sorted(chosen.tolist()) == list(range(9))


def test_float16_points_are_chosen_like_their_float32_values(patchcore: Baseline) -> None:
    select = module_of(patchcore).select_coreset
    half = torch.from_numpy(some_points()).half()
    half -= half.float().mean(dim=0).half()  # centring again moves no point, in either type
    single = half.float()
    start = torch.tensor([17])
    assert select(half, 40, start).tolist() == select(single, 40, start).tolist()


@pytest.mark.parametrize("cap", [0, 300])
def test_a_second_extraction_gives_the_memory_of_a_stored_one(
    patchcore: Baseline, training_folder: Path, cap: int
) -> None:
    stored = patchcore.make(cpu_max_patches=cap)
    stored.fit(training_folder, Listener())
    twice = patchcore.make(cpu_max_patches=cap)
    twice._has_room_to_store = lambda *_: False
    listener = Listener()
    twice.fit(training_folder, listener)
    total = cap or 10 * 16 * 16  # ten images, layer1 of 64 pixels is 16x16
    assert len(stored.bank) == total // 10
    assert torch.equal(stored.bank.vectors, twice.bank.vectors)
    assert listener.points[-1][0] == listener.points[-1][1] == 2 * 3 + 100


def test_the_memory_holds_descriptors_of_training_patches(
    patchcore: Baseline, training_folder: Path
) -> None:
    model = patchcore.make()
    model.fit(training_folder, Listener())
    module = module_of(patchcore)
    split = module.images.read_training_images(training_folder, 64)
    with torch.inference_mode():
        rows = model.embed(split.pixels).permute(0, 2, 3, 1).flatten(0, 2)
    distances, _ = MemoryBank(rows).nearest(model.bank.vectors, 1)
    assert float(distances.max()) < 1e-2 * float(rows.norm(dim=1).mean())


def test_the_score_is_the_papers_equation_seven(patchcore: Baseline, training_folder: Path) -> None:
    model = patchcore.make()
    model.fit(training_folder, Listener())
    image = slice_image(60, 64, 64)
    bank = model.bank.vectors.double().numpy()
    with torch.inference_mode():
        vectors = model.embed(torch.from_numpy(image)[None, None])[0].flatten(1).T
    distances = np.linalg.norm(vectors.double().numpy()[:, None] - bank[None], axis=2)
    worst = int(distances.min(axis=1).argmax())
    nearest = int(distances[worst].argmin())
    around = np.linalg.norm(bank - bank[nearest], axis=1).argsort()[:9]
    powers = np.exp(distances[worst, around] - distances[worst, around].max())
    expected = distances[worst, nearest] * (1 - powers[0] / powers.sum())
    assert model.predict(image)[1] == pytest.approx(expected, rel=1e-4)

    plain = patchcore.make(neighbours=1)
    plain.bank = model.bank
    assert plain.predict(image)[1] == pytest.approx(distances[worst, nearest], rel=1e-4)


def test_the_official_preset_pools_descriptors(patchcore: Baseline, training_folder: Path) -> None:
    model = patchcore.make(descriptor="pooled", pooled_dims=50, upsample="bilinear")
    model.fit(training_folder, Listener())
    assert model.bank.vectors.shape == (30, 50)
    assert np.isfinite(model.predict(slice_image(1))[0]).all()


def test_squared_distances_are_the_authors(patchcore: Baseline, training_folder: Path) -> None:
    plain = patchcore.make(neighbours=1)
    plain.fit(training_folder, Listener())
    squared = patchcore.make(neighbours=1, distance="squared")
    squared.bank = plain.bank
    image = slice_image(60, 64, 64)
    assert squared.predict(image)[1] == pytest.approx(plain.predict(image)[1] ** 2, rel=1e-6)
    with pytest.raises(ValueError, match="distance is 'cubed'; it can be euclidean or squared"):
        patchcore.make(distance="cubed")


def test_a_gpus_way_gives_the_memory_of_a_cpus(
    patchcore: Baseline, training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All patches, float16 projections, chosen descriptors extracted a second time."""
    cpu = patchcore.make(cpu_max_patches=0)
    cpu.fit(training_folder, Listener())
    monkeypatch.setattr(patchcore.model, "_point_type", torch.float16)
    gpu = patchcore.make(cpu_max_patches=0)
    gpu._has_room_to_store = lambda *_: False
    gpu.fit(training_folder, Listener())
    assert gpu.bank.vectors.dtype == torch.float32
    assert len(gpu.bank) == len(cpu.bank) == 256
    assert torch.equal(gpu.bank.vectors, cpu.bank.vectors)


def test_a_limit_below_the_memory_names_what_to_change(
    patchcore: Baseline, training_folder: Path
) -> None:
    model = patchcore.make(cpu_max_patches=0, memory_mib=1)
    message = "memory_mib is 1, and a memory chosen from 2560 patches needs at least 2"
    with pytest.raises(ValueError, match=message):
        model.fit(training_folder, Listener())


def test_the_wide_backbone_is_the_default_and_the_narrow_one_a_choice(patchcore: Baseline) -> None:
    assert patchcore.entry.settings("brain").params["backbone"] == "wide_resnet50_2"
    pixels = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    layers = {"layers": ["layer2", "layer3"]}
    assert patchcore.make(**layers).embed(pixels).shape == (1, 128 + 256, 8, 8)
    wide = patchcore.make(backbone="wide_resnet50_2", **layers)
    assert wide.embed(pixels).shape == (1, 512 + 1024, 8, 8)
