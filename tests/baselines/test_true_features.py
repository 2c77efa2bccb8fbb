"""The tests' true backbone is the published network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional

from .true_features import ARCHITECTURE, DEVIATION, MEAN, REPEATS, published, timm_name

# Kernel, stride, widening and channels of each stage: EfficientNet-B0 (Tan and Le 2019, table 1).
STAGES = (
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (5, 2, 6, 40),
    (3, 2, 6, 80),
    (5, 1, 6, 112),
    (5, 2, 6, 192),
    (3, 1, 6, 320),
)
EPSILON = 1e-3  # of TensorFlow's batch normalisation
PALACE, DAISY = 698, 985  # ImageNet's classes


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return published()


@pytest.fixture(scope="module")
def network(tensors: Mapping[str, Tensor]) -> nn.Module:
    made: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False).eval()
    made.load_state_dict({timm_name(name): value for name, value in tensors.items()}, strict=True)
    return made


def photograph(name: str) -> Tensor:
    """One of scikit-learn's two photographs, its middle (1, 3, 224, 224), normalised."""
    whole = Image.fromarray(load_sample_image(name)).resize((256, 256))
    middle = np.asarray(whole.crop((16, 16, 240, 240)), np.float32) / 255
    return (torch.from_numpy(middle).permute(2, 0, 1)[None] - MEAN) / DEVIATION


def same(images: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """TensorFlow's `SAME` convolution: what cannot be shared out evenly is padded behind."""
    kernel, side = weight.shape[-1], images.shape[-1]
    missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    before = missing // 2
    padded = functional.pad(images, [before, missing - before] * 2)
    return functional.conv2d(padded, weight, stride=stride, groups=groups)


def written_out(tensors: Mapping[str, Tensor], images: Tensor) -> Iterator[Tensor]:
    """The output of every block, straight from the published table."""

    def normalised(features: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(features, mean, variance, weight, bias, eps=EPSILON)

    features = functional.relu6(
        normalised(same(images, tensors["_conv_stem.weight"], stride=2), "_bn0")
    )
    number = 0
    for (_, first_stride, widening, _), repeats in zip(STAGES, REPEATS, strict=True):
        for repeat in range(repeats):
            block, stride = f"_blocks.{number}", first_stride if repeat == 0 else 1
            entering = features
            if widening > 1:
                wide = functional.conv2d(features, tensors[f"{block}._expand_conv.weight"])
                features = functional.relu6(normalised(wide, f"{block}._bn0"))
            depthwise = tensors[f"{block}._depthwise_conv.weight"]
            deep = same(features, depthwise, stride, groups=len(depthwise))
            features = functional.relu6(normalised(deep, f"{block}._bn1"))
            narrow = functional.conv2d(features, tensors[f"{block}._project_conv.weight"])
            features = normalised(narrow, f"{block}._bn2")
            if repeat:
                features = features + entering
            yield features
            number += 1


def test_every_tensor_has_a_place_of_its_own(tensors: Mapping[str, Tensor]) -> None:
    theirs = timm.create_model(ARCHITECTURE, pretrained=False).state_dict()
    assert {timm_name(name): value.shape for name, value in tensors.items()} == {
        name: value.shape for name, value in theirs.items()
    }


def test_the_published_shapes_are_those_of_the_papers_table(tensors: Mapping[str, Tensor]) -> None:
    rows = [row for row, repeats in zip(STAGES, REPEATS, strict=True) for _ in range(repeats)]
    for number, (kernel, _, _, channels) in enumerate(rows):
        block = f"_blocks.{number}"
        assert tensors[f"{block}._depthwise_conv.weight"].shape[2:] == (kernel, kernel)
        assert len(tensors[f"{block}._project_conv.weight"]) == channels


@torch.inference_mode()
def test_features_are_those_of_the_network_written_out_from_the_papers_table(
    tensors: Mapping[str, Tensor],
) -> None:
    ours = timm.create_model(ARCHITECTURE, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    ours.load_state_dict(
        {timm_name(name): value for name, value in tensors.items()}, strict=False
    )  # its head is left out
    image = photograph("china.jpg")[..., :96, :96]
    blocks = list(written_out(tensors, image))
    expected = [blocks[2], blocks[4], blocks[10], blocks[15]]  # the last of each stride
    for found, right, stride in zip(ours(image), expected, (4, 8, 16, 32), strict=True):
        assert found.shape[-1] == 96 // stride
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
def test_the_network_knows_what_a_photograph_shows(
    network: nn.Module, name: str, label: int
) -> None:
    assert label in network(photograph(name))[0].topk(3).indices
