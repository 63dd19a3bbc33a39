"""Longitudinal and transverse modes of polar crystals from published force sets and Born charges."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from groundstate.atoms import DataError, OptionError, System
from groundstate.simulation.properties import PER_CM, DielectricResponse, Lattice, frequencies, read_born
from groundstate.simulation.properties.dielectric import fitted
from groundstate.simulation.properties.lattice import phonopy_of
from groundstate.simulation.properties.symmetry import library

phonopy = pytest.importorskip("phonopy")
DATA = Path(os.environ.get("GROUNDSTATE_DATA", "")) / "phonons_lo_to"
needs_data = pytest.mark.skipif(
    "GROUNDSTATE_DATA" not in os.environ or not DATA.is_dir(), reason="GROUNDSTATE_DATA holds no phonons_lo_to"
)
GAMMA = torch.zeros(1, 3, dtype=torch.float64)


def published(name: str) -> tuple[System, Lattice]:
    """The crystal and the lattice of its force sets, without dielectric response."""
    from ase.io import read
    from phonopy.file_IO import parse_FORCE_SETS

    atoms = read(DATA / name / "POSCAR-unitcell", format="vasp")
    cell = System.single(atoms.positions, atoms.numbers, cell=atoms.cell.array, pbc=True)
    matrix = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
    phonon = phonopy_of(cell, matrix, 1e-5)
    with library():
        phonon.dataset = parse_FORCE_SETS(str(DATA / name / "FORCE_SETS"))
        phonon.produce_force_constants(show_drift=False)
        phonon.symmetrize_force_constants(show_drift=False)
    return cell, Lattice(cell, matrix, torch.from_numpy(np.array(phonon.force_constants)))


@needs_data
@pytest.mark.parametrize(("name", "transverse", "longitudinal"), [("NaCl", 154.0, 246.7), ("MgO", 373.5, 666.3)])
def test_splitting_of_the_published_force_sets(name: str, transverse: float, longitudinal: float) -> None:
    cell, plain = published(name)
    response, _ = fitted(read_born(DATA / name / "BORN", cell), cell)
    polar = Lattice(plain.cell, plain.supercell, plain.constants, response)
    without = frequencies(polar, GAMMA)[0][0] * PER_CM
    assert without[3:].tolist() == pytest.approx([transverse] * 3, abs=0.05)
    for direction in ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.3, -0.2, 0.7)):
        split = frequencies(polar, GAMMA, direction=direction)[0][0] * PER_CM
        assert split[3:].tolist() == pytest.approx([transverse, transverse, longitudinal], abs=0.05)
    assert frequencies(plain, GAMMA, direction=(1.0, 0.0, 0.0))[0][0, 5] * PER_CM == pytest.approx(transverse, abs=0.05)


@needs_data
def test_splitting_is_that_of_the_born_charges() -> None:
    # Born and Huang: ω²_LO − ω²_TO = 4π Z*²e² / (ε∞ V μ) for two atoms in a cubic cell.
    from groundstate.atoms.units import COULOMB, FEMTOSECOND

    cell, plain = published("NaCl")
    response = DielectricResponse.isotropic([1.1] * 4 + [-1.1] * 4, 2.4, "test")
    polar = Lattice(plain.cell, plain.supercell, plain.constants, response)
    low, high = frequencies(polar, GAMMA, direction=(0.0, 0.0, 1.0))[0][0][[3, 5]].tolist()
    reduced = 1 / (1 / float(cell.masses[0]) + 1 / float(cell.masses[-1]))
    squared = 4 * np.pi * COULOMB * 1.1**2 / (2.4 * float(cell.volume[0]) / 4 * reduced)
    in_THz = squared * (FEMTOSECOND * 1e3) ** 2 / (2 * np.pi) ** 2
    assert high**2 - low**2 == pytest.approx(in_THz, rel=1e-4)


def test_charges_that_cannot_be_those_of_the_crystal_are_refused(tmp_path: Path) -> None:
    cell = System.single([[0.0, 0, 0], [2.1, 2.1, 2.1]], [12, 8], cell=4.2 * np.eye(3), pbc=True)
    for charges, epsilon in (([2.0], 3.0), ([2.0, 2.0], 3.0), ([2.0, -2.0], 0.5), ([float("nan"), 0.0], 3.0)):
        with pytest.raises(OptionError, match="E-BORN-CHARGES"):
            fitted(DielectricResponse.isotropic(charges, epsilon, "test"), cell)
    neutral, notes = fitted(DielectricResponse.isotropic([2.0, -1.9], 3.0, "test"), cell)
    assert float(neutral.born_charges.sum(dim=0).abs().max()) < 1e-12
    assert "made neutral" in notes[0]
    (tmp_path / "BORN").write_text("not numbers\n1 2\n")
    with pytest.raises(DataError, match="E-BORN-FILE"):
        read_born(tmp_path / "BORN", cell)
