"""The blocked sum of gated messages against autograd, and the bond graph against counting by hand."""

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from groundstate.atoms import Geometry, System
from groundstate.data import from_ase
from groundstate.zoo.chgnet import messages
from groundstate.zoo.chgnet.bonds import Bonds
from groundstate.zoo.chgnet.messages import Gate, gated_sum

WIDTH, ROWS, TARGETS = 3, 11, 4


def _random(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _gate(generator: torch.Generator, deep: bool) -> Gate:
    def affine() -> tuple[Tensor, Tensor]:
        return _random(generator, WIDTH, WIDTH), _random(generator, WIDTH)

    def norm() -> tuple[Tensor, Tensor]:
        return _random(generator, WIDTH), _random(generator, WIDTH)

    return Gate((), _random(generator, 2 * WIDTH), (affine(), affine()) if deep else None, (norm(), norm()))


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_CACHE_ROWS", 4)


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("summed", [True, False])
def test_first_and_second_derivatives(deep: bool, weighted: bool, summed: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    gate = _gate(generator, deep)
    indices = [torch.randint(0, size, (ROWS,), generator=generator) for size in (5, 6)]
    target = (torch.randint(0, TARGETS, (ROWS,), generator=generator), TARGETS) if summed else None
    inputs = [_random(generator, ROWS, 2 * WIDTH), _random(generator, 5, 2 * WIDTH), _random(generator, 6, 2 * WIDTH)]
    inputs += [_random(generator, ROWS, WIDTH)] if weighted else []
    leaves = [tensor.requires_grad_() for tensor in inputs]

    def total(rows: Tensor, first: Tensor, second: Tensor, weight: Tensor | None = None) -> Tensor:
        return gated_sum(gate, [(first, indices[0]), (second, indices[1])], rows, weight, target)

    assert torch.autograd.gradcheck(total, leaves)
    assert torch.autograd.gradgradcheck(total, leaves)


def test_inputs_made_from_one_another_are_kept_apart() -> None:
    """The derivative taken for training is the one taken without: the table here is made from the weight."""
    generator = torch.Generator().manual_seed(6)
    gate = _gate(generator, deep=True)
    index = torch.randint(0, ROWS, (ROWS,), generator=generator)
    rows, weight = _random(generator, ROWS, 2 * WIDTH), _random(generator, ROWS, WIDTH).requires_grad_()
    total = gated_sum(gate, [(torch.cat([weight, weight], dim=1), index)], rows, weight).sum()
    (plain,) = torch.autograd.grad(total, weight, create_graph=True)
    (fast,) = torch.autograd.grad(total, weight)
    torch.testing.assert_close(plain.detach(), fast)


def test_large_hidden_values_do_not_overflow() -> None:
    gate = _gate(torch.Generator().manual_seed(1), deep=True)
    rows = torch.tensor([[-900.0, 900.0, -70.0, 70.0, -1e-3, 1e-3]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gated_sum(gate, [], rows).sum(), rows)
    assert torch.isfinite(slope).all()
    assert torch.autograd.gradcheck(lambda x: gated_sum(gate, [], x), [rows])


def test_no_rows_give_zeros() -> None:
    gate = _gate(torch.Generator().manual_seed(1), deep=True)
    nothing = torch.zeros(0, 2 * WIDTH, dtype=torch.float64, requires_grad=True)
    total = gated_sum(gate, [], nothing, None, (torch.zeros(0, dtype=torch.int64), TARGETS))
    assert torch.equal(total, torch.zeros(TARGETS, WIDTH, dtype=torch.float64))
    (slope,) = torch.autograd.grad(total.sum(), nothing)
    assert slope.shape == nothing.shape


def test_bonds_and_angles_are_all_there_and_none_twice() -> None:
    rattled = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    rattled.rattle(0.1, seed=0)
    system = System.batch([from_ase(bulk("Fe", a=2.87)), System.single([[0, 0, 0]], [2]), from_ase(rattled)])
    edges = Geometry.of(system, 6.0).edges(6.0)
    bonds = Bonds.of(edges, 3.0)
    assert len(bonds.first) == len(edges.receivers) // 2
    ends = torch.cat([bonds.distances, bonds.distances]).sort().values
    torch.testing.assert_close(ends, edges.distances.sort().values, rtol=0, atol=1e-12)
    expected = []
    for atom in range(system.n_atoms):
        arms = [e for e in range(len(edges.receivers)) if edges.receivers[e] == atom and edges.distances[e] < 3.0]
        for left in arms:
            for right in arms:
                if left != right:
                    cosine = torch.cosine_similarity(edges.vectors[left], edges.vectors[right], dim=0)
                    expected.append((atom, float(torch.acos(cosine * (1 - 1e-6)))))
    found = sorted(zip(bonds.vertex.tolist(), bonds.angles.tolist(), strict=True))
    assert len(found) > 100
    for (atom, angle), (wanted_atom, wanted) in zip(found, sorted(expected), strict=True):
        assert atom == wanted_atom
        assert angle == pytest.approx(wanted, abs=1e-6)
    # Both arms of an angle are short bonds that touch its corner.
    for arm in (bonds.left, bonds.right):
        bond = bonds.short[arm]
        assert bool(((bonds.first[bond] == bonds.vertex) | (bonds.second[bond] == bonds.vertex)).all())
