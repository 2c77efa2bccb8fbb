"""SuperSimpleNet's traps: V1 weights, logits, the noise's grid, no gradient between the heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from baselines.kit import backbones, images
from baselines.kit.weight_files import WEIGHT_FILES

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def supersimplenet() -> Baseline:
    return open_baseline(BASELINES / "supersimplenet")


def pixels_of(count: int) -> torch.Tensor:
    return torch.cat([images.from_array(slice_image(each), 64) for each in range(count)])


def test_the_features_are_those_of_torchvisions_v1_file(
    supersimplenet: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / WEIGHT_FILES["resnet18"].file_name)
    monkeypatch.setattr(backbones, "problem_with", lambda *_: None)  # whatever its hash is
    model = supersimplenet.model("cpu", 0, supersimplenet.params(weights="imagenet"), tmp_path)
    assert model.frozen.identity.startswith("sha256:")
    batch = model.normalised(pixels_of(1))
    with torch.no_grad():
        stem = network.maxpool(network.relu(network.bn1(network.conv1(batch))))
        expected = network.layer1(stem)
        (found,) = model.model.feature_extractor.feature_extractor(batch).values()
    torch.testing.assert_close(found, expected)


def test_answers_are_the_logits_of_the_librarys(supersimplenet: Baseline) -> None:
    model = supersimplenet.make()
    image = slice_image(9, 64, 64)
    anomaly_map, score = model.predict(image)
    with torch.no_grad():
        theirs = model.model.eval()(model.normalised(images.from_array(image, 64)))
    np.testing.assert_allclose(1 / (1 + np.exp(-anomaly_map)), theirs.anomaly_map[0, 0], rtol=1e-5)
    assert 1 / (1 + np.exp(-score)) == pytest.approx(float(theirs.pred_score), rel=1e-5)
    # Where a sigmoid is 1 for all of them, logits still have an order.
    with torch.no_grad():
        model.model.segdec.cls_fc.bias.fill_(40.0)
    first, second = (model.predict(slice_image(each, 64, 64))[1] for each in (9, 10))
    assert first != second
    assert min(first, second) > 17


def test_the_scores_loss_moves_no_weight_of_the_maps_head(supersimplenet: Baseline) -> None:
    model = supersimplenet.make()
    model.model.train()
    _, score, _, labels = model.forward(pixels_of(2), labels=torch.zeros(2))
    model.criterion.focal_loss(score, labels).backward()
    heads = model.model.segdec
    assert all(each.grad is None for each in heads.seg_head.parameters())
    assert all(each.grad is not None for each in heads.cls_conv.parameters())


def test_half_of_the_images_get_noise_inside_their_mask_and_nowhere_else(
    supersimplenet: Baseline,
) -> None:
    generator = supersimplenet.make().model.anomaly_generator
    features = torch.zeros(32, 4, 32, 32)
    torch.manual_seed(0)
    _, noisy, masks, labels = generator(None, features, torch.zeros(32, 1, 32, 32), torch.zeros(32))
    assert noisy.shape == (64, 4, 32, 32)  # each image twice
    is_touched = noisy.abs().sum(dim=1, keepdim=True) > 0
    assert torch.equal(is_touched, masks > 0)
    assert torch.equal(labels > 0, masks.flatten(1).any(dim=1))
    assert 0.3 < float(labels.mean()) < 0.7
    assert float(noisy[is_touched.expand_as(noisy)].std()) == pytest.approx(0.015, rel=0.1)


def test_rates_fall_after_80_and_90_per_cent_of_the_epochs(supersimplenet: Baseline) -> None:
    model = supersimplenet.make()
    optimiser = model.optimiser([])
    rates, seen = model.rates(optimiser, epochs=10, steps_per_epoch=3), []
    for _ in range(30):
        seen.append([group["lr"] for group in optimiser.param_groups])
        optimiser.step()
        rates.step()
    shares = np.array(seen) / np.array(seen[0])
    np.testing.assert_allclose(shares[:24], 1)
    np.testing.assert_allclose(shares[24:27], 0.4)
    np.testing.assert_allclose(shares[27:], 0.16)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.01, 0.00001]
    held = {id(each) for group in optimiser.param_groups for each in group["params"]}
    learned = {id(each) for each in model.model.parameters() if each.requires_grad}
    assert held == learned


def test_a_grid_too_coarse_for_the_noise_is_told_of(supersimplenet: Baseline) -> None:
    with pytest.raises(ValueError, match="a feature grid of 16 a side"):
        supersimplenet.make(layers=["layer2"])


def test_officially_the_last_state_counts_and_nothing_is_judged(
    supersimplenet: Baseline, training_folder: Path
) -> None:
    settings = supersimplenet.entry.settings("brain", preset="official")
    assert settings.training.checkpoint_metric == "none"
    every = settings.params["checkpoint_every_epochs"]
    listener = Listener()
    supersimplenet.make(checkpoint_every_epochs=every, epochs=1).fit(training_folder, listener)
    assert listener.checkpoints == []
