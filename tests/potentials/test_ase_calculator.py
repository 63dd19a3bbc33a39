"""ASE's border: its order and units, none of its stale answers, and the five silent failures seen elsewhere refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from groundstate.atoms import Allowances, GroundstateError
from groundstate.data import from_ase
from groundstate.potentials.adapters import Calculator
from toys import lennard_jones


def copper() -> Atoms:
    atoms = bulk("Cu", "fcc", 3.7, cubic=True)
    atoms.rattle(0.08, seed=1)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + np.array([[0, 0.02, 0.01], [0, 0.01, 0.03], [0, 0, 0]])), scale_atoms=True
    )
    atoms.calc = Calculator(lennard_jones())
    return atoms


def test_forces_and_voigt_stress_equal_ase_finite_differences() -> None:
    atoms = copper()
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-8)
    assert atoms.get_stress().shape == (6,)
    assert atoms.get_stress().dtype == np.float64


def test_energies_free_energy_and_partitions() -> None:
    atoms = copper()
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert type(atoms.get_potential_energy()) is float
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), atoms.get_stress(), atol=1e-12)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_magnetic_moments()


def test_a_change_of_charge_is_a_change() -> None:
    water = molecule("H2O")
    water.calc = Calculator(lennard_jones(), allow=Allowances(ignored_charge=True))
    water.get_potential_energy()
    assert not water.calc.calculation_required(water, ["energy"])
    water.info["charge"] = 1
    assert water.calc.calculation_required(water, ["energy"])
    strict = Calculator(lennard_jones())
    water.calc, water.info["charge"] = strict, 0
    water.get_potential_energy()
    water.info["charge"] = 5
    with pytest.raises(GroundstateError, match="E-CHARGE-IGNORED"):
        water.get_potential_energy()


def test_a_molecule_has_energy_and_forces_and_no_stress() -> None:
    water = molecule("H2O")
    water.calc = Calculator(lennard_jones())
    assert np.isfinite(water.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError, match="no volume"):
        water.get_stress()
    assert np.isfinite(water.get_forces()).all()


def test_a_slab_has_in_plane_stress_only() -> None:
    slab = fcc100("Cu", (2, 2, 3), a=3.6, vacuum=8.0)
    slab.calc = Calculator(lennard_jones())
    stress = slab.get_stress()
    assert slab.calc.stress_defined.tolist() == [True, True, False, False, False, True]
    assert np.abs(stress[~slab.calc.stress_defined]).max() == 0.0
    step, energies = 1e-4, []
    for sign in (1, -1):
        strained = slab.copy()
        strained.calc = slab.calc
        strained.set_cell(slab.cell.array @ np.diag([1 + sign * step, 1, 1]), scale_atoms=True)
        energies.append(strained.get_potential_energy())
    assert stress[0] == pytest.approx((energies[0] - energies[1]) / (2 * step * slab.get_volume()), rel=1e-5)


def test_a_left_handed_cell_has_the_stress_of_the_right_handed_one() -> None:
    right = copper()
    left = right.copy()
    left.set_cell(right.cell.array[[1, 0, 2]])
    left.calc = right.calc
    assert left.cell.handedness == -1
    expected = right.get_stress()
    np.testing.assert_allclose(left.get_stress(), expected, atol=1e-10)


def test_not_a_number_and_overlap_never_reach_an_optimiser() -> None:
    atoms = copper()
    atoms.positions[2, 1] = np.nan
    with pytest.raises(GroundstateError, match="E-POSITION-NOT-FINITE"):
        FIRE(atoms, logfile=None).run(fmax=0.05, steps=2)
    overlapping = Atoms("Cu2", [[0, 0, 0], [0.05, 0, 0]])
    overlapping.calc = Calculator(lennard_jones())
    with pytest.raises(GroundstateError, match="E-ATOMS-CLOSE"):
        overlapping.get_potential_energy()


def test_a_structure_moved_after_a_calculation_is_still_a_structure() -> None:
    atoms = copper()
    atoms.get_potential_energy()
    atoms.positions[0] += 0.1
    np.testing.assert_array_equal(from_ase(atoms).positions.numpy(), atoms.positions)


def test_ase_relaxes_a_cell_with_it() -> None:
    atoms = copper()
    assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=500)
    assert np.abs(atoms.get_stress()).max() < 1e-4
