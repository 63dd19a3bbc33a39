"""One water molecule in a box with labels, as a file, a record and an ASE object."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from groundstate.data import Record, read

WATER = (
    '3\nLattice="8 0 0 0 9 0 0 0 10" Properties=species:S:1:pos:R:3:forces:R:3 energy=-14.25'
    ' stress="1e-3 0 0 0 2e-3 0 0 0 3e-3" pbc="T T T" config_type=water\n'
    "O 0 0 0 0.1 0.2 0.3\nH 0.96 0 0 -0.1 0 0\nH -0.24 0.93 0 0 -0.2 -0.3\n"
)


def one(tmp_path: Path, text: str, name: str = "data.extxyz", **options: object) -> Record:
    """The only record of a file with this text."""
    path = tmp_path / name
    path.write_text(text)
    (record,) = read(path, **options).records  # type: ignore[arg-type]
    return record


def labelled_atoms() -> Atoms:
    """Water with a calculator's results."""
    atoms = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], cell=[8, 9, 10], pbc=True)
    results = {"energy": -14.25, "forces": np.arange(9.0).reshape(3, 3), "stress": np.arange(6.0) * 1e-3, "magmom": 0.0}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
