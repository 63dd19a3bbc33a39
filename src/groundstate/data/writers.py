"""Records to extended XYZ: exact to the last bit, under keys no other program moves or renames, never half-written."""

import gzip
import json
import os
from collections.abc import Callable, Iterable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import DataError, OptionError, RunError, nearest, quantity
from groundstate.atoms.elements import periodic_table, symbols
from groundstate.data.convert import conditions_as_info
from groundstate.data.labels import THEORY_KEY
from groundstate.data.record import Record

ASE_NAMES: Mapping[str, str] = {"magnetic_moments": "magmoms", "born_charges": "born_effective_charges"}
"""Where ASE's name of a quantity is not ours."""
_OPENERS: Mapping[str, Callable[..., Any]] = {".gz": gzip.open}


def write(
    path: str | Path,
    records: Iterable[Record],
    *,
    overwrite: bool = False,
    keys: str = "reference",
) -> Path:
    """Write records as extended XYZ (`.xyz`, `.extxyz`, also `.gz`); `read` gives them back bit for bit.

    keys: "reference" writes REF_energy, REF_forces, …, which ASE leaves where they are; "ase" the names ASE takes into
    a calculator. A label a record does not have is not written. The file appears complete or not at all; an existing
    one is refused unless `overwrite`. Returns the path. Checked: tests/data/test_writers.py
    """
    if keys not in ("reference", "ase"):
        raise OptionError("E-OPTION", f"keys='{keys}' is unknown", fix=nearest(keys, ("reference", "ase")))
    target = Path(path).expanduser()
    plain = target.with_suffix("") if target.suffix in _OPENERS else target
    if plain.suffix not in (".xyz", ".extxyz"):
        raise DataError(
            "E-FILE-FORMAT", f"records are written as extended XYZ, not '{plain.suffix}'", fix="name it *.extxyz"
        )
    refuse_existing(target, overwrite=overwrite)
    opener = _OPENERS.get(target.suffix, open)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with opener(temporary, "wt", encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            for record in records:
                _write_frame(stream, record, keys)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def refuse_existing(target: Path, *, overwrite: bool) -> None:
    """An output that exists is a result of somebody's; the folder must be there."""
    if target.exists() and not overwrite:
        raise RunError(
            "E-OUTPUT-EXISTS",
            "the output exists already",
            why="a finished result would be lost",
            fix="choose another name or allow overwriting (overwrite=True, --overwrite)",
            file=str(target),
        )
    if not target.parent.is_dir():
        raise RunError("E-OUTPUT-FOLDER", "there is no such folder", fix="create it", file=str(target.parent))


def _write_frame(stream: TextIOWrapper, record: Record, keys: str) -> None:
    system = record.system
    if system.n_systems != 1:
        raise DataError("E-RECORD", f"a record holds one structure, this one holds {system.n_systems}", fix="split it")
    info: dict[str, str] = dict(record.provenance.tags)
    info |= {name: repr(value) for name, value in conditions_as_info(system).items()}
    if record.theory is not None:
        info[THEORY_KEY] = "_JSON " + json.dumps(record.theory.as_dict(), ensure_ascii=False)
    columns: list[tuple[str, Tensor]] = [("pos", system.positions)]
    standard = torch.tensor([0.0, *(row.mass for row in periodic_table())], dtype=torch.float64)
    if not torch.equal(system.masses, standard[system.numbers]):
        columns.append(("masses", system.masses))
    for name, label in record.labels.items():
        key = "REF_" + name if keys == "reference" else ASE_NAMES.get(name, name)
        if quantity(name).per == "atom":
            columns.append((key, label))
        else:
            info[key] = _text(label)
    blocks = [(name, values.detach().cpu().double().reshape(system.n_atoms, -1)) for name, values in columns]
    properties = ":".join(["species:S:1", *(f"{name}:R:{block.shape[1]}" for name, block in blocks)])
    lattice = f'Lattice="{_text(system.cell)}" ' if bool(system.cell.any()) else ""
    pbc = " ".join("T" if periodic else "F" for periodic in system.pbc[0].tolist())
    pairs = " ".join(f"{_quoted(key)}={_quoted(value)}" for key, value in info.items())
    stream.write(f'{system.n_atoms}\n{lattice}Properties={properties} pbc="{pbc}" {pairs}'.rstrip() + "\n")
    rows = torch.cat([block for _, block in blocks], dim=1).tolist()
    for symbol, row in zip(symbols(system.numbers.tolist()), rows, strict=True):
        stream.write(symbol + " " + " ".join(map(repr, row)) + "\n")


def _text(values: Tensor) -> str:
    """Shortest decimal that reads back to the same float64."""
    return " ".join(repr(value) for value in values.detach().cpu().double().reshape(-1).tolist())


def _quoted(value: str) -> str:
    if value and not any(character in value for character in " \t\"'{}[]=\\\n"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
