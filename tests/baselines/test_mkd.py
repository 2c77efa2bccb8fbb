"""MKD's own arithmetic against closed forms and the plainest way to compute the same."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def mkd() -> Baseline:
    return open_baseline(BASELINES / "mkd")


@pytest.fixture(scope="module")
def module(mkd: Baseline) -> Any:
    return sys.modules[mkd.model.__module__]


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_small_cloner_has_the_papers_shapes_and_a_third_of_a_million_weights(
    module: Any,
) -> None:
    cloner = module.Cloner(module.CLONERS["small"])
    assert round(weights(cloner) / 1e6, 3) == 0.344
    with torch.inference_mode():
        shapes = [tuple(layer.shape[1:]) for layer in cloner(torch.rand(1, 3, 224, 224))]
    assert shapes == [(128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]


def test_both_cloners_mirror_the_teacher(mkd: Baseline, module: Any) -> None:
    model, probe = mkd.make(), torch.rand(2, 3, 64, 64)
    for rows in module.CLONERS.values():
        with torch.inference_mode():
            teacher, cloner = model.teacher(probe), module.Cloner(rows)(probe)
        assert [layer.shape for layer in teacher] == [layer.shape for layer in cloner]


def test_every_convolution_but_the_last_of_a_row_is_normalised(module: Any) -> None:
    for row in module.Cloner(module.CLONERS["small"]).rows:
        *earlier, last = row
        assert all(isinstance(layer[1], nn.BatchNorm2d) for layer in earlier)
        assert isinstance(last, nn.Conv2d)
        assert last.bias is None


def test_the_discrepancy_by_hand(module: Any) -> None:
    first, across = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[-4.0, 3.0]]]])
    both = torch.cat([first, first])
    found = module.discrepancy([both, both], [2 * both, torch.cat([across, first])], 0.1)
    # (9 + 16) / 2 from the doubled layer; 1 and (49 + 1) / 2 from the crossed one.
    torch.testing.assert_close(found, torch.tensor([0.1 * 12.5 + 1 + 0.1 * 25, 0.1 * 12.5]))


def test_a_guided_relu_passes_positive_gradients_where_it_was_active(module: Any) -> None:
    inputs = torch.tensor([-1.0, 0.0, 2.0, 3.0], requires_grad=True)
    output = module.Guided.apply(inputs)
    (gradient,) = torch.autograd.grad(output, inputs, torch.tensor([5.0, 5.0, 5.0, -5.0]))
    assert output.tolist() == [0, 0, 2, 3]
    assert gradient.tolist() == [0, 0, 5, 0]


def test_the_plain_map_is_the_scores_slope(mkd: Baseline) -> None:
    model = mkd.make(gradient="plain")
    # No black border: where many pixels are equal, a pooling has a kink.
    pixels = 255 * torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    _, gradient = model.explain(pixels)
    deviations = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    slope = (gradient / deviations / 255).sum(dim=1, keepdim=True)  # per grey level
    step = 0.3 * slope / slope.norm()
    rise = model.explain(pixels + step)[0] - model.explain(pixels - step)[0]
    assert float(rise) == pytest.approx(2 * 0.3 * float(slope.norm()), rel=0.05)


def test_guidance_changes_the_map_and_not_the_score(mkd: Baseline) -> None:
    image = slice_image(5, 64, 64)
    guided, plain = (mkd.make(gradient=name).predict(image) for name in ("guided", "plain"))
    assert guided[1] == plain[1]
    assert np.abs(guided[0] - plain[0]).max() > 0.1 * plain[0].max()


def test_an_images_answer_does_not_depend_on_its_batch(mkd: Baseline, module: Any) -> None:
    model = mkd.make()
    pixels = torch.stack([torch.from_numpy(slice_image(number, 64, 64)) for number in (1, 2)])
    scores, gradient = model.explain(pixels[:, None])
    alone, own_gradient = model.explain(pixels[1:, None])
    torch.testing.assert_close(scores[1:], alone)
    torch.testing.assert_close(gradient[1:], own_gradient, rtol=1e-4, atol=1e-8)


def test_only_the_cloner_learns(mkd: Baseline, training_folder: Any) -> None:
    model = mkd.make()
    teacher = [value.clone() for value in model.teacher.state_dict().values()]
    cloner = [value.clone() for value in model.cloner.parameters()]
    model.fit(training_folder, Listener())
    after = model.teacher.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(teacher, after, strict=True))
    moved = zip(cloner, model.cloner.parameters(), strict=True)
    assert not any(torch.equal(old, new) for old, new in moved)


def test_the_official_scale_cuts_one_pixel_in_a_hundred(module: Any) -> None:
    strength = torch.arange(1.0, 1002.0)[torch.randperm(1001)].view(1, 1, 7, 143)
    scale = module.scaled(strength)
    assert (scale.min(), scale.max()) == (0, 1)
    assert int((scale == 1).sum()) == 11
    np.testing.assert_allclose(scale[strength == 496].item(), 495 / 990)
    assert not module.scaled(torch.ones(1, 1, 4, 4)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cloner": "large"}, "cloner is 'large'; it can be small or equal"),
        ({"gradient": "none"}, "it can be guided or plain"),
        ({"map_scale": "all"}, "it can be none or image"),
        ({"image_size": 16}, "five poolings need 32 or more"),
    ],
)
def test_a_wrong_setting_says_what_is_possible(
    mkd: Baseline, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mkd.make(**change)
