"""Evaluations outside a moving batch: packed by atoms, refused where a number is not one."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from groundstate.atoms import System
from groundstate.potentials import Potential, evaluate, refuse_not_finite

Item = TypeVar("Item")


def packed(items: Sequence[Item], sizes: Sequence[int], limit: int | None) -> list[list[Item]]:
    """Items in order, in groups of at most `limit` atoms; one that is larger is a group by itself."""
    groups: list[list[Item]] = []
    filled = 0
    for item, size in zip(items, sizes, strict=True):
        if not groups or (limit is not None and filled + size > limit):
            groups.append([])
            filled = 0
        groups[-1].append(item)
        filled += size
    return groups


def alike(members: Sequence[int], structures: Sequence[System], limit: int) -> list[list[int]]:
    """Neighbours in a list, together while they state the same conditions and make at most `limit` atoms."""
    groups: list[list[int]] = []
    given: tuple[bool, ...] | None = None
    atoms = 0
    for i in members:
        one = structures[i]
        stated = tuple(
            value is not None for value in (one.charge, one.multiplicity, one.theory, one.moments, one.field)
        )
        if stated != given or atoms + one.n_atoms > limit:
            groups.append([])
            given, atoms = stated, 0
        groups[-1].append(i)
        atoms += one.n_atoms
    return groups


def computed(
    system: System, potential: Potential, limit: int | None, want: Sequence[str] = ("energy", "forces")
) -> dict[str, Tensor]:
    """Quantities of a batch, `limit` atoms at a time. Raises StructureError where a result is not finite."""
    parts = []
    for members in packed(range(system.n_systems), system.atoms_per_system.tolist(), limit):
        batch = system.select(members)
        found = evaluate(potential, batch, want)
        refuse_not_finite(found, batch)
        parts.append(found)
    return {name: torch.cat([part[name] for part in parts]) for name in want}
