"""The kit's conditional flow against FrEIA's own blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.kit.conditional_flow import ConditionalFlow

from .freia_flow import as_freia, gradients


def flow_of(channels: int, *, rotates: bool = False, is_moved: bool = True) -> ConditionalFlow:
    np.random.seed(3)  # noqa: NPY002 - FrEIA draws its permutations from it
    torch.manual_seed(3)
    flow = ConditionalFlow(channels, 4, blocks=3, clamp=1.9, rotates=rotates).double()
    if is_moved:
        for weight in flow.parameters():
            weight.data += 0.3 * torch.randn_like(weight)
    return flow


def vectors_and_conditions(channels: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    return torch.randn(7, channels).double(), torch.randn(7, 4).double()


@pytest.mark.parametrize("channels", [6, 7])
@pytest.mark.parametrize("rotates", [False, True])
def test_values_and_all_gradients_are_freias(channels: int, rotates: bool) -> None:
    flow = flow_of(channels, rotates=rotates)
    blocks = as_freia(flow)
    vectors, conditions = vectors_and_conditions(channels)
    ours, theirs = vectors.clone().requires_grad_(), vectors.clone().requires_grad_()
    found, expected = flow(ours, conditions), blocks(theirs, [conditions])
    for own, its in zip(found, expected, strict=True):
        torch.testing.assert_close(own, its)
    for latent, log_determinant in (found, expected):
        (latent.pow(3).sum() + (log_determinant * torch.arange(7)).sum()).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    for weight, its in zip(flow.parameters(), gradients(blocks), strict=True):
        torch.testing.assert_close(weight.grad, its)


def test_the_first_values_are_those_that_freia_draws() -> None:
    """One seed of torch and one of numpy give the weights that a SequenceINN would have."""
    flow = flow_of(6, is_moved=False)
    np.random.seed(3)  # noqa: NPY002
    order = np.random.permutation(6)  # noqa: NPY002
    assert flow.mixing[0].tolist() == order.tolist()
    torch.manual_seed(3)
    first = torch.nn.Linear(3 + 4, 2 * 7)
    assert torch.equal(flow.hidden_weights[0], first.weight.double())
    assert torch.equal(flow.hidden_biases[0], first.bias.double())


def test_a_permutation_is_undone_by_its_inverse() -> None:
    flow = flow_of(9)
    for order, back in zip(flow.mixing, flow.unmixing, strict=True):
        assert order[back].tolist() == list(range(9))


def test_what_is_not_differentiated_is_the_same_and_keeps_one_block_at_a_time() -> None:
    flow = flow_of(6)
    vectors, conditions = vectors_and_conditions(6)
    with torch.no_grad():
        plain = flow(vectors, conditions)
    learning = flow(vectors, conditions)
    for one, other in zip(plain, learning, strict=True):
        assert torch.equal(one, other)


def test_coupling_networks_in_bfloat16_leave_the_rest_in_float32() -> None:
    flow = flow_of(6).float()
    vectors, conditions = (each.float() for each in vectors_and_conditions(6))
    exact = flow(vectors, conditions)
    found = flow(vectors, conditions, torch.bfloat16)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert not torch.equal(one, other)
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)
    (found[0].sum() + found[1].sum()).backward()
    assert {weight.grad.dtype for weight in flow.parameters()} == {torch.float32}
