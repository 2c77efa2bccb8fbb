"""The stand-in for `cuda:0` refuses what CUDA refuses, and no more: held to PyTorch's fake tensors,
and to CUDA itself where there is one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.stand_in_gpu import StandInGpu

Case = Callable[[str], Any]
INDICES = torch.int64


def gradient_penalty(device: str) -> None:
    inputs = torch.zeros(2, 3, device=device, requires_grad=True)
    found = nn.Linear(3, 1).to(device)(inputs).sum()
    (gradient,) = torch.autograd.grad(found, inputs, create_graph=True)
    (gradient.norm() - 1).square().backward()


class FromTheOtherSide(torch.autograd.Function):
    """Its backward pass forgets the device."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * torch.ones(3)


def backward_that_mixes(device: str) -> None:
    FromTheOtherSide.apply(torch.zeros(3, device=device, requires_grad=True)).sum().backward()


def training_that_forgets_its_network(device: str) -> None:
    nn.Linear(3, 1)(torch.zeros(2, 3, device=device))


def loss_across_a_copy(device: str) -> None:
    layer = nn.Linear(3, 1).to(device)
    (layer(torch.zeros(2, 3, device=device)).cpu() - torch.ones(2, 1)).square().sum().backward()
    torch.optim.Adam(layer.parameters()).step()


def buffers_of_a_copied_network(device: str) -> None:
    network = copy.deepcopy(nn.BatchNorm1d(3).to(device)).train()
    network(torch.ones(2, 3, device=device))


REFUSED: dict[str, Case] = {
    "a sum": lambda d: torch.zeros(3, device=d) + torch.zeros(3),
    "a number of the GPU and values of the CPU": lambda d: torch.zeros((), device=d) + torch.zeros(3),
    "a batch that is not moved": lambda d: nn.Linear(3, 1, device=d)(torch.zeros(2, 3)),
    "a network that is not moved": training_that_forgets_its_network,
    "an index_select": lambda d: torch.zeros(3, device=d).index_select(0, torch.zeros(2, dtype=INDICES)),
    "a gather": lambda d: torch.zeros(3, device=d).gather(0, torch.zeros(2, dtype=INDICES)),
    "a mask of masked_fill": lambda d: torch.zeros(3, device=d).masked_fill(torch.zeros(3) > 0, 1.0),
    "parts of a concatenation": lambda d: torch.cat([torch.zeros(3, device=d), torch.zeros(3)]),
    "a result in place": lambda d: torch.zeros(3).add_(torch.zeros(3, device=d)),
}  # fmt: skip
# Fake tensors do not see these.
REFUSED_BY_CUDA_ALONE: dict[str, Case] = {
    "indices of the GPU": lambda d: torch.zeros(3)[torch.zeros(2, dtype=INDICES, device=d)],
    "numbers to be stacked": lambda d: torch.stack([torch.zeros((), device=d), torch.zeros(())]),
    "numpy()": lambda d: torch.zeros(3, device=d).numpy(),
    "an array": lambda d: np.asarray(torch.zeros(3, device=d)),
    "a generator of the CPU": lambda d: torch.randn(3, device=d, generator=torch.Generator()),
    "a draw in place": lambda d: torch.zeros(3, device=d).normal_(generator=torch.Generator()),
    "a backward pass": backward_that_mixes,
}
ALLOWED: dict[str, Case] = {
    "a number of the CPU": lambda d: torch.zeros(3, device=d) * torch.tensor(2.0),
    "a number to compare with": lambda d: torch.zeros(3, device=d) > torch.tensor(0.5),
    "a number to fill with": lambda d: torch.zeros(3, device=d).masked_fill_(
        torch.zeros(3, device=d) > 0, torch.tensor(1.0)
    ),
    "indices of the CPU": lambda d: torch.zeros(3, device=d)[torch.zeros(2, dtype=INDICES)],
    "a copy into it": lambda d: torch.zeros(3, device=d).copy_(torch.ones(3)),
    "what is made like it": lambda d: torch.zeros(3, device=d) + torch.zeros(3, device=d).new_ones(3),
    "what is made where it lies": lambda d: _beside(torch.zeros(3, device=d)),
    "a resize": lambda d: nn.functional.interpolate(
        torch.zeros(1, 1, 4, 4, device=d), size=(8, 8), mode="bilinear"
    ),
}  # fmt: skip
# They need values, or a backward pass on the device.
ALLOWED_WITH_VALUES: dict[str, Case] = {
    "a way back to numpy": lambda d: torch.zeros(3, device=d).cpu().numpy(),
    "a number for Python": lambda d: float(torch.zeros(3, device=d).sum()),
    "a mask of the CPU": lambda d: torch.zeros(3, device=d)[torch.zeros(3) > 0],
    "an assignment by indices of the CPU": lambda d: torch.zeros(3, device=d).__setitem__(
        torch.zeros(2, dtype=INDICES), torch.ones((), device=d)
    ),
    "a quantile": lambda d: torch.quantile(torch.rand(9, device=d), 0.9),
    "an array that is moved": lambda d: torch.as_tensor(np.ones(3), device=d) + torch.zeros(3, device=d),
    "a gradient penalty": gradient_penalty,
    "a loss across a copy": loss_across_a_copy,
    "a copied network": buffers_of_a_copied_network,
}  # fmt: skip


def _beside(values: Tensor) -> Tensor:
    assert values.device == torch.device("cuda:0")
    assert values.is_cuda
    return values + torch.arange(3, device=values.device)


def mixes_of(case: Case) -> list[str]:
    with StandInGpu() as gpu:
        # On the real one the program would end here.
        case("cuda:0")
    return [str(mix) for mix in gpu.mixes]


@pytest.mark.parametrize("what", [*REFUSED, *REFUSED_BY_CUDA_ALONE])
def test_a_mix_is_noted_with_its_place(what: str) -> None:
    found = mixes_of((REFUSED | REFUSED_BY_CUDA_ALONE)[what])
    assert found, "nothing was noted"
    assert "test_stand_in_gpu.py:" in found[0]


@pytest.mark.parametrize("what", [*ALLOWED, *ALLOWED_WITH_VALUES])
def test_what_cuda_does_is_no_mix(what: str) -> None:
    assert mixes_of((ALLOWED | ALLOWED_WITH_VALUES)[what]) == []


@pytest.mark.parametrize("what", [*REFUSED, *ALLOWED])
def test_fake_tensors_judge_alike(what: str) -> None:
    def judge() -> None:
        with FakeTensorMode():
            (REFUSED | ALLOWED)[what]("cuda:0")

    if what in ALLOWED:
        judge()
    else:
        with pytest.raises(RuntimeError, match="same device"):
            judge()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="has no GPU")
def test_cuda_judges_alike() -> None:
    for case in (*ALLOWED.values(), *ALLOWED_WITH_VALUES.values()):
        case("cuda:0")
    for case in (*REFUSED.values(), *REFUSED_BY_CUDA_ALONE.values()):
        with pytest.raises((RuntimeError, TypeError)):
            case("cuda:0")


def test_a_mix_says_where_the_tensor_on_the_cpu_was_made() -> None:
    def case(device: str) -> Tensor:
        forgotten = torch.arange(3)
        return torch.zeros(3, device=device) + forgotten

    (found,) = mixes_of(case)
    line = case.__code__.co_firstlineno + 1
    assert f"was made at baselines/test_stand_in_gpu.py:{line}" in found
    assert f"baselines/test_stand_in_gpu.py:{line + 1}" in found


def test_a_file_read_without_a_device_lies_on_the_cpu(tmp_path: Path) -> None:
    file = tmp_path / "tensors.pt"
    torch.save({"values": torch.ones(3)}, file)

    def read_by(map_location: str) -> Case:
        return lambda d: (
            torch.zeros(3, device=d) + torch.load(file, map_location=map_location)["values"]
        )

    assert mixes_of(read_by("cuda:0")) == []
    assert len(mixes_of(read_by("cpu"))) == 1


def test_a_method_that_stays_on_the_cpu_altogether_mixes_nothing_and_is_seen() -> None:
    with StandInGpu() as gpu:
        nn.Conv2d(1, 4, 3)(torch.zeros(1, 1, 32, 32))
        nn.Conv2d(1, 4, 3).to("cuda:0")(torch.zeros(1, 1, 32, 32, device="cuda:0"))
    assert gpu.mixes == []
    (found,) = gpu.products_on_cpu
    assert found.what == "aten::convolution computes on the CPU"


def test_numbers_are_those_of_the_cpu_and_nothing_stays_behind() -> None:
    def loss(device: str) -> Tensor:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).to(device)
        found = network(torch.ones(2, 3, device=device)).square().sum()
        found.backward()
        return torch.cat([found.detach().view(1), network[0].weight.grad.flatten()]).cpu()

    with StandInGpu():
        on_gpu = loss("cuda:0")
    torch.testing.assert_close(on_gpu, loss("cpu"), rtol=0, atol=0)
    assert on_gpu.device.type == "cpu"
    assert torch.load.__module__ == "torch.serialization"
    assert isinstance(torch.autocast, type)
