"""A maintainer's own backbone: what its description may say, and every baseline that can take it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from baselines.kit import backbones, images
from baselines.kit.own_backbones import BadDescription, find_file, own_names, read_description
from harness.entries.entry import Entry

from .conftest import BASELINES, Listener, open_baseline
from .exchangeable import RESNETS_ALONE, exchangeable

NAME, ARCHITECTURE = "mine", "tf_efficientnet_lite0"
MEAN, STD = (0.5, 0.25, 0.125), (0.1, 0.2, 0.4)
LAYERS = ("layer1", "layer2", "layer3", "layer4")


def write_own(
    folder: Path, name: str = NAME, architecture: str = ARCHITECTURE, **more: Any
) -> Path:
    """A description and its file of one of timm's networks, with random weights of seed 7."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(7)
    network = timm.create_model(architecture, pretrained=False)
    path = folder / f"{name}.safetensors"
    save_file(more.pop("tensors", None) or network.state_dict(), path)
    told = {
        "architecture": architecture,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "mean": list(MEAN),
        "std": list(STD),
        **more,
    }
    text = "\n".join(f"{key} = {value!r}" for key, value in told.items())
    (folder / f"{name}.toml").write_text(text)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_own(folder)
    return folder


def own(folder: Path, layers: tuple[str, ...] = LAYERS, **more: Any) -> backbones.Backbone:
    how = {"weights": "imagenet", "seed": 0} | more
    return backbones.Backbone(NAME, layers, folder=folder, **how)


def test_its_layers_are_the_stages_of_timms_network_by_their_stride(weights: Path) -> None:
    torch.manual_seed(7)
    whole = timm.create_model(ARCHITECTURE, pretrained=False).eval()
    probe = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = whole.bn1(whole.conv_stem(probe))
        found = {}
        for index, block in enumerate(whole.blocks):
            expected = block(expected)
            found[f"blocks.{index}"] = expected
    told = own(weights)(probe)
    assert [tuple(layer.shape[2:]) for layer in told] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    for layer, stage in zip(told, ("blocks.1", "blocks.2", "blocks.4", "blocks.6"), strict=True):
        torch.testing.assert_close(layer, found[stage])
    (by_name,) = own(weights, ("blocks.4",))(probe)
    assert torch.equal(by_name, told[2])
    assert own(weights).channels() == (24, 40, 112, 320)


def test_images_are_normalised_as_its_description_says(weights: Path) -> None:
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    expected = np.stack(
        [(pixels[0, c].numpy() / 255 - MEAN[c]) / STD[c] for c in range(3)]
    ).astype(np.float32)  # fmt: skip
    found = own(weights, ("layer1",)).normalise(pixels)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-5, atol=1e-6)
    known = backbones.Backbone("resnet18", ("layer1",), weights="random", folder=None, seed=0)
    assert torch.equal(known.normalise(pixels), images.normalise(pixels, "imagenet"))


@pytest.mark.parametrize(
    ("architecture", "shapes"),
    [
        ("swin_tiny_patch4_window7_224", [(96, 16, 16), (192, 8, 8)]),  # timm's is channels last
        ("convnext_atto", [(40, 16, 16), (80, 8, 8)]),  # timm renames its stages
    ],
)
def test_networks_of_other_forms_give_the_same_stages(
    tmp_path: Path, architecture: str, shapes: list[tuple[int, ...]]
) -> None:
    write_own(tmp_path, architecture=architecture)
    layers = own(tmp_path, LAYERS[:2])(torch.rand(1, 3, 64, 64))
    assert [tuple(layer.shape[1:]) for layer in layers] == shapes


def test_a_network_of_one_stride_is_asked_for_its_blocks(weights: Path, tmp_path: Path) -> None:
    text = (weights / f"{NAME}.toml").read_text()
    for architecture in ("vit_tiny_patch16_224", "maxvit_tiny_tf_224"):
        (tmp_path / f"{NAME}.toml").write_text(text.replace(ARCHITECTURE, architecture))
        if architecture.startswith("maxvit"):
            with pytest.raises(ValueError, match="takes images of one size alone"):
                own(tmp_path, weights="random")
            continue
        layers = own(tmp_path, ("blocks.3", "layer3"), weights="random")(torch.rand(1, 3, 64, 96))
        assert [tuple(layer.shape) for layer in layers] == [(1, 192, 4, 6)] * 2
        with pytest.raises(ValueError, match="has no layer 'layer1'"):
            own(tmp_path, weights="random")


def test_random_weights_need_the_description_alone(weights: Path, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.toml").write_bytes((weights / f"{NAME}.toml").read_bytes())
    first, second = (own(tmp_path, weights="random", seed=seed) for seed in (1, 2))
    probe = torch.rand(1, 3, 32, 32)
    assert first.identity == "random/1"
    assert not torch.equal(first(probe)[0], second(probe)[0])
    assert torch.equal(first(probe)[0], own(tmp_path, weights="random", seed=1)(probe)[0])
    with pytest.raises(backbones.WeightsNotFound, match=f"weights fetch {NAME}"):
        own(tmp_path)


def test_what_comes_of_the_tensors_is_a_part_of_its_identity(tmp_path: Path) -> None:
    write_own(tmp_path)
    before = own(tmp_path).identity
    write_own(tmp_path, mean=[0.0, 0.0, 0.0])
    assert own(tmp_path).identity != before
    assert own(tmp_path).identity.startswith(before[: len("sha256:") + 64])


def test_a_file_of_another_network_or_of_none_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = timm.create_model("resnet18", pretrained=False).state_dict()
    write_own(tmp_path, tensors=other)
    with pytest.raises(ValueError, match=r"does not hold this network: conv_stem\.weight is not"):
        own(tmp_path)
    path = write_own(tmp_path)
    path.write_bytes(b"no tensors")
    write = (tmp_path / f"{NAME}.toml").read_text().splitlines()
    write[1] = f"sha256 = {hashlib.sha256(b'no tensors').hexdigest()!r}"
    (tmp_path / f"{NAME}.toml").write_text("\n".join(write))
    with pytest.raises(ValueError, match="is no safetensors file"):
        own(tmp_path)


DIGEST = "0" * 64
GOOD = {
    "architecture": "'resnet18'", "sha256": f"'{DIGEST}'", "mean": "[0, 0.5, 1]", "std": "[1, 1, 1]",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "'hf-hub:someone/network'"}, "architecture must be a network's name"),
        ({"architecture": "3"}, "architecture must be a network's name"),
        ({"sha256": "'12345678'"}, "sha256 must be 64 hex digits"),
        ({"sha256": None}, "sha256 is missing"),
        ({"mean": "[0.5, 0.5]"}, "mean must be three finite numbers"),
        ({"mean": "[nan, 0.5, 0.5]"}, "mean must be three finite numbers"),
        ({"mean": "[1e400, 0.5, 0.5]"}, "mean must be three finite numbers"),
        ({"std": "[0, 1, 1]"}, "std must be three finite numbers above 0"),
        ({"std": "[true, 1, 1]"}, "std must be three finite numbers above 0"),
        ({"address": "'file:///etc/passwd'"}, "address must be an http address"),
        ({"code": "'import os'"}, "unknown key 'code'"),
        ({"mean": "["}, "is no TOML"),
        ({"mean": "[" * 2000}, "is no TOML"),
        ({"more": "'" + "x" * 5000 + "'"}, "is longer than 4096 bytes"),
    ],
)
def test_a_description_that_says_something_impossible_is_refused(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    told = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in told.items()))
    with pytest.raises(BadDescription, match=message):
        read_description(path)


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("architecture = 3\nmean = 1\n")
    with pytest.raises(
        BadDescription, match=r"sha256 is missing; std is missing; architecture .*; mean"
    ):
        read_description(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", ["../mine", "a/b", ".hidden", "", "UPPER", "x" * 65, "a.b"])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a backbone"):
        find_file(name, tmp_path)


def test_a_name_of_the_table_cannot_be_redefined(tmp_path: Path) -> None:
    write_own(tmp_path, name="resnet18", architecture="resnet18")
    assert not find_file("resnet18", tmp_path).is_own
    assert own_names(tmp_path) == []
    with pytest.raises(BadDescription, match="of the committed table"):
        read_description(tmp_path / "resnet18.toml")


def test_a_layer_or_network_that_is_not_there_is_told(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no layer 'layer9'; it has: .*blocks\.0.*layer1"):
        own(weights, ("layer9",))
    with pytest.raises(ValueError, match="network's order"):
        own(weights, ("layer2", "layer1"))
    text = (weights / f"{NAME}.toml").read_text().replace(ARCHITECTURE, "resnet1999")
    (tmp_path / f"{NAME}.toml").write_text(text)
    with pytest.raises(ValueError, match=r"timm .* has no network 'resnet1999'"):
        own(tmp_path, weights="random")


@pytest.mark.parametrize("entry", exchangeable(), ids=lambda entry: entry.name)
def test_every_baseline_with_a_choice_takes_it(
    entry: Entry,
    weights: Path,
    training_folder: Path,
    test_images: list[np.ndarray],
    tmp_path: Path,
) -> None:
    """Trains, answers, and answers the same after saving and loading."""
    baseline = open_baseline(entry.folder)
    params = baseline.params(weights="imagenet", backbone=NAME)
    params |= {"native_map": True} if "native_map" in params else {}
    model = baseline.model("cpu", 0, params, weights)
    model.fit(training_folder, Listener())
    model.save(tmp_path)
    again = baseline.model("cpu", 0, params, weights)
    again.load(tmp_path)
    for image in test_images[:1]:
        (map_one, score), (map_two, same) = model.predict(image), again.predict(image)
        assert np.isfinite(score)
        assert score == same
        assert map_one.shape == image.shape[:2]
        np.testing.assert_array_equal(map_one, map_two)
    with pytest.raises(ValueError, match="backbone"):
        baseline.model("cpu", 0, params | {"weights": "random"}, weights).load(tmp_path)


@pytest.mark.parametrize("name", RESNETS_ALONE)
def test_what_is_built_for_resnets_alone_refuses_it(weights: Path, name: str) -> None:
    baseline = open_baseline(BASELINES / name)
    with pytest.raises(ValueError, match=r"not supported.*resnet18"):
        baseline.model("cpu", 0, baseline.params(weights="imagenet", backbone=NAME), weights)
