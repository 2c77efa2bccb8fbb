"""The kit's parts against other libraries, or against the plainest way to say the same."""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.spatial.distance import cdist
from torchvision import models

from baselines.kit import (
    backbones,
    determinism,
    images,
    maps,
    memory_bank,
    patches,
    precision,
    saved,
    settings,
    training,
)
from baselines.kit.anomalib_parts import load_part
from baselines.kit.weight_files import WEIGHT_FILES, WeightFile
from harness.contract import NotApplicable

from .conftest import Listener, slice_image

LAYERS = ("layer1", "layer2", "layer3")


def backbone(name: str = "resnet18", layers: tuple[str, ...] = LAYERS, seed: int = 0):
    return backbones.Backbone(name, layers, weights="random", folder=None, seed=seed)


# --- backbones ---------------------------------------------------------------------------


def test_a_random_backbone_is_the_same_for_the_same_seed_alone() -> None:
    torch.manual_seed(5)
    first = backbone(seed=3)
    torch.manual_seed(6)
    probe = torch.rand(1, 3, 64, 64)
    assert torch.equal(first(probe)[2], backbone(seed=3)(probe)[2])
    assert not torch.equal(first(probe)[2], backbone(seed=4)(probe)[2])
    assert first.identity == "random/3"


def test_making_a_backbone_moves_no_other_random_stream() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    backbone()
    assert torch.equal(torch.rand(3), expected)


def test_feature_maps_have_the_shapes_of_the_paper() -> None:
    shapes = [tuple(layer.shape) for layer in backbone()(torch.rand(2, 3, 64, 96))]
    assert shapes == [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6)]


def test_efficientnet_gives_the_end_of_its_sixth_stage() -> None:
    (features,) = backbone("efficientnet_b5", ("features.6",))(torch.rand(1, 3, 64, 64))
    assert features.shape == (1, 304, 2, 2)


def test_a_backbone_never_trains() -> None:
    network = backbone()
    network.train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_feature_maps_of_the_same_seed_can_be_trained_where_a_backbone_cannot() -> None:
    student = backbones.FeatureMaps("resnet18", LAYERS, weights="random", folder=None, seed=0)
    probe = torch.rand(1, 3, 64, 64)
    assert torch.equal(student.eval()(probe)[2], backbone()(probe)[2])
    assert student.train().training
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_vgg_without_its_classifier_is_torchvisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = models.vgg16(weights=None, num_classes=2)
    path = tmp_path / "toy.pth"
    torch.save(whole.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(WEIGHT_FILES, "vgg16", WeightFile("vgg16", path.name, digest[:8], 528))
    layers = ("features.9", "features.30")
    ours = backbones.Backbone("vgg16", layers, weights="imagenet", folder=tmp_path, seed=0)
    probe = torch.rand(1, 3, 32, 32)
    assert torch.equal(ours(probe)[1], whole.features(probe))
    assert torch.equal(ours(probe)[0], whole.features[:10](probe))


@pytest.mark.parametrize(
    ("name", "layers", "weights", "message"),
    [
        ("resnet19", LAYERS, "random", "unknown backbone"),
        ("resnet18", ("layer9",), "random", "has no layer 'layer9'"),
        ("resnet18", ("layer2", "layer1"), "random", "network's order"),
        ("resnet18", LAYERS, "maybe", "'imagenet' or 'random'"),
    ],
)
def test_a_wrong_choice_of_backbone_says_what_is_possible(
    name: str, layers: tuple[str, ...], weights: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        backbones.Backbone(name, layers, weights=weights, folder=None, seed=0)


def test_weights_come_from_the_declared_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = backbones.load_network("resnet18", weights="random", folder=None, seed=7)
    path = tmp_path / "toy.pth"
    torch.save(network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(WEIGHT_FILES, "resnet18", WeightFile("resnet18", path.name, digest[:8], 45))
    loaded = backbones.Backbone("resnet18", LAYERS, weights="imagenet", folder=tmp_path, seed=0)
    probe = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(probe)[2], backbone(seed=7)(probe)[2])
    assert loaded.identity == f"sha256:{digest}"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(backbones.WeightsNotFound, match="has SHA-256"):
        backbones.Backbone("resnet18", LAYERS, weights="imagenet", folder=tmp_path, seed=0)


def test_a_part_of_anomalib_comes_without_its_engine() -> None:
    before = set(sys.modules)
    load_part("models/image/stfpm/loss.py")
    new = {name.split(".")[0] for name in set(sys.modules) - before}
    assert new <= {"baselines"}


def test_a_part_that_is_not_there_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no file models/nothing"):
        load_part("models/nothing.py")


# --- determinism -------------------------------------------------------------------------


def test_threads_are_those_that_the_engine_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads in (2, 1):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        determinism.set_up("cpu", 0)
        assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled()


def test_every_purpose_has_a_stream_of_its_own() -> None:
    seeds = {determinism.seed_for(seed, name) for seed in range(20) for name in ("a", "b")}
    assert len(seeds) == 40


# --- images ------------------------------------------------------------------------------


def test_training_and_prediction_see_the_same_pixels(tmp_path: Path) -> None:
    grey = slice_image(0, 90, 70)
    Image.fromarray(grey).save(tmp_path / "a.png")
    split = images.read_training_images(tmp_path, 64)
    assert split.pixels.shape == (1, 1, 64, 64)
    assert torch.equal(split.pixels, images.from_array(grey, 64))


def test_one_colour_image_makes_all_colour(tmp_path: Path) -> None:
    grey = slice_image(0)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(np.stack([grey, grey // 2, grey // 4], axis=2)).save(tmp_path / "b.png")
    split = images.read_training_images(tmp_path, 32)
    assert split.pixels.shape == (2, 3, 32, 32)
    assert torch.equal(split.pixels[0, 0], split.pixels[0, 2])
    assert not torch.equal(split.pixels[1, 0], split.pixels[1, 2])


def test_an_empty_training_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        images.read_training_images(tmp_path, 32)


def test_batches_keep_the_asked_order(training_folder: Path) -> None:
    split = images.read_training_images(training_folder, 16)
    batch = split.batch(torch.tensor([4, 1]), torch.device("cpu"))
    assert torch.equal(batch, torch.stack([split.pixels[4], split.pixels[1]]))
    assert torch.equal(torch.cat(list(split.batches(3, torch.device("cpu")))), split.pixels)


def test_normalisation_gives_the_ranges_it_says() -> None:
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    for how, low, high in (("unit", 0, 1), ("symmetric", -1, 1)):
        values = images.normalise(black_and_white, how)
        assert values.shape == (2, 3, 1, 1)
        assert (values[0] == low).all()
        assert (values[1] == high).all()
    red = images.normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8), "imagenet")
    np.testing.assert_allclose(red.flatten(), [2.2489, 2.4286, 2.64], atol=1e-4)


# --- maps --------------------------------------------------------------------------------


@pytest.mark.parametrize("border", ["mirror", "reflect"])
def test_the_blur_is_scipys(border: str) -> None:
    values = np.random.default_rng(0).normal(size=(48, 40)).astype(np.float32)
    expected = ndimage.gaussian_filter(values.astype(np.float64), 4, mode=border, truncate=4)
    blurred = maps.gaussian_blur(torch.from_numpy(values)[None, None], border=border)
    np.testing.assert_allclose(blurred[0, 0], expected, atol=1e-6)


def test_a_border_that_scipy_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="'wrap'; it can be mirror or reflect"):
        maps.gaussian_blur(torch.ones(1, 1, 40, 40), border="wrap")


def test_a_map_is_brought_to_the_images_size() -> None:
    small = torch.tensor([[0.0, 1.0]]).expand(2, 2)[None, None]
    array = maps.to_array(small, (6, 8))
    assert array.shape == (6, 8)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array[0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])


def test_a_residual_is_the_mean_absolute_difference_over_the_channels() -> None:
    random = np.random.default_rng(0)
    image, made = (random.normal(size=(2, 3, 5, 4)).astype(np.float32) for _ in range(2))
    found = maps.residual(torch.from_numpy(image), torch.from_numpy(made))
    np.testing.assert_allclose(found, np.abs(image - made).mean(axis=1, keepdims=True), rtol=1e-6)


# --- patches and memory ------------------------------------------------------------------


def features() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, 6, 8, 8, generator=generator),
        torch.randn(2, 10, 4, 4, generator=generator),
    ]


def test_mean_patches_are_means_over_neighbours_on_the_finest_grid() -> None:
    fine, coarse = features()
    joined = patches.mean_patches([fine, coarse])
    assert joined.shape == (2, 16, 8, 8)
    expected = ndimage.uniform_filter(fine.numpy(), (1, 1, 3, 3), mode="constant")
    np.testing.assert_allclose(joined[:, :6], expected, atol=1e-6)
    means = torch.nn.functional.avg_pool2d(coarse, 3, 1, 1)
    resized = torch.nn.functional.interpolate(means, (8, 8), mode="bilinear")
    np.testing.assert_allclose(joined[:, 6:], resized, atol=1e-6)


def test_nearest_concatenation_repeats_coarse_vectors() -> None:
    fine, coarse = features()
    joined = patches.concatenate([fine, coarse], "nearest")
    assert torch.equal(joined[:, 6:], coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_pooled_patches_are_those_of_the_official_order() -> None:
    fine, coarse = features()
    dims = 7
    pooled = []
    for layer in (fine, coarse):  # unfold, resize every number of the neighbourhood, then pool
        columns = torch.nn.functional.unfold(layer, 3, padding=1)
        grid = columns.reshape(2, -1, *layer.shape[-2:])
        full = torch.nn.functional.interpolate(grid, (8, 8), mode="bilinear")
        rows = full.permute(0, 2, 3, 1).reshape(-1, 1, full.shape[1])
        pooled.append(torch.nn.functional.adaptive_avg_pool1d(rows, dims)[:, 0])
    stacked = torch.cat(pooled, dim=1)[:, None]
    expected = torch.nn.functional.adaptive_avg_pool1d(stacked, dims).view(2, 8, 8, dims)
    found = patches.pooled_patches([fine, coarse], dims).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("block_bytes", [4 * 20 * 3, 1 << 20])
def test_nearest_neighbours_are_exact_in_blocks_of_any_size(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_bank, "BLOCK_BYTES", block_bytes)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(57, 5, generator=generator)
    queries = torch.randn(20, 5, generator=generator)
    distances, indices = memory_bank.MemoryBank(vectors).nearest(queries, 4)
    expected = cdist(queries, vectors)
    np.testing.assert_array_equal(indices, expected.argsort(axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :4], rtol=1e-5)


# --- training ----------------------------------------------------------------------------

CPU = torch.device("cpu")


def split_of(count: int) -> images.TrainingImages:
    return images.TrainingImages(torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1))


def seen_in(schedule: training.Schedule, listener: Listener, seed: int = 0) -> list[list[int]]:
    """The images of every step."""
    steps: list[list[int]] = []

    def step(pixels: torch.Tensor) -> torch.Tensor:
        steps.append(pixels.flatten().tolist())
        return torch.tensor(float(len(steps)))

    trained_on(10, [schedule], listener, seed).run(step, {})
    return steps


def trained_on(
    count: int, schedules: list[training.Schedule], listener: Listener, seed: int = 0
) -> training.Training:
    return training.Training(split_of(count), schedules, seed=seed, device=CPU, checkpoint=listener)


def test_an_epoch_is_every_image_once_in_an_order_of_its_own() -> None:
    steps = seen_in(training.Schedule(2, 4, 0), Listener())
    assert [len(step) for step in steps] == [4, 4, 2, 4, 4, 2]
    first, second = ([image for step in part for image in step] for part in (steps[:3], steps[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert steps == seen_in(training.Schedule(2, 4, 0), Listener())
    assert steps[:3] == seen_in(training.Schedule(1, 4, 0), Listener())
    assert steps != seen_in(training.Schedule(2, 4, 0), Listener(), seed=1)


def test_checkpoints_come_every_so_many_epochs_and_after_the_last() -> None:
    listener = Listener()
    seen_in(training.Schedule(5, 5, 2), listener)
    assert listener.checkpoints == [4, 8, 10]
    never = Listener()
    seen_in(training.Schedule(5, 5, 0), never)
    assert never.checkpoints == []


def test_the_harness_can_stop_training() -> None:
    steps = seen_in(training.Schedule(5, 5, 1), Listener(stops_at=2))
    assert len(steps) == 4


def test_progress_tells_the_mean_loss_since_the_last_frame() -> None:
    listener = Listener()
    trained_on(20, [training.Schedule(1, 1, 0)], listener).run(
        lambda pixels: pixels.float().sum() * 0 + 2, {}
    )
    assert [step for step, _, _ in listener.points] == list(range(2, 21, 2))
    assert {(total, loss) for _, total, loss in listener.points} == {(20, 2.0)}


def test_a_loss_that_diverges_ends_training_with_the_step() -> None:
    with pytest.raises(FloatingPointError, match="nan at step 1"):
        trained_on(4, [training.Schedule(1, 2, 0)], Listener()).run(
            lambda _: torch.tensor(float("nan")), {}
        )


def test_after_every_epoch_the_method_may_act_before_it_is_judged() -> None:
    events: list[str] = []

    class Judge(Listener):
        def __call__(self, step: int):
            events.append(f"judged at {step}")
            return super().__call__(step)

    trained_on(4, [training.Schedule(2, 4, 2)], Judge()).run(
        lambda _: torch.tensor(0.0),
        {},
        after_epoch=lambda epoch: events.append(f"epoch {epoch}"),
        before_checkpoint=lambda: events.append("ready"),
    )
    assert events == ["epoch 1", "epoch 2", "ready", "judged at 2"]


def test_an_epoch_of_so_many_steps_draws_from_an_endless_stream() -> None:
    steps = seen_in(training.Schedule(3, 4, 0, steps_per_epoch=2), Listener())
    assert len(steps) == 6
    assert steps == seen_in(training.Schedule(2, 4, 0), Listener())


def test_a_last_batch_that_is_too_small_is_left_out() -> None:
    steps = seen_in(training.Schedule(2, 3, 0, smallest_batch=2), Listener())
    assert [len(step) for step in steps] == [3, 3, 3] * 2
    with pytest.raises(
        NotApplicable, match=r"too few training images \(10\) for a batch, and so for a step"
    ):
        seen_in(training.Schedule(1, 16, 0, smallest_batch=11), Listener())


def test_phases_count_on_and_only_the_last_is_judged() -> None:
    listener = Listener()
    first = training.Schedule(2, 5, 1, is_judged=False)
    both = trained_on(10, [first, training.Schedule(3, 2, 2)], listener)
    sizes: list[int] = []

    def step(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        return torch.tensor(0.0)

    both.run(step, {})
    assert sizes == [5] * 4
    both.run(step, {})
    assert sizes == [5] * 4 + [2] * 15
    assert listener.checkpoints == [14, 19]
    assert [point[:2] for point in listener.points] == [(n, 19) for n in range(1, 20)]


class Walker:
    """Learns by chance: what it holds depends on every draw before."""

    def __init__(self) -> None:
        self.place = torch.zeros(3, dtype=torch.float64)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.place = state["place"]


def walk(listener: Listener) -> tuple[torch.Tensor, torch.Tensor]:
    """Two phases; the second starts where the first ended."""
    schedules = [
        training.Schedule(2, 3, 1, is_judged=False),
        training.Schedule(4, 4, 1, steps_per_epoch=2),
    ]
    both = trained_on(10, schedules, listener)
    first, second = Walker(), Walker()

    def step_of(walker: Walker):
        def step(pixels: torch.Tensor) -> torch.Tensor:
            draws = torch.rand(1), torch.rand(1, generator=both.draw), both.random.random(1)
            move = torch.cat([torch.as_tensor(draw).double() for draw in draws])
            walker.place = walker.place * 0.9 + move * pixels.double().sum()
            return torch.tensor(0.0)

        return step

    both.run(step_of(first), {"walker": first})
    second.place = first.place + 1
    both.run(step_of(second), {"walker": second})
    return first.place, second.place


def test_a_training_goes_on_where_it_was_killed_and_ends_the_same(tmp_path: Path) -> None:
    whole = walk(Listener())
    for dies_at in (1, 2, 4):
        state = tmp_path / str(dies_at)
        state.mkdir()
        torch.rand(dies_at)  # whatever was drawn before
        with pytest.raises(KeyboardInterrupt):
            walk(Listener(dies_at=dies_at, state_folder=state))
        listener = Listener(state_folder=state)
        assert all(torch.equal(*pair) for pair in zip(whole, walk(listener), strict=True))
        assert listener.checkpoints == [8 + 2 * number for number in range(dies_at, 5)]
        assert sorted(path.name for path in state.iterdir()) == ["phase-0.pt", "phase-1.pt"]


def test_a_step_goes_down_for_one_network_and_leaves_the_others_alone() -> None:
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    before = first.weight.detach().clone()
    optimiser = torch.optim.SGD(first.parameters(), lr=0.5)
    inputs = torch.ones(1, 2)
    for _ in range(2):  # a gradient of the step before would count twice
        slope = second.weight.detach().T @ inputs
        training.descend(second(first(inputs)).sum(), optimiser, only=first)
    assert torch.allclose(first.weight, before - 2 * 0.5 * slope)
    assert second.weight.grad is None


# --- precision ---------------------------------------------------------------------------


def test_a_cpu_computes_in_float32_whatever_the_precision() -> None:
    for name in precision.PRECISIONS:
        with precision.autocast(CPU, name):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(ValueError, match="'half'; it can be mixed or float32"):
        precision.autocast(CPU, "half")


# --- saved -------------------------------------------------------------------------------


def test_saved_tensors_come_back_and_run_no_code(tmp_path: Path) -> None:
    saved.save_tensors(tmp_path, {"a": torch.arange(3.0)}, "random/0")
    tensors = saved.load_tensors(tmp_path, CPU, "random/0")
    assert torch.equal(tensors["a"], torch.arange(3.0))
    with pytest.raises(ValueError, match="trained on the backbone random/0, this one is random/1"):
        saved.load_tensors(tmp_path, CPU, "random/1")

    torch.save({"backbone": "x", "tensors": {"a": Path}}, tmp_path / saved.FILE_NAME)
    with pytest.raises(pickle.UnpicklingError):
        saved.load_tensors(tmp_path, CPU)


# --- settings ----------------------------------------------------------------------------


def test_a_schedule_and_a_backbone_say_what_the_parameters_say() -> None:
    params = {"epochs": 3, "batch_size": 4, "checkpoint_every_epochs": 2, "drop_last": True}
    made = training.Schedule.of(params, is_judged=False)
    assert made == training.Schedule(3, 4, 2, smallest_batch=4, is_judged=False)
    assert training.Schedule.of({**params, "drop_last": False}).smallest_batch == 1
    network = backbones.Backbone.of(
        {"backbone": "resnet18", "weights": "random"}, LAYERS, folder=None, seed=3
    )
    assert network.identity == "random/3"


def test_a_step_moves_every_optimiser_and_returns_the_loss_before_it() -> None:
    first, second = (torch.nn.Parameter(torch.ones(())) for _ in range(2))
    optimisers = [torch.optim.SGD([parameter], lr=0.5) for parameter in (first, second)]
    loss = training.descend(first * second, *optimisers)
    assert (loss.item(), first.item(), second.item()) == (1.0, 0.5, 0.5)
    assert not loss.requires_grad
    training.descend(first * second, *optimisers)  # gradients of the step before are gone
    assert (first.item(), second.item()) == (0.25, 0.25)


def test_a_word_that_a_parameter_cannot_be_is_told_with_those_it_can() -> None:
    settings.check_choice({"map_mode": "add"}, "map_mode", ("add", "multiply"))
    with pytest.raises(ValueError, match="map_mode is 'sum'; it can be add or multiply"):
        settings.check_choice({"map_mode": "sum"}, "map_mode", ("add", "multiply"))
