"""Vacancies: counted references, symmetry-distinct sites, growing cells, an honest end."""

import pytest
import torch

from groundstate.atoms import OptionError, System
from groundstate.potentials import evaluate
from groundstate.simulation import RelaxConfig, relax
from groundstate.simulation.builders import Settings, VacancyConfig, repeated, vacancies
from groundstate.simulation.builders.vacancies import distinct_sites, sizes, without
from toys import fcc, lennard_jones

POTENTIAL = lennard_jones(cutoff=4.5)


@pytest.fixture(scope="module")
def crystal() -> System:
    (result,) = relax(fcc(lattice_constant=3.55), POTENTIAL, RelaxConfig(1e-4, cell="isotropic"))
    return result.system


def rocksalt(a: float = 4.2) -> System:
    metal = fcc(12, a)
    oxygen = fcc(8, a).positions + torch.tensor([a / 2, 0.0, 0.0], dtype=torch.float64)
    numbers = torch.cat([metal.numbers, torch.full((4,), 8)])
    return System.single(torch.cat([metal.positions, oxygen]), numbers, cell=metal.cell[0], pbc=True)


def test_a_pair_potential_without_relaxation_loses_its_cohesive_energy(crystal):
    config = VacancyConfig(settings=Settings(force_tolerance=1.0), max_atoms=120)
    (vacancy,) = vacancies(crystal, POTENTIAL, config)
    # Taking an atom away breaks its bonds, 2 E_c of a pair potential; the reservoir gives E_c back.
    cohesive = -float(evaluate(POTENTIAL, crystal, ("energy",))["energy"]) / 4
    assert vacancy.sizes[0].unrelaxed == pytest.approx(cohesive, abs=1e-9)
    assert vacancy.converged
    assert vacancy.equivalent == 4
    assert [size.atoms for size in vacancy.sizes] == [31, 107]
    assert "μ(Cu)" in vacancy.subtracted
    assert not vacancy.warnings


def test_relaxation_lowers_it_and_a_strict_tolerance_is_not_met(crystal, tmp_path):
    config = VacancyConfig(settings=Settings(force_tolerance=5e-4), max_atoms=40, tolerance_eV=1e-5, first_width=3.0)
    (vacancy,) = vacancies(crystal, POTENTIAL, config, output=tmp_path)
    assert vacancy.formation_energy < vacancy.sizes[-1].unrelaxed
    assert not vacancy.converged
    assert any("not converged with the size" in warning for warning in vacancy.warnings)
    assert (tmp_path / "2x2x2" / "converged.extxyz").exists()
    (again,) = vacancies(crystal, POTENTIAL, config, output=tmp_path)
    assert again.formation_energy == pytest.approx(vacancy.formation_energy, abs=1e-9)


def test_sites_are_told_apart_and_a_compound_needs_a_reservoir():
    crystal = rocksalt()
    assert distinct_sites(crystal, 0.01) == {0: 4, 4: 4}
    with pytest.raises(OptionError, match=r"E-CHEMICAL-POTENTIAL.*Mg, O"):
        vacancies(crystal, POTENTIAL)
    with pytest.raises(OptionError, match=r"E-VACANCY-ELEMENT.*Mg, O"):
        vacancies(crystal, POTENTIAL, VacancyConfig(elements=("Fe",)))


def test_an_unrelaxed_crystal_is_warned_of(crystal):
    moved = crystal.replace(positions=crystal.positions + 0.1 * torch.eye(4, 3, dtype=torch.float64))
    config = VacancyConfig(max_atoms=4, first_width=3.0, settings=Settings(max_steps=1))
    found = vacancies(moved, POTENTIAL, config)
    assert all(any("not relaxed" in warning for warning in vacancy.warnings) for vacancy in found)
    assert all(vacancy.formation_energy is None for vacancy in found)


def test_cells_grow_evenly(crystal):
    flat = crystal.replace(cell=crystal.cell * torch.tensor([[[1.0], [1.0], [3.0]]], dtype=torch.float64))
    assert sizes(flat, 7.0, 300)[0] == (2, 2, 1)
    assert sizes(crystal, 7.0, 300)[:2] == [(2, 2, 2), (3, 3, 3)]
    cell = repeated(crystal, (1, 2, 3))
    assert cell.n_atoms == 24
    energies = [float(evaluate(POTENTIAL, one, ("energy",))["energy"]) for one in (crystal, cell)]
    assert energies[1] == pytest.approx(6 * energies[0])
    assert without(crystal, 2).n_atoms == 3
