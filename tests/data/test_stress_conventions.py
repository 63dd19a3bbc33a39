"""Stress of other programs against independent conversions."""

from pathlib import Path

import ase.units
import numpy as np
import pytest
from ase.stress import voigt_6_to_full_3x3_stress

from groundstate.atoms import GroundstateError
from groundstate.data import iterate, read
from labelled_water import WATER, one

STRESS = 'stress="1e-3 0 0 0 2e-3 0 0 0 3e-3"'
XX, YY, ZZ, YZ, XZ, XY = 10.0, 20.0, 30.0, 4.0, 5.0, 6.0
EXPECTED = voigt_6_to_full_3x3_stress(np.array([XX, YY, ZZ, YZ, XZ, XY]))


@pytest.mark.parametrize(
    ("numbers", "convention", "factor"),
    [
        ([XX, YY, ZZ, YZ, XZ, XY], "ase", 1.0),
        ([XX, YY, ZZ, XY, YZ, XZ], "kbar-vasp", -0.1 * ase.units.GPa),
        ([XX, YY, ZZ, YZ, XZ, XY], "GPa", ase.units.GPa),
        (EXPECTED.ravel().tolist(), "kbar-vasp", -0.1 * ase.units.GPa),
        (EXPECTED.ravel().tolist(), "virial", -1.0 / 720.0),
    ],
)
@pytest.mark.parametrize("key", ["stress", "DFT_stress"])
def test_conventions(tmp_path: Path, numbers: list[float], convention: str, factor: float, key: str) -> None:
    text = WATER.replace(STRESS, f'{key}="{" ".join(map(str, numbers))}"')
    record = one(tmp_path, text, stress_convention=convention)
    # ASE's GPa is CODATA 2014, ours 2018: they agree to 1e-8.
    np.testing.assert_allclose(record.labels["stress"].numpy(), factor * EXPECTED, rtol=1e-7)


def test_six_numbers_of_a_virial_have_no_order(tmp_path: Path) -> None:
    text = WATER.replace(STRESS, 'stress="1 2 3 4 5 6"')
    with pytest.raises(GroundstateError, match="E-STRESS-CONVENTION"):
        one(tmp_path, text, stress_convention="virial")


def test_rounding_is_symmetrised(tmp_path: Path) -> None:
    record = one(tmp_path, WATER.replace(STRESS, 'stress="0.1 0.02 0 0.0202 0.1 0 0 0 0.1"'))
    assert float(record.labels["stress"][0, 1]) == float(record.labels["stress"][1, 0]) == pytest.approx(0.0201)


def test_a_molecule_has_no_stress(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(WATER.replace('pbc="T T T"', 'pbc="F F F"'))
    assert "stress" not in next(iterate(tmp_path / "a.xyz")).labels
    assert "not defined" in read(tmp_path / "a.xyz").report.as_text()


def test_stress_and_virial_that_agree(tmp_path: Path) -> None:
    record = one(tmp_path, WATER.replace(STRESS, STRESS + ' virial="-0.72 0 0 0 -1.44 0 0 0 -2.16"'))
    np.testing.assert_allclose(record.labels["virial"].numpy(), -720 * record.labels["stress"].numpy(), rtol=1e-12)
