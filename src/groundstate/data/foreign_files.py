"""Files that ASE reads well, with a look at what it would pass over: unfinished runs and guessed species."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.db import connect
from ase.io import ParseError, iread

from groundstate.atoms import DataError, GroundstateError, RunError
from groundstate.atoms.elements import from_label
from groundstate.data.convert import frame_from_ase, frame_from_pymatgen_dict
from groundstate.data.extxyz import open_text
from groundstate.data.frame import Frame

FOREIGN_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    ParseError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
    sqlite3.Error,
)
"""What parsers that are not ours raise at a broken file."""


def _ase_frames(source: Any, form: str) -> Iterator[Frame | GroundstateError]:
    """Frames of an open file or path; where ASE fails, the frames before and then the error."""
    images = iread(source, index=":", format=form)
    frame = 0
    while True:
        try:
            atoms = next(images)
        except StopIteration:
            return
        except FOREIGN_ERRORS as error:
            yield unreadable(error, form).at(frame=frame)
            return
        try:
            yield frame_from_ase(atoms)
        except GroundstateError as error:
            yield error.at(frame=frame)
        frame += 1


def unreadable(error: BaseException, form: str) -> DataError:
    """The refusal of a file another package's parser gave up on."""
    return DataError(
        "E-FILE-SYNTAX",
        f"the file cannot be read as {form} ({type(error).__name__}: {error})",
        why="it is damaged, cut, or in another format than its name says",
        fix="check the end of the file; salvage=True keeps the frames before the damage",
    )


def read_trajectory(path: Path) -> Iterator[Frame | GroundstateError]:
    """ASE `.traj`."""
    return _ase_frames(str(path), "traj")


def read_xdatcar(path: Path) -> Iterator[Frame | GroundstateError]:
    """VASP XDATCAR: positions only."""
    with open_text(path) as stream:
        yield from _ase_frames(stream, "vasp-xdatcar")


def read_vasprun(path: Path) -> Iterator[Frame | GroundstateError]:
    """VASP vasprun.xml, every ionic step."""
    yield from _finished(path, "vasp-xml", "</modeling>")


def read_outcar(path: Path) -> Iterator[Frame | GroundstateError]:
    """VASP OUTCAR, every ionic step."""
    yield from _finished(path, "vasp-out", "General timing and accounting")


def _finished(path: Path, form: str, mark: str) -> Iterator[Frame | GroundstateError]:
    # ASE returns the complete steps of a killed run without a word; the mark stands at the end of a finished one.
    with open_text(path) as stream:
        yield from _ase_frames(stream, form)
    with open_text(path) as stream:
        if not any(mark in line for line in stream):
            yield DataError(
                "E-FILE-TRUNCATED",
                f"the run did not finish: '{mark}' is missing",
                why="its last step may be incomplete",
                fix="salvage=True keeps the complete steps",
            )


def read_poscar(path: Path) -> Iterator[Frame | GroundstateError]:
    """VASP POSCAR or CONTCAR, which must name its species (VASP 5)."""
    with open_text(path) as stream:
        lines = [stream.readline() for _ in range(6)]
    try:
        for token in lines[5].split() or [""]:
            from_label(token.split("_")[0].split("/")[0])
    except GroundstateError:
        yield DataError(
            "E-POSCAR-SPECIES",
            f"line 6 names no elements: {lines[5].strip()!r}",
            why="in the old format they stand in POTCAR only, and a guess from the title would be silent",
            fix="add a line with the element symbols above the counts",
        )
        return
    with open_text(path) as stream:
        yield from _ase_frames(stream, "vasp")


def read_database(path: Path) -> Iterator[Frame | GroundstateError]:
    """ASE database (SQLite `.db`, or LMDB `.aselmdb` where its backend is installed)."""
    try:
        rows = connect(str(path), append=True).select()
        for index, row in enumerate(rows):
            atoms = row.toatoms()
            atoms.info |= row.key_value_pairs
            try:
                yield frame_from_ase(atoms)
            except GroundstateError as error:
                yield error.at(frame=index)
    except ImportError:
        yield RunError(
            "E-EXTRA-MISSING",
            "reading .aselmdb needs ASE's LMDB backend, which is not installed",
            fix="pip install ase-db-backends",
        )
    except FOREIGN_ERRORS as error:
        yield unreadable(error, "an ASE database")


def read_pymatgen_json(path: Path) -> Iterator[Frame | GroundstateError]:
    """pymatgen Structures or Molecules as JSON: one, a list, or entries with a `structure` and labels beside it."""
    with open_text(path) as stream:
        try:
            content = json.load(stream)
        except ValueError as error:
            yield unreadable(error, "JSON")
            return
    for index, entry in enumerate(content if isinstance(content, list) else [content]):
        try:
            yield _entry(entry)
        except GroundstateError as error:
            yield error.at(frame=index)
        except FOREIGN_ERRORS as error:
            yield unreadable(error, "a pymatgen structure").at(frame=index)


def _entry(entry: dict[str, Any]) -> Frame:
    record = entry.get("structure", entry.get("molecule", entry))
    if "sites" not in record:
        raise DataError(
            "E-FILE-FORMAT",
            f"the JSON holds no pymatgen structure (keys {', '.join(list(record)[:6])})",
            fix="write it with structure.to(filename='….json')",
        )
    frame = frame_from_pymatgen_dict(record)
    if record is entry:
        return frame
    beside = {key: value for key, value in entry.items() if value is not record and not key.startswith("@")}
    n_atoms = frame.system.n_atoms
    # A list with one entry per atom is a column; a 3 × 3 stress of three atoms is not, and stays where it is named.
    arrays = {key: np.array(value) for key, value in beside.items() if _is_column(key, value, n_atoms)}
    info = {key: value for key, value in beside.items() if key not in arrays}
    return Frame(frame.system, info, arrays, notes=frame.notes)


def _is_column(key: str, value: Any, n_atoms: int) -> bool:
    return isinstance(value, list) and len(value) == n_atoms and not any(s in key.lower() for s in ("stress", "virial"))
