"""Force constants of a crystal and what follows from them; phonopy does the algebra and is met in this file only.

A `Lattice` is plain tensors: phonopy objects are made from it where they are needed and travel no further.
Phase convention: u_κ(l) = Re[A m_κ^(−½) e_κ exp(2πi q·r_κ(l))], with r the fractional position in the primitive cell's
vectors and q in those of its reciprocal cell. Negative frequencies stand for imaginary ones.
Source: Togo, Chaput, Tadano, Tanaka, J. Phys.: Condens. Matter 35, 353001 (2023).
Checked: tests/simulation/properties/test_phonons.py, test_lo_to.py
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from groundstate.atoms import DataError, RunError, System
from groundstate.atoms.elements import symbols
from groundstate.atoms.units import COULOMB
from groundstate.simulation.properties.dielectric import DielectricResponse
from groundstate.simulation.properties.symmetry import library, optional

Matrix = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
PER_CM = 1e12 / 2.99792458e10
"""One THz in cm⁻¹."""
KJ_PER_MOL = 96.48533212331
"""One eV per formula unit in kJ/mol."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """A harmonic crystal.

    cell         the relaxed unit cell as given · supercell whole-number multiples of its vectors (rows)
    constants    Φ, eV/Å², symmetrised: acoustic sum rule and Φ_ij = Φ_jiᵀ
    dielectric   for the long-ranged field of polar crystals, `None` where unknown
    """

    cell: System
    supercell: Matrix
    constants: Float[Tensor, "atom atom_2 3 3"]
    dielectric: DielectricResponse | None = None
    symmetry_tolerance: float = 1e-4


def phonopy_of(cell: System, supercell: Matrix, symmetry_tolerance: float) -> Any:
    """A `Phonopy` without force constants. Magnetic moments are never handed over."""
    phonopy = optional("phonopy", "lattice dynamics")
    with library():
        return phonopy.Phonopy(
            atoms_of(cell),
            supercell_matrix=np.array(supercell),
            primitive_matrix="auto",
            symprec=symmetry_tolerance,
            log_level=0,
        )


def with_constants(lattice: Lattice) -> Any:
    """A `Phonopy` ready for frequencies."""
    phonon = phonopy_of(lattice.cell, lattice.supercell, lattice.symmetry_tolerance)
    with library():
        phonon.force_constants = lattice.constants.numpy()
        if lattice.dielectric is not None:
            phonon.nac_params = {
                "born": lattice.dielectric.born_charges.numpy()[_unit_atoms(phonon)],
                "dielectric": lattice.dielectric.epsilon.numpy(),
                "factor": COULOMB,
            }
    return phonon


def atoms_of(cell: System) -> Any:
    """phonopy's record of one structure: species, masses, positions, cell."""
    structure = optional("phonopy.structure.atoms", "lattice dynamics")
    return structure.PhonopyAtoms(
        symbols=symbols(cell.numbers.tolist()),
        masses=cell.masses.tolist(),
        positions=cell.positions.cpu().numpy(),
        cell=cell.cell[0].cpu().numpy(),
    )


def as_system(atoms: Any, like: System, origin: Sequence[int]) -> System:
    """A supercell of `like` from phonopy's record; `origin` is the atom of `like` that each atom repeats.

    Charge is extensive and grows with the cell, and so does 2S; a level of theory stays.
    """
    index = torch.as_tensor(list(origin), dtype=torch.int64)
    copies = len(index) // like.n_atoms
    return System(
        positions=torch.tensor(np.array(atoms.positions), dtype=torch.float64),
        numbers=like.numbers.cpu()[index],
        system_ptr=torch.tensor([0, len(index)]),
        cell=torch.tensor(np.array(atoms.cell), dtype=torch.float64)[None],
        pbc=like.pbc.cpu(),
        masses=like.masses.cpu()[index],
        charge=None if like.charge is None else copies * like.charge.cpu(),
        multiplicity=None if like.multiplicity is None else copies * (like.multiplicity.cpu() - 1) + 1,
        theory=None if like.theory is None else like.theory.cpu(),
        moments=None if like.moments is None else like.moments.cpu()[index],
        field=None if like.field is None else like.field.cpu(),
    ).to(like.device)


def supercells(phonon: Any, cell: System) -> list[System]:
    """The undisplaced supercell, then every displaced one."""
    origin = _origin(phonon)
    everything = [phonon.supercell, *phonon.supercells_with_displacements]
    return [as_system(atoms, cell, origin) for atoms in everything]


def frequencies(
    lattice: Lattice, q_points: Float[Tensor, "q 3"], *, direction: Sequence[float] | None = None
) -> tuple[Float[Tensor, "q branch"], Complex[Tensor, "q branch atom 3"]]:
    """Frequencies (THz, imaginary ones negative) and eigenvectors at q in the primitive reciprocal cell.

    direction   Cartesian, from which Γ is approached: longitudinal modes of a polar crystal need it
    """
    return frequencies_of(with_constants(lattice), q_points, direction=direction)


def frequencies_of(
    phonon: Any, q_points: Float[Tensor, "q 3"], *, direction: Sequence[float] | None = None
) -> tuple[Float[Tensor, "q branch"], Complex[Tensor, "q branch atom 3"]]:
    """The same of a `Phonopy` at hand."""
    towards = None if direction is None else np.asarray(phonon.primitive.cell) @ np.asarray(direction, dtype=float)
    with library():
        found = phonon.run_qpoints(q_points.numpy(), with_eigenvectors=True, nac_q_direction=towards)
    values = torch.from_numpy(np.array(found.frequencies))
    vectors = torch.from_numpy(np.array(found.eigenvectors)).transpose(1, 2)
    return values, vectors.reshape(*values.shape, -1, 3)


def primitive_cell(lattice: Lattice) -> System:
    """The primitive cell to which wave vectors and eigenvectors refer."""
    phonon = phonopy_of(lattice.cell, lattice.supercell, lattice.symmetry_tolerance)
    return primitive_of(phonon, lattice.cell)


def primitive_of(phonon: Any, cell: System) -> System:
    """The same of a `Phonopy` at hand."""
    index = torch.as_tensor(_unit_atoms(phonon))
    return System.single(
        np.array(phonon.primitive.positions),
        cell.numbers.cpu()[index],
        cell=np.array(phonon.primitive.cell),
        pbc=True,
        masses=cell.masses.cpu()[index],
    )


def commensurate_points(phonon: Any) -> Float[Tensor, "q 3"]:
    """The wave vectors that fit the supercell: only there frequencies are computed, elsewhere interpolated."""
    module = optional("phonopy.harmonic.dynmat_to_fc", "lattice dynamics")
    matrix = np.linalg.inv(phonon.primitive.primitive_matrix)
    with library():
        points = module.get_commensurate_points(np.rint(matrix).astype(int))
    return torch.from_numpy(np.array(points, dtype=float))


def read_born(path: Path | str, single: System) -> DielectricResponse:
    """Born charges and ε∞ from a BORN file of phonopy, spread over the atoms of this cell by its symmetry."""
    files = optional("phonopy.file_IO", "reading Born charges")
    try:
        with library():
            found = files.parse_BORN(atoms_of(single), filename=str(path))
    except RunError as error:
        raise DataError(
            "E-BORN-FILE",
            f"the BORN file cannot be read for this structure ({error.__cause__})",
            file=str(path),
            fix="a factor or comment, a line for ε∞, one for Z* of each independent atom: nine numbers each",
        ) from None
    born, epsilon = (torch.from_numpy(np.array(found[name], dtype=float)) for name in ("born", "dielectric"))
    return DielectricResponse(born, epsilon, f"file {Path(path).name}")


def _origin(phonon: Any) -> list[int]:
    """Atom of the unit cell for every atom of the supercell."""
    unit = phonon.supercell.u2u_map
    return [unit[int(s)] for s in phonon.supercell.s2u_map]


def _unit_atoms(phonon: Any) -> list[int]:
    """Atom of the unit cell for every atom of the primitive cell."""
    origin = _origin(phonon)
    return [origin[int(s)] for s in phonon.primitive.p2s_map]
