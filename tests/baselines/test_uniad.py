"""UniAD's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baselines.kit import images

from .conftest import BASELINES, Baseline, Listener, module_of, open_baseline, slice_image


@pytest.fixture(scope="module")
def uniad() -> Baseline:
    return open_baseline(BASELINES / "uniad")


@pytest.fixture(scope="module")
def module(uniad: Baseline) -> Any:
    return module_of(uniad)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transformer(module: Any, grid: int = 6, channels: int = 5, **changes: Any) -> nn.Module:
    params = {
        "width": 8, "heads": 2, "feed_forward": 16, "dropout": 0.0, "encoder_layers": 1,
        "decoder_layers": 1, "neighbourhood": 3, **changes,
    }  # fmt: skip
    torch.manual_seed(0)
    network: nn.Module = module.FeatureTransformer(channels, grid, params)
    return network.eval()


@pytest.mark.parametrize(("grid", "reach"), [(5, 3), (8, 7), (4, 0), (3, 1)])
def test_the_mask_hides_a_square_round_each_token(module: Any, grid: int, reach: int) -> None:
    mask = module.neighbour_mask(grid, reach)
    for here in range(grid**2):
        for there in range(grid**2):
            rows = abs(here // grid - there // grid)
            columns = abs(here % grid - there % grid)
            is_hidden = reach > 0 and max(rows, columns) <= reach // 2
            assert bool(mask[here, there]) == is_hidden


@pytest.mark.parametrize("reach", [0, 3])
def test_a_feature_is_not_reconstructed_from_its_neighbourhood(module: Any, reach: int) -> None:
    """Without encoder layers what a token becomes hangs on the features that it may look at."""
    network = transformer(module, neighbourhood=reach, encoder_layers=0)
    features = torch.randn(1, 5, 6, 6, requires_grad=True)
    # One attention: the second one looks at tokens that have looked at all others.
    memory = network.reduce(features.flatten(2).transpose(1, 2))
    layer = network.decoder[0]
    seen = layer.to_memory(layer.queries.expand_as(memory), memory, network.places(), network.mask)
    (slopes,) = torch.autograd.grad(seen[0, 2 * 6 + 2].square().sum(), features)
    hangs = slopes[0].abs().sum(dim=0) > 0
    expected = torch.ones(6, 6, dtype=torch.bool)
    if reach:
        expected[1:4, 1:4] = False
    assert torch.equal(hangs, expected)


def test_each_decoder_layer_looks_at_the_memory_and_then_at_the_layer_before(module: Any) -> None:
    network = transformer(module, decoder_layers=2)
    layer, other = network.decoder
    # As in the authors' code the layers begin alike, but for what is drawn anew.
    assert torch.equal(layer.queries, other.queries)
    assert layer.queries is not other.queries
    assert not torch.equal(layer.feed_forward.layers[0].weight, other.feed_forward.layers[0].weight)
    places, memory = network.places(), torch.randn(2, 36, 8)
    previous = torch.randn(2, 36, 8)

    def attend(attention: Any, queries: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Multi-head attention, spelt out, then the sum and LayerNorm."""
        inner, weight = attention.attention, attention.attention.in_proj_weight
        found = []
        for part, tokens in zip(
            weight.chunk(3), (queries + places, seen + places, seen), strict=True
        ):
            found.append((tokens @ part.T).unflatten(2, (2, 4)).transpose(1, 2))
        scores = found[0] @ found[1].transpose(2, 3) / 2  # square root of 4 a head
        shares = scores.masked_fill(network.mask, -torch.inf).softmax(dim=3)
        joined = (shares @ found[2]).transpose(1, 2).flatten(2)
        return attention.norm(queries + inner.out_proj(joined))

    queries = attend(layer.to_memory, layer.queries.expand(2, -1, -1), memory)
    expected = layer.feed_forward(attend(layer.to_previous, queries, previous))
    torch.testing.assert_close(
        layer(previous, memory, places, network.mask), expected, rtol=1e-4, atol=1e-5
    )


def test_places_mark_columns_beside_rows(module: Any) -> None:
    places = module.Places(3, 4)
    marks = places().unflatten(0, (3, 3))
    assert torch.equal(marks[1, 2], torch.cat([places.columns[2], places.rows[1]]))
    assert torch.equal(marks[2, 0], torch.cat([places.columns[0], places.rows[2]]))


def test_noise_is_as_long_as_the_feature_says(module: Any) -> None:
    features = torch.randn(16, 200, 4, 4)
    features[:8] *= 10
    noise = module.jitter(features, 20.0, draw()) - features
    for part, made in ((features[:8], noise[:8]), (features[8:], noise[8:])):
        lengths = part.norm(dim=1).mean()
        assert float(made.std()) == pytest.approx(20 * float(lengths) / 200, rel=0.02)
    torch.testing.assert_close(module.jitter(features, 0.0, draw()), features)


def test_training_is_held_to_the_features_without_noise(
    uniad: Baseline, training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = uniad.make(epochs=1, batch_size=10, dropout=0.0)
    seen: list[torch.Tensor] = []
    forward = model.transformer.forward

    def listen(features: torch.Tensor) -> torch.Tensor:
        restored = forward(features)
        seen.extend([features.detach(), restored.detach()])
        return restored

    monkeypatch.setattr(model.transformer, "forward", listen)
    listener = Listener()
    model.fit(training_folder, listener)
    monkeypatch.undo()
    split = images.read_training_images(training_folder, model.size)
    clean = model.embed(split.pixels)
    # The order of the images is the seed's; each noisy feature lies nearest to its own clean one.
    order = torch.cdist(seen[0].flatten(1), clean.flatten(1)).argmin(dim=1)
    assert sorted(order.tolist()) == list(range(10))
    expected = (seen[1] - clean[order]).square().mean()
    assert listener.points[0][2] == pytest.approx(float(expected), rel=1e-4)


def test_a_step_is_no_longer_than_its_bound_and_shrinks_at_a_milestone(
    uniad: Baseline, training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = uniad.make(epochs=2, milestones=[1], gradient_norm=0.01)
    norms, rates = [], []
    step = torch.optim.AdamW.step

    def listen(optimiser: torch.optim.AdamW) -> None:
        gradients = [weight.grad.flatten() for weight in model.transformer.parameters()]
        norms.append(float(torch.cat(gradients).norm()))
        rates.append(optimiser.param_groups[0]["lr"])
        step(optimiser)

    monkeypatch.setattr(torch.optim.AdamW, "step", listen)
    model.fit(training_folder, Listener())
    assert max(norms) <= 0.0101
    rate = model.params["learning_rate"]
    assert rates == pytest.approx([rate] * 3 + [rate / 10] * 3)


def test_the_backbone_stays_and_all_else_learns(uniad: Baseline, training_folder: Path) -> None:
    model = uniad.make()
    backbone = [value.clone() for value in model.backbone.state_dict().values()]
    before = {name: value.clone() for name, value in model.transformer.named_parameters()}
    model.fit(training_folder, Listener(model))
    after = model.backbone.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(backbone, after, strict=True))
    unmoved = {
        name
        for name, value in model.transformer.named_parameters()
        if torch.equal(value, before[name])
    }
    assert not unmoved


def test_the_map_is_the_length_of_the_difference_and_the_score_its_largest_mean(
    uniad: Baseline,
) -> None:
    model, image = uniad.make(), slice_image(3, 64, 64)
    anomaly_map, score = model.predict(image)
    with torch.inference_mode():
        features = model.embed(images.from_array(image, 64))
        difference = (model.transformer(features) - features)[0].double().numpy()
    lengths = torch.from_numpy(np.sqrt((difference**2).sum(axis=0)))[None, None]
    upsampled = nn.UpsamplingBilinear2d(scale_factor=16)(lengths)[0, 0]
    np.testing.assert_allclose(anomaly_map, upsampled, rtol=1e-4)
    windows = np.lib.stride_tricks.sliding_window_view(upsampled.numpy(), (16, 16))
    assert score == pytest.approx(float(windows.mean(axis=(2, 3)).max()), rel=1e-5)
    assert score < anomaly_map.max()


def test_all_layers_meet_on_the_tokens_grid(uniad: Baseline) -> None:
    model = uniad.make(image_size=96)
    features = model.embed(torch.randint(256, (2, 1, 96, 96), dtype=torch.uint8))
    assert features.shape == (2, 64 + 128 + 256, 6, 6)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image_size": 72}, "multiple of 16"),
        ({"neighbourhood": 4}, "must be odd"),
        ({"neighbourhood": 7}, "would see nothing"),
        ({"width": 18}, "multiple of heads"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    uniad: Baseline, changes: dict[str, int], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        uniad.make(**changes)
