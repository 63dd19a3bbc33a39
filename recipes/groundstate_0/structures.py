"""Structures for the default model to learn from: crystals of the Materials Project and prototypes over the periodic
table, with elements exchanged, strained, rattled, cut open.

    python recipes/groundstate_0/structures.py --crystals FOLDER --without mptrj-random-1k.xyz --output structures
    python recipes/groundstate_0/structures.py --set gentle --crystals FOLDER --without … --output gentle

The broad set has everything, much of it violently displaced and small; the gentle set is all known crystals near
their rest, and relatives of those with many elements; `relatives` is more of the latter; `many` is a small set for a
dear teacher, mostly of many elements, and `prototypes` one against forgetting the elements. `table` is as wide as a
cheap teacher can follow: any metal in the place of any other, rare ones as often as common ones, in small cells, and
large ones that keep their anions. `ions` are packings of molecules and polyatomic ions with metals, thrown together:
the crystals at hand have few of them.

FOLDER is that of public crystal sets (`mp_20_biternary/val.csv.gz`, `mpts_52/val.csv.gz`, and the JARVIS copies of
Perov-5 and Carbon-24). Only validation and training parts are read; test parts stay unseen, and so does every material
named in the files given by `--without`. Shards of a few thousand structures are written one by one; the same command
continues after a kill, and the same seed makes the same structures.

A shard is an `.npz`: numbers, positions (Å), ptr (first atom of each structure, and the end), cells (Å, rows), origin
(what a structure descends from, e.g. `mp-1234`), composition (reduced formula), held_out (its composition is kept for
validation).
"""

import argparse
import gzip
import io
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.formula import Formula
from crystal import ELEMENTS, NONMETALS, Crystal
from packings import packing

LARGEST = {"broad": 40, "gentle": 52, "relatives": 52, "many": 52, "prototypes": 0, "table": 40, "ions": 0}
"""Atoms of a cell."""
MANY_ELEMENTS = 3
SHARD = {"broad": 4000, "gentle": 4000, "relatives": 4000, "many": 250, "prototypes": 1000, "table": 2000, "ions": 1000}
"""Structures of a file: what a kill may cost."""
HELD_OUT = 0.03
PACKINGS = 6000
_NOTHING = Crystal(np.zeros(0, int), np.zeros((0, 3)), np.eye(3), "")
CLOSEST = 0.55
"""Of the sum of covalent radii: structures with a shorter distance are left out; the repulsive core is a term."""


Job = tuple[Crystal, str]
"""A crystal, and what is done to it: a key of `_WAYS`."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=Path, required=True)
    parser.add_argument("--without", type=Path, nargs="*", default=[], help="extxyz files whose materials are left out")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--set", choices=sorted(LARGEST), default="broad")
    parser.add_argument("--scale", type=float, default=1.0, help="share of all structures, for a trial")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    excluded = {name for file in options.without for name in re.findall(r"\bmp-\d+|\bmvc-\d+", file.read_text())}
    largest = LARGEST[options.set]
    known = [c for c in _materials_project(options.crystals) if c.origin not in excluded] if largest else []
    known = [c for c in known if len(c.numbers) <= largest]
    random = np.random.default_rng(options.seed)
    jobs = {
        "broad": lambda: _broad(random, known, options.crystals),
        "gentle": lambda: _gentle(known),
        "relatives": lambda: _relations(known),
        "many": lambda: _many(known),
        "prototypes": lambda: _prototypes(random, options.crystals, 3000, 1000, 500),
        "table": lambda: _table(random, known),
        "ions": lambda: [(_NOTHING, "packed, eased")] * PACKINGS,
    }[options.set]()
    stream = _kept(_mixed(random, jobs, options.scale, options.seed))
    size = SHARD[options.set]
    for index in range(10_000):
        shard = list(islice(stream, size))
        if not shard:
            break
        file = options.output / f"structures-{index:04d}.npz"
        if not file.exists():
            _write(file, shard)
        print(f"{file.name}: {len(shard)} structures, {sum(len(c.numbers) for c in shard)} atoms", flush=True)


def _broad(random: np.random.Generator, known: list[Crystal], folder: Path) -> list[Job]:
    jobs = [(c, "as it is") for c in known]
    jobs += [(c, "perturbed") for c in known for _ in range(5)]
    jobs += [(c, "exchanged") for c in known for _ in range(2)]
    jobs += [(c, "opened") for c in known[::8]]
    return jobs + _prototypes(random, folder, 7000, 4000, 1500, times=2)


def _prototypes(
    random: np.random.Generator, folder: Path, compounds: int, perovskites: int, carbon: int, times: int = 1
) -> list[Job]:
    made = list(_elements()) + list(_compounds(random, compounds))
    some = _some(random, list(_jarvis(folder / "jarvis_perov5_heat_ref.json.zip", "perov-5")), perovskites)
    some += _some(random, list(_jarvis(folder / "jarvis_carbon24_energy_per_atom.json.zip", "carbon-24")), carbon)
    return [(c, "perturbed") for c in some] + [(c, "perturbed") for c in made for _ in range(times)]


def _gentle(known: list[Crystal]) -> list[Job]:
    many = _with_many_elements(known)
    jobs = [(c, "as it is") for c in known] + [(c, "eased") for c in known]
    jobs += [(c, "exchanged, eased") for c in known] + [(c, "exchanged, eased") for c in many for _ in range(2)]
    return jobs + [(c, "perturbed") for c in known[::4]]


def _relations(known: list[Crystal]) -> list[Job]:
    return [(c, "exchanged, eased") for c in known + _with_many_elements(known) for _ in range(2)]


def _many(known: list[Crystal]) -> list[Job]:
    many = _with_many_elements(known)
    return [(c, "as it is") for c in many] + [(c, "eased") for c in many] + [(c, "eased") for c in known[::8]]


def _table(random: np.random.Generator, known: list[Crystal]) -> list[Job]:
    small, middling = ([c for c in known if len(c.numbers) <= most] for most in (8, 16))
    jobs = [(c, "metals exchanged") for c in known for _ in range(2)] + [(c, "exchanged, eased") for c in known]
    jobs += [(c, "metals exchanged") for c in middling for _ in range(4)]
    jobs += [(c, "recast") for c in middling for _ in range(4)] + [(c, "recast") for c in small for _ in range(12)]
    return jobs + [(c, "eased") for c in _compounds(random, 15000)]


def _with_many_elements(known: list[Crystal]) -> list[Crystal]:
    return [c for c in known if len(set(c.numbers.tolist())) > MANY_ELEMENTS]


def _mixed(random: np.random.Generator, jobs: list[Job], scale: float, seed: int) -> Iterator[Crystal]:
    """Every structure, in an order that seed and scale alone decide."""
    for index in random.permutation(len(jobs))[: int(scale * len(jobs))]:
        crystal, way = jobs[index]
        yield _WAYS[way](np.random.default_rng((seed, int(index))), crystal)


def _kept(crystals: Iterator[Crystal]) -> Iterator[Crystal]:
    for crystal in crystals:
        if set(crystal.numbers.tolist()) <= set(ELEMENTS) and _closest(crystal) > CLOSEST:
            yield crystal


# What is known


def _materials_project(folder: Path) -> Iterator[Crystal]:
    for name in ("mp_20_biternary/val.csv.gz", "mpts_52/val.csv.gz"):
        text = gzip.decompress((folder / name).read_bytes()).decode()
        for entry in re.finditer(r'(m(?:p|vc)-\d+)[^"]*(?:"\[[^"]*\]",)?"(# generated.*?)"', text, flags=re.DOTALL):
            yield _of_ase(_read(entry.group(2), "cif"), entry.group(1))


def _jarvis(file: Path, name: str) -> Iterator[Crystal]:
    """The training part of a set, POSCAR texts under identifiers."""
    with zipfile.ZipFile(file) as archive:
        document = json.loads(archive.read(archive.namelist()[0]))
    for key, poscar in document["train"].items():
        yield _of_ase(_read(poscar.replace("\\n", "\n"), "vasp"), f"{name}/{key}")


def _read(text: str, form: str) -> Atoms:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atoms = ase.io.read(io.StringIO(text), format=form)
    assert isinstance(atoms, Atoms)
    return atoms


def _of_ase(atoms: Atoms, origin: str) -> Crystal:
    return Crystal(atoms.numbers.copy(), atoms.get_scaled_positions(), atoms.cell.array.copy(), origin)


# Prototypes

_HALF = 0.5
_FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_CUBE = np.eye(3)
_BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
_HEX = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, np.sqrt(8 / 3)]])
_DIAMOND = [[0, 0, 0], [0.25, 0.25, 0.25]]

ELEMENTARY = {
    "A1": (_FCC, [[0, 0, 0]]),
    "A2": (_BCC, [[0, 0, 0]]),
    "A3": (_HEX, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
    "A4": (_FCC, _DIAMOND),
    "Ah": (_CUBE, [[0, 0, 0]]),
}
"""Lattice (rows, any scale) and sites of elements."""

COMPOUND = {
    "B1": (_FCC, "ab", [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "B2": (_CUBE, "ab", [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "B3": (_FCC, "ab", _DIAMOND),
    "L12": (_CUBE, "abbb", [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "L10": (np.diag([1, 1, np.sqrt(2)]), "ab", [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "C1": (_FCC, "abb", [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]),
    "C1b": (_FCC, "abc", [[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5]]),
    "L21": (_FCC, "abcc", [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]),
    "D03": (_FCC, "abbb", [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]),
    "E21": (_CUBE, "abccc", [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
    "C32": (
        np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.08]]),
        "abb",
        [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]],
    ),
    "B81": (
        np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.4]]),
        "aabb",
        [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]],
    ),
    "B4": (
        np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.63]]),
        "aabb",
        [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.375], [2 / 3, 1 / 3, 0.875]],
    ),
}
"""The same for compounds, with the kind of each site."""


def _elements() -> Iterator[Crystal]:
    for name, (lattice, sites) in ELEMENTARY.items():
        for z in ELEMENTS:
            for volume in (0.75, 0.85, 0.95, 1.05, 1.2, 1.5):
                numbers = np.full(len(sites), z)
                yield _touching(Crystal(numbers, np.array(sites, float), lattice, f"{name}/{z}"), volume)


def _compounds(random: np.random.Generator, count: int) -> Iterator[Crystal]:
    names = sorted(COMPOUND)
    for index in range(count):
        name = names[index % len(names)]
        lattice, kinds, sites = COMPOUND[name]
        chosen = random.choice(ELEMENTS, size=3, replace=False)
        numbers = np.array([chosen["abc".index(kind)] for kind in kinds])
        crystal = Crystal(numbers, np.array(sites, float), np.asarray(lattice, float), f"{name}/{index}")
        yield _touching(crystal, random.uniform(0.8, 1.25))


def _touching(crystal: Crystal, volume: float) -> Crystal:
    """Scaled until the closest pair is at its sum of covalent radii, then by a factor of volume."""
    return replace(crystal, cell=crystal.cell * volume ** (1 / 3) / _closest(crystal))


# What is done to a crystal


def _perturbed(random: np.random.Generator, crystal: Crystal) -> Crystal:
    """Strained and rattled, mostly a little and sometimes much."""
    strain = random.choice([0.01, 0.03, 0.06], p=[0.55, 0.35, 0.1]) * random.standard_normal((3, 3))
    strain = (strain + strain.T) / 2 + random.normal(0.005, 0.02) * np.eye(3)
    lowest, highest = ((0, 0), (0.01, 0.05), (0.05, 0.15), (0.15, 0.3))[random.choice(4, p=[0.15, 0.35, 0.35, 0.15])]
    cell = crystal.cell @ (np.eye(3) + strain)
    moved = random.uniform(lowest, highest) * random.standard_normal(crystal.fractional.shape)
    return replace(crystal, cell=cell, fractional=crystal.fractional + moved @ np.linalg.inv(cell))


def _eased(random: np.random.Generator, crystal: Crystal) -> Crystal:
    """Strained by a hundredth and rattled by at most six: what a relaxation sees in its last steps."""
    strain = 0.008 * random.standard_normal((3, 3))
    cell = crystal.cell @ (np.eye(3) + (strain + strain.T) / 2)
    moved = random.uniform(0, 0.06) * random.standard_normal(crystal.fractional.shape)
    return replace(crystal, cell=cell, fractional=crystal.fractional + moved @ np.linalg.inv(cell))


def _related(random: np.random.Generator, crystal: Crystal) -> Crystal:
    """One or all elements replaced by relatives."""
    present = np.unique(crystal.numbers)
    replaced = present if random.random() < 0.5 else random.choice(present, size=1)
    return _with_elements(crystal, {int(z): int(random.choice(_relatives(int(z)))) for z in replaced})


def _with_elements(crystal: Crystal, become: dict[int, int]) -> Crystal:
    """Elements replaced, the volume following their radii."""
    numbers = np.array([become.get(int(z), int(z)) for z in crystal.numbers])
    ratio = (covalent_radii[numbers] ** 3).sum() / (covalent_radii[crystal.numbers] ** 3).sum()
    # Covalent radii overstate what ions take: half of the change, in the exponent.
    return replace(crystal, numbers=numbers, cell=crystal.cell * ratio ** (1 / 6))


def _metals_exchanged(random: np.random.Generator, crystal: Crystal) -> Crystal:
    """Metals replaced by their relatives, anions left as they are."""
    present = np.unique(crystal.numbers)
    return _with_elements(
        crystal, {int(z): int(random.choice(_relatives(int(z)))) for z in present if int(z) not in NONMETALS}
    )


def _recast(random: np.random.Generator, crystal: Crystal) -> Crystal:
    """Any metal in the place of any other, one time in two all of them; and half of the other elements by relatives."""
    present = [int(z) for z in np.unique(crystal.numbers)]
    every = random.random() < 0.5
    chosen = {}
    for z in present:
        choice = _relatives(z) if z in NONMETALS else _METALS
        if every or random.random() < 0.5:
            chosen[z] = int(random.choice(choice))
    return _with_elements(crystal, chosen)


def _opened(random: np.random.Generator, crystal: Crystal) -> Crystal:
    """A slab: the cell lengthened along one axis, atoms staying where they are; then perturbed."""
    axis = int(random.integers(3))
    start = random.random()
    fractional = crystal.fractional.copy()
    fractional[:, axis] = (fractional[:, axis] - start) % 1.0
    longer = 1 + random.uniform(2, 10) / np.linalg.norm(crystal.cell[axis])
    cell = crystal.cell.copy()
    cell[axis] *= longer
    fractional[:, axis] /= longer
    return _perturbed(random, replace(crystal, cell=cell, fractional=fractional))


_WAYS: dict[str, Callable[[np.random.Generator, Crystal], Crystal]] = {
    "as it is": lambda _, crystal: crystal,
    "eased": _eased,
    "perturbed": _perturbed,
    "exchanged": lambda random, crystal: _perturbed(random, _related(random, crystal)),
    "exchanged, eased": lambda random, crystal: _eased(random, _related(random, crystal)),
    "metals exchanged": lambda random, crystal: _eased(random, _metals_exchanged(random, crystal)),
    "recast": lambda random, crystal: _eased(random, _recast(random, crystal)),
    "opened": _opened,
    "packed, eased": lambda random, _: _eased(random, packing(random)),
}

_GROUPS = (
    "H Li Na K Rb Cs", "Be Mg Ca Sr Ba", "Sc Y La Ac", "Ti Zr Hf", "V Nb Ta", "Cr Mo W", "Mn Tc Re", "Fe Ru Os",
    "Co Rh Ir", "Ni Pd Pt", "Cu Ag Au", "Zn Cd Hg", "B Al Ga In Tl", "C Si Ge Sn Pb", "N P As Sb Bi", "O S Se Te",
    "F Cl Br I", "He Ne Ar Kr Xe", "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu", "Ac Th Pa U Np Pu",
    "Ti V Cr Mn Fe Co Ni Cu Zn", "Zr Nb Mo Tc Ru Rh Pd Ag Cd", "Hf Ta W Re Os Ir Pt Au Hg",
)  # fmt: skip

_METALS = sorted(set(ELEMENTS) - NONMETALS)


def _relatives(z: int) -> list[int]:
    """Elements of the same group or row of the periodic table."""
    symbol = chemical_symbols[z]
    found = {other for group in _GROUPS if symbol in group.split() for other in group.split()}
    return sorted(atomic_numbers[name] for name in found) or [z]


def _some(random: np.random.Generator, crystals: list[Crystal], count: int) -> list[Crystal]:
    return [crystals[i] for i in random.choice(len(crystals), size=min(count, len(crystals)), replace=False)]


def _closest(crystal: Crystal) -> float:
    """Shortest distance over the sum of covalent radii, among images in the neighbouring cells."""
    shifts = np.array(list(np.ndindex(3, 3, 3))) - 1
    fractional = crystal.fractional % 1.0
    between = fractional[None, :, None, :] + shifts[None, None] - fractional[:, None, None, :]
    distances = np.linalg.norm(between @ crystal.cell, axis=-1)
    radii = covalent_radii[crystal.numbers]
    relative = distances / (radii[:, None] + radii[None])[:, :, None]
    return float(relative[distances > 1e-9].min(initial=np.inf))


# Shards


def _write(file: Path, crystals: list[Crystal]) -> None:
    compositions = [Formula.from_list([chemical_symbols[z] for z in c.numbers]).reduce()[0] for c in crystals]
    names = [f"{composition:hill}" for composition in compositions]
    partial = file.with_suffix(".part")
    with partial.open("wb") as stream:
        np.savez(
            stream,
            numbers=np.concatenate([c.numbers for c in crystals]).astype(np.uint8),
            positions=np.concatenate([c.fractional @ c.cell for c in crystals]).astype(np.float32),
            ptr=np.cumsum([0, *(len(c.numbers) for c in crystals)]),
            cells=np.stack([c.cell for c in crystals]).astype(np.float32),
            origin=np.array([c.origin for c in crystals]),
            composition=np.array(names),
            # By the composition's name alone: no composition is on both sides, now or in a later set.
            held_out=np.array([zlib.crc32(name.encode()) / 2**32 < HELD_OUT for name in names]),
        )
    partial.replace(file)


if __name__ == "__main__":
    main()
