"""Vacuum around open directions changes nothing a short-ranged potential can see."""

import pytest
import torch

from external.drivers import PAIR
from groundstate.atoms import Domain, System, find_neighbours
from groundstate.external import ExternalPotential, Worker, boxed
from groundstate.potentials import evaluate

CUTOFF = 4.0
CELL = [[3.9, 0.1, 0.0], [0.4, 4.1, 0.2], [0.3, 0.2, 4.3]]


def structure(pbc: tuple[bool, bool, bool], *, open_rows: bool) -> System:
    rows = torch.tensor(CELL, dtype=torch.float64)
    cell = rows if open_rows else rows * torch.tensor(pbc)[:, None]
    return System.single([[0.1, 0.2, 9.0], [1.7, 2.1, 10.6]], [6, 8], cell=cell, pbc=pbc)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False), (False, False, False)])
@pytest.mark.parametrize("open_rows", [True, False])
def test_neighbours_are_those_of_the_open_structure(pbc: tuple[bool, bool, bool], open_rows: bool) -> None:
    system = structure(pbc, open_rows=open_rows)
    closed = boxed(system, CUTOFF)
    assert bool(closed.pbc.all())
    assert float(torch.linalg.det(closed.cell[0]).abs()) > 1.0
    before, after = find_neighbours(system, CUTOFF), find_neighbours(closed, CUTOFF)
    assert torch.equal(before.receivers, after.receivers)
    assert torch.equal(before.senders, after.senders)


def test_a_crystal_is_left_alone() -> None:
    system = structure((True, True, True), open_rows=True)
    assert boxed(system, CUTOFF) is system


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False)])
@pytest.mark.parametrize("open_rows", [True, False])
def test_strain_gradient_in_a_box_is_the_derivative_of_the_energy(
    tmp_path, pbc: tuple[bool, bool, bool], open_rows: bool
) -> None:
    driver = tmp_path / "pair.py"
    driver.write_text(PAIR, encoding="utf-8")
    system = structure(pbc, open_rows=open_rows)
    with Worker(driver, {"depth": 2.0}) as worker:
        potential = ExternalPotential(worker, {"kind": "pair"}, domain=Domain(), cutoff=CUTOFF, vacuum=CUTOFF + 1)
        found = evaluate(potential, system, ("energy", "forces", "strain_gradient"))
        along = system.cell[0, 0] / torch.linalg.vector_norm(system.cell[0, 0])
        step = 1e-5
        energies = []
        for sign in (1.0, -1.0):
            deformation = torch.eye(3, dtype=torch.float64) + sign * step * torch.outer(along, along)
            moved = system.replace(positions=system.positions @ deformation, cell=system.cell @ deformation)
            energies.append(float(evaluate(potential, moved, ("energy",))["energy"]))
    numerical = (energies[0] - energies[1]) / (2 * step)
    assert numerical == pytest.approx(float(along @ found["strain_gradient"][0] @ along), abs=1e-7)
    assert abs(numerical) > 1e-3
