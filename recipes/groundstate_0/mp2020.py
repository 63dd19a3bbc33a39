"""What the Materials Project adds to energies, so that it can be taken off what a model says that has learned it.

Wang et al., Sci. Rep. 11, 15496 (2021): so many eV for every anion of a kind, and for every metal with U in an oxide or
fluoride. CHGNet has learned energies with these; ours are as VASP gives them.
"""

import warnings
from functools import cache

import numpy as np
from ase.data import chemical_symbols
from pymatgen.analysis.structure_analyzer import oxide_type
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
from pymatgen.entries.computed_entries import ComputedEntry

HUBBARD_U = {"Co": 3.32, "Cr": 3.7, "Fe": 5.3, "Mn": 3.9, "Mo": 4.38, "Ni": 6.2, "V": 3.25, "W": 6.2}
"""eV, in oxides and fluorides."""


def corrections(shard: dict[str, np.ndarray]) -> np.ndarray:
    """eV added to the energy of every structure of a shard; NaN where the rules have no answer, as for V2FHe."""
    return np.array([_correction(shard, row) for row in range(len(shard["ptr"]) - 1)])


def _correction(shard: dict[str, np.ndarray], row: int) -> float:
    atoms = slice(shard["ptr"][row], shard["ptr"][row + 1])
    names = [chemical_symbols[z] for z in shard["numbers"][atoms]]
    kind = "None"
    if "O" in names:
        lattice = Lattice(shard["cells"][row].astype(float))
        crystal = Structure(lattice, names, shard["positions"][atoms].astype(float), coords_are_cartesian=True)
        kind = str(oxide_type(crystal))
    formula = Composition.from_dict({name: names.count(name) for name in set(names)})
    reduced, units = formula.get_reduced_formula_and_factor()
    return units * _of_formula(reduced, kind)


@cache
def _of_formula(reduced: str, kind: str) -> float:
    composition = Composition(reduced)
    present = {element.symbol for element in composition}
    with_u = {name: HUBBARD_U[name] for name in present & set(HUBBARD_U)} if present & {"O", "F"} else {}
    entry = ComputedEntry(
        composition,
        0.0,
        parameters={"hubbards": with_u, "run_type": "GGA+U" if with_u else "GGA"},
        data={"oxide_type": kind},
    )
    with warnings.catch_warnings():
        # It tells of every compound whose oxidation states it cannot guess: those are taken as they come.
        warnings.simplefilter("ignore")
        found = MaterialsProject2020Compatibility(check_potcar=False).process_entry(entry, clean=True)
    return float("nan") if found is None else float(found.correction)
