"""tblite: the value its authors print, forces equal differences of energies, crystals refused with the reason."""

import pytest
import torch
from ase.build import molecule

from groundstate.atoms import System
from groundstate.data import from_ase
from groundstate.quantum import XTB, Reference

pytest.importorskip("tblite")


def test_water_of_the_documentation_of_tblite():
    with Reference(XTB(accuracy=1.0)) as reference:
        (label,) = reference.compute([from_ase(molecule("H2O"))])
    assert float(label.values["energy"]) == pytest.approx(-137.96777594361677, abs=1e-5)
    assert float(label.values["forces"][0, 2]) == pytest.approx(-0.749527168, abs=1e-4)


def test_forces_are_the_derivative_and_charge_and_spin_are_seen():
    water = from_ase(molecule("H2O"))
    step = torch.zeros(3, 3, dtype=torch.float64)
    step[0, 2] = 1e-3
    up, down = (water.replace(positions=water.positions + sign * step) for sign in (1, -1))
    cation = System.single(water.positions, water.numbers, charge=1.0, multiplicity=2)
    with Reference(XTB(), want=("energy", "forces", "charges", "dipole")) as reference:
        first, high, low, ionised = reference.compute([water, up, down, cation])
    slope = (float(high.values["energy"]) - float(low.values["energy"])) / 2e-3
    assert float(first.values["forces"][0, 2]) == pytest.approx(-slope, abs=1e-4)
    assert float(first.values["charges"].sum()) == pytest.approx(0.0, abs=1e-6)
    assert float(ionised.values["charges"].sum()) == pytest.approx(1.0, abs=1e-6)
    assert float(ionised.values["energy"] - first.values["energy"]) > 10.0


def test_crystals_are_refused_with_the_reason():
    crystal = System.single([[0.0, 0, 0], [2.1, 0, 0]], [12, 8], cell=4.2 * torch.eye(3), pbc=True)
    with Reference(XTB()) as reference:
        (label,) = reference.compute([crystal])
    assert label.problem.code == "E-NOT-A-MOLECULE"
    assert "30 GPa" in str(label.problem)
