"""PatchCore's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.kit.memory_bank import MemoryBank

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image


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


def test_greedy_selection_is_that_of_the_naive_way(patchcore: Baseline) -> None:
    points = np.random.default_rng(0).normal(3, 2, size=(200, 8)).astype(np.float32)
    select = module_of(patchcore).select_coreset
    chosen = select(torch.from_numpy(points.copy()), 40, 17)
    assert chosen.tolist() == naive_coreset(points.astype(np.float64), 40, 17)


def test_selection_takes_equal_points_once_each(patchcore: Baseline) -> None:
    chosen = module_of(patchcore).select_coreset(torch.ones(9, 4), 9, 3)
    assert sorted(chosen.tolist()) == list(range(9))


@pytest.mark.parametrize("cap", [0, 300])
def test_a_second_extraction_gives_the_memory_of_a_stored_one(
    patchcore: Baseline, training_folder: Path, cap: int
) -> None:
    stored = patchcore.make(cpu_max_patches=cap)
    stored.fit(training_folder, Listener())
    twice = patchcore.make(cpu_max_patches=cap, store_mib=0)
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
