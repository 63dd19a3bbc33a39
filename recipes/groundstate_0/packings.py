"""Molecules and polyatomic ions thrown into a cell with a few atoms, mostly metals, none nearer than they touch.

Nothing is neutral on purpose and nothing is at rest: what holds such crystals together inside their units is what a
model must learn first, and a descent brings the units together.
"""

from functools import cache

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers, covalent_radii
from crystal import ELEMENTS, NONMETALS, Crystal
from scipy.spatial.transform import Rotation

MOLECULES = (
    "H2O NH3 CO CO2 CH4 CH3OH HCN C2H2 C2H4 C2H6 C6H6 HCOOH H2CO N2H4 SO2 PH3 SiH4 N2 O2 OCS CS2 CH3Cl CF4 NF3 PF3 "
    "SiF4 SiCl4 BF3 BCl3 CH3CN C5H5N C4H4O CH3CHO CH3COOH H2O2 HF HCl"
)
"""Names of `ase.build.molecule`."""

IONS = {
    "trigonal": "N-O:1.25 C-O:1.29 B-O:1.38",
    "tetrahedral": "N-H:1.03 B-H:1.24 Al-H:1.60 B-F:1.40 P-O:1.54 S-O:1.49 Cl-O:1.46 Si-O:1.63 As-O:1.69 Se-O:1.64 "
    "P-S:2.05 Ge-O:1.75 V-O:1.72 Cr-O:1.65 Mn-O:1.63 Mo-O:1.77 W-O:1.78 Re-O:1.73 Tc-O:1.72 Os-O:1.72 Ge-S:2.21",
    "octahedral": "P-F:1.60 Si-F:1.69 As-F:1.72 Sb-F:1.88 Te-O:1.92 I-O:1.89 Ti-F:1.86 W-O:1.92 Nb-O:1.98 "
    "Mo-O:1.95 Cr-C:1.91",
    "pyramidal": "S-O:1.52 Se-O:1.70 Cl-O:1.48 Br-O:1.65 I-O:1.81 Te-O:1.88 P-H:1.42",
    "bent": "N-O:1.25 Cl-O:1.57 N-H:1.03",
    "linear": "N-N:1.18 Hg-Cl:2.30 Au-C:2.00",
    "single": "C-N:1.16 O-H:0.97 O-O:1.49 S-S:2.08 N-O:1.15 C-C:1.21 S-H:1.34",
}
"""Shape → centre-ligand:length in Å."""
_T = 1 / np.sqrt(3)
DIRECTIONS = {
    "trigonal": [[1, 0, 0], [-0.5, 0.866, 0], [-0.5, -0.866, 0]],
    "tetrahedral": [[_T, _T, _T], [_T, -_T, -_T], [-_T, _T, -_T], [-_T, -_T, _T]],
    "octahedral": [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]],
    "pyramidal": [[0.93, 0, 0.37], [-0.465, 0.805, 0.37], [-0.465, -0.805, 0.37]],
    "bent": [[0.84, 0.54, 0], [-0.84, 0.54, 0]],
    "linear": [[1, 0, 0], [-1, 0, 0]],
    "single": [[1, 0, 0]],
}
SINGLE = "H F Cl Br I O S"
"""Nonmetals that come as atoms too, as every metal does."""
MOST_ATOMS, MOST_UNITS, MOST_SINGLE = 72, 8, 8
TOUCHING = (1.05, 1.3)
"""Least distance of atoms of different units, in sums of covalent radii, drawn for each crystal."""
_ATTEMPTS, _NARROWER = 800, 0.15
_HALF_SHIFTS = (np.array(list(np.ndindex(3, 3, 3))) - 1)[13:]
"""Of the cell; the others are these, seen from the other atom."""


def packing(random: np.random.Generator) -> Crystal:
    """A crystal of one to eight units of one or two kinds and up to eight atoms of one or two elements."""
    units, atoms = _units(), sorted(set(ELEMENTS) - NONMETALS) + [atomic_numbers[name] for name in SINGLE.split()]
    while True:
        kinds = random.choice(len(units), size=random.integers(1, 3))
        chosen = [units[k] for k in random.choice(kinds, size=random.integers(1, MOST_UNITS + 1))]
        single = random.choice(random.choice(atoms, size=2), size=random.integers(0, MOST_SINGLE + 1))
        parts = chosen + [Atoms(numbers=[z]) for z in single]
        if 3 <= sum(len(part) for part in parts) <= MOST_ATOMS:
            return _packed(random, parts)


@cache
def _units() -> list[Atoms]:
    units = [molecule(name) for name in MOLECULES.split()]
    for shape, listed in IONS.items():
        for entry in listed.split():
            names, length = entry.split(":")
            centre, ligand = names.split("-")
            sites = np.vstack([[0, 0, 0], float(length) * np.array(DIRECTIONS[shape])])
            units.append(Atoms([centre] + [ligand] * (len(sites) - 1), sites))
    return units


def _packed(random: np.random.Generator, parts: list[Atoms]) -> Crystal:
    """The parts turned and placed at random in a wide cell, which then narrows as long as they give way."""
    numbers = np.concatenate([part.numbers for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    radii = covalent_radii[numbers]
    least = random.uniform(*TOUCHING) * (radii[:, None] + radii)
    cell = np.eye(3) + random.uniform(-0.25, 0.25, (3, 3))
    cell *= (float((4.2 * (radii + 0.45) ** 3).sum()) / abs(np.linalg.det(cell))) ** (1 / 3)
    units = [part.positions - part.positions.mean(0) for part in parts]
    places, apart = random.random((len(parts), 3)), False
    while not apart:
        cell = cell * 1.03
        units, places = [unit @ _turn(random) for unit in units], random.random((len(parts), 3))
        apart = _apart(_sites(units, places, cell, owner), cell, owner, least)
    for attempt in range(_ATTEMPTS):
        turned, moved, narrower = list(units), places.copy(), cell
        if attempt % 2:
            narrower = cell * (1 - _NARROWER * random.random((3, 1)) ** 3)
        else:
            unit = random.integers(len(parts))
            turned[unit] = units[unit] @ _turn(random, most=1.0)
            moved[unit] += random.normal(0, 0.1, 3)
        if _apart(_sites(turned, moved, narrower, owner), narrower, owner, least):
            units, places, cell = turned, moved, narrower
    return Crystal(numbers, _sites(units, places, cell, owner) @ np.linalg.inv(cell), cell, "packing")


def _turn(random: np.random.Generator, most: float = np.pi) -> np.ndarray:
    """About an axis at random, by an angle at random."""
    return Rotation.from_rotvec(random.uniform(0, most) * _direction(random)).as_matrix()


def _direction(random: np.random.Generator) -> np.ndarray:
    way = random.standard_normal(3)
    return way / np.linalg.norm(way)


def _sites(units: list[np.ndarray], places: np.ndarray, cell: np.ndarray, owner: np.ndarray) -> np.ndarray:
    return np.concatenate(units) + (places @ cell)[owner]


def _apart(sites: np.ndarray, cell: np.ndarray, owner: np.ndarray, least: np.ndarray) -> bool:
    """Whether no atom is nearer than `least` [atom, atom] to one of another unit, or to an image of its own."""
    apart = sites[:, None] - sites
    same = owner[:, None] == owner
    for shift in _HALF_SHIFTS @ cell:
        far = np.einsum("ijx,ijx->ij", apart + shift, apart + shift) > least**2
        if not (far | same if not shift.any() else far).all():
            return False
    return True
