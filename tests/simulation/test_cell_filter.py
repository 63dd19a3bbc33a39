"""The cell filter's force is minus the gradient of the enthalpy in its own coordinates."""

import pytest
import torch

from groundstate.atoms import System
from groundstate.potentials import Potential, evaluate
from groundstate.simulation.relaxation.cell_filter import cell_filter
from groundstate.simulation.relaxation.fire import Coordinates

MASKS = {"all": None, "diagonal": torch.eye(3, dtype=torch.bool)}


def enthalpy_and_force(potential: Potential, system: System, held, at: Coordinates):
    placed = held.place(system, at)
    found = evaluate(potential, placed, ("energy", "forces", "strain_gradient"))
    enthalpy = float(found["energy"] + held.volume_work(placed))
    return enthalpy, held.forces(placed, at, found["forces"], found["strain_gradient"])


@pytest.mark.parametrize("mode", ["full", "shape", "isotropic"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("structure", ["sheared", "slab"])
def test_force_is_minus_the_gradient_along_allowed_directions(potential, mode, mask, structure, request):
    system = request.getfixturevalue(structure)
    pressure = 0.05 if structure == "sheared" else 0.0
    held, start = cell_filter(system, mode, MASKS[mask], pressure)
    generator = torch.Generator().manual_seed(5)
    away = torch.randn(1, 3, 3, generator=generator, dtype=torch.float64)
    # Any allowed point will do; the filter's own projection makes one.
    at = Coordinates(start.atoms, 0.3 * float(held.n_atoms) * held._allowed(away) / 3)
    if structure == "slab":
        at.cell[:, 2, :] = at.cell[:, :, 2] = 0
        at = Coordinates(at.atoms, held._allowed(at.cell))
    _, force = enthalpy_and_force(potential, system, held, at)
    direction = held._allowed(torch.randn(1, 3, 3, generator=generator, dtype=torch.float64))
    if structure == "slab":
        direction[:, 2, :] = direction[:, :, 2] = 0
        direction = held._allowed(direction)
    step = 1e-4
    energies = [
        enthalpy_and_force(potential, system, held, Coordinates(at.atoms, at.cell + sign * step * direction))[0]
        for sign in (1, -1)
    ]
    expected = -(energies[0] - energies[1]) / (2 * step)
    assert float((force.cell * direction).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert abs(expected) > 1e-4 or mode != "full"
    if mode == "shape":
        assert float(held.volume_ratio(at)) == pytest.approx(1.0, abs=1e-12)
    moved = Coordinates(at.atoms + 1e-4 * force.atoms, at.cell), Coordinates(at.atoms - 1e-4 * force.atoms, at.cell)
    slope = (
        enthalpy_and_force(potential, system, held, moved[0])[0]
        - enthalpy_and_force(potential, system, held, moved[1])[0]
    )
    assert float((force.atoms**2).sum()) == pytest.approx(-slope / 2e-4, rel=1e-5)


def test_volume_ratio_is_that_of_the_volumes(potential, sheared):
    held, start = cell_filter(sheared, "full", None, 0.0)
    at = Coordinates(start.atoms, 0.4 * (sheared.cell + sheared.cell.transpose(1, 2)) / 10)
    expected = float(held.place(sheared, at).volume / sheared.volume)
    assert float(held.volume_ratio(at)) == pytest.approx(expected, rel=1e-12)
