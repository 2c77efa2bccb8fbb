"""f-AnoGAN's arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from baselines.kit import images

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image


@pytest.fixture(scope="module")
def f_anogan() -> Baseline:
    return open_baseline(BASELINES / "f-anogan")


@pytest.fixture(scope="module")
def module(f_anogan: Baseline) -> Any:
    return module_of(f_anogan)


def parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def test_the_networks_have_the_papers_sizes(module: Any) -> None:
    with torch.device("meta"):
        counts = {
            size: [
                parameters(network) / 1e6
                for network in (
                    module.Generator(size, 100, 16, 1e-5),
                    module.Critic(size, 16, 1e-5),
                    module.encoder(size, 100, 16, 1e-5),
                )
            ]
            for size in (64, 224)
        }
    assert counts[64] == pytest.approx([3.54, 0.10, 0.30], abs=0.01)
    assert counts[224] == pytest.approx([40.77, 0.12, 2.61], abs=0.01)


def test_codes_become_images_and_images_codes(f_anogan: Baseline) -> None:
    model = f_anogan.make(image_size=48)
    made = model.generator(3 * torch.randn(2, 10)).detach()
    assert made.shape == (2, 3, 48, 48)
    assert float(made.abs().max()) <= 1
    assert model.critic(made).shape == (2, 1)
    assert model.encoder(made).shape == (2, 10)


def test_a_linear_critics_penalty_knows_only_its_slope(module: Any) -> None:
    weight = torch.randn(3 * 8 * 8)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 1))
    critic[1].weight.data[0] = weight
    real, fake, shares = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.rand(4, 1, 1, 1)
    penalty = module.gradient_penalty(critic, real, fake, shares)
    assert float(penalty.detach()) == pytest.approx(float((weight.norm() - 1) ** 2), rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_penalty_is_taken_between_real_and_fake(module: Any, channels: int) -> None:
    def half_square(x: torch.Tensor) -> torch.Tensor:  # its slope is the image itself
        return x.square().flatten(1).sum(dim=1, keepdim=True) / 2

    real, fake = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    shares = torch.rand(4, channels, 1, 1)
    penalty = module.gradient_penalty(half_square, real, fake, shares)
    between = (shares * real + (1 - shares) * fake).double().numpy().reshape(4, -1)
    expected = ((np.linalg.norm(between, axis=1) - 1) ** 2).mean()
    assert float(penalty.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_critics_loss_is_that_of_wgan_gp(
    f_anogan: Baseline, module: Any, per_channel: bool
) -> None:
    model = f_anogan.make(penalty_per_channel=per_channel)
    model.networks.eval()  # no dropout: the same images give the same numbers again
    real, codes = torch.rand(4, 3, 64, 64), torch.randn(4, 10)
    loss = model._critic_loss(real, codes, torch.Generator().manual_seed(5))
    shares = torch.rand(
        4, 3 if per_channel else 1, 1, 1, generator=torch.Generator().manual_seed(5)
    )
    fake = model.generator(codes).detach()
    penalty = module.gradient_penalty(model.critic, real, fake, shares)
    distance = model.critic(real).mean() - model.critic(fake).mean()
    assert float(loss.detach()) == pytest.approx(
        float((10 * penalty - distance).detach()), rel=1e-5
    )
    assert float(model._generator_loss(codes).detach()) == pytest.approx(
        -float(model.critic(fake).mean().detach()), rel=1e-5
    )


def test_the_generator_learns_from_the_first_of_every_five_batches(
    f_anogan: Baseline, module: Any, training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = f_anogan.make(batch_size=2, gan_epochs=2, epochs=1, critic_steps=5)  # of five batches
    learned: list[str] = []
    real_descend = module.descend

    def descend(loss: Any, optimiser: Any, *, only: nn.Module) -> Any:
        learned.append(next(name for name, one in model.networks.items() if one is only))
        return real_descend(loss, optimiser, only=only)

    monkeypatch.setattr(module, "descend", descend)
    model.fit(training_folder, Listener())
    epoch = ["critic", "generator", "critic", "critic", "critic", "critic"]
    assert learned == 2 * epoch + 5 * ["encoder"]


def test_generator_and_critic_stay_while_the_encoder_learns(
    f_anogan: Baseline, training_folder: Path
) -> None:
    model = f_anogan.make(gan_epochs=1)
    states: list[dict[str, torch.Tensor]] = []

    class Watcher(Listener):
        def __call__(self, step: int):
            states.append({name: v.clone() for name, v in model.networks.state_dict().items()})
            return super().__call__(step)

    model.fit(training_folder, Watcher(model, [slice_image(5)]))
    first, last = states
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert moved
    assert all(name.startswith("encoder.") for name in moved)


def test_the_score_is_image_error_plus_kappa_times_feature_error(f_anogan: Baseline) -> None:
    image = slice_image(3, 64, 64)
    x = torch.from_numpy(np.stack([image] * 3) / 127.5 - 1).float()[None]
    for kappa in (0.0, 1.0, 2.5):
        model = f_anogan.make(kappa=kappa, native_map=True)
        model.networks.eval()
        with torch.no_grad():
            made = model.generator(model.encoder(x))
            features = [model.critic.features(one).double().numpy() for one in (x, made)]
        image_error = np.mean((x - made).double().numpy() ** 2)
        expected = image_error + kappa * np.mean((features[0] - features[1]) ** 2)
        anomaly_map, score = model.predict(image)
        assert score == pytest.approx(expected, rel=1e-5)
        residual = (x - made).abs().mean(dim=1)[0].double().numpy()
        smooth = ndimage.gaussian_filter(residual, 4, mode="mirror")
        np.testing.assert_allclose(anomaly_map, smooth, rtol=1e-4)


def test_images_are_mirrored_whole_and_by_chance(f_anogan: Baseline) -> None:
    model = f_anogan.make()
    pixels = torch.from_numpy(np.stack([slice_image(n, 64, 64) for n in range(20)])[:, None])
    plain = images.normalise(pixels, "symmetric")
    seen = model._augmented(pixels, torch.Generator().manual_seed(0))
    is_same = [torch.equal(one, other) for one, other in zip(seen, plain, strict=True)]
    is_mirror = [torch.equal(one, other.flip(2)) for one, other in zip(seen, plain, strict=True)]
    assert [one != other for one, other in zip(is_same, is_mirror, strict=True)] == [True] * 20
    assert 3 < sum(is_mirror) < 17


def test_the_legacy_epsilon_is_where_bmads_code_has_it(f_anogan: Baseline) -> None:
    def epsilons(model: Any) -> list[float]:
        return [one.eps for one in model.networks.modules() if isinstance(one, nn.BatchNorm2d)]

    assert set(epsilons(f_anogan.make())) == {1e-5}
    # All but the one behind the generator's linear layer.
    assert epsilons(f_anogan.make(legacy_bn_eps=True)) == [1e-5] + 8 * [0.8]


def test_a_size_that_cannot_be_halved_four_times_is_refused(f_anogan: Baseline) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        f_anogan.make(image_size=72)


def test_another_precision_is_refused(f_anogan: Baseline, training_folder: Path) -> None:
    with pytest.raises(ValueError, match="precision is 'half'"):
        f_anogan.make(precision="half").fit(training_folder, Listener())
