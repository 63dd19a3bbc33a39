"""ASE and pymatgen structures to `System` and back: the border at which foreign objects stop.

Charge and multiplicity travel in `info['charge']` and `info['spin']` (2S+1), the keys other packages read. Constraints,
velocities and initial moments are not part of a `System` and are left behind.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from groundstate.atoms import DataError, RunError, StructureError, System
from groundstate.atoms.elements import from_label, periodic_table
from groundstate.data.conditions import read_conditions
from groundstate.data.frame import Frame

if TYPE_CHECKING:
    from pymatgen.core import IMolecule, IStructure

FULL_OCCUPANCY = 0.999
"""Occupancies below this are disorder; above it, rounding."""


def from_ase(atoms: Atoms) -> System:
    """The structure of an ASE object, with charge and multiplicity where `info` states them.

    Partial occupancies are refused. Nothing else is judged here: that is `contract.check`.
    """
    return read_conditions(_structure(atoms), {})


def frame_from_ase(atoms: Atoms) -> Frame:
    """Everything an ASE object holds, calculator results included, uninterpreted."""
    results: Mapping[str, Any] = {}
    if atoms.calc is not None:
        results = atoms.calc.results
        if results and atoms.calc.check_state(atoms):
            raise DataError(
                "E-LABEL-STALE",
                "the calculator's results belong to another geometry than the atoms now have",
                why="energy and forces would be attached to the wrong structure",
                fix="compute them again, or set atoms.calc = None",
            )
    return replace(_structure(atoms), results=dict(results))


def _structure(atoms: Atoms) -> Frame:
    _refuse_partial_occupancies(atoms.info.get("occupancy"))
    system = System.single(
        atoms.get_positions(),
        atoms.get_atomic_numbers(),
        cell=atoms.cell.array,
        pbc=atoms.get_pbc(),
        masses=atoms.get_masses() if atoms.has("masses") else None,
    )
    arrays = {name: array for name, array in atoms.arrays.items() if name not in ("numbers", "positions", "masses")}
    return Frame(system, dict(atoms.info), arrays)


def _refuse_partial_occupancies(occupancy: Any) -> None:
    # ASE's CIF reader keeps {site: {symbol: occupancy}} here and puts the majority element on the site.
    sites = occupancy if isinstance(occupancy, dict) else {}
    partial = {site: kinds for site, kinds in sites.items() if len(kinds) > 1 or min(kinds.values()) < FULL_OCCUPANCY}
    if partial:
        raise disordered([f"site {site}: {kinds}" for site, kinds in partial.items()])


def disordered(sites: list[str]) -> StructureError:
    """The refusal of a structure whose sites are occupied in part."""
    return StructureError(
        "E-DISORDER",
        "sites are partially occupied: "
        + "; ".join(sites[:8])
        + (f"; {len(sites) - 8} more" if len(sites) > 8 else ""),
        why="an average over configurations has no energy, and rounding would invent one of them",
        fix="enumerate ordered configurations or build a special quasirandom structure, then give those",
    )


def to_ase(system: System) -> list[Atoms]:
    """One ASE object per structure; masses are set where they are not the standard ones."""
    table = np.array([0.0, *(row.mass for row in periodic_table())])
    structures = []
    for single in system.to("cpu"):
        numbers = single.numbers.numpy()
        atoms = Atoms(
            numbers=numbers,
            positions=single.positions.detach().numpy(),
            cell=single.cell[0].detach().numpy(),
            pbc=single.pbc[0].numpy(),
        )
        if not np.array_equal(single.masses.numpy(), table[numbers]):
            atoms.set_masses(single.masses.numpy())
        if single.moments is not None:
            atoms.set_initial_magnetic_moments(single.moments.numpy())
        atoms.info |= conditions_as_info(single)
        structures.append(atoms)
    return structures


def conditions_as_info(single: System) -> dict[str, float | int]:
    """Charge and multiplicity of one structure under the keys other packages read; what is not given is not written."""
    info: dict[str, float | int] = {}
    if single.charge is not None:
        charge = float(single.charge[0])
        info["charge"] = int(charge) if charge.is_integer() else charge
    if single.multiplicity is not None:
        info["spin"] = int(single.multiplicity[0])
    return info


def from_pymatgen(structure: "IStructure | IMolecule") -> System:
    """The structure of a pymatgen Structure or Molecule; disorder is refused with its sites."""
    return frame_from_pymatgen_dict(structure.as_dict()).system


def frame_from_pymatgen_dict(record: Mapping[str, Any]) -> Frame:
    """A Structure or Molecule in pymatgen's JSON form, read without pymatgen.

    pymatgen writes charge 0 for a crystal that has none stated: 0 is read as not given. A molecule always states both.
    """
    notes: list[str] = []
    elements, positions, partial = [], [], []
    for index, site in enumerate(record["sites"]):
        species = site["species"]
        if len(species) != 1 or float(species[0]["occu"]) < FULL_OCCUPANCY:
            partial.append(f"site {index}: " + ", ".join(f"{kind['element']} {kind['occu']:g}" for kind in species))
            continue
        element, note = from_label(str(species[0]["element"]))
        notes += [note] if note else []
        elements.append(element.number)
        positions.append(site["xyz"])
    if partial:
        raise disordered(partial)
    lattice = record.get("lattice")
    charge = float(record.get("charge") or 0.0)
    stated = lattice is None or abs(charge) > 1e-6
    system = System.single(
        np.array(positions, dtype=np.float64).reshape(-1, 3),
        elements,
        cell=None if lattice is None else lattice["matrix"],
        pbc=False if lattice is None else lattice.get("pbc", (True, True, True)),
        charge=charge if stated else None,
        multiplicity=record.get("spin_multiplicity") if lattice is None else None,
    )
    return Frame(system, notes=tuple(dict.fromkeys(notes)))


def to_pymatgen(system: System) -> "list[IStructure | IMolecule]":
    """One pymatgen Structure per periodic structure, one Molecule per structure without periods."""
    try:
        from pymatgen.core import Lattice, Molecule, Structure
    except ImportError:
        raise missing_extra("pymatgen", "converting to pymatgen structures") from None
    converted: list[IStructure | IMolecule] = []
    for single in system.to("cpu"):
        numbers, positions = single.numbers.tolist(), single.positions.detach().numpy()
        charge = None if single.charge is None else float(single.charge[0])
        if bool(single.pbc.any()):
            lattice = Lattice(single.cell[0].detach().numpy(), pbc=tuple(single.pbc[0].tolist()))
            converted.append(Structure(lattice, numbers, positions, coords_are_cartesian=True, charge=charge))
        else:
            multiplicity = None if single.multiplicity is None else int(single.multiplicity[0])
            converted.append(Molecule(numbers, positions, charge=charge or 0.0, spin_multiplicity=multiplicity))
    return converted


def missing_extra(extra: str, purpose: str) -> RunError:
    """The refusal of something that needs an optional package."""
    return RunError(
        "E-EXTRA-MISSING",
        f"{purpose} needs the optional package '{extra}', which is not installed",
        fix=f"pip install 'groundstate[{extra}]'",
    )
