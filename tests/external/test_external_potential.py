"""A potential on the far side of a pipe has the derivatives of its energy and keeps the conventions of this side."""

import pytest
import torch

from external.drivers import PAIR
from groundstate.atoms import Domain, StructureError, System, UndefinedPropertyError
from groundstate.external import ExternalPotential, Worker
from groundstate.potentials import Sum, evaluate, hessian


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    path = tmp_path_factory.mktemp("drivers") / "pair.py"
    path.write_text(PAIR, encoding="utf-8")
    with Worker(path, {"depth": 2.0}) as worker:
        yield ExternalPotential(worker, {"kind": "pair", "depth": 2.0}, domain=Domain(), cutoff=4.0)


def crystal(pbc=(True, True, True), cell=None) -> System:
    cell = [[3.9, 0.1, 0.0], [0.4, 4.1, 0.2], [0.0, 0.3, 4.3]] if cell is None else cell
    return System.single([[0.1, 0.2, 0.0], [1.7, 2.1, 1.6]], [6, 8], cell=cell, pbc=pbc)


def strained(system: System, strain: torch.Tensor) -> System:
    deformation = torch.eye(3, dtype=torch.float64) + strain
    return system.replace(positions=system.positions @ deformation, cell=system.cell @ deformation)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)])
def test_forces_and_strain_gradient_are_derivatives_of_the_energy(potential, pbc):
    flat = [[3.9, 0.1, 0.0], [0.4, 4.1, 0.0], [0.0, 0.0, 4.3]]  # the strain below lies in the plane of the slab
    system = crystal(pbc, None if all(pbc) else flat)
    found = evaluate(potential, system, ("energy", "forces", "strain_gradient"))
    step = 1e-5
    for atom, axis in ((0, 0), (1, 2)):
        shift = torch.zeros_like(system.positions)
        shift[atom, axis] = step
        up, down = (
            evaluate(potential, system.replace(positions=system.positions + s * shift), ("energy",))["energy"]
            for s in (1, -1)
        )
        assert -(up - down) / (2 * step) == pytest.approx(float(found["forces"][atom, axis]), abs=1e-8)
    strain = torch.zeros(3, 3, dtype=torch.float64)
    strain[0, 1] = strain[1, 0] = 0.5 * step
    up, down = (evaluate(potential, strained(system, s * strain), ("energy",))["energy"] for s in (1, -1))
    assert (up - down) / (2 * step) == pytest.approx(float(found["strain_gradient"][0, 0, 1]), abs=1e-7)


def test_a_batch_equals_its_singles(potential):
    singles = [crystal(), crystal(pbc=(False, False, False)), crystal((True, False, False))]
    batch = evaluate(potential, System.batch(singles), ("energy", "forces"))
    for s, single in enumerate(singles):
        assert evaluate(potential, single, ("energy",))["energy"][0] == batch["energy"][s]


def test_a_refusal_names_its_structure(potential):
    bad = System.single([[0.0, 0.0, 0.0]], [99])
    with pytest.raises(StructureError) as refusal:
        evaluate(potential, System.batch([System.single([[0.0, 0.0, 0.0]], [6]), bad]), ("energy",))
    assert (refusal.value.code, refusal.value.frame) == ("E-PAIR", 1)


def test_second_derivatives_are_differences_or_refused(potential):
    matrix = hessian(potential, crystal())
    assert torch.allclose(matrix.reshape(2, 3, 2, 3).sum(dim=2), torch.zeros(2, 3, 3, dtype=torch.float64), atol=1e-6)
    with pytest.raises(UndefinedPropertyError) as refusal:
        hessian(Sum([potential]), crystal(), method="autograd")
    assert refusal.value.code == "E-HESSIAN-AUTOGRAD"
