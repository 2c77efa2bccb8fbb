"""FastFlow's likelihoods against a flow that is followed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.kit import images

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def fastflow() -> Baseline:
    return open_baseline(BASELINES / "fastflow")


def test_the_loss_is_the_negative_log_likelihood_under_a_standard_normal(
    fastflow: Baseline,
) -> None:
    model = fastflow.make(flow_steps=1)
    pixels = images.from_array(slice_image(5, 64, 64), 64)
    loss = float(model.loss_of(pixels).detach())
    with torch.no_grad():
        features = model.model._get_cnn_features(model.normalised(pixels))
        expected = 0.0
        for block, feature in zip(model.model.fast_flow_blocks, features, strict=True):
            flat = feature.requires_grad_(requires_grad=True)
            hidden, log_determinant = block(flat)
            # The change of volume, felt by the inverse: a flow that is not one does not come back.
            back, back_determinant = block(hidden, rev=True)
            torch.testing.assert_close(back, flat, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(back_determinant, -log_determinant, rtol=1e-4, atol=1e-2)
            expected += float(0.5 * hidden.square().sum() - log_determinant)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_flows_and_norms_learn_and_the_backbone_does_not(
    fastflow: Baseline, training_folder: Path
) -> None:
    model = fastflow.make()
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    model.fit(training_folder, Listener())
    after = model.model.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved
    assert not any(name.startswith("feature_extractor.") for name in moved)
    assert {name.split(".")[0] for name in moved} == {"norms", "fast_flow_blocks"}


def test_likely_features_lie_below_unlikely_ones_and_all_below_zero(fastflow: Baseline) -> None:
    generate = fastflow.make().model.anomaly_map_generator
    near, far = (generate([torch.full((1, 8, 4, 4), value)]) for value in (0.1, 3.0))
    assert (near < far).all()
    assert (far < 0).all()
    np.testing.assert_allclose(far, -np.exp(-0.5 * 9.0), rtol=1e-6)


@pytest.mark.parametrize("size", [40, 65])
def test_a_size_without_a_layer_norm_of_its_own_is_told_of(fastflow: Baseline, size: int) -> None:
    with pytest.raises(ValueError, match="must be a multiple of 16"):
        fastflow.make(image_size=size)
