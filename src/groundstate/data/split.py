"""Training, validation and test sets that share no structure."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import reduce
from math import gcd, isclose

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from groundstate.atoms import DataError, OptionError, System, nearest
from groundstate.atoms.elements import symbols
from groundstate.data.record import LazyRecords, Record, chosen

ROUNDING = 1e-3
"""Å; geometries that agree to this are one."""


def fingerprint(system: System) -> str:
    """A hash of one structure's rounded geometry: equal for copies, whatever their atom order and home cell.

    Rotated or translated copies are other structures to it.
    """
    cell = system.cell[0].detach().cpu().numpy()
    periodic = system.pbc[0].cpu().numpy()
    positions = system.positions.detach().cpu().numpy()
    lattice = np.where(periodic[:, None], cell, 0.0)
    if periodic.any():
        # Count grid steps along each lattice vector, so that an atom at 0 and one at 1 − 1e-12 are at one place.
        steps = np.maximum(np.round(np.linalg.norm(lattice, axis=1) / ROUNDING), 1.0)
        inverse = np.linalg.pinv(lattice)
        along = np.round((positions @ inverse) * steps) % steps
        across = np.round((positions - (positions @ inverse) @ lattice) / ROUNDING)
        grid = np.where(periodic, along, 0.0)
    else:
        grid, across = np.zeros_like(positions), np.round(positions / ROUNDING)
    rows = np.column_stack([system.numbers.cpu().numpy(), grid, across]).astype(np.int64)
    rows = rows[np.lexsort(rows.T[::-1])]
    digest = hashlib.sha256(rows.tobytes())
    digest.update(np.round(lattice / ROUNDING).astype(np.int64).tobytes())
    return digest.hexdigest()[:16]


def composition(system: System) -> str:
    """The reduced formula, elements in alphabetical order: `MgO` of any supercell."""
    numbers, counts = np.unique(system.numbers.cpu().numpy(), return_counts=True)
    divisor = reduce(gcd, counts.tolist())
    parts = sorted(zip(symbols(numbers.tolist()), (counts // divisor).tolist(), strict=True))
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in parts)


TRAJECTORY = "trajectory"
GROUPS: Mapping[str, Callable[[Record], Hashable]] = {
    "structure": lambda record: fingerprint(record.system),
    "composition": lambda record: composition(record.system),
    TRAJECTORY: lambda record: (record.provenance.file, record.system.numbers.cpu().numpy().tobytes()),
}
"""What is never divided between two sets. Frames of a trajectory follow each other and have the same atoms."""


def fingerprints(records: Sequence[Record]) -> NDArray[np.uint64]:
    """The fingerprint of each record's structure, as a number."""
    if isinstance(records, LazyRecords):
        return records.fingerprints
    return np.array([int(fingerprint(record.system), 16) for record in records], dtype=np.uint64)


def split(
    records: Sequence[Record],
    fractions: Sequence[float],
    seed: int = 0,
    *,
    keep_together: str = "structure",
    block: int | None = None,
) -> tuple[Sequence[Record], ...]:
    """Divide records at random into sets of the given fractions, the same for the same seed.

    keep_together: "structure" keeps copies in one set; "composition" all structures of one formula, which measures how
    a model does on new chemistry; "trajectory" frames that follow each other in a file, whose neighbours are all but
    copies; any other name is a tag of the file (a material's id) · block: cut trajectories into so many frames each.
    Whatever is kept together, groups that share a structure are one group. Fractions add up to 1; a set that would be
    empty is refused.
    """
    parts = divide(records, fractions, seed, keep_together=keep_together, block=block)
    return tuple(chosen(records, part) for part in parts)


def divide(
    records: Sequence[Record],
    fractions: Sequence[float],
    seed: int = 0,
    *,
    keep_together: str = "structure",
    block: int | None = None,
) -> tuple[list[int], ...]:
    """The indices of the records of each set that `split` makes."""
    if not fractions or min(fractions) <= 0 or not isclose(sum(fractions), 1.0, abs_tol=1e-9):
        raise OptionError(
            "E-SPLIT-FRACTIONS",
            f"fractions {list(fractions)} are not positive numbers adding up to 1",
            fix="e.g. 0.9, 0.1",
        )
    if block is not None and (keep_together != TRAJECTORY or block < 1):
        raise OptionError(
            "E-SPLIT-BLOCK",
            f"blocks of {block} frames are parts of trajectories, and '{keep_together}' is to be kept together",
            fix="give keep_together='trajectory' and a block of at least 1 frame",
        )
    groups = _groups(records, keep_together, block)
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    sets: tuple[list[int], ...] = tuple([] for _ in fractions)
    for g in order:
        # The set that is furthest behind its share takes the next group.
        behind = [fraction - len(own) / len(records) for fraction, own in zip(fractions, sets, strict=True)]
        sets[behind.index(max(behind))].extend(groups[g])
    empty = [i for i, own in enumerate(sets) if not own]
    if empty:
        raise DataError(
            "E-SPLIT-EMPTY",
            f"{len(records)} frames in {len(groups)} groups leave set {empty[0]} of fractions {list(fractions)} empty",
            why="an error measured on nothing is not small",
            fix="give more data or other fractions" + _single_hint(keep_together, len(groups)),
        )
    return sets


def _single_hint(keep_together: str, n_groups: int) -> str:
    return "; keep_together='structure' divides one formula" if keep_together != "structure" and n_groups == 1 else ""


def _groups(records: Sequence[Record], keep_together: str, block: int | None) -> list[list[int]]:
    """Indices of the records of each group, in order of appearance."""
    structures = fingerprints(records).tolist()
    if keep_together == "structure":
        names: Sequence[Hashable] = structures
    else:
        names = _names(records, keep_together, block)
    # A record ties its group to its structure: what hangs together is one group.
    own = _numbered(names)
    ties = coo_array((np.ones(len(own)), (own, _numbered(structures) + own.max(initial=0) + 1)))
    nodes = max(ties.shape)
    label = connected_components(coo_array((ties.data, ties.coords), shape=(nodes, nodes)), directed=False)[1][own]
    groups: dict[int, list[int]] = {}
    for index, group in enumerate(label.tolist()):
        groups.setdefault(group, []).append(index)
    return list(groups.values())


def _names(records: Sequence[Record], keep_together: str, block: int | None) -> list[Hashable]:
    names = [_name(record, keep_together) for record in records]
    if keep_together != TRAJECTORY:
        return names
    # The same atoms in the same file after others are another trajectory.
    new = [i == 0 or name != names[i - 1] for i, name in enumerate(names)]
    starts = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    within = (np.arange(len(names)) - starts[run]) // (block or len(names))
    return list(zip(run.tolist(), within.tolist(), strict=True))


def _name(record: Record, keep_together: str) -> Hashable:
    if keep_together in GROUPS:
        return GROUPS[keep_together](record)
    tags = record.provenance.tags
    if keep_together not in tags:
        raise OptionError(
            "E-SPLIT-GROUP",
            f"the record has no tag '{keep_together}' to group by",
            fix=nearest(keep_together, [*GROUPS, *tags]),
        )
    return tags[keep_together]


def _numbered(names: Sequence[Hashable]) -> NDArray[np.int64]:
    """The place of each name among the different ones, in order of appearance."""
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(name, len(places)) for name in names], dtype=np.int64)


def check_leaks(*sets: Sequence[Record]) -> None:
    """Refuse sets of which two hold the same structure."""
    seen: dict[int, tuple[int, int]] = {}
    leaks: list[str] = []
    for s, records in enumerate(sets):
        for index, structure in enumerate(fingerprints(records).tolist()):
            first = seen.setdefault(structure, (s, index))
            if first[0] != s:
                leaks.append(f"{_place(sets[first[0]][first[1]], *first)} = {_place(records[index], s, index)}")
    if leaks:
        raise DataError(
            "E-LEAK",
            f"{len(leaks)} structures are in two sets: {'; '.join(leaks[:4])}" + ("; …" if len(leaks) > 4 else ""),
            why="the error on a structure that was trained on says nothing about others",
            fix="remove the copies, or let split() make the sets",
        )


def _place(record: Record, s: int, index: int) -> str:
    provenance = record.provenance
    known = f" ({provenance.file}: frame {provenance.frame})" if provenance.file else ""
    return f"set {s} record {index}{known}"
