"""Hot binary alloys of Nb, Mo, Ta and W: unlike atoms nearer than the calm alloys that NbMoTaW is taught from.

    python benchmarks/published/hot_alloys.py hot.extxyz
    groundstate label hot.extxyz -e gpaw --method PBE --cutoff-eV 400 --k-spacing 0.4 --want energy,forces -o labels

Four structures for each two elements, 2 × 1 × 1 cells of a body-centred lattice, disordered and displaced until the
nearest unlike atoms lie in each of WINDOWS. `hot_alloys.extxyz` beside this file is labels/labels.extxyz (GPAW 26.7.0,
16 minutes of a core); `trials.py NbMoTaW --beyond` judges by it.
"""

import itertools
import sys

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.io import write

SIDES = {"Nb": 3.32, "Mo": 3.16, "Ta": 3.32, "W": 3.18}
"""Å."""
WINDOWS = ((0.66, 0.70), (0.70, 0.74), (0.74, 0.78), (0.78, 0.82))
"""Of the sum of covalent radii."""


def hot(elements: tuple[str, str], low: float, high: float, generator: np.random.Generator) -> Atoms:
    """Drawn until the nearest unlike atoms are in the window, and like atoms no nearer than the elements have them."""
    while True:
        side = sum(SIDES[name] for name in elements) / 2 * generator.uniform(0.96, 1.02)
        cell = bulk("Fe", "bcc", a=side, cubic=True)
        cell.set_chemical_symbols(list(elements))
        cell *= (2, 1, 1)
        order = generator.permutation(4)
        atoms = Atoms([cell.symbols[i] for i in order], cell.positions, cell=cell.cell, pbc=True)
        atoms.positions += generator.normal(scale=generator.uniform(0.2, 0.45), size=(4, 3))
        nearest = {True: np.inf, False: np.inf}
        distances, names = atoms.get_all_distances(mic=True), atoms.get_chemical_symbols()
        for i, j in itertools.combinations(range(4), 2):
            radii = covalent_radii[[atomic_numbers[names[i]], atomic_numbers[names[j]]]].sum()
            alike = names[i] == names[j]
            nearest[alike] = min(nearest[alike], distances[i, j] / radii)
        if low <= nearest[False] < high and nearest[True] > max(low, 0.7):
            atoms.info["group"] = "".join(elements)
            atoms.wrap()
            return atoms


if __name__ == "__main__":
    drawn = np.random.default_rng(0)
    write(sys.argv[1], [hot(pair, *window, drawn) for pair in itertools.combinations(SIDES, 2) for window in WINDOWS])
