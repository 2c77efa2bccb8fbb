"""CFLOW's own arithmetic against the plainest way to compute the same."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.kit import images
from baselines.kit.training import descend

from .conftest import BASELINES, Baseline, Listener, open_baseline, slice_image
from .freia_flow import as_freia, take_over


@pytest.fixture(scope="module")
def cflow() -> Baseline:
    return open_baseline(BASELINES / "cflow")


@pytest.fixture(scope="module")
def code(cflow: Baseline) -> ModuleType:
    return sys.modules[cflow.model.__module__]


@pytest.fixture(scope="module")
def trained(cflow: Baseline, training_folder: Path) -> Any:
    model = cflow.make()
    model.fit(training_folder, Listener())
    return model


def test_a_place_is_told_by_sines_and_cosines_of_column_and_row(code: ModuleType) -> None:
    found = code.position_code(12, 3, 5).view(3, 5, 12)
    for row in range(3):
        for column in range(5):
            for half, place in enumerate((column, row)):
                for number in range(6):
                    angle = place / 1e4 ** ((number - number % 2) / 6)
                    wave = math.cos(angle) if number % 2 else math.sin(angle)
                    assert float(found[row, column, 6 * half + number]) == pytest.approx(
                        wave, abs=1e-6
                    )


@pytest.mark.parametrize("soft", [False, True])
def test_the_likelihood_is_that_of_the_change_of_variables(
    cflow: Baseline, code: ModuleType, soft: bool
) -> None:
    params = cflow.params(coupling_blocks=3, condition_dims=4, soft_permutation=soft)
    torch.manual_seed(0)
    decoder = code.build_decoder(5, params).double()
    for parameter in decoder.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    fibre, place = torch.randn(5).double(), torch.randn(1, 4).double()
    jacobian = torch.autograd.functional.jacobian(
        lambda vector: decoder(vector[None], place)[0][0], fibre
    )
    latent = decoder(fibre[None], place)[0].detach()
    normal = -0.5 * float(latent.square().sum()) - 2.5 * math.log(2 * math.pi)
    expected = (normal + float(jacobian.slogdet().logabsdet)) / 5
    found = code.log_likelihood(decoder, fibre[None], place).detach()
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_reference_is_the_likeliest_place_of_all_training_images(
    trained: Any, training_folder: Path
) -> None:
    split = images.read_training_images(training_folder, 64)
    with torch.inference_mode():
        largest = [
            [float(layer.max()) for layer in trained.likelihoods(pixels[None])]
            for pixels in split.pixels
        ]
    np.testing.assert_allclose(trained.reference, np.max(largest, axis=0), rtol=1e-5)


def expected_map(likelihoods: list[torch.Tensor], references: list[float]) -> np.ndarray:
    total = np.zeros((64, 64))
    for layer, reference in zip(likelihoods, references, strict=True):
        ratio = (layer.double() - reference).exp().clamp(max=1)
        upsampled = functional.interpolate(1 - ratio, (64, 64), mode="bilinear", align_corners=True)
        total += upsampled[0, 0].numpy()
    return total


def test_the_map_is_what_each_place_lacks_of_the_reference(trained: Any) -> None:
    image = slice_image(60, 64, 64)
    with torch.inference_mode():
        likelihoods = trained.likelihoods(images.from_array(image, 64))
    anomaly_map, score = trained.predict(image)
    expected = expected_map(likelihoods, trained.reference.double().tolist())
    np.testing.assert_allclose(anomaly_map, expected, atol=1e-5)
    assert score == anomaly_map.max()
    assert 0 <= anomaly_map.min() < score <= len(likelihoods)


def test_an_image_can_be_its_own_reference(cflow: Baseline) -> None:
    model = cflow.make(reference="image")
    image = slice_image(61, 64, 64)
    with torch.inference_mode():
        likelihoods = model.likelihoods(images.from_array(image, 64))
    expected = expected_map(likelihoods, [float(layer.max()) for layer in likelihoods])
    np.testing.assert_allclose(model.predict(image)[0], expected, atol=1e-5)


def test_the_backbone_can_mirror_the_border_as_the_authors_does(cflow: Baseline) -> None:
    pixels = images.from_array(slice_image(62, 64, 64), 64)
    zeros, mirrored = (cflow.make(padding=mode) for mode in ("zeros", "reflect"))
    border, inside = [], []
    for model in (zeros, mirrored):
        finest = model.backbone(images.normalise(pixels, "imagenet"))[0][0]
        border.append(finest[:, 0])
        inside.append(finest[:, 7:9, 7:9])  # of 16; nine convolutions do not reach it
    assert not torch.allclose(*border)
    torch.testing.assert_close(*inside)


def test_equal_fibre_batches_and_the_rest_waits(code: ModuleType) -> None:
    assert [part.tolist() for part in code.equal_parts(torch.arange(11), 4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]
    assert [len(part) for part in code.equal_parts(torch.arange(3), 3)] == [3]


class PlainStep:
    """In place of `FibreStep`: FrEIA's blocks, torch's gradients, Adam tensor by tensor."""

    def __init__(self, decoder: Any, _size: int, optimiser: Any, _products: Any) -> None:
        self._flow, self._blocks = decoder, as_freia(decoder)
        self._scheduled = optimiser
        rate = optimiser.param_groups[0]["lr"]
        self._optimiser = torch.optim.Adam(self._blocks.parameters(), lr=rate)

    def __call__(self, fibres: Any, chosen: Any, condition: Any, places: Any) -> torch.Tensor:
        vectors = fibres[chosen]
        latent, log_determinant = self._blocks(vectors, [condition[places]])
        dims = vectors.shape[1]
        normal = -0.5 * (dims * math.log(2 * math.pi) + latent.square().sum(dim=1))
        loss = -functional.logsigmoid((normal + log_determinant) / dims).mean()
        loss = descend(loss, self._optimiser)
        self._scheduled.step()  # without gradients: for its schedule alone
        take_over(self._flow, self._blocks)
        return loss


@pytest.mark.parametrize("soft", [False, True])
def test_maps_are_those_of_freias_blocks_trained_step_by_step(
    cflow: Baseline,
    code: ModuleType,
    training_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    soft: bool,
) -> None:
    maps = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(code, "FibreStep", PlainStep)
        model = cflow.make(soft_permutation=soft)
        model.fit(training_folder, Listener())
        maps.append(model.predict(slice_image(63, 64, 64))[0])
    tolerance = 1e-5 * float(np.ptp(maps[1]))
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=tolerance)


class Capturable(TorchDispatchMode):
    """Refuses what no CUDA graph can hold: waiting for the device, shapes by values, chance."""

    REFUSED = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "rand", "bernoulli")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        assert not any(refused in name for refused in self.REFUSED), name
        return func(*args, **(kwargs or {}))


def test_a_fibre_batchs_gradient_can_be_captured_and_run_any_number_of_times(
    cflow: Baseline, code: ModuleType
) -> None:
    flow = code.build_decoder(6, cflow.params(condition_dims=4))
    before = [weight.clone() for weight in flow.parameters()]
    optimiser = torch.optim.SGD(flow.parameters(), lr=1.0)
    step = code.FibreStep(flow, 5, optimiser, torch.float32)
    step._fibres.copy_(torch.randn(5, 6))
    found = []
    for _ in range(3):
        with Capturable():
            step.differentiate()
        found.append([gradient.clone() for gradient in step._gradients])
    for again in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, flow.parameters(), strict=True))
    with Capturable(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        step._loss.item()


def test_a_step_moves_one_layers_weights_and_leaves_no_gradient(
    cflow: Baseline, code: ModuleType
) -> None:
    flows = torch.nn.ModuleList(
        code.build_decoder(6, cflow.params(condition_dims=4)) for _ in range(2)
    )
    before = [[weight.clone() for weight in flow.parameters()] for flow in flows]
    optimiser = torch.optim.Adam(flows.parameters(), lr=0.1)
    rows = torch.arange(5)
    for flow in (flows[1], flows[0]):
        step = code.FibreStep(flow, 5, optimiser, torch.float32)
        step(torch.randn(8, 6), rows, torch.randn(5, 4), rows)
        moved = [
            any(not torch.equal(a, b) for a, b in zip(old, each.parameters(), strict=True))
            for old, each in zip(before, flows, strict=True)
        ]
        assert moved == [flow is flows[0], True]
    assert all(weight.grad is None for weight in flows.parameters())


def test_the_learning_rate_warms_up_and_follows_the_cosine_of_meta_epochs(
    cflow: Baseline, code: ModuleType
) -> None:
    params = cflow.params(
        learning_rate_schedule="cosine", epochs=200, sub_epochs=8, warmup_meta_epochs=2
    )
    share = code.learning_rate_share(params, 5)  # 40 steps per meta epoch, 25 of them
    cosine = [0.001 + 0.999 * (1 + math.cos(math.pi * number / 25)) / 2 for number in range(26)]
    assert share(0) == pytest.approx(0.1)
    assert share(20) == pytest.approx(0.1 + 0.25 * (cosine[2] - 0.1))
    for step in (80, 119, 120, 999):
        assert share(step) == pytest.approx(cosine[step // 40])
    assert code.learning_rate_share(cflow.params(), 5)(77) == 1


def test_the_official_schedule_trains(cflow: Baseline, training_folder: Path) -> None:
    changes = {"learning_rate_schedule": "cosine", "sub_epochs": 1, "warmup_meta_epochs": 1}
    listener = Listener()
    cflow.make(**changes, drop_last=True, soft_permutation=True).fit(training_folder, listener)
    assert listener.checkpoints == [2, 4]  # ten images: two batches of four


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"condition_dims": 30}, "condition_dims is 30; it must be a multiple of 4"),
        ({"padding": "mirror"}, "padding is 'mirror'; it can be zeros or reflect"),
        ({"reference": "test"}, "reference is 'test'; it can be training or image"),
        ({"learning_rate_schedule": "linear"}, "'linear'; it can be constant or cosine"),
    ],
)
def test_bad_settings_are_told(
    cflow: Baseline, training_folder: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cflow.make(**changes).fit(training_folder, Listener())
