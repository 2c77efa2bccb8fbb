"""DRAEM's own arithmetic, and the anomalies it learns from, against the plainest way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import functional as transforms

from baselines.kit import images, perlin, synthetic_anomalies

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def draem() -> Baseline:
    return open_baseline(BASELINES / "draem")


@pytest.fixture(scope="module")
def module(draem: Baseline) -> Any:
    return sys.modules[draem.model.__module__]


@pytest.fixture(scope="module")
def split(training_folder: Path) -> images.TrainingImages:
    return images.read_training_images(training_folder, 32)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- noise -------------------------------------------------------------------------------


def test_noise_is_zero_at_the_lattice_and_follows_its_gradients() -> None:
    angles = torch.tensor(generator().uniform(0, 2 * np.pi, (4, 3)))
    (noise,) = perlin.perlin_noise(60, torch.tensor([[3, 2]]), angles[None])
    lattice = noise[::20, ::30]
    assert float(lattice.abs().max()) < 1e-12
    step = noise[1, 0] / 2**0.5  # a twentieth of a cell along the first gradient
    assert float(step) == pytest.approx(float(angles[0, 0].cos()) / 20, rel=0.1, abs=5e-3)


@pytest.mark.parametrize(("size", "cells"), [(64, (1, 1)), (64, (4, 32)), (50, (8, 2))])
def test_noise_is_the_sum_of_faded_ramps(size: int, cells: tuple[int, int]) -> None:
    angles = generator(1).uniform(0, 2 * np.pi, (cells[0] + 1, cells[1] + 1))
    (noise,) = perlin.perlin_noise(size, torch.tensor([cells]), torch.from_numpy(angles)[None])

    def weight(distance: float) -> float:
        away = abs(distance)
        return 1 - (6 * away**5 - 15 * away**4 + 10 * away**3) if away < 1 else 0.0

    for row, column in ((0, 0), (7, 13), (size - 1, size - 1), (31, 2)):
        y, x = row * cells[0] / size, column * cells[1] / size
        total = 0.0
        for i in range(cells[0] + 1):
            for j in range(cells[1] + 1):
                ramp = np.cos(angles[i, j]) * (y - i) + np.sin(angles[i, j]) * (x - j)
                total += weight(y - i) * weight(x - j) * ramp
        assert float(noise[row, column]) == pytest.approx(2**0.5 * total, abs=1e-9)


def test_masks_are_of_many_sizes() -> None:
    random = generator()
    masks = perlin.masks_of([perlin.MaskDraw.of(random) for _ in range(60)], 32, CPU)
    assert masks.shape == (60, 1, 32, 32)
    shares = masks.float().mean(dim=(1, 2, 3))
    assert float(shares.min()) < 0.02
    assert 0.1 < float(shares.max()) < 0.9


def test_noise_of_a_batch_is_that_of_each_alone() -> None:
    random = generator(2)
    draws = [perlin.NoiseDraw.of(random) for _ in range(12)]
    assert len({draw.cells for draw in draws}) > 6
    alone = [perlin.noise_of([draw], 48, CPU) for draw in draws]
    assert torch.equal(perlin.noise_of(draws, 48, CPU), torch.cat(alone))


def test_each_image_is_turned_by_its_own_angle_as_torchvision_turns_it() -> None:
    batch = torch.rand(5, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    degrees = [-77.0, 12.5, 0.25, 45.0, 89.0]
    expected = [
        transforms.rotate(image, angle, transforms.InterpolationMode.BILINEAR)
        for image, angle in zip(batch, degrees, strict=True)
    ]
    assert torch.equal(perlin.rotated(batch, degrees), torch.stack(expected))
    quarter = perlin.rotated(batch, [90.0] * 5)
    torch.testing.assert_close(quarter, torch.rot90(batch, 1, (2, 3)), rtol=0, atol=1e-5)


# --- textures ----------------------------------------------------------------------------


def test_every_augmentation_changes_a_texture_and_keeps_its_form(
    split: images.TrainingImages,
) -> None:
    texture = Image.fromarray(generator().integers(0, 256, (32, 32, 3)).astype(np.uint8))
    for augment in synthetic_anomalies.AUGMENTATIONS:
        found = [np.array(augment(texture, generator(seed))) for seed in range(8)]
        assert all(each.shape == (32, 32, 3) and each.dtype == np.uint8 for each in found)
        assert any((each != np.array(texture)).any() for each in found)
    again = [synthetic_anomalies.augmented(np.array(texture), generator(3)) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_textures_come_from_noise_from_training_images_or_from_a_folder(
    split: images.TrainingImages, tmp_path: Path
) -> None:
    (tmp_path / "striped").mkdir()
    Image.new("RGB", (50, 40), (10, 20, 30)).save(tmp_path / "striped" / "a.jpg")
    (tmp_path / "readme.txt").write_text("no image")
    for kind in ("perlin", "training", "folder"):
        textures = synthetic_anomalies.textures_of(kind, 32, split, tmp_path)
        texture = textures.draw(generator())
        assert texture.shape == (32, 32, 3)
        assert texture.dtype == np.uint8
        np.testing.assert_array_equal(texture, textures.draw(generator()))
    assert np.abs(texture.astype(int) - (10, 20, 30)).max() < 4  # as JPEG keeps it
    drawn = synthetic_anomalies.textures_of("training", 32, split, None).draw(generator())
    assert any((drawn[..., 0] == image[0].numpy()).all() for image in split.pixels)


def test_a_folder_without_textures_is_one_clear_error(
    draem: Baseline, training_folder: Path, tmp_path: Path
) -> None:
    for weights in (tmp_path, None):
        model = draem.make(weights=weights, textures="folder")
        with pytest.raises(FileNotFoundError, match=r"no texture in .*--set textures=training"):
            model.fit(training_folder, Listener())


def test_a_model_learns_from_a_folder_inside_the_weights_folder(
    draem: Baseline, training_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    Image.fromarray(slice_image(7)).save(tmp_path / "mine" / "a.png")
    model = draem.make(weights=tmp_path, textures="folder", texture_folder="mine", epochs=1)
    model.fit(training_folder, Listener())
    assert np.isfinite(model.predict(slice_image(1))[1])


# --- images ------------------------------------------------------------------------------


def maker(split: images.TrainingImages, **changes: Any) -> synthetic_anomalies.AnomalyMaker:
    settings = {
        "textures": synthetic_anomalies.ImageTextures(split),
        "share": 1.0,
        "opacity": (1.0, 1.0),
        "is_grey": False,
    }
    return synthetic_anomalies.AnomalyMaker(**(settings | changes))


def test_images_change_inside_the_mask_alone(split: images.TrainingImages) -> None:
    batch = images.normalise(split.pixels, "unit")
    before = batch.clone()
    spoilt, masks = maker(split, opacity=(0.2, 1.0)).spoil(batch, generator())
    assert torch.equal(batch, before)
    assert masks.shape == (10, 1, 32, 32)
    assert masks.any()
    outside = ~masks.expand_as(batch)
    assert torch.equal(spoilt[outside], batch[outside])
    assert 0 <= float(spoilt.min()) <= float(spoilt.max()) <= 1
    assert not torch.equal(spoilt, batch)


def test_opacity_is_the_textures_share(split: images.TrainingImages) -> None:
    batch = torch.zeros(6, 3, 32, 32)
    full, masks = maker(split).spoil(batch, generator(4))
    thin, same = maker(split, opacity=(0.25, 0.25)).spoil(batch, generator(4))
    assert torch.equal(masks, same)
    torch.testing.assert_close(thin, 0.25 * full)
    none, _ = maker(split, opacity=(0.0, 0.0)).spoil(batch, generator(4))
    assert torch.equal(none, batch)


def test_a_share_of_the_images_is_spoilt(split: images.TrainingImages) -> None:
    batch = torch.full((200, 3, 32, 32), 0.5)
    _, never = maker(split, share=0.0).spoil(batch, generator())
    assert not never.any()
    _, masks = maker(split, share=0.5).spoil(batch, generator())
    spoilt = masks.flatten(1).any(dim=1).float().mean()
    assert 0.3 < float(spoilt) < 0.6  # of those chosen some masks are empty


def test_textures_in_grey_images_are_grey(split: images.TrainingImages) -> None:
    batch = images.normalise(split.pixels, "unit").repeat(3, 1, 1, 1)
    for is_grey in (True, False):
        spoilt, _ = maker(split, is_grey=is_grey).spoil(batch, generator())
        has_colour = bool((spoilt[:, 0] != spoilt[:, 1]).any())
        assert has_colour != is_grey


def one_by_one(
    maker: synthetic_anomalies.AnomalyMaker, batch: torch.Tensor, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The anomalies of a batch as they were made before: drawn, computed and pasted in turn."""
    spoilt, masks = batch.clone(), torch.zeros_like(batch[:, :1], dtype=torch.bool)
    for index in range(len(batch)):
        if random.random() >= maker.share:
            continue
        noise = perlin.noise_of([perlin.NoiseDraw.of(random)], batch.shape[-1], CPU)
        degrees = random.uniform(-90, 90)
        mask = transforms.rotate(noise, degrees, transforms.InterpolationMode.BILINEAR) > 0.5
        texture = torch.from_numpy(maker.texture(random)).permute(2, 0, 1).float() / 255
        opacity = random.uniform(*maker.opacity)
        blend = opacity * texture + (1 - opacity) * batch[index]
        spoilt[index], masks[index] = torch.where(mask, blend, batch[index]), mask
    return spoilt, masks


@pytest.mark.parametrize("is_grey", [True, False])
def test_a_batch_is_spoilt_as_its_images_one_by_one(
    split: images.TrainingImages, is_grey: bool
) -> None:
    batch = images.normalise(split.pixels, "unit")
    noisy = maker(
        split, textures=synthetic_anomalies.NoiseTextures(32), share=0.6, opacity=(0.2, 1.0),
        is_grey=is_grey,
    )  # fmt: skip
    for seed in range(3):
        together, apart = generator(seed), generator(seed)
        expected = one_by_one(noisy, batch, apart)
        for found, wanted in zip(noisy.spoil(batch, together), expected, strict=True):
            assert torch.equal(found, wanted)
        assert together.random() == apart.random()  # not one draw more or fewer


class Waits(TorchDispatchMode):
    """Counts what would make the CPU wait for a GPU: blocking copies to it, and from it any."""

    def __init__(self) -> None:
        super().__init__()
        self.copies, self.waits = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        source = next((each for each in args if isinstance(each, torch.Tensor)), None)
        if name == "_to_copy" and source is not None and source.device != kwargs.get("device"):
            crosses = kwargs.get("device") is not None
            self.copies += crosses
            self.waits += crosses and not kwargs.get("non_blocking", False)
        self.waits += name in {"_local_scalar_dense", "nonzero", "masked_select"}
        return func(*args, **kwargs)


def test_preparing_a_step_waits_for_no_device(
    draem: Baseline, split: images.TrainingImages
) -> None:
    # Tensors on "meta" have shapes and no numbers: what needs a number of the device fails there.
    meta = torch.device("meta")
    model = draem.make(turned_share=0.5)
    with Waits() as seen:
        batch = torch.empty(10, 3, 32, 32, device=meta)
        turned = model._turned(batch, generator())
        spoilt, masks = maker(split).spoil(turned, generator())
    assert spoilt.device == masks.device == meta
    assert spoilt.shape == batch.shape
    assert seen.copies > 5
    assert seen.waits == 0
    with Waits() as seen:
        torch.ones(3).to(meta)
    assert seen.waits == 1


# --- the method --------------------------------------------------------------------------


def test_structural_similarity_is_scikit_images(module: Any) -> None:
    # scikit-image mirrors at the border, we see zeros there: images that end in zeros agree.
    one, two = (np.pad(slice_image(seed, 48, 48) / 255.0, 12) for seed in (0, 1))
    _, expected = structural_similarity(
        one, two, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    tensors = [torch.from_numpy(image).float()[None, None] for image in (one, two)]
    assert float(module.structural_similarity(*tensors)) == pytest.approx(expected.mean(), abs=1e-5)
    assert float(module.structural_similarity(tensors[0], tensors[0])) == pytest.approx(1)


def test_the_focal_loss_is_its_formula_and_counts_both_classes(module: Any) -> None:
    logits = torch.tensor([[[[2.0, -1.0]], [[0.5, 1.0]]]])  # (1, 2, 1, 2)
    masks = torch.tensor([[[[False, True]]]])
    right = [1 / (1 + np.exp(0.5 - 2)), 1 / (1 + np.exp(-1 - 1))]
    expected = np.mean([-((1 - p) ** 2) * np.log(p) for p in right])
    assert float(module.focal_loss(logits, masks, 2.0)) == pytest.approx(expected, rel=1e-3)
    entropy = np.mean([-np.log(p) for p in right])
    assert float(module.focal_loss(logits, masks, 0.0)) == pytest.approx(entropy, rel=1e-3)
    certain = torch.tensor([[[[-50.0, -50.0]], [[50.0, 50.0]]]])
    assert 5 < float(module.focal_loss(certain, masks, 2.0)) < 6.5  # half of it is wrong: log 1e-5


def test_the_loss_is_the_sum_of_three(draem: Baseline, module: Any) -> None:
    model = draem.make()
    random = torch.Generator().manual_seed(0)
    normal, repaired = (torch.rand(2, 3, 32, 32, generator=random) for _ in range(2))
    logits, masks = torch.randn(2, 2, 32, 32, generator=random), normal[:, :1] > 0.8
    parts = (
        float((repaired - normal).square().mean())
        + (1 - float(module.structural_similarity(repaired, normal)))
        + float(module.focal_loss(logits, masks, 2.0))
    )
    assert float(model.loss(normal, masks, repaired, logits)) == pytest.approx(parts)


def test_the_networks_have_the_papers_size(module: Any) -> None:
    with torch.device("meta"):
        networks = module.Networks(128, 64)
    assert round(sum(value.numel() for value in networks.parameters()) / 1e6, 1) == 97.4
    kernels = [part for part in networks.modules() if isinstance(part, torch.nn.Conv2d)]
    assert len(kernels) == 10 + 13 + 12 + 16


def test_weights_start_as_the_authors_start_them(module: Any) -> None:
    for part in module.Networks(8, 8).modules():
        if isinstance(part, torch.nn.Conv2d) and part.weight.numel() > 5000:
            assert float(part.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        if isinstance(part, torch.nn.BatchNorm2d):
            assert float(part.weight.detach().mean()) == pytest.approx(1, abs=0.03)


def test_the_segmentation_sees_the_repaired_image_first(module: Any) -> None:
    networks = module.Networks(2, 2).eval()
    batch = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        repaired, logits = networks(batch)
        assert repaired.shape == batch.shape
        assert logits.shape == (1, 2, 32, 32)
        expected = networks.segmentation(torch.cat([repaired, batch], dim=1))
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("window", [1, 21])
def test_the_score_is_the_largest_mean_over_a_window(draem: Baseline, window: int) -> None:
    model = draem.make(score_window=window)
    anomaly_map, score = model.predict(slice_image(3, 64, 64))
    reach = window // 2
    padded = np.pad(anomaly_map.astype(np.float64), reach)
    means = np.lib.stride_tricks.sliding_window_view(padded, (window, window)).mean(axis=(2, 3))
    assert means.shape == (64, 64)
    assert score == pytest.approx(means.max(), rel=1e-5)
    assert 0 <= anomaly_map.min() <= anomaly_map.max() <= 1


def test_training_images_are_turned_where_that_is_asked_for(draem: Baseline) -> None:
    batch = torch.rand(40, 3, 32, 32)
    assert torch.equal(draem.make()._turned(batch, generator()), batch)
    turned = draem.make(turned_share=0.5)._turned(batch, generator())
    share = (turned != batch).flatten(1).any(dim=1).float().mean()
    assert 0.3 < float(share) < 0.7


def test_both_networks_learn(draem: Baseline, training_folder: Path) -> None:
    model = draem.make()
    before = {name: value.clone() for name, value in model.networks.named_parameters()}
    listener = Listener()
    model.fit(training_folder, listener)
    moved = {
        name for name, value in model.networks.named_parameters() if (value != before[name]).any()
    }
    assert moved == set(before)


@pytest.mark.parametrize(
    ("setting", "value"), [("image_size", 48), ("score_window", 20), ("textures", "wood")]
)
def test_settings_that_make_no_model_are_refused(
    draem: Baseline, training_folder: Path, setting: str, value: object
) -> None:
    with pytest.raises(ValueError, match=setting):
        draem.make(**{setting: value}).fit(training_folder, Listener())
