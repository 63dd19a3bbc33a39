"""A mixture of experts is the map its mixed matrices are, with derivatives of any order."""

import pytest
import torch
from torch import Tensor

from groundstate.equivariant import IrrepLayout, IrrepLinear, Mixture
from groundstate.equivariant.operators import derivatives

LENGTHS, GROUPS = (2, 1, 3), (1, 0, 1)
"""Two runs share a group."""


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def mixture(experts: int, groups: int = 2) -> Mixture:
    shares = torch.softmax(draw(groups, experts, seed=5), dim=1)
    return Mixture(shares, LENGTHS, GROUPS) if groups == 2 else Mixture(shares, (6,), (0,))


def linear(experts: int) -> IrrepLinear:
    return IrrepLinear(IrrepLayout((2, 1)), 3, 4, experts=experts, dtype=torch.float64, generator=seeded())


def plain_of(several: IrrepLinear, shares: Tensor) -> IrrepLinear:
    """One matrix for each degree: what the experts are when mixed."""
    plain = linear(0)
    with torch.no_grad():
        for one, stack in zip(plain.weights, several.weights, strict=True):
            one.copy_(torch.einsum("k,kio->io", shares, stack))
    return plain


def test_each_run_goes_through_its_own_mixture() -> None:
    several, mixed, features = linear(3), mixture(3), draw(6, 5, 3)
    made = several(features, 0.5, mixed)
    start = 0
    for length, group in zip(LENGTHS, GROUPS, strict=True):
        own = features[start : start + length]
        torch.testing.assert_close(made[start : start + length], plain_of(several, mixed.shares[group])(own, 0.5))
        start += length


def test_a_batch_of_one_group_is_one_map() -> None:
    several, mixed, features = linear(3), mixture(3, groups=1), draw(6, 5, 3)
    torch.testing.assert_close(several(features, mixture=mixed), plain_of(several, mixed.shares[0])(features))


def test_degrees_kept_apart_mix_along_their_own_axis() -> None:
    several, mixed, features = linear(3), mixture(3), draw(6, 5, 3)
    blocks = [features[:, :2].reshape(6, 1, 6).transpose(0, 1), features[:, 2:].reshape(6, 3, 3).transpose(0, 1)]
    apart = torch.cat(several.mix(blocks, mixture=mixed)).transpose(0, 1)
    torch.testing.assert_close(apart, several(features, mixture=mixed))


@pytest.mark.parametrize("axis", [0, 1])
def test_first_and_second_derivatives(axis: int) -> None:
    x = draw(6, 2, 3) if axis == 0 else draw(2, 6, 3)
    stack, logits = draw(2, 3, 4, seed=3), draw(2, 2, seed=4)

    def product(x: Tensor, stack: Tensor, logits: Tensor) -> Tensor:
        return Mixture(torch.softmax(logits, dim=1), LENGTHS, GROUPS).product(x, stack, 0.7, axis)

    inputs = [t.requires_grad_() for t in (x, stack, logits)]
    assert torch.autograd.gradcheck(product, inputs)
    assert torch.autograd.gradgradcheck(product, inputs)


def test_a_derivative_by_geometry_leaves_out_that_by_matrices() -> None:
    x, stack = draw(6, 2, 3).requires_grad_(), draw(2, 3, 4).requires_grad_()
    with derivatives("geometry"):
        mixture(2).product(x, stack, 1.0, 0).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.any())
    assert stack.grad is None or not bool(stack.grad.any())


def test_equal_experts_do_not_notice_how_they_are_mixed() -> None:
    several, features = linear(3), draw(6, 5, 3)
    plain = plain_of(several, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    with torch.no_grad():
        for one, stack in zip(plain.weights, several.weights, strict=True):
            stack.copy_(one.expand_as(stack))
    torch.testing.assert_close(several(features, mixture=mixture(3)), plain(features))


def test_experts_start_near_each_other_and_as_large_as_one_matrix() -> None:
    large = IrrepLinear(IrrepLayout((1,)), 64, 64, experts=4, dtype=torch.float64, generator=seeded())
    stack = large.weights[0].detach()
    assert float(stack.var()) == pytest.approx(1.0, abs=0.05)
    correlation = float((stack[0] * stack[1]).mean())
    assert correlation == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize(("experts", "mixed"), [(0, mixture(3)), (3, None)])
def test_experts_and_mixtures_come_together(experts: int, mixed: Mixture | None) -> None:
    with pytest.raises(ValueError, match="EQUIVARIANT_EXPERTS"):
        linear(experts)(draw(6, 5, 3), mixture=mixed)
