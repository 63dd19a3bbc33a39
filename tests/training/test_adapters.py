"""Adapters start as nothing, keep every symmetry, and leave a plain model behind."""

import pytest
import torch

from groundstate.atoms import OptionError, System
from groundstate.laws import examine
from groundstate.potentials import Potential, evaluate
from groundstate.potentials.mace import MACEConfig, build
from groundstate.training import Adapted
from toys import lennard_jones

SMALL = MACEConfig(channels=6, lmax=1, hidden_lmax=1, correlation=2, layers=2, cutoff=4.0, dtype="float64")


def base() -> Potential:
    energies = {8: -1.0, 12: -2.0}
    return build(SMALL, elements=[8, 12], reference_energies=[energies]).requires_grad_(False)


def turned(adapted: Adapted) -> Adapted:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for factor in adapted.out.values():
            factor.copy_(0.2 * torch.randn(factor.shape, generator=generator, dtype=factor.dtype))
    return adapted


def crystal() -> System:
    cell = 4.2 * torch.eye(3, dtype=torch.float64)
    positions = torch.tensor([[0, 0, 0], [2.2, 0, 0.1], [0, 2.0, 0.2], [2.1, 2.1, 2.0]], dtype=torch.float64)
    return System.single(positions, [12, 8, 8, 12], cell=cell, pbc=True)


@pytest.mark.parametrize("differentiable", [False, True])
def test_an_adapter_starts_as_its_base_and_ends_in_a_plain_model(differentiable: bool) -> None:
    given, want = base(), ("energy", "forces")
    adapted = Adapted(given, rank=2, alpha=2.0)
    start = evaluate(given, crystal(), want, differentiable=differentiable)
    same = evaluate(adapted, crystal(), want, differentiable=differentiable)
    torch.testing.assert_close(same["forces"], start["forces"], atol=1e-12, rtol=0)
    moved = evaluate(turned(adapted), crystal(), want, differentiable=differentiable)
    assert float((moved["forces"] - start["forces"]).detach().abs().max()) > 1e-3
    plain = adapted.merged()
    assert plain.describe() == given.describe()
    assert given.fingerprint() == base().fingerprint()
    found = evaluate(plain, crystal(), want, differentiable=differentiable)
    torch.testing.assert_close(found["forces"], moved["forces"], atol=1e-10, rtol=0)
    torch.testing.assert_close(found["energy"], moved["energy"], atol=1e-10, rtol=0)


def test_gradients_reach_every_adapter_and_head_and_nothing_else() -> None:
    adapted = turned(Adapted(base(), rank=2, alpha=4.0))
    evaluate(adapted, crystal(), ("forces",), differentiable=True)["forces"].square().sum().backward()
    reached = {name for name, p in adapted.named_parameters() if p.grad is not None and bool(p.grad.any())}
    free = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert reached == free
    assert {name.split(".")[0] for name in free} == {"base", "into", "out"}
    assert all(".heads." in f".{name}" for name in free if name.startswith("base."))
    # α/r: twice the α turns the same factors twice as far.
    doubled = Adapted(base(), rank=2, alpha=8.0)
    doubled.load_state_dict(adapted.state_dict())
    for name, weight in base().named_parameters():
        if name in adapted.ranks:
            step, twice = adapted.adapted()[name] - weight, doubled.adapted()[name] - weight
            torch.testing.assert_close(twice, 2 * step)
            assert int(torch.linalg.matrix_rank(step).max()) <= adapted.ranks[name]


def test_symmetries_survive() -> None:
    adapted = turned(Adapted(base(), rank=1, alpha=1.0))
    for result in examine(adapted, laws=("rotation", "reflection", "permutation"), elements=[8, 12]):
        assert result.passed, result


def test_a_model_without_matrices_is_refused() -> None:
    with pytest.raises(OptionError, match="E-FINETUNE-METHOD"):
        Adapted(lennard_jones(), rank=2, alpha=2.0)
