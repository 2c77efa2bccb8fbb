"""ReContrast's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from baselines.kit import images
from harness.entries.campaign_grid import read_campaign, variants

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image


@pytest.fixture(scope="module")
def recontrast() -> Baseline:
    return open_baseline(BASELINES / "recontrast")


@pytest.fixture(scope="module")
def module(recontrast: Baseline) -> Any:
    return module_of(recontrast)


def scales(*sides: int) -> list[torch.Tensor]:
    return [torch.randn(2, 4, side, side) for side in sides]


def pixels(count: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.stack([slice_image(n, 64, 64) for n in range(count)]))[:, None]


# --- loss -----------------------------------------------------------------------------------


def test_easy_points_count_in_the_value_alone(module: Any) -> None:
    """Against the authors' way: a hook that sets a gradient to zero."""
    targets, inputs = scales(8, 4), scales(8, 4)
    for alpha in (-3.0, 0.0, 1.0):
        ours = [one.clone().requires_grad_() for one in inputs]
        theirs = [one.clone().requires_grad_() for one in inputs]
        loss = module.hard_distance(targets, ours, alpha)
        loss.backward()
        plain = torch.zeros(())
        for target, leaf in zip(targets, theirs, strict=True):
            made = leaf * 1
            distances = 1 - functional.cosine_similarity(target, made, dim=1)
            is_easy = distances < distances.mean() + alpha * distances.std()
            made.register_hook(lambda slope, easy=is_easy: slope * ~easy[:, None])
            plain = (
                plain + 1 - functional.cosine_similarity(target.flatten(1), made.flatten(1)).mean()
            )
        plain.backward()
        torch.testing.assert_close(loss, plain)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.grad, other.grad)
            has_gradient = (one.grad != 0).any(dim=1).float().mean()
            assert (float(has_gradient) == 1) == (alpha == -3)
            assert float(has_gradient) > 0


def test_the_target_gets_no_gradient(module: Any) -> None:
    target = [one.requires_grad_() for one in scales(4)]
    made = [one.requires_grad_() for one in scales(4)]
    module.hard_distance(target, made, -3.0).backward()
    assert target[0].grad is None


def test_the_threshold_rises_in_a_line_over_the_first_tenth(recontrast: Baseline) -> None:
    model = recontrast.make(ramp_share=recontrast.entry.settings("brain").params["ramp_share"])
    assert [model._alpha(done, 1000) for done in (0, 25, 50, 75, 100, 999)] == [-3, -2, -1, 0, 1, 1]
    stable = recontrast.make(ramp_share=0.2)
    assert stable._alpha(100, 1000) == pytest.approx(-1)


# --- pairs ----------------------------------------------------------------------------------


def test_what_is_made_of_one_encoder_is_held_to_the_other(recontrast: Baseline) -> None:
    model = recontrast.make(image_size=64)
    model.network.eval()
    with torch.no_grad():  # so that the two encoders differ
        for weight in model.network["encoder"].parameters():
            weight.mul_(1.1)
        normalised = images.normalise(pixels(), "imagenet")
        trained, frozen = model.network["encoder"](normalised), model.frozen_encoder(normalised)
        pairs = model._pairs(pixels())
        decoder = model.network["decoder"]
        # In evaluation mode each half can be decoded alone.
        of_trained = decoder.decoder(decoder.bottleneck(trained))
        of_frozen = decoder.decoder(decoder.bottleneck(frozen))
    for scale in range(3):
        assert not torch.equal(trained[scale], frozen[scale])
        assert torch.equal(pairs[0][0][scale], frozen[scale])
        assert torch.equal(pairs[1][0][scale], trained[scale])
        first, second = decoder.outputs[0][scale], decoder.outputs[1][scale]
        torch.testing.assert_close(pairs[0][1][scale], first(of_trained[scale]))
        torch.testing.assert_close(pairs[1][1][scale], second(of_frozen[scale]))
        assert not torch.equal(first.weight, second.weight)


def test_both_halves_share_the_decoders_batch_statistics(recontrast: Baseline) -> None:
    model = recontrast.make(image_size=64)
    model._set_training()
    decoder = model.network["decoder"]
    seen: list[int] = []
    decoder.decoder.layer1.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    model._pairs(pixels(3))
    assert seen == [6]


def test_the_map_adds_six_distances_and_the_score_is_its_maximum(recontrast: Baseline) -> None:
    model, image = recontrast.make(image_size=64), slice_image(3, 64, 64)
    anomaly_map, score = model.predict(image)
    with torch.inference_mode():
        pairs = model._pairs(images.from_array(image, 64))
    total = np.zeros((64, 64))
    for target, made in pairs:
        for theirs, ours in zip(target, made, strict=True):
            first, second = theirs[0].double(), ours[0].double()
            cosine = (first * second).sum(0) / (first.norm(dim=0) * second.norm(dim=0))
            total += functional.interpolate(
                1 - cosine[None, None], size=(64, 64), mode="bilinear", align_corners=True
            )[0, 0].numpy()
    expected = ndimage.gaussian_filter(total, 4)  # scipy's default border, as the authors'
    np.testing.assert_allclose(anomaly_map, expected, rtol=1e-4)
    assert score == anomaly_map.max()
    _, share = recontrast.make(image_size=64, score_share=0.01).predict(image)
    assert share == pytest.approx(np.sort(anomaly_map.ravel())[-40:].mean(), rel=1e-6)


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize("batchnorm", ["eval", "train", "guarded"])
def test_the_encoders_batchnorm_sees_batches_only_where_it_should(
    recontrast: Baseline, training_folder: Path, batchnorm: str
) -> None:
    model = recontrast.make(encoder_batchnorm=batchnorm, encoder_learning_rate=0.01)
    frozen = [value.clone() for value in model.frozen_encoder.state_dict().values()]
    encoder = {name: value.clone() for name, value in model.network["encoder"].state_dict().items()}
    model.fit(training_folder, Listener(model, [slice_image(5)]))
    after = model.frozen_encoder.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(frozen, after, strict=True))
    moved = {
        name
        for name, value in model.network["encoder"].state_dict().items()
        if not torch.equal(value, encoder[name])
    }
    assert any(name.endswith(".conv1.weight") for name in moved)
    assert any("running_var" in name for name in moved) == (batchnorm != "eval")


def test_the_two_encoders_begin_alike(recontrast: Baseline) -> None:
    model = recontrast.make()
    frozen = model.frozen_encoder.state_dict()
    trained = model.network["encoder"].state_dict()
    assert frozen.keys() == trained.keys()
    assert all(torch.equal(value, trained[name]) for name, value in frozen.items())


def test_adam_begins_anew_and_the_encoder_waits(
    recontrast: Baseline, training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = recontrast.make(steps_per_epoch=5, epochs=1, adam_reset_steps=2, encoder_rest_steps=1)
    told: list[tuple[str, int]] = []
    step = torch.optim.AdamW.step
    rates = {model.params["learning_rate"]: "decoder"}

    def listen(optimiser: torch.optim.AdamW) -> None:
        step(optimiser)
        part = rates.get(optimiser.param_groups[0]["lr"], "encoder")
        told.append((part, int(next(iter(optimiser.state.values()))["step"])))

    monkeypatch.setattr(torch.optim.AdamW, "step", listen)
    model.fit(training_folder, Listener())
    assert [done for part, done in told if part == "decoder"] == [1, 2, 1, 2, 1]
    assert [done for part, done in told if part == "encoder"] == [1, 2, 3]


def test_a_killed_training_knows_how_far_the_threshold_was(
    recontrast: Baseline, training_folder: Path, tmp_path: Path
) -> None:
    changes = {"ramp_share": 1.0, "adam_reset_steps": 3, "encoder_rest_steps": 1}
    whole = recontrast.make(**changes)
    whole.fit(training_folder, Listener())
    with pytest.raises(KeyboardInterrupt):
        recontrast.make(**changes).fit(training_folder, Listener(dies_at=1, state_folder=tmp_path))
    again = recontrast.make(**changes)
    again.fit(training_folder, Listener(state_folder=tmp_path))
    state = again.network.state_dict()
    assert all(
        torch.equal(value, state[name]) for name, value in whole.network.state_dict().items()
    )


# --- BatchNorm ------------------------------------------------------------------------------


def test_a_guarded_batchnorm_divides_by_no_less_than_the_floor(module: Any) -> None:
    pretrained = nn.BatchNorm2d(3)
    # Lively; hardly varying where the file's variance was large; and where it was small.
    pretrained.running_var.copy_(torch.tensor([1.0, 2.0, 1e-4]))
    pretrained.weight.data.uniform_(0.5, 2)
    guarded = module.GuardedBatchNorm2d(pretrained, 5e-4, 1e-6)
    features = torch.randn(4, 3, 6, 6) * torch.tensor([2.0, 1e-3, 1e-3]).view(1, 3, 1, 1)
    found = guarded(features).detach()
    variance = features.var(dim=(0, 2, 3), correction=0)
    divisor = torch.tensor([float(variance[0]), 5e-4, 1e-4])
    centred = features - features.mean(dim=(0, 2, 3), keepdim=True)
    scale = (pretrained.weight / (divisor + 1e-6).sqrt()).detach()
    torch.testing.assert_close(found, centred * scale[:, None, None])
    unbiased = float(features[:, 0].var())
    expected = 0.9 * torch.tensor([1.0, 2.0, 1e-4]) + 0.1 * torch.tensor([unbiased, 5e-4, 1e-4])
    torch.testing.assert_close(guarded.running_var, expected)


def test_a_guarded_batchnorm_is_a_plain_one_elsewhere(module: Any) -> None:
    pretrained = nn.BatchNorm2d(3)
    guarded = module.GuardedBatchNorm2d(pretrained, 5e-4, pretrained.eps)
    for _ in range(3):
        features = torch.randn(4, 3, 6, 6)
        torch.testing.assert_close(guarded(features), pretrained(features))
    torch.testing.assert_close(guarded.running_var, pretrained.running_var)
    torch.testing.assert_close(guarded.eval()(features), pretrained.eval()(features))


# --- settings -------------------------------------------------------------------------------


def test_the_campaign_tries_every_mode_of_batchnorm_on_every_benchmark(module: Any) -> None:
    campaign = read_campaign("recontrast-batchnorm")
    found = variants(campaign, {"baselines/recontrast": "recontrast"})
    tried = [dict(variant.overrides).get("encoder_batchnorm", "eval") for variant in found]
    assert tried == list(module.BATCHNORMS)
    assert len(campaign.benchmarks) == 6


def test_steps_are_counted_whatever_the_number_of_images(
    recontrast: Baseline, training_folder: Path
) -> None:
    params = recontrast.entry.settings("oct2017").params
    assert params["epochs"] * params["steps_per_epoch"] == 1000
    listener = Listener()
    recontrast.make(epochs=1, steps_per_epoch=4).fit(training_folder, listener)  # three make a pass
    assert listener.points[-1][:2] == (4, 4)


def test_settings_that_mean_nothing_are_refused(recontrast: Baseline) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        recontrast.make(image_size=80)
    with pytest.raises(ValueError, match="encoder_batchnorm is 'on'"):
        recontrast.make(encoder_batchnorm="on")
