"""Free energies of harmonic crystals, whose partition function is a determinant."""

import math

import pytest
import torch

from groundstate.atoms import Geometry, OptionError, StructureError, System
from groundstate.atoms.units import BOLTZMANN, BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C, ATOMIC_MASS_kg
from groundstate.potentials import Energy, Model, Term, hessian
from groundstate.simulation.free_energy.einstein import EinsteinConfig, einstein
from toys import fcc, lennard_jones


class HarmonicBonds(Term):
    """Springs between neighbours about a given length, within a cutoff no bond comes near."""

    cutoff = 3.3
    reaches_contact = True

    def __init__(self, stiffness: float, length: float) -> None:
        super().__init__()
        self.stiffness, self.length = stiffness, length

    def forward(self, system: System, geometry: Geometry, outputs):
        edges = geometry.edges(self.cutoff)
        bonds = 0.25 * self.stiffness * (edges.distances - self.length) ** 2
        return Energy.of_atoms(system, edges.sum_to_receivers(bonds) - 1.5)


def classical(system: System, potential, kelvin: float, cells: int, energy: float) -> float:
    """−kT ln of (v/Λ³) Π over modes about the first atom: E₀ + kT [½ ln det(D'/2πkT) + 3 Σ ln Λ − ln v]."""
    thermal = BOLTZMANN * kelvin
    matrix = hessian(potential, system, method="autograd")[3:, 3:]
    masses = system.masses * ATOMIC_MASS_kg
    wave = 6.62607015e-34 / (2 * math.pi * masses * BOLTZMANN_J_PER_K * kelvin).sqrt() * 1e10
    modes = 0.5 * float(torch.linalg.slogdet(matrix / (2 * math.pi * thermal)).logabsdet)
    return energy + thermal * (modes + 3 * float(wave.log().sum()) - math.log(float(system.volume[0]) / cells))


def test_a_nearly_harmonic_crystal_agrees_with_its_determinant_within_the_error_bar():
    side = 3.61
    crystal = fcc(lattice_constant=side, repeats=2)
    bonds = HarmonicBonds(4.0, side / math.sqrt(2))
    potential = Model(None, {}, {"bonds": bonds}, description={"kind": "toy-bonds"})
    kelvin = 20.0
    found = einstein(crystal, potential, EinsteinConfig(kelvin, steps=900, discard=200, timestep_fs=4.0, points=5))
    exact = classical(crystal, potential, kelvin, 32, -1.5 * 32)
    assert found.primitive_cells == 32
    assert found.static == pytest.approx(-48.0, abs=1e-9)
    thermal = BOLTZMANN * kelvin
    # What a finite temperature adds to the determinant is of second order in kT, a few per cent of the error bar.
    assert abs(found.helmholtz - exact) < 3 * found.error
    assert found.error < thermal
    assert abs(found.reference + found.static - exact) > 5 * found.error


def test_any_spring_leads_to_the_same_free_energy():
    crystal, potential = fcc(lattice_constant=3.5555), lennard_jones(cutoff=4.5)
    ends = [
        einstein(crystal, potential, EinsteinConfig(60.0, spring=k, steps=900, discard=200, timestep_fs=4.0, points=5))
        for k in (4.0, 9.0)
    ]
    gap = ends[0].helmholtz - ends[1].helmholtz
    assert abs(ends[0].reference - ends[1].reference) > 10 * ends[0].error
    assert abs(gap) < 4 * math.hypot(ends[0].error, ends[1].error)


def test_one_oscillator_beside_a_held_atom_has_the_textbook_value():
    """Constants and the primitive volume by hand: copper at 300 K, Λ = 0.1265 Å."""
    wave = 6.62607015e-34 / math.sqrt(2 * math.pi * 63.546 * ATOMIC_MASS_kg * BOLTZMANN_J_PER_K * 300.0) * 1e10
    assert wave == pytest.approx(0.1265, abs=2e-4)
    assert pytest.approx(BOLTZMANN_J_PER_K / ELEMENTARY_CHARGE_C) == BOLTZMANN


def test_what_has_no_sites_is_refused(molecule):
    potential = lennard_jones(cutoff=4.5)
    with pytest.raises(StructureError, match="E-EINSTEIN-CRYSTAL"):
        einstein(molecule, potential, EinsteinConfig(100.0))
    stretched = fcc(lattice_constant=5.2)
    with pytest.raises(StructureError, match="E-EINSTEIN-UNSTABLE"):
        einstein(stretched, potential, EinsteinConfig(100.0))
    with pytest.raises(OptionError, match="E-OPTION-RANGE"):
        EinsteinConfig(100.0, steps=100, discard=90)
    with pytest.raises(OptionError, match="E-TEMPERATURE"):
        EinsteinConfig(0.0)
