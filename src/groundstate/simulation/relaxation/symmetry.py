"""Symmetry that is kept: the operations of a structure, and the part of a motion they all leave as it is."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from groundstate.atoms import OptionError, RunError, StructureError, System
from groundstate.simulation.relaxation.coordinates import Coordinates

VACUUM = 20.0
"""Å above a slab in the cell its operations are looked for in, so that none leads across the vacuum."""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """The projector on totally symmetric displacements, forces and strains of each structure.

    The vectors on an orbit follow from one of them, a row v in the space that the operations which keep its atom in
    place allow: v·turn on each atom. first: from an atom to the first of its orbit, in rows · orbit: how many atoms are
    in it · strain: the mean of ε → RᵀεR over the operations R, on flattened 3×3. A symmetric strain commutes with every
    R, so the same projector serves in every cell on the way. Checked: tests/simulation/test_kept_symmetry.py
    """

    first: Int[Tensor, " atom"]
    orbit: Float[Tensor, " atom"]
    turn: Float[Tensor, "atom 3 3"]
    strain: Float[Tensor, "system 9 9"]

    def vectors(self, rows: Float[Tensor, "atom 3"]) -> Float[Tensor, "atom 3"]:
        """The symmetric part of a vector on each atom."""
        first = torch.arange(len(self.first), device=rows.device) + self.first
        brought = torch.einsum("ai,aji->aj", rows, self.turn)
        mean = torch.zeros_like(rows).index_add(0, first, brought) / self.orbit[:, None]
        return torch.einsum("ai,aij->aj", mean[first], self.turn)

    def project(self, at: Coordinates) -> Coordinates:
        """The symmetric part of a displacement or force."""
        cell = torch.einsum("sij,sj->si", self.strain, at.cell.flatten(1)).reshape(at.cell.shape)
        return Coordinates(self.vectors(at.atoms), cell)


@dataclass(frozen=True, eq=False)
class Symmetric:
    """A structure put exactly on its symmetric positions, its projector, and what is said about it."""

    system: System
    symmetry: Symmetry
    note: str


def symmetric(
    single: System, fixed: Bool[Tensor, " atom"], mask: Bool[Tensor, "3 3"] | None, symprec: float
) -> Symmetric:
    """The operations of one structure within `symprec` (Å), by spglib, and the structure moved to obey them exactly.

    Atoms are alike when their element, mass and magnetic moment are. Raises StructureError or OptionError where the
    symmetry cannot be kept (no lattice of two or three periods, an electric field, fixed atoms or a strain mask that
    the operations do not respect), RunError without spglib.
    """
    rotations, translations, name = _operations(single, symprec)
    cell, fractional = _enclosing(single)
    cell = _symmetric_cell(cell, rotations)
    fractional, image, source = _symmetric_positions(fractional, cell, rotations, translations, symprec)
    # Rows: x' = x·Wᵀ + w, so r' = r·R with R = cell⁻¹ Wᵀ cell.
    turns = np.linalg.inv(cell) @ rotations.transpose(0, 2, 1) @ cell
    first = np.array([group[0] for group in source])
    turn = np.stack([_site(turns, image, i) @ turns[g] for i, g in source])
    strain = np.einsum("gki,glj->ijkl", turns, turns).reshape(9, 9) / len(turns)
    # One for a strain and its transpose alike.
    mirrored = np.arange(9).reshape(3, 3).T.flatten()
    strain = 0.5 * (strain + strain[:, mirrored])
    device = single.device
    symmetry = Symmetry(
        first=torch.from_numpy(first - np.arange(len(first))).to(device),
        orbit=torch.from_numpy(np.bincount(first, minlength=len(first))[first].astype(float)).to(device),
        turn=torch.from_numpy(turn).to(device),
        strain=torch.from_numpy(strain)[None].to(device),
    )
    _refuse_contradiction(symmetry, fixed, mask)
    positions = torch.from_numpy(fractional @ cell).to(device)
    periodic = single.pbc[0, :, None].to(device)
    kept_cell = torch.where(periodic, torch.from_numpy(cell).to(device), single.cell[0])
    placed = single.replace(positions=positions, cell=kept_cell[None])
    moved = float(torch.linalg.vector_norm(positions - single.positions, dim=1).max())
    note = f"symmetry kept: {name}, {len(rotations)} operations within {symprec:g} Å; moved onto it by {moved:.2g} Å"
    return Symmetric(placed, symmetry, note)


def spglib_there() -> None:
    """Raises RunError where operations cannot be found."""
    try:
        import spglib  # noqa: F401
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING",
            "keeping symmetry needs spglib, which is not installed",
            fix="install it: pip install spglib",
        ) from None


def _operations(single: System, symprec: float) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """Rotations W and translations w of columns, x' = W·x + w, and the name of the group."""
    import spglib

    periods = int(single.pbc[0].sum())
    if periods < 2:
        raise _not_kept(f"the structure has {periods} periodic direction(s)", "drop keep_symmetry for it")
    if single.field is not None and bool((single.field != 0).any()):
        raise _not_kept("an electric field is given", "drop the field or keep_symmetry")
    columns = [single.numbers[:, None].to(torch.float64), single.masses[:, None]]
    columns += [] if single.moments is None else [single.moments.to(torch.float64)]
    kinds = torch.unique(torch.cat(columns, dim=1), dim=0, return_inverse=True)[1]
    cell, fractional = _enclosing(single)
    try:
        with warnings.catch_warnings():  # spglib announces another way of failing at every success
            warnings.simplefilter("ignore", DeprecationWarning)
            found = spglib.get_symmetry_dataset((cell, fractional, kinds.cpu().numpy()), symprec=symprec)
    except Exception as error:  # its exceptions differ from version to version
        raise _not_kept(f"spglib found no symmetry ({error})", "give another keep_symmetry, e.g. 0.01 Å") from error
    if found is None:
        raise _not_kept("spglib found no symmetry", "give another keep_symmetry, e.g. 0.01 Å")
    rotations, translations = found.rotations.astype(np.int64), found.translations
    periodic = single.pbc[0].cpu().numpy()
    mixing = rotations[:, periodic][:, :, ~periodic].any((1, 2)) | rotations[:, ~periodic][:, :, periodic].any((1, 2))
    return rotations[~mixing], translations[~mixing], f"{found.international} ({found.number})"


def _enclosing(single: System) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A cell with three vectors, the open one of a slab normal to it and beyond its atoms, and fractional positions."""
    cell, periodic = single.cell[0].detach().cpu().numpy().copy(), single.pbc[0].cpu().numpy()
    positions = single.positions.detach().cpu().numpy()
    if not periodic.all():
        a, b = cell[periodic]
        normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
        cell[~periodic] = normal * (np.ptp(positions @ normal) + VACUUM)
    return cell, np.linalg.solve(cell.T, positions.T).T


def _symmetric_cell(cell: NDArray[np.float64], rotations: NDArray[np.int64]) -> NDArray[np.float64]:
    """The cell, not turned, whose metric every rotation leaves as it is: the mean of the metric over them."""
    metric = np.mean([w.T @ cell @ cell.T @ w for w in rotations], axis=0)
    inverse = np.linalg.inv(cell)
    values, axes = np.linalg.eigh(inverse @ metric @ inverse.T)
    return cell @ (axes * np.sqrt(values)) @ axes.T


def _symmetric_positions(
    fractional: NDArray[np.float64],
    cell: NDArray[np.float64],
    rotations: NDArray[np.int64],
    translations: NDArray[np.float64],
    symprec: float,
) -> tuple[NDArray[np.float64], dict[int, NDArray[np.int64]], list[tuple[int, int]]]:
    """Positions that obey the operations; the atom each operation takes the first atom of an orbit to; and for every
    atom that first atom and an operation that leads from it."""
    exact, images = fractional.copy(), dict[int, NDArray[np.int64]]()
    source: dict[int, tuple[int, int]] = {}
    back = np.linalg.inv(rotations)
    for i in range(len(fractional)):
        if i in source:
            continue
        there = rotations @ fractional[i] + translations
        gaps = fractional[None, :, :] - there[:, None, :]
        gaps -= np.round(gaps)
        distances = np.linalg.norm(gaps @ cell, axis=2)
        images[i] = distances.argmin(axis=1)
        if distances.min(axis=1).max() > 3 * symprec + 1e-6:
            raise _not_kept("an operation that was found leads to no atom", "give a smaller keep_symmetry")
        errors = gaps[np.arange(len(there)), images[i]]
        # The mean of what every operation, undone, says of the first atom's place.
        centred = fractional[i] + np.einsum("gij,gj->gi", back, errors).mean(axis=0)
        for j in np.unique(images[i]):
            g = int(np.flatnonzero(images[i] == j)[0])
            source[int(j)] = (i, g)
            place = rotations[g] @ centred + translations[g]
            exact[j] = place + np.round(fractional[j] - place)
    return exact, images, [source[i] for i in range(len(fractional))]


def _site(turns: NDArray[np.float64], images: dict[int, NDArray[np.int64]], i: int) -> NDArray[np.float64]:
    """The projector on vectors that the operations which keep atom i in place leave as they are."""
    mean: NDArray[np.float64] = turns[images[i] == i].mean(axis=0)
    return mean


def _refuse_contradiction(symmetry: Symmetry, fixed: Tensor, mask: Tensor | None) -> None:
    first = torch.arange(len(fixed), device=fixed.device) + symmetry.first
    broken = (fixed != fixed[first]).nonzero()[:, 0].tolist()
    if broken:
        raise StructureError(
            "E-SYMMETRY",
            "atoms held fixed are equivalent by symmetry to free ones",
            why="moving the ones and holding the others breaks the symmetry that is to be kept",
            fix="fix whole orbits, or drop keep_symmetry",
            atoms=broken,
        )
    if mask is not None:
        held = mask.to(symmetry.strain).flatten()
        mixed = held[:, None] * symmetry.strain[0] - symmetry.strain[0] * held[None, :]
        if float(mixed.abs().max()) > 1e-6:
            raise _not_kept("the cell mask holds strains that are equivalent to free ones", "free or hold both")


def _not_kept(what: str, fix: str) -> OptionError:
    return OptionError("E-SYMMETRY", f"symmetry cannot be kept: {what}", fix=fix)
