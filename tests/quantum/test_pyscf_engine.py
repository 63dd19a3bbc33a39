"""PySCF: energies of known value, forces equal differences of energies, states that do not exist refused."""

import pytest
import torch

from groundstate.atoms import OptionError, System
from groundstate.atoms.units import HARTREE
from groundstate.quantum import PySCF, Reference

pytest.importorskip("pyscf")
WATER = [[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]]


def water(**conditions) -> System:
    return System.single(WATER, [8, 1, 1], **conditions)


def moved(system: System, atom: int, axis: int, step: float) -> System:
    positions = system.positions.clone()
    positions[atom, axis] += step
    return system.replace(positions=positions)


def assert_forces_are_the_derivative(engine: PySCF, system: System, tolerance: float, step: float = 2e-3) -> None:
    """Two components against central differences of energies."""
    with Reference(engine, want=("energy", "forces")) as reference:
        (label,) = reference.compute([system])
        assert label.problem is None, label.problem
        for atom, axis in ((0, 2), (1, 2)):
            both = [moved(system, atom, axis, sign * step) for sign in (1, -1)]
            up, down = (float(one.values["energy"]) for one in reference.compute(both))
            assert float(label.values["forces"][atom, axis]) == pytest.approx(-(up - down) / (2 * step), abs=tolerance)


def test_pbe_water_in_a_small_basis():
    # Fitted integrals and the grid's response are differentiated too, so nothing is left but the step.
    assert_forces_are_the_derivative(PySCF("PBE", basis="def2-SVP", grid_level=2), water(), 2e-4)


def test_an_open_shell_with_charge_and_its_dipole():
    with Reference(PySCF("HF", basis="sto-3g"), want=("energy", "dipole", "charges")) as reference:
        cation, hydrogen = reference.compute(
            [water(charge=1.0, multiplicity=2), System.single([[0, 0, 0]], [1], multiplicity=2)]
        )
        theory = reference.theory
    assert float(cation.values["charges"].sum()) == pytest.approx(1.0)
    # Szabo and Ostlund, Modern Quantum Chemistry, section 3.5.
    assert float(hydrogen.values["energy"]) == pytest.approx(-0.46658185 * HARTREE)
    assert theory.functional == "HF"
    assert theory.basis == "sto-3g"
    assert theory.code.startswith("PySCF ")


def test_what_has_no_answer_is_refused():
    structures = [
        water(charge=0.0, multiplicity=2),
        water(charge=0.5, multiplicity=1),
        System.single([[0, 0, 0]], [1], charge=0.0, multiplicity=None),
        System.single([[0, 0, 0], [2.0, 0, 0]], [3, 9], cell=4 * torch.eye(3), pbc=True),
    ]
    with Reference(PySCF("HF", basis="sto-3g", max_cycles=1), want=("energy",)) as reference:
        codes = [label.problem.code for label in reference.compute(structures)]
        (unconverged,) = reference.compute([water()])
    assert codes == ["E-SPIN-PARITY", "E-CHARGE-FRACTION", "E-SPIN-UNSTATED", "E-NOT-A-MOLECULE"]
    assert unconverged.problem.code == "E-SCF-NOT-CONVERGED"
    assert unconverged.values == {}


def test_options_are_checked_when_they_are_made():
    with pytest.raises(OptionError, match=r"E-OPTION-CONFLICT.*counted twice"):
        PySCF("CCSD(T)", dispersion="D4")
    with pytest.raises(OptionError, match="E-OPTION-UNKNOWN"):
        PySCF("PBE", dispersion="D2")
    assert PySCF("ccsd(t)").basis == "cc-pVTZ"
    assert "forces" in PySCF("MP2").provides
    assert "dipole" not in PySCF("MP2").provides
    assert set(PySCF("PBE", basis="def2-SVP").finer()) == {"basis def2-tzvp", "grid 6", "no density fitting"}


@pytest.mark.slow
def test_coupled_cluster_water_to_a_microhartree():
    with Reference(PySCF("CCSD(T)"), want=("energy",)) as reference:
        (label,) = reference.compute([water()])
    # Psi4 agrees to 4e-9 Ha.
    assert float(label.values["energy"]) / HARTREE == pytest.approx(-76.332194, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["MP2", "CCSD", "CCSD(T)"])
def test_forces_of_correlated_methods(method):
    assert_forces_are_the_derivative(PySCF(method, basis="6-31g"), water(), 2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["PBE", "MP2", "CCSD"])
def test_forces_of_open_shells(method):
    assert_forces_are_the_derivative(PySCF(method, basis="6-31g"), water(charge=1.0, multiplicity=2), 2e-4)


def test_open_shells_by_ccsd_t_have_an_energy_and_no_forces():
    cation = water(charge=1.0, multiplicity=2)
    with Reference(PySCF("CCSD(T)", basis="sto-3g")) as reference:
        (label,) = reference.compute([cation])
    assert label.problem.code == "E-PROPERTY-UNDEFINED"
    with Reference(PySCF("CCSD(T)", basis="sto-3g"), want=("energy",)) as reference:
        (label,) = reference.compute([cation])
    assert label.problem is None


@pytest.mark.slow
def test_excited_states_of_formaldehyde():
    formaldehyde = System.single(
        [[0, 0, -0.5296], [0, 0, 0.6741], [0, 0.9355, -1.1096], [0, -0.9355, -1.1096]], [6, 8, 1, 1]
    )
    engine = PySCF("PBE0", basis="def2-SVP")
    with Reference(engine, want=("energy", "excitation_energies", "oscillator_strengths")) as reference:
        (label,) = reference.compute([formaldehyde])
    energies = label.values["excitation_energies"]
    assert energies.shape == (5,)
    # The n→π* state: dark by symmetry, 3.9 to 4.1 eV by experiment and theory.
    assert 3.7 < float(energies[0]) < 4.3
    assert float(label.values["oscillator_strengths"][0]) < 1e-4
    assert "excitation_energies" in label.as_record().provenance.tags
