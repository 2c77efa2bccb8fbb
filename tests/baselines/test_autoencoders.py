"""AE, VAE, AE-U and DAE: their arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import Normal, kl_divergence

from baselines.kit import autoencoders, images

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image

NAMES = ("ae", "vae", "ae-u", "dae")


def family(name: str) -> Baseline:
    return open_baseline(BASELINES / name)


def batch(count: int = 4, size: int = 64) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([slice_image(n, size, size) for n in range(count)]))
    return autoencoders.network_input(pixels[:, None], 1)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mean_squared_error(made: torch.Tensor, clean: torch.Tensor) -> float:
    return float(np.mean((made - clean).detach().double().numpy() ** 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_passes_a_code_of_the_size_asked_for(channels: int) -> None:
    params = {
        "image_size": 32, "input_channels": channels, "width": 4, "hidden": 8, "code_size": 5,
    }  # fmt: skip
    network = autoencoders.Autoencoder(params, code_parts=2, image_parts=2)
    pixels = torch.randn(3, channels, 32, 32)
    assert network.encode(pixels).shape == (3, 10)
    assert network.decode(torch.randn(3, 5)).shape == (3, 2 * channels, 32, 32)
    # Behind the last convolution nothing bounds an image, and before the code nothing a number.
    assert isinstance(network.up[-1], torch.nn.ConvTranspose2d)
    assert isinstance(network.encoder[-1], torch.nn.Linear)


def test_the_widths_are_those_of_medianomaly() -> None:
    params = family("ae").entry.settings("brain").params
    network = autoencoders.Autoencoder(params)
    convolutions = [layer for layer in network.down if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 64]
    transposed = [layer for layer in network.up if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert [layer.out_channels for layer in transposed] == [64, 32, 16, 1]
    # Counted on MedIAnomaly's own network under its scripts' options.
    assert sum(weight.numel() for weight in network.parameters()) == 2_351_184


@pytest.mark.parametrize("name", ["ae", "dae"])
def test_a_size_that_cannot_be_halved_as_often_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"image_size is 50; .*multiple of"):
        family(name).make(image_size=50)


def test_a_network_sees_grey_or_three_colours() -> None:
    with pytest.raises(ValueError, match="input_channels is 2; it can be 1 or 3"):
        family("ae").make(input_channels=2)


def test_colour_becomes_the_luma_that_pillow_knows() -> None:
    random = np.random.default_rng(0)
    colour = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = torch.from_numpy(colour.transpose(2, 0, 1).copy())[None]
    found = autoencoders.network_input(pixels, 1)[0, 0].numpy()
    luma = np.asarray(Image.fromarray(colour).convert("L"), np.float64) / 127.5 - 1
    assert np.abs(found - luma).max() < 1.01 / 127.5  # Pillow rounds to a whole grey level
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    wide = autoencoders.network_input(grey, 3)
    assert torch.equal(wide[:, 0], wide[:, 2])
    torch.testing.assert_close(wide[:, :1], autoencoders.network_input(grey, 1))
    assert (float(wide.min()), float(wide.max())) == (-1.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_score_is_the_mean_of_the_map_at_the_networks_size(name: str) -> None:
    model = family(name).make()
    anomaly_map, score = model.predict(slice_image(3, 64, 64))
    assert score == pytest.approx(float(anomaly_map.mean(dtype=np.float64)), rel=1e-5)
    # A larger image gets the same errors as it has at 64 pixels: nothing finer is known.
    large = slice_image(4, 150, 90)
    pixels = autoencoders.network_input(images.from_array(large, 64), 1)
    with torch.inference_mode():
        errors = model.errors(pixels)
    expected = torch.nn.functional.interpolate(errors, size=(150, 90), mode="bilinear")[0, 0]
    np.testing.assert_allclose(model.predict(large)[0], expected, rtol=1e-6)


def test_ae_goes_down_the_mean_squared_error() -> None:
    model, clean = family("ae").make(), batch()
    model.network.eval()
    expected = mean_squared_error(model.network(clean), clean)
    assert float(model.loss(clean, draw()).detach()) == pytest.approx(expected, rel=1e-5)


def test_vae_adds_the_weighted_divergence_of_its_code() -> None:
    vae, clean = family("vae"), batch()
    model = vae.make(divergence_weight=0.5)
    model.network.eval()
    mean, log_variance = model.network.encode(clean).detach().chunk(2, dim=1)
    code = Normal(mean, (log_variance / 2).exp())
    divergence = kl_divergence(code, Normal(0.0, 1.0)).mean()
    found = module_of(vae).divergence(mean, log_variance)
    torch.testing.assert_close(found, divergence)
    noise = torch.randn(mean.shape, generator=draw(7))
    made = model.network.decode(mean + noise * code.scale)
    expected = mean_squared_error(made, clean) + 0.5 * float(divergence)
    assert float(model.loss(clean, draw(7)).detach()) == pytest.approx(expected, rel=1e-5)
    assert vae.entry.settings("brain").params["divergence_weight"] == 0.005


def test_vae_draws_no_code_of_a_test_image() -> None:
    model, clean = family("vae").make(), batch(1)
    model.network.eval()
    mean, _ = model.network.encode(clean).chunk(2, dim=1)
    expected = mean_squared_error(model.network.decode(mean), clean)
    for _ in range(2):
        _, score = model.predict(slice_image(0, 64, 64))
        assert score == pytest.approx(expected, rel=1e-4)


def test_ae_u_goes_down_a_gaussians_log_likelihood_and_scores_without_its_variance() -> None:
    model, clean = family("ae-u").make(), batch()
    model.network.eval()
    made, log_variance = model.network(clean).detach().double().chunk(2, dim=1)
    gaussian = Normal(made, (log_variance / 2).exp())
    constant = np.log(2 * np.pi)
    expected = float((-2 * gaussian.log_prob(clean.double()) - constant).mean())
    assert float(model.loss(clean, draw()).detach()) == pytest.approx(expected, rel=1e-5)
    over_variance = (((made - clean) / gaussian.scale) ** 2)[0].mean()
    _, score = model.predict(slice_image(0, 64, 64))
    assert score == pytest.approx(float(over_variance), rel=1e-4)


def test_a_last_batch_of_one_image_is_left_out(training_folder: Path) -> None:
    listener = Listener()
    family("ae").make(batch_size=9, epochs=1).fit(training_folder, listener)  # of ten images
    assert listener.points[-1][:2] == (1, 1)


# --- DAE ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dae() -> Any:
    return module_of(family("dae"))


def test_filters_have_mean_0_and_deviation_1_whatever_the_weights(dae: Any) -> None:
    layer = dae.StandardisedConv2d(3, 5, 3)
    layer.weight.data.mul_(40).add_(7)
    pixels = torch.randn(2, 3, 8, 8)
    weight = layer.weight.detach().numpy().reshape(5, -1)
    standard = (weight - weight.mean(1, keepdims=True)) / weight.std(1, ddof=1, keepdims=True)
    expected = torch.nn.functional.conv2d(
        pixels, torch.from_numpy(standard).view(5, 3, 3, 3), layer.bias
    )
    torch.testing.assert_close(layer(pixels), expected, rtol=1e-4, atol=1e-4)


def test_groups_are_the_middle_divisor(dae: Any) -> None:
    assert [dae.groups_of(channels) for channels in (1, 6, 64, 128, 1024)] == [1, 3, 8, 16, 32]


def test_the_u_net_is_as_large_as_medianomalys(dae: Any) -> None:
    params = family("dae").entry.settings("brain").params
    with torch.device("meta"):
        network = dae.DenoisingAutoencoder.make_network(params)
        # Counted on MedIAnomaly's own network.
        assert sum(weight.numel() for weight in network.parameters()) == 31_042_369
        assert network(torch.zeros(2, 1, 128, 128)).shape == (2, 1, 128, 128)


def test_noise_is_as_coarse_and_strong_as_it_says_and_moves_round_the_image(dae: Any) -> None:
    shape = torch.Size([64, 1, 64, 64])
    noise = dae.coarse_noise(shape, 64, 0.2, draw())
    assert noise.shape == shape
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)
    flat = dae.coarse_noise(shape, 1, 0.2, draw())  # one value an image: nothing moves
    assert torch.equal(flat, flat[:, :, :1, :1].expand_as(flat))
    # Neighbours of a coarse grid are alike, but across the edge that the roll has brought inside.
    coarse = dae.coarse_noise(torch.Size([1, 1, 64, 64]), 8, 1.0, draw(1))[0, 0]
    steps = (coarse.roll(-1, 0) - coarse).abs().mean(dim=1)
    assert 0 < int(steps.argmax()) < 63
    assert steps.max() > 3 * steps.median()


def test_training_inputs_keep_their_mean_where_medianomalys_lose_1() -> None:
    baseline, clean = family("dae"), batch(64)
    for preset, shift in (("bmad", 0.0), ("official", -1.0)):
        params = baseline.entry.settings("rsna", preset=preset).params
        model = baseline.make(noise_shift=params["noise_shift"])
        noise = model.noisy(clean, draw()) - clean
        assert float(noise.mean()) == pytest.approx(shift, abs=0.02)
        # Grey levels in [-1, 1] lie twice as far apart; enlarging makes the noise weaker.
        grid = module_of(baseline).coarse_noise(clean.shape, 16, 0.2, draw())
        torch.testing.assert_close(noise - shift, 2 * grid, rtol=0, atol=1e-6)


def test_noise_leaves_the_background_of_a_brain_black() -> None:
    baseline, clean = family("dae"), batch()
    assert baseline.entry.settings("brain").params["noise_in_foreground"]
    assert not baseline.entry.settings("rsna").params["noise_in_foreground"]
    is_background = clean == -1
    assert 0.1 < float(is_background.float().mean()) < 0.9
    noisy = baseline.make(noise_in_foreground=True).noisy(clean, draw())
    assert (noisy[is_background] == -1).all()
    assert (noisy[~is_background] != clean[~is_background]).float().mean() > 0.99


def test_dae_is_held_to_the_clean_image_of_a_noisy_one() -> None:
    model, clean = family("dae").make(), batch()
    noisy = model.noisy(clean, draw(3))
    expected = mean_squared_error(model.network(noisy), clean)
    assert float(model.loss(clean, draw(3)).detach()) == pytest.approx(expected, rel=1e-4)
