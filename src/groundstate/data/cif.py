"""Crystallographic information files: every block a structure, symmetry expanded, disorder and gaps refused.

ASE parses the syntax and knows the space groups. What it decides silently is decided here: a `?` coordinate, a site
that is half full, a row it drops, sites that coincide after expansion, a formula the sites do not add up to.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from ase.io.cif import CIFBlock, parse_cif
from ase.spacegroup import Spacegroup
from ase.spacegroup.spacegroup import parse_sitesym

from groundstate.atoms import DataError, GroundstateError, StructureError, System
from groundstate.atoms.elements import symbols
from groundstate.data.convert import FULL_OCCUPANCY, disordered
from groundstate.data.extxyz import open_text, read_labels
from groundstate.data.foreign_files import FOREIGN_ERRORS, unreadable
from groundstate.data.frame import Frame

SAME_SITE = 0.05
"""Å; symmetry images nearer than this are one atom on a special position whose coordinates were rounded."""
_SITES = frozenset({"_atom_site_label", "_atom_site_type_symbol"})
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_GROUP = (
    "_space_group_it_number",
    "_space_group.it_number",
    "_symmetry_int_tables_number",
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
)
_TWO_ORIGINS = frozenset(
    [48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130, 133, 134, 137, 138, 141, 142, 201, 203, 222, 224, 227, 228]
)
_CELL = tuple(
    f"_cell_{kind}" for kind in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)


def read_cif(path: Path) -> Iterator[Frame | GroundstateError]:
    """One frame per block that has sites; a block that cannot be used is its error."""
    try:
        with open_text(path) as stream, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            blocks = [block for block in parse_cif(stream) if not _SITES.isdisjoint(block)]
    except FOREIGN_ERRORS as error:
        yield unreadable(error, "CIF")
        return
    if said:  # a row with the wrong number of values, which ASE drops
        yield unreadable(ValueError(str(said[0].message)), "CIF")
        return
    for index, block in enumerate(blocks):
        try:
            yield _frame(block)
        except GroundstateError as error:
            yield error.at(frame=index)
        except FOREIGN_ERRORS as error:
            yield unreadable(error, "CIF").at(frame=index)


def _frame(block: CIFBlock) -> Frame:
    names = [str(name) for name in _column(block, "_atom_site_label") or _column(block, "_atom_site_type_symbol") or []]
    _refuse_disorder(block, names)
    cell = _cell(block)
    fractional = _fractional(block, names, cell)
    notes: list[str] = []
    given = _column(block, "_atom_site_type_symbol")
    labels = [str(label) for label in given] if given else [_element_part(name) for name in names]
    numbers, masses = read_labels(labels, None, notes)
    positions, sites, merged = _expanded(fractional, cell, numbers, names, _operations(block, cell))
    if merged:
        notes.append("sites that symmetry brings onto each other were merged into one")
    _check_formula(block, numbers[sites])
    system = System.single(
        positions @ cell,
        numbers[sites],
        cell=cell,
        pbc=True,
        masses=None if masses is None else masses[sites],
    )
    return Frame(system, {"cif_block": block.name}, notes=tuple(notes))


def _column(block: CIFBlock, key: str) -> list[Any] | None:
    value = block.get(key)
    return value if value is None or isinstance(value, list) else [value]


def _element_part(label: str) -> str:
    """`O1A`, `CA12'`: the letters before the first digit; what is no symbol is refused later."""
    match = re.match(r"[A-Z][a-z]?(?=[\d'\"*(_]|$)", label)
    return match.group(0) if match else label


def _refuse_disorder(block: CIFBlock, names: Sequence[str]) -> None:
    occupancies = _column(block, "_atom_site_occupancy") or []
    partial = [
        f"{name} occupancy {value}"
        for name, value in zip(names, occupancies, strict=False)
        if isinstance(value, int | float) and abs(value - 1.0) > 1.0 - FULL_OCCUPANCY
    ]
    if partial:
        raise disordered(partial)


def _cell(block: CIFBlock) -> np.ndarray:
    values = [block.get(key) for key in _CELL]
    if not all(isinstance(value, int | float) for value in values):
        raise StructureError(
            "E-CELL-MISSING",
            f"the block '{block.name}' does not give all six cell parameters as numbers",
            why="fractional coordinates mean nothing without them",
            fix="complete the CIF",
        )
    return np.array(block.get_cell().array, dtype=np.float64)


def _fractional(block: CIFBlock, names: Sequence[str], cell: np.ndarray) -> np.ndarray:
    for kind, invert in (("fract", False), ("cartn", True)):
        columns = [_column(block, f"_atom_site_{kind}_{axis}") for axis in "xyz"]
        if any(column is None for column in columns):
            continue
        rows = list(zip(*[column or [] for column in columns], strict=True))
        unknown = [i for i, row in enumerate(rows) if not all(isinstance(value, int | float) for value in row)]
        if unknown:
            raise StructureError(
                "E-CIF-COORDINATES",
                f"sites without coordinates: {', '.join(names[i] for i in unknown[:8])}",
                why="the structure is incomplete",
                fix="place the sites (hydrogens are often left out) or remove their rows if they are absent",
                atoms=unknown,
            )
        values = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return values @ np.linalg.inv(cell) if invert else values
    raise DataError("E-CIF-COORDINATES", f"the block '{block.name}' has no coordinates", fix="complete the CIF")


def _operations(block: CIFBlock, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [op, 3, 3] and translations [op, 3] in fractional coordinates, which must map the lattice on itself."""
    listed = next((_column(block, key) for key in _OPERATIONS if key in block), None)
    if listed:
        rotations, translations = parse_sitesym([str(operation) for operation in listed])
    else:
        rotations, translations = _of_group(block).get_op()
    rotations = np.asarray(rotations, dtype=np.float64)
    metric = cell @ cell.T
    mapped = np.einsum("oji,jk,okl->oil", rotations, metric, rotations)
    if np.abs(mapped - metric).max() > 1e-2 * np.abs(metric).max():
        raise _symmetry("the symmetry operations do not map the lattice on itself", "cell or setting is another one")
    return rotations, np.asarray(translations, dtype=np.float64)


def _of_group(block: CIFBlock) -> Spacegroup:
    if not any(key in block for key in _GROUP):
        why = "a structure read as P1 would miss the atoms symmetry makes"
        raise _symmetry(f"the block '{block.name}' names no space group and no symmetry operations", why)
    with warnings.catch_warnings():
        # Its doubts about settings are answered by the checks on either side.
        warnings.simplefilter("ignore")
        group = block.get_spacegroup(True)
    if group.no in _TWO_ORIGINS and "_symmetry_space_group_setting" not in block:
        what = f"space group {group.no} has two origins and the file lists no operations"
        raise _symmetry(what, "the atoms could be misplaced")
    return group


def _symmetry(what: str, why: str) -> DataError:
    fix = "list the symmetry operations in the CIF (only x,y,z if all atoms are given)"
    return DataError("E-CIF-SYMMETRY", what, why=why, fix=fix)


def _expanded(
    fractional: np.ndarray,
    cell: np.ndarray,
    numbers: np.ndarray,
    names: Sequence[str],
    operations: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, int]:
    """All atoms of the cell, the listed site each comes from, and how many listed sites were duplicates of others."""
    rotations, translations = operations
    kept, sites, duplicates = np.zeros((0, 3)), np.zeros(0, dtype=np.int64), set()
    for site, position in enumerate(fractional):
        for image in rotations @ position + translations:
            apart = kept - image
            apart -= np.round(apart)
            near = np.flatnonzero(np.linalg.norm(apart @ cell, axis=1) < SAME_SITE)
            if len(near) == 0:
                kept, sites = np.vstack([kept, image % 1.0]), np.append(sites, site)
                continue
            other = int(sites[near[0]])
            if numbers[other] != numbers[site]:
                raise disordered([f"{names[other]} and {names[site]} on one position"])
            if other != site:
                duplicates.add(site)
    return kept, sites, len(duplicates)


def _check_formula(block: CIFBlock, numbers: np.ndarray) -> None:
    stated = block.get("_chemical_formula_sum")
    if not isinstance(stated, str) or "?" in stated:
        return
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", stated)
    wanted: Counter[str] = Counter()
    for symbol, count in parts:
        wanted["H" if symbol in ("D", "T") else symbol] += float(count or 1)  # type: ignore[assignment]
    found = Counter(symbols(numbers.tolist()))
    ratios = [found[symbol] / count for symbol, count in wanted.items() if count]
    if set(found) == {symbol for symbol, count in wanted.items() if count} and np.ptp(ratios) < 1e-3 * max(ratios):
        return
    divisor = reduce(gcd, found.values())
    raise DataError(
        "E-CIF-FORMULA",
        f"the sites make {' '.join(f'{s}{n // divisor}' for s, n in sorted(found.items()))} and the file says {stated}",
        why="atoms are missing (often hydrogen or solvent) or counted twice",
        fix="complete the sites, or correct _chemical_formula_sum",
    )
