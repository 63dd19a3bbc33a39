"""Ends that do not fit are refused with what differs; the shortest way of each atom; first guesses without overlap."""

import pytest
import torch
from ase.mep import NEB

from analytic_surfaces import ase_twin, vacancy_hop
from groundstate.atoms import System
from groundstate.simulation.paths.ends import displacements, mismatch, remarks
from groundstate.simulation.paths.interpolate import interpolate
from toys import lennard_jones


def free(system: System) -> torch.Tensor:
    return torch.zeros(system.n_atoms, dtype=torch.bool)


def water(order: tuple[int, int, int] = (0, 1, 2), **given) -> System:
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]], dtype=torch.float64)
    numbers = torch.tensor([8, 1, 1])
    rows = list(order)
    return System.single(positions[rows], numbers[rows], **given)


def test_what_differs_is_named():
    start = water()
    heavier = start.replace(numbers=torch.tensor([8, 1, 9]))
    assert "F: 0 → 1, H: 2 → 1" in str(mismatch(start, heavier, free(start)))
    problem = mismatch(start, water((1, 0, 2)), free(start))
    assert problem.code == "E-PATH-ORDER"
    assert problem.atoms == (0, 1)
    assert "atom 0 is O and H" in str(problem)
    cell = torch.eye(3, dtype=torch.float64)[None] * 10
    crystal = start.replace(cell=cell, pbc=torch.ones(1, 3, dtype=torch.bool))
    assert mismatch(start, crystal, free(start)).code == "E-PATH-CELL"
    assert "differ by up to 0.1 Å" in str(mismatch(crystal, crystal.replace(cell=1.01 * cell), free(start)))
    assert "charge: not given and 1" in str(mismatch(start, water(charge=1.0), free(start)))
    assert mismatch(start, start, free(start)).code == "E-PATH-SAME"
    moved = start.replace(positions=start.positions + torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64))
    held = free(start)
    held[1] = True
    assert mismatch(start, moved, held).code == "E-PATH-FIXED"
    assert mismatch(start, moved, free(start)) is None


def test_exchanged_numbers_and_rigid_shifts_are_remarked():
    start, swapped = water(), water((0, 2, 1))
    assert any("numbered otherwise" in remark for remark in remarks(start, swapped, free(start)))
    shifted = start.replace(positions=start.positions + 0.3)
    assert any("shifted as a whole" in remark for remark in remarks(start, shifted, free(start)))
    assert remarks(*vacancy_hop(), free(vacancy_hop()[0])) == []


def test_the_shortest_way_is_exact_in_a_skewed_cell():
    cell = torch.tensor([[10.0, 0, 0], [9.0, 4.0, 0], [0, 0, 10.0]], dtype=torch.float64)
    start = System.single([[0.0, 0.0, 0.0]], [18], cell=cell, pbc=True)
    end = start.replace(positions=torch.tensor([[4.9, 1.9, 0.2]], dtype=torch.float64))
    shifts = torch.cartesian_prod(*[torch.arange(-3.0, 4.0, dtype=torch.float64)] * 3) @ cell
    best = torch.linalg.vector_norm(end.positions + shifts, dim=1).min()
    torch.testing.assert_close(displacements(start, end).norm(), best)


def test_idpp_keeps_atoms_apart_where_a_straight_line_does_not():
    start = System.single([[-1.5, 0.05, 0], [1.5, -0.05, 0], [0, 3.0, 0]], [18, 18, 18])
    end = System.single([[1.5, 0.05, 0], [-1.5, -0.05, 0], [0, 3.0, 0]], [18, 18, 18])
    closest = {}
    for kind in ("linear", "idpp"):
        images = interpolate(start, end, free(start), 5, kind)
        assert torch.equal(images[0], start.positions)
        torch.testing.assert_close(images[-1], end.positions)
        closest[kind] = float(torch.linalg.vector_norm(images[:, 0] - images[:, 1], dim=1).min())
    assert closest["linear"] < 0.2
    assert closest["idpp"] > 1.5


def test_idpp_agrees_with_ase():
    start, end = vacancy_hop()
    ours = interpolate(start, end, free(start), 3, "idpp")
    images = [ase_twin(start, lennard_jones()) for _ in range(4)] + [ase_twin(end, lennard_jones())]
    NEB(images, method="improvedtangent").interpolate("idpp", mic=True)
    for one, other in zip(ours, images, strict=True):
        assert float((one - torch.from_numpy(other.positions)).abs().max()) < 0.05


@pytest.mark.parametrize("atoms", [1, 2])
def test_few_atoms_are_interpolated(atoms):
    start = System.single([[3.0 * k, 0, 0] for k in range(atoms)], [18] * atoms)
    end = start.replace(positions=start.positions + torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    images = interpolate(start, end, free(start), 3, "idpp")
    torch.testing.assert_close(images[:, 0, 1], torch.linspace(0, 1, 5, dtype=torch.float64), atol=1e-6, rtol=0)
