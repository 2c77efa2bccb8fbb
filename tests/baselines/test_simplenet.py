"""SimpleNet's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.kit import images, maps

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def simplenet() -> Baseline:
    return open_baseline(BASELINES / "simplenet")


def test_the_loss_is_the_papers_hinge(simplenet: Baseline) -> None:
    model = simplenet.make()
    features = torch.randn(40, model.params["pooled_dims"])
    torch.manual_seed(3)
    loss = model._loss(features)
    torch.manual_seed(3)
    with torch.no_grad():
        normal = model.head.adaptor(features)
        noisy = normal + 0.015 * torch.randn(normal.shape)
        scores = model.head.discriminator(torch.cat([normal, noisy])).double().numpy()[:, 0]
    hinge = np.maximum(0, 0.5 - scores[:40]).mean() + np.maximum(0, 0.5 + scores[40:]).mean()
    assert float(loss.detach()) == pytest.approx(hinge, rel=1e-5)


def test_without_noise_normal_and_anomalous_are_one(simplenet: Baseline) -> None:
    model = simplenet.make(noise=0.0, margin=100.0)
    # Far below the margin the hinges are straight lines whose slopes cancel.
    loss = model._loss(torch.randn(40, model.params["pooled_dims"]))
    assert float(loss.detach()) == pytest.approx(200.0, rel=1e-5)


def test_noise_can_follow_the_spread_of_each_adapted_channel(simplenet: Baseline) -> None:
    model = simplenet.make(noise_unit="spread", noise=0.5)
    scale = torch.logspace(-2, 2, model.params["pooled_dims"])
    features = torch.randn(4000, len(scale)) * scale
    given: list[torch.Tensor] = []
    model.head.discriminator.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    model._loss(features)
    normal, noisy = given[0].chunk(2)
    torch.testing.assert_close(
        (noisy - normal).std(dim=0), 0.5 * normal.std(dim=0), rtol=0.1, atol=0.0
    )
    with pytest.raises(ValueError, match="noise_unit is 'some'"):
        simplenet.make(noise_unit="some")


def test_an_epoch_is_so_many_passes(simplenet: Baseline, training_folder: Path) -> None:
    listener = Listener()
    simplenet.make(passes_per_epoch=3).fit(training_folder, listener)
    per_pass = 3  # ten images in batches of four
    assert listener.checkpoints == [3 * per_pass, 2 * 3 * per_pass]


def test_only_adaptor_and_discriminator_learn(simplenet: Baseline, training_folder: Path) -> None:
    model = simplenet.make()
    backbone = [value.clone() for value in model.backbone.state_dict().values()]
    head = [value.clone() for value in model.head.parameters()]
    model.fit(training_folder, Listener(model))
    after = model.backbone.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(backbone, after, strict=True))
    learned = model.head.parameters()
    assert not any(torch.equal(old, new) for old, new in zip(head, learned, strict=True))


def test_the_score_is_the_largest_patchs_before_the_blur(
    simplenet: Baseline, training_folder: Path
) -> None:
    model = simplenet.make()
    model.fit(training_folder, Listener())
    image = slice_image(3, 64, 64)
    anomaly_map, score = model.predict(image)
    with torch.inference_mode():
        features, grid = model._descriptors(model._layers(images.from_array(image, 64)))
        patch_scores = -model.head(features).view(1, 1, *grid)
    assert grid == (16, 16)
    assert score == float(patch_scores.max())
    full = maps.resize(patch_scores, (64, 64))
    expected = maps.gaussian_blur(full, border="reflect")
    np.testing.assert_allclose(anomaly_map, expected[0, 0], rtol=1e-5)


def test_the_narrow_backbone_is_a_choice(simplenet: Baseline) -> None:
    assert simplenet.make().params["backbone"] == "resnet18"
    assert simplenet.entry.settings("brain").params["backbone"] == "wide_resnet50_2"
