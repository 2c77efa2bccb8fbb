"""Each method's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.kit.memory_bank import MemoryBank

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


def module_of(baseline: Baseline) -> Any:
    return sys.modules[baseline.model.__module__]


@pytest.fixture(scope="module")
def padim() -> Baseline:
    return open_baseline(BASELINES / "padim")


@pytest.fixture(scope="module")
def patchcore() -> Baseline:
    return open_baseline(BASELINES / "patchcore")


@pytest.fixture(scope="module")
def rd4ad() -> Baseline:
    return open_baseline(BASELINES / "rd4ad")


# --- PaDiM -------------------------------------------------------------------------------


def test_streamed_gaussians_are_numpys(padim: Baseline) -> None:
    random = np.random.default_rng(0)
    embeddings = (5 + random.normal(size=(23, 6, 70))).astype(np.float32)  # (B, C, P)
    sums = module_of(padim).GaussianSums()
    for part in np.array_split(embeddings, [4, 5, 16]):
        sums.add(torch.from_numpy(part))
    mean, inverse = sums.mean_and_inverse()
    np.testing.assert_allclose(mean, embeddings.mean(axis=0), rtol=1e-6)
    for position in range(70):
        covariance = np.cov(embeddings[:, :, position].astype(np.float64).T)
        expected = np.linalg.inv(covariance + (0.01 + 1e-5) * np.eye(6))
        np.testing.assert_allclose(inverse[position], expected, rtol=1e-5, atol=1e-5)


def test_padims_map_is_the_mahalanobis_distance(padim: Baseline, training_folder: Path) -> None:
    model = padim.make()
    model.fit(training_folder, Listener())
    image = slice_image(50, 64, 64)
    pixels = torch.from_numpy(image)[None, None]
    vectors = model.embed(pixels)[0].flatten(1).T.double().numpy()  # (P, C)
    delta = vectors - model.mean.T.double().numpy()
    squares = np.einsum("pc,pcd,pd->p", delta, model.inverse.double().numpy(), delta)
    module = module_of(padim)
    distances = torch.from_numpy(np.sqrt(squares)).float().view(1, 1, 16, 16)
    expected = module.maps.gaussian_blur(module.maps.resize(distances, (64, 64)))
    anomaly_map, score = model.predict(image)
    np.testing.assert_allclose(anomaly_map, expected[0, 0], rtol=1e-4)
    assert score == anomaly_map.max()


def test_padim_chooses_channels_by_the_seed(padim: Baseline) -> None:
    first, again, other = (padim.make(seed=seed).channels for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(set(first.tolist())) == 20


def test_one_image_has_no_covariance(padim: Baseline, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(slice_image(0)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least 2"):
        padim.make().fit(tmp_path, Listener())


# --- PatchCore ---------------------------------------------------------------------------


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


# --- RD4AD -------------------------------------------------------------------------------


def test_the_loss_is_one_minus_cosine_summed_over_scales(rd4ad: Baseline) -> None:
    loss = module_of(rd4ad).loss_part.ReverseDistillationLoss()
    same = torch.tensor([[[[3.0, 4.0]]]])
    across = torch.tensor([[[[-4.0, 3.0]]]])
    assert float(loss([same, same], [2 * same, same])) == pytest.approx(0)
    assert float(loss([same], [-same])) == pytest.approx(2)
    assert float(loss([same, same], [across, -same])) == pytest.approx(1 + 2)


def test_only_the_student_learns(rd4ad: Baseline, training_folder: Path) -> None:
    model = rd4ad.make()
    teacher = [value.clone() for value in model.teacher.state_dict().values()]
    student = [value.clone() for value in model.student.parameters()]
    listener = Listener(model)
    model.fit(training_folder, listener)
    after = model.teacher.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(teacher, after, strict=True))
    moved = [
        not torch.equal(old, new)
        for old, new in zip(student, model.student.parameters(), strict=True)
    ]
    # conv4 and bn4 of the bottleneck have no part in its forward pass, in the official code too.
    unused = sum(
        name.split(".")[1] in {"conv4", "bn4"} for name, _ in model.student.named_parameters()
    )
    assert sum(moved) == len(moved) - unused


def test_the_students_features_mirror_the_teachers(rd4ad: Baseline) -> None:
    model = rd4ad.make()
    with torch.inference_mode():
        teacher = model.teacher(torch.rand(2, 3, 64, 64))
        student = model.student(teacher)
    assert [layer.shape for layer in teacher] == [layer.shape for layer in student]


@pytest.mark.parametrize("mode", ["add", "multiply"])
def test_the_map_joins_cosine_distances_of_all_scales(rd4ad: Baseline, mode: str) -> None:
    model, maps = rd4ad.make(map_mode=mode), module_of(rd4ad).maps
    image = slice_image(3, 64, 64)
    anomaly_map, score = model.predict(image)
    pixels = module_of(rd4ad).images.from_array(image, 64)
    with torch.inference_mode():
        teacher = model.teacher(module_of(rd4ad).images.normalise(pixels, "imagenet"))
        student = model.student(teacher)
    scales = []
    for theirs, ours in zip(teacher, student, strict=True):
        first, second = theirs[0].double().numpy(), ours[0].double().numpy()
        norms = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
        distance = torch.from_numpy(1 - (first * second).sum(axis=0) / norms)[None, None]
        scales.append(maps.resize(distance, (64, 64), align_corners=True).numpy())
    joined = np.sum(scales, axis=0) if mode == "add" else np.prod(scales, axis=0)
    expected = maps.gaussian_blur(torch.from_numpy(joined).float())[0, 0]
    np.testing.assert_allclose(anomaly_map, expected, rtol=1e-4)
    assert score == anomaly_map.max()


def test_a_size_that_the_decoder_cannot_meet_is_refused(rd4ad: Baseline) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        rd4ad.make(image_size=100)
