"""ABINIT: what it prints is read into our units and indices; the program itself where it is installed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from groundstate.atoms import OptionError
from groundstate.data import from_ase
from groundstate.quantum import Abinit, Reference
from groundstate.quantum.drivers import abinit_driver
from groundstate.quantum.engines.abinit import DEBIAN

installed = pytest.mark.skipif(
    shutil.which("abinit") is None or not Path(DEBIAN).is_dir(), reason="abinit and abinit-data are not installed"
)

ANADDB = """
 The violation of the charge neutrality conditions
 by the effective charges is as follows :
    atom        electric field
 displacement     direction
       1               1        0.009000        0.000000
       1               2        0.000000        0.000000

 Effective charge tensors after
 imposition of the charge neutrality,
   atom    displacement
         1         1    1.500000E+00    2.500000E-01    0.000000E+00
         1         2    0.000000E+00    1.500000E+00    0.000000E+00
         1         3    0.000000E+00    0.000000E+00    1.500000E+00
"""
RESULTS = """--- !ResultsGS
etotal    :  -7.98635315E+01
cartesian_stress_tensor: # hartree/bohr^3
- [  1.00000000E-03,   0.00000000E+00,   0.00000000E+00, ]
- [  0.00000000E+00,   2.00000000E-03,   0.00000000E+00, ]
- [  0.00000000E+00,   0.00000000E+00,   3.00000000E-03, ]
cartesian_forces: # hartree/bohr
- [  1.00000000E-02,  -0.00000000E+00,  -0.00000000E+00, ]
- [ -1.00000000E-02,  -0.00000000E+00,  -0.00000000E+00, ]
           etotal     -7.9863531544E+01
"""


def test_tables_are_read_by_their_titles():
    violation = abinit_driver._table(ANADDB, "The violation of the charge neutrality", 2, 4)
    assert violation[:, 2].tolist() == [0.009, 0.0]
    charges = abinit_driver._table(ANADDB, "Effective charge tensors after", 3, 5)[:, 2:]
    assert charges[0].tolist() == [1.5, 0.25, 0.0]


def test_results_have_our_units_and_signs():
    found = abinit_driver._ground_state(RESULTS, 2)
    assert found["energy"] == pytest.approx(-79.863531544 * 27.211386245988)
    assert found["forces"][0, 0] == pytest.approx(0.01 * 27.211386245988 / 0.529177210903)
    assert np.diag(found["stress"]) == pytest.approx(np.array([1, 2, 3]) * 1e-3 * 27.211386245988 / 0.529177210903**3)


def test_pseudopotentials_must_be_there(tmp_path):
    with pytest.raises(OptionError, match="E-PSEUDOPOTENTIALS"):
        Abinit("PBE", str(tmp_path / "none"))
    with pytest.raises(OptionError, match="E-PSEUDOPOTENTIALS"):
        Abinit("PBE")
    coarse = Abinit("PBE", str(tmp_path), k_mesh=(2, 2, 2)).refusal(from_ase(bulk("MgO", "rocksalt", 4.2)))
    assert coarse.code == "E-K-MESH-COARSE"


@installed
def test_a_calculation_that_does_not_converge_is_a_failed_label():
    engine = Abinit("LDA", cutoff_Ha=10.0, k_mesh=(1, 1, 1), max_cycles=2, allow_coarse=True)
    crystals = [from_ase(bulk("MgO", "rocksalt", 4.212)), from_ase(bulk("CsI", "cesiumchloride", 4.5))]
    with Reference(engine, want=("energy",)) as reference:
        unconverged, unknown = reference.compute(crystals)
    assert unconverged.problem.code == "E-SCF-NOT-CONVERGED"
    assert unknown.problem.code == "E-PSEUDOPOTENTIALS"


@installed
@pytest.mark.slow
def test_magnesium_oxide_by_lda():
    engine = Abinit(
        "LDA", cutoff_Ha=20.0, k_mesh=(2, 2, 2), allow_coarse=True, neutrality_e=0.2, response_residual=1e-4
    )
    crystal = from_ase(bulk("MgO", "rocksalt", 4.212))
    with Reference(engine, want=("energy", "forces", "stress", "born_charges", "dielectric_tensor")) as reference:
        (label,) = reference.compute([crystal])
    if label.problem is not None:
        assert label.problem.code == "E-BORN-NEUTRALITY", "a coarse mesh may be refused, and for this reason only"
        return
    charges = label.values["born_charges"]
    assert float(charges[0, 0, 0]) == pytest.approx(1.99, abs=0.15)
    assert float(charges.sum(dim=0).abs().max()) < 1e-4
    assert float(label.values["dielectric_tensor"][0, 0]) == pytest.approx(3.2, abs=0.5)
