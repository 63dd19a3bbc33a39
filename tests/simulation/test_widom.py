"""Insertions: the ideal gas, a lattice of wells and a Lennard-Jones host against quadrature, seeds, kills, doubts."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from groundstate.atoms import Geometry, OptionError, RunError, StructureError, System
from groundstate.atoms.units import BOLTZMANN, BOLTZMANN_J_PER_K
from groundstate.potentials import Energy, Model, Potential, Term
from groundstate.simulation import Progress
from groundstate.simulation.free_energy.widom import KJ_PER_MOL, WidomConfig, henry_point, placements, widom
from toys import lennard_jones

R = BOLTZMANN_J_PER_K * 6.02214076e23
CO2 = System.single([[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]], [8, 6, 8])
HELIUM = System.single([[2.5, 2.5, 2.5]], [2])


class Wells(Term):
    """Energy −depth·(cos 2πx/L + cos 2πy/L + cos 2πz/L) of every helium atom."""

    cutoff = 3.0
    reaches_contact = True

    def __init__(self, depth: float, length: float) -> None:
        super().__init__()
        self.depth, self.length = depth, length

    def forward(self, system: System, geometry: Geometry, outputs: Mapping[str, Tensor]) -> Energy:
        waves = torch.cos(2 * torch.pi * system.positions / self.length).sum(dim=1)
        return Energy.of_atoms(system, -self.depth * waves * (system.numbers == 2))


def wells(depth: float, length: float = 10.0) -> Potential:
    description = {"kind": "toy-wells", "depth": depth, "length": length}
    return Model(None, {}, {"wells": Wells(depth, length)}, description=description)


def host(length: float = 10.0) -> System:
    cell = torch.eye(3, dtype=torch.float64) * length
    return System.single([[0.3, 0.2, 0.1]], [18], cell=cell, pbc=True)


def test_without_interaction_the_framework_holds_the_ideal_gas():
    config = WidomConfig(temperatures_K=(250.0, 400.0), insertions=40, blocks=4, overlap=0.0)
    result = widom(host(), CO2, wells(0.0), config)
    for point in result.points:
        assert point.henry_mol_per_m3_Pa == pytest.approx(1 / (R * point.temperature_K), rel=1e-12)
        assert point.heat_kJ_per_mol == pytest.approx(R * point.temperature_K / 1000, rel=1e-6)
        assert point.excess_eV == pytest.approx(0.0, abs=1e-12)
        assert point.henry_error == pytest.approx(0.0, abs=1e-18)
        assert point.effective == pytest.approx(40)
    volume, mass = 1e-27, float(host().masses.sum()) * 1.66053906660e-27
    assert result.density_kg_per_m3 == pytest.approx(mass / volume)


def test_a_lattice_of_wells_follows_bessel_functions():
    depth, temperature = 0.02, 300.0
    x = depth / (BOLTZMANN * temperature)
    config = WidomConfig(temperatures_K=(temperature,), insertions=1000, blocks=10, overlap=0.0)
    result = widom(host(), HELIUM, wells(depth), config)
    (point,) = result.points
    exact = np.i0(x) ** 3 / (R * temperature)
    error = point.henry_error * result.density_kg_per_m3
    assert abs(point.henry_mol_per_m3_Pa - exact) < 4 * error < 0.2 * exact
    slope = (np.i0(x + 1e-5) - np.i0(x - 1e-5)) / 2e-5 / np.i0(x)
    heat = R * temperature / 1000 + KJ_PER_MOL * 3 * depth * slope
    assert abs(point.heat_kJ_per_mol - heat) < 4 * point.heat_error
    assert 0 < point.heat_error < 0.5


def test_a_lennard_jones_guest_agrees_with_quadrature():
    potential, temperature, length, points = lennard_jones(0.03, 3.0, 7.0), 200.0, 9.0, 30
    framework = host(length)
    config = WidomConfig(temperatures_K=(temperature,), insertions=1200, blocks=12, overlap=0.9)
    result = widom(framework, HELIUM, potential, config)
    (point,) = result.points
    grid = (torch.arange(points, dtype=torch.float64) + 0.5) * length / points
    places = torch.cartesian_prod(grid, grid, grid)
    vectors = places - framework.positions
    shifts = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * 3) * length
    energy = torch.zeros(len(places), dtype=torch.float64)
    for shift in shifts:
        r = torch.linalg.vector_norm(vectors + shift, dim=1)
        inverse = (3.0 / r) ** 6
        energy += 4 * 0.03 * (inverse**2 - inverse) * (1 - (r / 7.0) ** 2).clamp_min(0.0) ** 3
    beta = 1 / (BOLTZMANN * temperature)
    weight = torch.exp(-beta * energy)
    exact = float(weight.mean()) / (R * temperature)
    heat = KJ_PER_MOL * (1 / beta - float((energy * weight).sum() / weight.sum()))
    error = point.henry_error * result.density_kg_per_m3
    assert abs(point.henry_mol_per_m3_Pa - exact) < 4 * error
    assert error < 0.1 * exact
    assert abs(point.heat_kJ_per_mol - heat) < 4 * point.heat_error
    assert 0 < result.overlapping < 0.1
    assert result.best_energy == pytest.approx(float(energy.min()), abs=5e-3)
    everything = widom(framework, HELIUM, potential, WidomConfig((temperature,), 1200, 12, overlap=0.0))
    assert everything.points[0].henry_mol_per_m3_Pa == pytest.approx(point.henry_mol_per_m3_Pa, rel=1e-12)


def test_orientations_are_uniform_and_rigid():
    places = placements(host(), CO2, 4000, 1, 0)
    axis = places[:, 2] - places[:, 0]
    torch.testing.assert_close(axis.norm(dim=1), torch.full((4000,), 2.32, dtype=torch.float64))
    axis = axis / 2.32
    second = torch.einsum("ki,kj->ij", axis, axis) / 4000
    torch.testing.assert_close(second, torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=0.02)
    assert float(axis.mean(dim=0).abs().max()) < 0.03
    inside = places[:, 1] / 10.0
    assert float(inside.min()) >= 0
    assert float(inside.max()) <= 1


def test_the_seed_decides_and_blocks_survive_an_interruption(tmp_path):
    config = WidomConfig(temperatures_K=(300.0,), insertions=60, blocks=6)
    potential = lennard_jones(0.03, 3.0, 7.0)
    whole = widom(host(), CO2, potential, config)
    other = widom(host(), CO2, potential, WidomConfig((300.0,), 60, 6, seed=1))
    assert whole.points != other.points

    def stop(report: Progress) -> None:
        if report.done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        widom(host(), CO2, potential, config, output=tmp_path, progress=stop)
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 3
    resumed = widom(host(), CO2, potential, config, output=tmp_path)
    assert resumed.points == whole.points
    assert torch.equal(resumed.interaction, whole.interaction)
    with pytest.raises(RunError, match="E-RUN-MISMATCH"):
        widom(host(9.9), CO2, potential, config, output=tmp_path)


def test_what_is_doubtful_is_said():
    crowded = widom(host(6.0), CO2, lennard_jones(0.3, 2.0, 5.0), WidomConfig((50.0,), 60, 6, overlap=0.1))
    assert any("images of the guest" in warning for warning in crowded.warnings)
    assert any("more are needed" in warning for warning in crowded.warnings)


def test_a_closed_framework_is_no_number():
    with pytest.raises(StructureError, match="E-WIDOM-CLOSED"):
        henry_point(torch.full((2, 3), torch.inf, dtype=torch.float64), 300.0, 1000.0)


def test_wrong_input_is_refused():
    with pytest.raises(StructureError, match="E-WIDOM-FRAMEWORK"):
        widom(CO2, CO2, wells(0.0))
    with pytest.raises(StructureError, match="E-WIDOM-GUEST"):
        widom(host(), host(), wells(0.0))
    with pytest.raises(OptionError, match="E-OPTION-CONFLICT"):
        WidomConfig(insertions=11, blocks=2)
