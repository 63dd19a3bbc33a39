"""HDF5 files of labelled structures: MACE's training files, ANI-1, ANI-1x and SPICE. Read one molecule at a time.

MACE     config_batch_<i>/config_<j>: atomic_numbers, positions, cell, pbc, labels (in `properties`, or beside them in
         older files) in ASE's units and signs; a label whose `property_weights` entry is 0 is a filler
ANI-1    …/<molecule>: coordinates Å, energies Ha, species (Smith et al., Sci. Data 4, 170193 (2017))
ANI-1x   <formula>: coordinates Å, atomic_numbers, <method>.energy Ha, <method>.forces Ha/Å, <method>.dipole e·Å; NaN
         where a method was not run (Smith et al., Sci. Data 7, 134 (2020))
SPICE    <molecule>: conformations bohr, dft_total_energy Ha, dft_total_gradient Ha/bohr, scf_dipole e·bohr,
         mbis_charges e; the charge stands in the SMILES (Eastman et al., Sci. Data 10, 11 (2023))

Checked: tests/data/test_hdf5_files.py
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from groundstate.atoms import DataError, GroundstateError, System
from groundstate.atoms.elements import from_label
from groundstate.atoms.units import BOHR, HARTREE
from groundstate.data.convert import missing_extra
from groundstate.data.foreign_files import FOREIGN_ERRORS, unreadable
from groundstate.data.frame import Frame


def read_hdf5(path: Path) -> Iterator[Frame | GroundstateError]:
    """Frames of one of the layouts above; another one is refused with the names it has."""
    try:
        import h5py
    except ImportError:
        yield missing_extra("hdf5", "reading HDF5")
        return
    try:
        with h5py.File(path, "r") as file:
            if any(name.startswith("config_batch_") for name in file):
                yield from _mace(file)
            else:
                yield from _molecules(file, h5py)
    except BlockingIOError as error:
        yield DataError(
            "E-FILE-BUSY",
            f"another program has the file open for writing ({error})",
            why="what is read while it is written may be half of it",
            fix="close it there, or copy it when it is finished",
        )
    except FOREIGN_ERRORS as error:
        yield unreadable(error, "HDF5")


def _mace(file: Any) -> Iterator[Frame | GroundstateError]:
    for batch in sorted(file, key=_number):
        for name in sorted(file[batch], key=_number):
            yield _configuration({key: _unpacked(value) for key, value in file[batch][name].items()})


def _number(name: str) -> int:
    digits = re.search(r"(\d+)$", name)
    return int(digits[1]) if digits else -1


def _unpacked(value: Any) -> Any:
    """A dataset's content, or of a group what its datasets hold; MACE writes "None" where there is nothing."""
    if hasattr(value, "items"):
        return {key: _unpacked(part) for key, part in value.items()}
    content = value[()]
    if isinstance(content, bytes):
        content = content.decode("utf-8", errors="replace")
    return None if isinstance(content, str) and content == "None" else content


def _configuration(content: dict[str, Any]) -> Frame:
    numbers, positions = content.pop("atomic_numbers"), content.pop("positions")
    cell, pbc = content.pop("cell"), content.pop("pbc")
    weights = content.pop("property_weights", None) or {}
    weights |= {key.removesuffix("_weight"): content.pop(key) for key in [*content] if key.endswith("_weight")}
    properties = content.pop("properties", {})
    values = {**content, **properties}
    fillers = [key for key, value in values.items() if value is not None and _is_zero(weights.get(key))]
    notes = tuple(f"'{key}' has weight 0 in some frames and was left out there" for key in fillers)
    values = {key: value for key, value in values.items() if value is not None and key not in fillers}
    system = System.single(positions, numbers, cell=cell, pbc=False if pbc is None else np.asarray(pbc, dtype=bool))
    per_atom = {key: np.asarray(value) for key, value in values.items() if key in ("forces", "charges", "magmoms")}
    info = {key: value for key, value in values.items() if key not in (*per_atom, "weight")}
    known = {"energy": "energy", "forces": "forces", "stress": "stress", "virial": "virials", "dipole": "dipole"}
    return Frame(system, info, per_atom, notes=notes, defined={**known, "charges": "charges"})


def _is_zero(weight: Any) -> bool:
    return weight is not None and float(weight) == 0.0


def _molecules(group: Any, h5py: Any) -> Iterator[Frame | GroundstateError]:
    """Molecules of a group and of the groups in it."""
    if "conformations" in group:
        yield from _spice(group)
    elif "coordinates" in group and ("species" in group or "atomic_numbers" in group):
        yield from _ani(group)
    else:
        parts = [part for part in group.values() if isinstance(part, h5py.Group)]
        if not parts:
            yield DataError(
                "E-FILE-FORMAT",
                f"the HDF5 group '{group.name}' has no known layout ({', '.join([*group][:8]) or 'empty'})",
                fix="known are the training files of MACE, ANI-1, ANI-1x and SPICE",
            )
        for part in parts:
            yield from _molecules(part, h5py)


def _spice(group: Any) -> Iterator[Frame]:
    numbers = group["atomic_numbers"][()]
    smiles = _texts(group, "smiles")
    tags = {"molecule": group.name.lstrip("/")} | {name: _texts(group, name) for name in ("smiles", "subset")}
    stated: dict[str, Any] = {key: value for key, value in tags.items() if value}
    if smiles:
        stated["charge"] = formal_charge(smiles)
    scales = {
        "dft_total_energy": HARTREE,
        "formation_energy": HARTREE,
        "dft_total_gradient": -HARTREE / BOHR,
        "scf_dipole": BOHR,
        "mbis_charges": 1.0,
    }
    columns = {name: scale * group[name][()].astype(np.float64) for name, scale in scales.items() if name in group}
    for i, positions in enumerate(group["conformations"][()].astype(np.float64) * BOHR):
        row = {name: values[i] for name, values in columns.items()}
        arrays: dict[str, np.ndarray] = {
            name: row.pop(name) for name in ("dft_total_gradient", "mbis_charges") if name in row
        }
        yield Frame(
            System.single(positions, numbers),
            {**stated, **row},
            arrays,
            defined={
                "energy": "dft_total_energy",
                "forces": "dft_total_gradient",
                "dipole": "scf_dipole",
                "charges": "mbis_charges",
            },
            meaning={
                "dft_total_energy": "converted from Ha",
                "formation_energy": "converted from Ha; relative to isolated atoms",
                "dft_total_gradient": "converted from Ha/bohr, with the sign of a force",
            },
        )


def formal_charge(smiles: str) -> int:
    """The total charge a SMILES states, e: the charges of its bracket atoms, `[O-]`, `[Ca+2]`, `[N++]`."""
    total = 0
    for atom in re.findall(r"\[([^\]]*)\]", smiles):
        found = re.search(r"([+-]+)(\d*)(?::\d+)?$", atom)
        if found:
            size = int(found[2]) if found[2] else len(found[1])
            total += size if found[1][0] == "+" else -size
    return total


def _ani(group: Any) -> Iterator[Frame]:
    if "atomic_numbers" in group:
        numbers = group["atomic_numbers"][()]
    else:
        numbers = np.array([from_label(_text(symbol))[0].number for symbol in group["species"][()]])
    energies = {name: HARTREE * group[name][()] for name in group if name.endswith(".energy") or name == "energies"}
    forces = {name: HARTREE * group[name][()] for name in group if name.endswith(".forces")}
    others = {name: group[name][()] for name in group if name.endswith((".dipole", "_charges"))}
    per_atom = {*forces, *(name for name in others if name.endswith("_charges"))}
    method = "wb97x_dz"
    defined = {"energy": f"{method}.energy", "forces": f"{method}.forces", "dipole": f"{method}.dipole"}
    defined = {"energy": "energies"} if "energies" in energies else defined
    high = ("high-energy conformers (coordinatesHE) were left out",) if "coordinatesHE" in group else ()
    for i, positions in enumerate(group["coordinates"][()].astype(np.float64)):
        row = {name: np.float64(values[i]) for name, values in {**energies, **forces, **others}.items()}
        row = {name: value for name, value in row.items() if np.isfinite(value).all()}
        yield Frame(
            System.single(positions, numbers),
            {
                "molecule": group.name.lstrip("/"),
                **{name: value for name, value in row.items() if name not in per_atom},
            },
            {name: np.asarray(value) for name, value in row.items() if name in per_atom},
            notes=high,
            defined=defined,
            meaning=dict.fromkeys(energies, "converted from Ha") | dict.fromkeys(forces, "converted from Ha/Å"),
            calculation={name: name.split(".")[0] for name in row if "." in name},
        )


def _texts(group: Any, name: str) -> str:
    if name not in group:
        return ""
    content = group[name][()]
    return _text(content if np.ndim(content) == 0 else content[0])


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
