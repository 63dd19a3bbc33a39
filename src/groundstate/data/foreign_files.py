"""Files that ASE reads well, with a look at what it would pass over: unfinished runs and guessed species."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase.db import connect
from ase.io import ParseError, iread

from groundstate.atoms import DataError, GroundstateError
from groundstate.atoms.elements import from_label
from groundstate.data.convert import frame_from_ase
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
    """ASE database in SQLite (`.db`)."""
    try:
        rows = connect(str(path), append=True).select()
        for index, row in enumerate(rows):
            atoms = row.toatoms()
            atoms.info |= row.key_value_pairs
            try:
                yield frame_from_ase(atoms)
            except GroundstateError as error:
                yield error.at(frame=index)
    except FOREIGN_ERRORS as error:
        yield unreadable(error, "an ASE database")
