"""UTRAD's own arithmetic against closed forms and the plainest way to compute the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.kit import transformer_layers

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image


@pytest.fixture(scope="module")
def utrad() -> Baseline:
    return open_baseline(BASELINES / "utrad")


@pytest.fixture(scope="module")
def module(utrad: Baseline) -> Any:
    return sys.modules[utrad.model.__module__]


def test_the_papers_transformer_has_92_million_weights(utrad: Baseline, module: Any) -> None:
    params = utrad.entry.settings("brain").params
    with torch.device("meta"):
        network = module.UTransformer(448, params)
        restored, scale = network(torch.empty(2, 448, 64, 64))
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e6, 1) == 91.7
    assert (restored.shape, scale.shape) == ((2, 448, 64, 64), (2, 1, 64, 64))


def test_windows_are_squares_of_the_grid_row_by_row(module: Any) -> None:
    grid = torch.arange(2 * 6 * 6 * 3).view(2, 6, 6, 3)
    windows = module.to_windows(grid, 2)
    assert windows.shape == (18, 4, 3)
    for number, window in enumerate(windows):
        image, row, column = number // 9, number % 9 // 3, number % 3
        square = grid[image, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(window, square.reshape(4, 3))
    assert torch.equal(module.from_windows(windows, 3, 2), grid)


def test_a_window_is_spelt_out_where_it_was_summed_up(utrad: Baseline, module: Any) -> None:
    """A change at one position of a network with fresh weights moves that position the most."""
    torch.manual_seed(0)
    network = utrad.make().transformer.eval()
    features = torch.randn(1, 64, 16, 16)
    changed = features.clone()
    changed[0, :, 5, 11] += 20
    with torch.inference_mode():
        moved = (network(changed)[0] - network(features)[0]).abs().sum(dim=1)[0]
    window = moved[4:8, 8:12]
    assert window.min() > 1.5 * moved[8:].max()


def test_one_norm_ends_all_encoders_and_another_all_decoders(utrad: Baseline) -> None:
    first, second = utrad.make().transformer.levels
    assert first.encoder.norm is second.encoder.norm
    assert first.decoder.norm is second.decoder.norm
    assert first.encoder.norm is not first.decoder.norm
    assert first.encoder.layers[0].norm1 is not second.encoder.layers[0].norm1


@pytest.mark.parametrize("positions_learn", [False, True])
def test_positions_learn_only_where_they_are_told_to(
    utrad: Baseline, training_folder: Path, positions_learn: bool
) -> None:
    model = utrad.make(positions_learn=positions_learn)
    before = {name: value.clone() for name, value in model.transformer.named_parameters()}
    backbone = [value.clone() for value in model.backbone.state_dict().values()]
    model.fit(training_folder, Listener())
    still = {
        name
        for name, value in model.transformer.named_parameters()
        if torch.equal(value, before[name])
    }
    assert still == (set() if positions_learn else {name for name in before if "places" in name})
    after = model.backbone.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(backbone, after, strict=True))


def test_the_loss_by_hand(utrad: Baseline) -> None:
    features = torch.zeros(1, 2, 1, 2)
    restored = torch.tensor([[[[3.0, 0.0]], [[4.0, 1.0]]]], requires_grad=True)
    scale = torch.tensor([[[[4.0, 3.0]]]], requires_grad=True)
    loss = utrad.model.loss(features, restored, scale)
    loss.backward()
    assert loss.item() == pytest.approx((9 + 16 + 1) / 4 + (1 + 4) / 2)
    # The scale's loss does not reach the reconstruction.
    torch.testing.assert_close(restored.grad, restored.detach() / 2)
    torch.testing.assert_close(scale.grad, torch.tensor([[[[-1.0, 2.0]]]]))


def test_the_scale_does_not_pull_at_the_reconstruction(utrad: Baseline) -> None:
    network = utrad.make().transformer
    _, scale = network(torch.randn(2, 64, 16, 16))
    scale.sum().backward()
    assert all(weight.grad is None for weight in network.levels.parameters())
    assert all(weight.grad is not None for weight in network.scale.parameters())


def test_maps_are_those_of_torchs_own_layers_after_the_same_training(
    utrad: Baseline, module: Any, training_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout: the same numbers are drawn for the same tokens."""
    maps = []
    for own in (True, False):
        if not own:
            monkeypatch.setattr(module, "EncoderLayer", torch.nn.TransformerEncoderLayer)
            monkeypatch.setattr(module, "DecoderLayer", torch.nn.TransformerDecoderLayer)
        model = utrad.make(learning_rate=1e-4)
        assert model.params["dropout"] > 0
        model.fit(training_folder, Listener())
        maps.append(model.predict(slice_image(64, 64, 64))[0])
    tolerance = 1e-5 * float(np.ptp(maps[1]))
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=tolerance)


@pytest.mark.parametrize("is_self", [True, False])
def test_attention_gives_the_same_however_it_lies_in_memory(
    is_self: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    memory = torch.randn(3, 5, 8)
    queries = memory if is_self else torch.randn(3, 4, 8)
    on_cpu = transformer_layers.attend(attention, queries, memory)
    monkeypatch.setattr(transformer_layers, "draws_by_place", lambda _device: False)
    on_gpu = transformer_layers.attend(attention, queries, memory)
    assert on_gpu.is_contiguous()
    torch.testing.assert_close(on_cpu, on_gpu)
    torch.testing.assert_close(on_gpu, attention(queries, memory, memory)[0])


def test_the_map_is_the_mean_over_pooled_ratios(utrad: Baseline, training_folder: Path) -> None:
    model = utrad.make()
    model.fit(training_folder, Listener())
    image = slice_image(7, 64, 64)
    found, score = model.predict(image)
    with torch.inference_mode():
        features = model.embed(torch.from_numpy(image)[None, None])
        restored, scale = model.transformer(features)
    distance = np.linalg.norm((restored - features)[0].double().numpy(), axis=0)
    ratio = distance / np.abs(scale[0, 0].numpy())
    expected = np.zeros((16, 16))
    for window in (1, 4, 16):
        means = ratio.reshape(16 // window, window, 16 // window, window).mean(axis=(1, 3))
        pooled = torch.from_numpy(means)[None, None]
        expected += torch.nn.functional.interpolate(pooled, (16, 16), mode="bilinear")[0, 0].numpy()
    whole = torch.from_numpy(expected / 3)[None, None]
    large = torch.nn.functional.interpolate(whole, (64, 64), mode="bilinear")[0, 0]
    np.testing.assert_allclose(found, large, rtol=1e-4)
    assert score == found.max()


def test_augmentation_turns_and_moves_within_its_bounds(module: Any) -> None:
    images = torch.zeros(200, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 31:33, 31:33] = 200
    still = module.turned(images, 0.0, 0, torch.Generator())
    assert still is images
    moved = module.turned(images, 0.0, 5, torch.Generator().manual_seed(0))
    assert moved.unique().tolist() == [0, 200]
    assert (moved == 200).sum() == 4 * len(images)
    corners = (moved[:, 0] == 200).nonzero().view(200, 4, 3)[:, 0, 1:] - 31
    assert (corners.min(), corners.max()) == (-5, 5)
    # A dot at the border of a 200-fold turn lies on an arc of 10 degrees to either side.
    images.zero_()
    images[:, :, 31:33, 60:62] = 200
    turned = module.turned(images, 10.0, 0, torch.Generator().manual_seed(0))
    y, x = ((turned[:, 0] == 200).nonzero()[:, 1:] - 31.5).unbind(dim=1)
    angles = torch.rad2deg(torch.atan2(y, x))
    assert 9 < angles.max() < 13
    assert -13 < angles.min() < -9


def test_the_official_augmentation_reaches_the_training(
    utrad: Baseline, training_folder: Path
) -> None:
    plain, turned = Listener(), Listener()
    utrad.make().fit(training_folder, plain)
    utrad.make(rotation=10.0, padding=8).fit(training_folder, turned)
    assert plain.points[0][0] == turned.points[0][0]
    assert plain.points[0][2] != turned.points[0][2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 128}, "2 levels of windows of 4 need 64"),
        ({"activation": "tanh"}, "it can be gelu or relu"),
        ({"width": 34}, "must be a multiple of heads and of 8"),
    ],
)
def test_a_wrong_setting_says_what_is_possible(
    utrad: Baseline, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        utrad.make(**change)
