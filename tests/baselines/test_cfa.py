"""CFA's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from baselines.kit import images, maps, memory_bank
from baselines.kit.memory_bank import MemoryBank

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def cfa() -> Baseline:
    return open_baseline(BASELINES / "cfa")


@pytest.fixture(scope="module")
def code(cfa: Baseline) -> ModuleType:
    return sys.modules[cfa.model.__module__]


@pytest.fixture(scope="module")
def trained(cfa: Baseline, training_folder: Path) -> Any:
    model = cfa.make()
    model.fit(training_folder, Listener())
    return model


def test_nearest_squares_and_their_gradient_are_those_of_all_distances(code: ModuleType) -> None:
    torch.manual_seed(0)
    queries, vectors = torch.randn(50, 7, requires_grad=True), torch.randn(30, 7)
    weights = torch.rand(50, 4)
    found = code.NearestSquares.apply(queries, MemoryBank(vectors), 4)
    (found * weights).sum().backward()
    plain = queries.detach().double().requires_grad_()
    squares = (plain[:, None] - vectors.double()).square().sum(dim=2)
    expected = squares.topk(4, largest=False).values
    (expected * weights.double()).sum().backward()
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(queries.grad, plain.grad, rtol=1e-4, atol=1e-4)


def test_distances_do_not_depend_on_the_size_of_the_blocks(
    code: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    queries, bank = torch.randn(64, 20), MemoryBank(torch.randn(300, 20))
    whole = code.NearestSquares.apply(queries, bank, 6)
    for rows in (6, 7, 100):
        monkeypatch.setattr(memory_bank, "BLOCK_BYTES", 4 * 64 * rows)
        blocks = code.NearestSquares.apply(queries, bank, 6)
        np.testing.assert_allclose(whole, blocks, rtol=1e-5)


def test_a_feature_on_its_centroid_is_at_no_distance_and_not_at_a_nan(code: ModuleType) -> None:
    vectors = torch.randn(40, 500, generator=torch.Generator().manual_seed(0)) * 100
    squares = code.NearestSquares.apply(vectors.clone(), MemoryBank(vectors), 3)
    assert torch.isfinite(squares).all()
    assert (squares >= 0).all()
    assert squares[:, 0].max() < 1e-6 * squares[:, 1].min()


def test_with_the_authors_radius_nothing_is_ever_repelled(code: ModuleType) -> None:
    squares = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    loss = code.HypersphereLoss(3, 3, 1e-5, learns_radius=False)
    assert float(loss(squares).detach()) == 0


def test_the_loss_draws_the_first_and_repels_the_last(code: ModuleType) -> None:
    squares = torch.tensor([[0.5, 1.0, 5.0, 5.5], [3.0, 4.5, 4.6, 9.0]])
    loss = code.HypersphereLoss(2, 2, 2.0, learns_radius=True)  # spheres of squared radius 4
    attraction = np.mean([0, 0, 0, 0.5])
    repulsion = np.mean([0, 0, 0, 0])
    assert float(loss(squares).detach()) == pytest.approx(1000 * (attraction + repulsion))
    squares[1, 2:] = torch.tensor([3.0, 3.95])
    repulsion = np.mean([0, 0, 4 - 3.0 - 0.1, 0])
    assert float(loss(squares).detach()) == pytest.approx(1000 * (attraction + repulsion))


def test_the_radius_is_trained_only_where_it_is_asked_for(
    cfa: Baseline, code: ModuleType, training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    original = code.HypersphereLoss

    def keep(*args: Any, **kwargs: Any) -> Any:
        made.append(original(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(code, "HypersphereLoss", keep)
    for learn_radius in (False, True):
        cfa.make(learn_radius=learn_radius).fit(training_folder, Listener())
    fixed, learned = (float(loss.radius.detach()) for loss in made)
    assert fixed == pytest.approx(1e-5)
    assert learned != pytest.approx(1e-5)


def test_the_descriptor_sees_rows_and_columns_from_minus_one_to_one(code: ModuleType) -> None:
    descriptor = code.Descriptor(2, 2)
    torch.nn.init.zeros_(descriptor.convolution.bias)
    descriptor.convolution.weight.data = torch.zeros(2, 4, 1, 1)
    descriptor.convolution.weight.data[0, 2] = descriptor.convolution.weight.data[1, 3] = 1
    rows, columns = descriptor(torch.rand(1, 2, 3, 5)).detach()[0]
    np.testing.assert_allclose(rows, np.repeat([[-1], [0], [1]], 5, axis=1))
    np.testing.assert_allclose(columns, np.repeat([[-1, -0.5, 0, 0.5, 1]], 3, axis=0))


def test_leaky_ends_are_relus_where_positive_and_a_hundredth_of_the_sum_elsewhere(
    cfa: Baseline,
) -> None:
    pixels = images.normalise(images.from_array(slice_image(7, 64, 64), 64), "imagenet")
    plain, leaky = (cfa.make(activation=name) for name in ("relu", "leaky_relu"))
    layers = plain.backbone(pixels)
    leaky.backbone(pixels)
    for layer, ended in zip(layers, leaky.ends.features(), strict=True):
        assert torch.equal(layer, ended.clamp(min=0))
        assert (ended < 0).any()
    # The first layer's end, block by block without the last ReLU.
    stages = leaky.backbone.stages
    hidden = stages["layer1"][0](stages["stem"](pixels))
    block = stages["layer1"][1]
    inner = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(hidden)))))
    expected = torch.nn.functional.leaky_relu(inner + hidden)
    leaky.backbone(pixels)
    torch.testing.assert_close(leaky.ends.features()[0], expected)


def test_centroids_are_means_over_images_however_they_are_batched(
    cfa: Baseline, training_folder: Path
) -> None:
    split = images.read_training_images(training_folder, 64)  # ten images: 4 + 4 + 2
    model = cfa.make()
    with torch.no_grad():
        adapted = model.adapt(split.pixels).double().flatten(2).numpy()  # (10, D, P)
    np.testing.assert_allclose(model.memorise(split), adapted.mean(axis=0).T, rtol=1e-4, atol=1e-5)
    batched = cfa.make(centroid_mean="batches").memorise(split)
    means = [part.mean(axis=0).T for part in np.array_split(adapted, [4, 8])]
    np.testing.assert_allclose(batched, np.mean(means, axis=0), rtol=1e-4, atol=1e-5)
    assert not np.allclose(batched, adapted.mean(axis=0).T, rtol=1e-4, atol=1e-5)


def test_places_can_share_a_centroid(cfa: Baseline, training_folder: Path) -> None:
    split = images.read_training_images(training_folder, 64)
    whole, shared = (cfa.make(places_per_centroid=n).memorise(split) for n in (1, 4))
    assert whole.shape == (256, 64)
    assert shared.shape == (64, 64)
    assert torch.equal(shared, cfa.make(places_per_centroid=4).memorise(split))


def test_training_draws_the_features_to_the_centroids(cfa: Baseline, training_folder: Path) -> None:
    pixels = images.read_training_images(training_folder, 64).pixels
    untrained, trained = cfa.make(), cfa.make(epochs=30)
    trained.fit(training_folder, Listener())  # AdamW's first steps overshoot: the loss triples
    untrained.bank = trained.bank
    with torch.no_grad():
        before, after = (model.squares(model.adapt(pixels)) for model in (untrained, trained))
    assert after[:, :3].mean() < before[:, :3].mean()


def test_the_map_is_the_nearest_distance_less_where_others_are_as_near(trained: Any) -> None:
    image = slice_image(50, 64, 64)
    with torch.inference_mode():
        adapted = trained.adapt(images.from_array(image, 64))[0].flatten(1).T.double().numpy()
    centroids = trained.bank.vectors.double().numpy()
    distances = np.sort(np.linalg.norm(adapted[:, None] - centroids, axis=2), axis=1)[:, :3]
    weights = np.exp(-distances) / np.exp(-distances).sum(axis=1, keepdims=True)
    places = torch.from_numpy(weights[:, 0] * distances[:, 0]).float().view(1, 1, 16, 16)
    expected = maps.gaussian_blur(maps.resize(places, (64, 64)))
    anomaly_map, score = trained.predict(image)
    np.testing.assert_allclose(anomaly_map, expected[0, 0], rtol=1e-3)
    assert score == anomaly_map.max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"centroid_mean": "both"}, "centroid_mean is 'both'; it can be images or batches"),
        ({"activation": "elu"}, "activation is 'elu'; it can be relu or leaky_relu"),
        ({"attracting": 200, "repelling": 57}, "from 1 to 256, the number of centroids"),
        ({"places_per_centroid": 64}, "is 6; it must be from 1 to 4"),
    ],
)
def test_bad_settings_are_told(cfa: Baseline, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cfa.make(**changes)
