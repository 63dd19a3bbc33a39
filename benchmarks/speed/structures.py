"""The structures every contender is timed on, by name; made once and handed to all of them in one file."""

import json
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.build import bulk
from ase.calculators.lj import LennardJones

SILICON = (8, 64, 216, 512, 1000, 4096, 13824, 97336)
PEROVSKITE = (40, 135, 320, 1080)
_SITES = [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)]


def silicon(n_atoms: int) -> ase.Atoms:
    """Cubic cells of diamond silicon, atoms displaced by 0.05 Å; 8·k³ atoms."""
    k = round((n_atoms / 8) ** (1 / 3))
    return _displaced(bulk("Si", "diamond", a=5.43, cubic=True) * (k, k, k), 0.05)


def perovskite(n_atoms: int, n_elements: int = 3) -> ase.Atoms:
    """Cubic SrTiO3, atoms displaced by 0.05 Å; 5·k³ atoms. The same sites with 1 element, or with 6, as asked."""
    k = round((n_atoms / 5) ** (1 / 3))
    atoms = ase.Atoms("SrTiO3", scaled_positions=_SITES, cell=[3.905] * 3, pbc=True) * (k, k, k)
    if n_elements == 1:
        atoms.symbols[:] = "Ti"
    if n_elements == 6:
        large, small = (np.flatnonzero(atoms.symbols == symbol) for symbol in ("Sr", "Ti"))
        atoms.symbols[large[1::3]], atoms.symbols[large[2::3]], atoms.symbols[small[1::2]] = "Ba", "Ca", "Zr"
    return _displaced(atoms, 0.05)


def small_crystals() -> list[ase.Atoms]:
    """Twenty crystals of 1 to 10 atoms, strained by a few per cent, atoms displaced by 0.05 Å."""
    made = [
        bulk("Si", "diamond", a=5.43),
        bulk("Ge", "diamond", a=5.66),
        bulk("C", "diamond", a=3.57),
        bulk("Si", "diamond", a=5.43, cubic=True),
        bulk("MgO", "rocksalt", a=4.21, cubic=True),
        bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        bulk("LiF", "rocksalt", a=4.03, cubic=True),
        bulk("CaO", "rocksalt", a=4.81),
        bulk("Cu", cubic=True),
        bulk("Al", cubic=True),
        bulk("Ni", cubic=True),
        bulk("Fe", cubic=True),
        bulk("W", cubic=True),
        bulk("GaAs", "zincblende", a=5.65, cubic=True),
        bulk("ZnS", "zincblende", a=5.41),
        bulk("AlN", "wurtzite", a=3.11, c=4.98),
        bulk("ZnO", "wurtzite", a=3.25, c=5.2),
        perovskite(5),
        bulk("CsCl", "cesiumchloride", a=4.12),
        bulk("Mg", "hcp", a=3.21, c=5.21),
    ]
    generator = np.random.default_rng(1)
    return [_displaced(_strained(atoms, generator), 0.05, seed) for seed, atoms in enumerate(made)]


def training_batch() -> list[ase.Atoms]:
    """Eight cells of Si, MgO and SrTiO3, 79 atoms in all, labelled by a Lennard-Jones potential: E, F, stress."""
    generator = np.random.default_rng(0)
    made = []
    for i in range(8):
        kinds = (bulk("Si", "diamond", a=5.43, cubic=True), bulk("MgO", "rocksalt", a=4.21, cubic=True), perovskite(5))
        atoms = kinds[i % 3] * ((2, 1, 1) if (i // 3) % 2 else (1, 1, 1))
        atoms = _displaced(_strained(atoms, generator), 0.08, seed=i)
        atoms.calc = LennardJones(sigma=2.2, epsilon=0.1, rc=6.0, smooth=True)
        made.append(atoms)
    return made


def write(path: Path, names: list[str]) -> dict[str, int]:
    """Write the named structures, the small crystals and the training batch; atoms of each named one."""
    chosen = {name: _NAMED[name] for name in names}
    document: dict[str, Any] = {name: _plain(make(*arguments)) for name, (make, arguments) in chosen.items()}
    document["small crystals"] = [_plain(atoms) for atoms in small_crystals()]
    document["training batch"] = [_labelled(atoms) for atoms in training_batch()]
    path.write_text(json.dumps(document))
    return {name: len(document[name]["numbers"]) for name in names}


def _plain(atoms: ase.Atoms) -> dict[str, Any]:
    return {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist(), "cell": atoms.cell.array.tolist()}


def _labelled(atoms: ase.Atoms) -> dict[str, Any]:
    labels = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces().tolist(),
        "stress": atoms.get_stress().tolist(),
    }
    return {**_plain(atoms), **labels}


def _strained(atoms: ase.Atoms, generator: np.random.Generator) -> ase.Atoms:
    strain = 0.02 * generator.normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    return atoms


def _displaced(atoms: ase.Atoms, by: float, seed: int = 0) -> ase.Atoms:
    atoms.rattle(by, seed=seed)
    return atoms


_NAMED = {
    **{f"Si {n}": (silicon, (n,)) for n in SILICON},
    **{f"SrTiO3 {n}": (perovskite, (n,)) for n in PEROVSKITE},
    "1 element 135": (perovskite, (135, 1)),
    "6 elements 135": (perovskite, (135, 6)),
}
NAMES = tuple(_NAMED)
"""All that can be asked for by name."""
