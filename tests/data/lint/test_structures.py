"""Distances, units of length and periods that cannot be right."""

import torch

from groundstate.atoms import System
from groundstate.atoms.units import BOHR
from groundstate.data import Record
from groundstate.data.lint import Finding, examine
from labelled_crystals import labelled, rattled
from toys import fcc


def found(systems: list[System]) -> dict[str, Finding]:
    """Findings about distances, by code; the labels do not matter."""
    examination = examine([Record(system) for system in systems])
    (check,) = [one for one in examination.checks if one.check == "distances"]
    return {finding.code: finding for finding in check.findings}


def scaled(system: System, factor: float) -> System:
    return system.replace(positions=factor * system.positions, cell=factor * system.cell)


def test_crystals_and_molecules_are_plausible() -> None:
    water = System.single([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [8, 1, 1])
    assert found([*rattled(3, seed=1), water]) == {}


def test_lengths_in_another_unit() -> None:
    crystals = rattled(5, seed=2)
    assert "bohr" in found([scaled(one, 1 / BOHR) for one in crystals])["L-LENGTH-UNIT"].what
    assert "nm" in found([scaled(one, 0.1) for one in crystals])["L-LENGTH-UNIT"].what


def test_atoms_too_close() -> None:
    crystal = fcc(repeats=2)
    positions = crystal.positions.clone()
    positions[1] = positions[0] + torch.tensor([1.1, 0.0, 0.0])
    finding = found([*rattled(3, seed=1), crystal.replace(positions=positions)])["L-DISTANCE-SHORT"]
    assert finding.frames == (3,)
    assert "Cu–Cu 1.1" in finding.what


def test_atoms_alone() -> None:
    atom = System.single([[0.0, 0, 0]], [29])
    codes = found([fcc(), atom])
    assert codes["L-ISOLATED-ATOM"].frames == (1,)
    far = System.single([[0.0, 0, 0], [1.1, 0, 0], [9.0, 0, 0]], [6, 8, 10])
    assert found([far])["L-ATOM-ALONE"].frames == (0,)
    assert found([atom])["L-ISOLATED-ATOM"].frames == (0,)


def test_a_crystal_without_periods_and_a_molecule_with_them() -> None:
    crystal = fcc(repeats=2)
    none = torch.zeros(1, 3, dtype=torch.bool)
    assert found([crystal, crystal.replace(pbc=none)])["L-PBC-MISSING"].frames == (1,)
    molecule = System.single([[0.0, 0, 0], [0, 0, 1.13]], [6, 8], cell=20 * torch.eye(3), pbc=True)
    assert found([molecule])["L-VACUUM"].frames == (0,)
    assert "L-PBC-MISSING" not in found([molecule.replace(pbc=none)])


def test_labelled_crystals_have_no_findings() -> None:
    assert examine(labelled(rattled(4, seed=9))).findings == ()
