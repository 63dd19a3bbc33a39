"""The two ends of a path: that they are the same atoms in one cell, and how each atom gets from one to the other."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundstate.atoms import StructureError, System
from groundstate.atoms.elements import symbols

SAME_CELL = 1e-4
"""Å; lattice vectors that differ by more are two cells."""
MOVES = 0.3
"""Å; atoms that move less are not suspected of an exchange."""
SAME_PLACE = 1e-3
"""Å; a path on which no atom moves farther has no length."""


def minimum_image(
    vectors: Float[Tensor, "pair 3"], cell: Float[Tensor, "3 3"], pbc: Bool[Tensor, " 3"]
) -> Float[Tensor, "pair 3"]:
    """The shortest of each vector's periodic images, Å; exact in skewed cells."""
    from ase.geometry import find_mic

    box, periodic = cell.detach().cpu().numpy(), pbc.cpu().numpy()
    # In parts: every vector is tried with all of its neighbouring images.
    parts = [find_mic(part.numpy(), box, periodic)[0] for part in vectors.detach().cpu().split(100_000)]
    return torch.cat([torch.from_numpy(part) for part in parts]).to(vectors)


def displacements(start: System, end: System) -> Float[Tensor, "atom 3"]:
    """How each atom moves from one structure to the other along its shortest way, Å."""
    return minimum_image(end.positions - start.positions, start.cell[0], start.pbc[0])


def mismatch(start: System, end: System, fixed: Bool[Tensor, " atom"]) -> StructureError | None:
    """Why no path joins two structures, or `None`. Checked: tests/simulation/test_path_ends.py"""
    return _atoms_differ(start, end) or _surroundings_differ(start, end) or _nothing_moves(start, end, fixed)


def _atoms_differ(start: System, end: System) -> StructureError | None:
    there, here = _counts(start), _counts(end)
    if there != here:
        parts = [f"{name}: {there.get(name, 0)} → {here.get(name, 0)}" for name in sorted({*there, *here})]
        differing = [part for part in parts if part.split(": ")[1].split(" → ")[0] != part.split(" → ")[1]]
        return StructureError(
            "E-PATH-COMPOSITION",
            f"start and end are not the same atoms ({', '.join(differing)})",
            why="on a path atoms move; none is made or lost",
            fix="give two structures of the same atoms",
        )
    strange = (start.numbers != end.numbers).nonzero()[:, 0].tolist()
    if strange:
        first = strange[0]
        names = symbols([int(start.numbers[first]), int(end.numbers[first])])
        return StructureError(
            "E-PATH-ORDER",
            f"start and end list their atoms in different order: atom {first} is {names[0]} and {names[1]}",
            why="each atom is followed by its number",
            fix="sort both files in the same way, so that atom i is the same atom in both",
            atoms=strange,
        )
    return None


def _surroundings_differ(start: System, end: System) -> StructureError | None:
    if not torch.equal(start.pbc, end.pbc):
        what = f"start is periodic along {_periods(start)}, end along {_periods(end)}"
        return StructureError("E-PATH-CELL", what, fix="give both the same periodicity")
    gap = float((start.cell - end.cell).abs().max())
    if gap > SAME_CELL:
        return StructureError(
            "E-PATH-CELL",
            f"the cells of start and end differ by up to {gap:.4g} Å",
            why="atoms move on a path, the cell does not",
            fix="relax both ends in one and the same cell",
        )
    for name in ("charge", "multiplicity", "theory"):
        one, other = getattr(start, name), getattr(end, name)
        if (one is None) != (other is None) or (one is not None and not torch.equal(one, other)):
            what = f"start and end differ in {name}: {_stated(one)} and {_stated(other)}"
            return StructureError(
                "E-PATH-STATE", what, why="they lie on two surfaces", fix=f"give both the same {name}"
            )
    return None


def _nothing_moves(start: System, end: System, fixed: Bool[Tensor, " atom"]) -> StructureError | None:
    lengths = torch.linalg.vector_norm(displacements(start, end), dim=1)
    moved = (fixed & (lengths > SAME_PLACE)).nonzero()[:, 0].tolist()
    if moved:
        return StructureError(
            "E-PATH-FIXED",
            f"an atom that is held fixed lies {float(lengths[moved].max()):.4g} Å apart in start and end",
            why="it would have to move along the path",
            fix="free it, or give both ends the same position of it",
            atoms=moved,
        )
    if float(lengths.max()) <= SAME_PLACE:
        return StructureError(
            "E-PATH-SAME",
            "start and end are the same structure",
            why="there is no path to find",
            fix="give another end; if the ends were relaxed, they fell into one minimum",
        )
    return None


def remarks(start: System, end: System, fixed: Bool[Tensor, " atom"]) -> list[str]:
    """What makes a path longer than it need be: numbers that look exchanged, a rigid shift."""
    from scipy.optimize import linear_sum_assignment

    found = []
    moves = displacements(start, end)
    movers = torch.linalg.vector_norm(moves, dim=1) > MOVES
    direct = float((moves[movers] ** 2).sum()) ** 0.5
    best = 0.0
    for z in start.numbers[movers].unique().tolist():
        rows = (movers & (start.numbers == z)).nonzero()[:, 0]
        pairs = (end.positions[rows][None, :] - start.positions[rows][:, None]).reshape(-1, 3)
        squares = (minimum_image(pairs, start.cell[0], start.pbc[0]) ** 2).sum(dim=1).reshape(len(rows), len(rows))
        chosen = linear_sum_assignment(squares.cpu().numpy())
        best += float(squares[chosen[0].tolist(), chosen[1].tolist()].sum())
    if best**0.5 < 0.7 * direct:
        found.append(
            f"the ends lie {direct:.2f} Å apart, {best**0.5:.2f} Å if equal atoms were numbered otherwise:"
            " check the numbering unless they are meant to exchange"
        )
    shift = float(torch.linalg.vector_norm(moves.mean(dim=0)))
    if not bool(fixed.any()) and shift * start.n_atoms**0.5 > 0.5 * float(moves.norm()) and start.n_atoms > 2:
        found.append(f"the end is shifted as a whole by {shift:.2f} Å, which only lengthens the path")
    return found


def _counts(system: System) -> dict[str, int]:
    kinds, counts = system.numbers.unique(return_counts=True)
    return dict(zip(symbols(kinds.tolist()), counts.tolist(), strict=True))


def _periods(system: System) -> str:
    return "".join(name for name, used in zip("abc", system.pbc[0].tolist(), strict=True) if used) or "nothing"


def _stated(value: Tensor | None) -> str:
    return "not given" if value is None else f"{float(value[0]):g}"
