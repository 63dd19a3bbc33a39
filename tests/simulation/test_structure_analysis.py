"""Pair distances and angles where they are known: ideal gas, perfect crystals, water molecules."""

import math

import pytest
import torch

from groundstate.atoms import OptionError, UndefinedPropertyError
from groundstate.simulation.analysis import Trajectory, angular_distribution, rdf
from toys import fcc


def still(system, frames: int = 1) -> Trajectory:
    return Trajectory(
        positions=system.positions.expand(frames, -1, -1),
        cells=system.cell.expand(frames, 3, 3),
        velocities=None,
        time_fs=torch.arange(frames, dtype=torch.float64),
        numbers=system.numbers,
        pbc=system.pbc[0],
    )


def gas(frames: int, atoms: int, cell: torch.Tensor, numbers: list[int]) -> Trajectory:
    generator = torch.Generator().manual_seed(0)
    fractional = torch.rand(frames, atoms, 3, generator=generator, dtype=torch.float64)
    return Trajectory(
        positions=fractional @ cell,
        cells=cell.expand(frames, 3, 3),
        velocities=None,
        time_fs=torch.arange(frames, dtype=torch.float64),
        numbers=torch.tensor(numbers),
        pbc=torch.tensor([True, True, True]),
    )


def test_an_ideal_gas_is_flat_beyond_the_cell_in_a_skewed_cell():
    """40 atoms in a cell 5 to 8 Å wide: g is 1 − 1/N between like atoms, 1 between others, beyond half a cell."""
    cell = torch.tensor([[6.0, 0, 0], [2.5, 5.5, 0], [-1.0, 2.0, 8.0]], dtype=torch.float64)
    found = rdf(gas(150, 40, cell, [18] * 30 + [10] * 10), cutoff=5.0, bins=10)
    assert set(found.g) == {("Ne", "Ne"), ("Ne", "Ar"), ("Ar", "Ar")}
    shortest = 5.0
    beyond = found.distance > 1.5
    expected = {("Ne", "Ne"): 0.9, ("Ne", "Ar"): 1.0, ("Ar", "Ar"): 29 / 30}
    assert shortest < float(torch.linalg.vector_norm(cell, dim=1).min())
    for pair, level in expected.items():
        assert float((found.g[pair][beyond] - level).abs().max()) < 0.06, pair
    total = found.coordination["Ne", "Ar"][-1]
    density = 30 / float(torch.linalg.det(cell))
    assert float(total) == pytest.approx(density * 4 / 3 * math.pi * 125, rel=0.02)


@pytest.mark.parametrize("repeats", [1, 2])
def test_fcc_shells_hold_12_6_24_neighbours_in_any_cell(repeats):
    found = rdf(still(fcc(lattice_constant=4.0, repeats=repeats), 2), cutoff=5.2, bins=52)
    running = found.coordination["Cu", "Cu"]
    at = [float(running[int(r / 0.1)]) for r in (2.7, 3.5, 4.5, 5.1)]
    assert at == [0, 12, 18, 42]
    density, width = 4 / 64, 0.1
    shell = 4 / 3 * math.pi * (2.9**3 - 2.8**3)
    assert float(found.g["Cu", "Cu"][28]) == pytest.approx(12 / (density * shell), rel=1e-9)
    assert float(found.g["Cu", "Cu"][20]) == 0
    assert width == pytest.approx(float(found.distance[1] - found.distance[0]))


def test_angles_of_fcc_and_of_water():
    found = angular_distribution(still(fcc(lattice_constant=4.0)), ("Cu", "Cu", "Cu"), cutoff=3.0, bins=180)
    # Of the 66 pairs of 12 neighbours: 24 at 60°, 12 at 90°, 24 at 120°, 6 at 180°.
    assert found.count == 4 * 66
    shares = {int(angle): float(d) * 66 for angle, d in zip(found.angle, found.density, strict=True) if d > 0}
    near = {target: sum(n for a, n in shares.items() if abs(a - target) <= 1) for target in (60, 90, 120, 179)}
    assert near == pytest.approx({60: 24, 90: 12, 120: 24, 179: 6})
    half = math.radians(52.26)
    arms = torch.tensor([[0, 0, 0], [math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]])
    cell = torch.eye(3, dtype=torch.float64) * 6
    water = Trajectory(
        arms.double()[None],
        cell[None],
        None,
        torch.zeros(1, dtype=torch.float64),
        torch.tensor([8, 1, 1]),
        torch.tensor([True, True, True]),
    )
    bent = angular_distribution(water, ("H", "O", "H"), cutoff=1.2, bins=36)
    assert bent.count == 1
    assert float(bent.angle[bent.density.argmax()]) == 102.5
    assert float(bent.density.sum() * 5) == pytest.approx(1)
    with pytest.raises(UndefinedPropertyError, match="E-PROPERTY-UNDEFINED"):
        angular_distribution(water, ("O", "H", "O"), cutoff=1.2)
    with pytest.raises(OptionError, match="E-ELEMENT-ABSENT"):
        angular_distribution(water, ("N", "O", "H"), cutoff=1.2)


def test_a_molecule_has_no_density(molecule):
    with pytest.raises(UndefinedPropertyError, match="E-PROPERTY-UNDEFINED"):
        rdf(still(molecule))
