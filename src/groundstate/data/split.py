"""Training, validation and test sets that share no structure."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import reduce
from math import gcd, isclose

import numpy as np
import torch

from groundstate.atoms import DataError, OptionError, System, nearest
from groundstate.atoms.elements import symbols
from groundstate.data.record import Record

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


GROUPS: Mapping[str, Callable[[Record], Hashable]] = {
    "structure": lambda record: fingerprint(record.system),
    "composition": lambda record: composition(record.system),
}
"""What is never divided between two sets. Copies of a structure have one composition, so neither choice leaks."""


def split(
    records: Sequence[Record], fractions: Sequence[float], seed: int = 0, *, keep_together: str = "structure"
) -> tuple[list[Record], ...]:
    """Divide records at random into sets of the given fractions, the same for the same seed.

    keep_together: "structure" keeps copies in one set; "composition" all structures of one formula, which measures how
    a model does on new chemistry; any other name is a tag of the file (a material's id). Fractions add up to 1. A set
    that would be empty is refused, and so is a leak between sets.
    """
    if not fractions or min(fractions) <= 0 or not isclose(sum(fractions), 1.0, abs_tol=1e-9):
        raise OptionError(
            "E-SPLIT-FRACTIONS",
            f"fractions {list(fractions)} are not positive numbers adding up to 1",
            fix="e.g. 0.9, 0.1",
        )
    groups: dict[Hashable, list[Record]] = {}
    for record in records:
        groups.setdefault(_group(record, keep_together), []).append(record)
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    shuffled = [list(groups.values())[i] for i in order]
    sets: tuple[list[Record], ...] = tuple([] for _ in fractions)
    for group in shuffled:
        # The set that is furthest behind its share takes the next group.
        behind = [fraction - len(chosen) / len(records) for fraction, chosen in zip(fractions, sets, strict=True)]
        sets[int(np.argmax(behind))].extend(group)
    empty = [i for i, chosen in enumerate(sets) if not chosen]
    if empty:
        raise DataError(
            "E-SPLIT-EMPTY",
            f"{len(records)} frames in {len(groups)} groups leave set {empty[0]} of fractions {list(fractions)} empty",
            why="an error measured on nothing is not small",
            fix="give more data or other fractions" + _single_hint(keep_together, len(groups)),
        )
    check_leaks(*sets)
    return sets


def _single_hint(keep_together: str, n_groups: int) -> str:
    return "; keep_together='structure' divides one formula" if keep_together != "structure" and n_groups == 1 else ""


def _group(record: Record, keep_together: str) -> Hashable:
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


def check_leaks(*sets: Sequence[Record]) -> None:
    """Refuse sets of which two hold the same structure."""
    seen: dict[str, tuple[int, int]] = {}
    leaks: list[str] = []
    for s, records in enumerate(sets):
        for index, record in enumerate(records):
            first = seen.setdefault(fingerprint(record.system), (s, index))
            if first[0] != s:
                leaks.append(f"{_place(sets[first[0]][first[1]], *first)} = {_place(record, s, index)}")
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
