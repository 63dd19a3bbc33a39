"""Any ASE calculator: equal to the calculator itself, its refusals told as ours."""

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from groundstate.atoms import GroundstateError, OptionError
from groundstate.data import from_ase
from groundstate.quantum import ASE, Reference

FACTORY = "ase.calculators.emt:EMT"


def test_copper_by_emt_is_what_ase_says():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    with Reference(ASE(FACTORY, "EMT", {"asap_cutoff": False})) as reference:
        (label,) = reference.compute([from_ase(atoms)])
        assert reference.theory.functional == "EMT"
        assert "EMT" in reference.theory.code
    atoms.calc = EMT()
    assert float(label.values["energy"]) == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    assert label.values["forces"].numpy() == pytest.approx(atoms.get_forces(), abs=1e-12)
    assert label.values["stress"].numpy() == pytest.approx(atoms.get_stress(voigt=False), abs=1e-14)


def test_what_the_calculator_cannot_is_refused():
    with Reference(ASE(FACTORY, "EMT", computes=("energy", "dipole")), want=("energy", "dipole")) as reference:
        (label,) = reference.compute([from_ase(bulk("Cu"))])
    assert label.problem.code == "E-PROPERTY-UNDEFINED"
    with Reference(ASE(FACTORY, "EMT")) as reference:
        good, bad = reference.compute([from_ase(bulk("Cu")), from_ase(bulk("W"))])
    assert good.problem is None
    assert "EMT" in str(bad.problem)
    charged = from_ase(bulk("Cu"))
    charged = charged.replace(charge=charged.volume.new_ones(1))
    with Reference(ASE(FACTORY, "EMT")) as reference:
        (label,) = reference.compute([charged])
    assert label.problem.code == "E-CHARGE-IGNORED"


def test_settings_that_cannot_work():
    with pytest.raises(OptionError, match="E-FACTORY"):
        ASE("EMT", "EMT")
    with pytest.raises(OptionError, match="E-THEORY-INCOMPLETE"):
        ASE(FACTORY)
    with Reference(ASE("ase.calculators.emt:EMTT", "EMT")) as reference, pytest.raises(GroundstateError, match="EMTT"):
        reference.compute([from_ase(bulk("Cu"))])
