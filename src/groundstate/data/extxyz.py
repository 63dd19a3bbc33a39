"""Extended XYZ, streamed: one frame in memory at a time, so that a file may be larger than the machine.

Read here and not by ASE because a lost label must be an error: ASE leaves Fortran exponents as text, moves some keys
into a calculator and not others, and reads an empty file as a bare StopIteration.
"""

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from groundstate.atoms import DataError, GroundstateError, System
from groundstate.atoms.elements import from_label
from groundstate.data.frame import Frame
from groundstate.data.numbers_in_text import number, numbers

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_PAIR = re.compile(
    r"""(?P<key>"[^"]+"|[^\s="']+)\s*=\s*
        (?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^{}]*\}|\[(?:[^\[\]]|\[[^\[\]]*\])*\]|[^\s"]+)""",
    re.VERBOSE,
)
_TRUE = frozenset({"T", "True", "TRUE", "true", "1"})
_FALSE = frozenset({"F", "False", "FALSE", "false", "0"})
_COLUMN_NAMES = {"charge": "charges"}
"""ASE writes a calculator's charges under a column called `charge`."""
ISOTOPE_MASSES = {"D": 2.01410177812, "T": 3.0160492779}
"""amu; AME2020. Deuterium is hydrogen to a potential and not to a trajectory."""


def open_text(path: Path) -> TextIOWrapper:
    """A text file, compressed or not, with or without a byte-order mark, whatever its line ends."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    # Comments in old files are in any encoding; the numbers are ASCII in all of them.
    stream: TextIOWrapper = opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape")
    return stream


def read_extxyz(path: Path) -> Iterator[Frame | GroundstateError]:
    """Frames in file order; a frame that cannot be read is yielded as its error, and ends the file where it must."""
    yield from read_extxyz_from(path, 0)


def read_extxyz_from(path: Path, first: int) -> Iterator[Frame | GroundstateError]:
    """The frames from one on; those before are passed over by their number of atoms, which is quick."""
    with open_text(path) as lines:
        frame, header = 0, _next_filled(lines)
        while frame < first and header.strip().isdecimal():
            for _ in range(int(header) + 1):
                lines.readline()
            frame, header = frame + 1, _next_filled(lines)
        while header:
            block = _Block(header, lines)
            header = _next_filled(lines)
            try:
                yield _frame(block, at_end=not header)
            except GroundstateError as error:
                yield error.at(frame=frame)
                # Without a trustworthy count there is no telling where the next frame starts.
                if error.code in ("E-FILE-TRUNCATED", "E-FILE-SYNTAX"):
                    return
            frame += 1


def _next_filled(lines: TextIOWrapper) -> str:
    """The next line with something on it; empty at the end of the file."""
    line = lines.readline()
    while line and not line.strip():
        line = lines.readline()
    return line


class _Block:
    """The lines of one frame, as many as its header announces and the file has."""

    def __init__(self, header: str, lines: TextIOWrapper) -> None:
        self.header = header.strip()
        self.n_atoms = int(self.header) if self.header.isdecimal() else -1
        self.comment = lines.readline()
        read = (lines.readline() for _ in range(self.n_atoms))
        self.rows = [line.split() for line in read if line.strip()]


def _frame(block: _Block, *, at_end: bool) -> Frame:
    if block.n_atoms < 0:
        raise DataError(
            "E-FILE-SYNTAX",
            f"a frame must start with its number of atoms, found {block.header[:40]!r}",
            why="the count of the frame before may be wrong, or this is not an XYZ file",
            fix="correct the count; salvage=True keeps the frames before it",
        )
    if len(block.rows) < block.n_atoms or not block.comment:
        raise _incomplete(f"the frame announces {block.n_atoms} atoms and has {len(block.rows)}", at_end)
    info = {match["key"].strip('"'): _unquoted(match["value"]) for match in _PAIR.finditer(block.comment)}
    columns = _columns(info.pop("Properties", "species:S:1:pos:R:3"), block.rows, at_end)
    return _assembled(info, columns)


def _incomplete(what: str, at_end: bool) -> DataError:
    return DataError(
        "E-FILE-TRUNCATED" if at_end else "E-FILE-SYNTAX",
        what,
        why="the run that wrote it stopped half-way, or the file was cut" if at_end else "columns would shift",
        fix="salvage=True keeps the complete frames before it",
    )


def _unquoted(value: str) -> str:
    if value[:1] in "\"'" and value[-1:] == value[:1] and len(value) > 1:
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value[1:-1] if value[:1] == "{" and value[-1:] == "}" else value


def _columns(properties: str, rows: list[list[str]], at_end: bool) -> dict[str, np.ndarray]:
    """Columns by name: text as object arrays, numbers as float64 [atom] or [atom, width]."""
    fields = properties.split(":")
    try:
        layout = [(name, kind, int(width)) for name, kind, width in zip(*[iter(fields)] * 3, strict=True)]
    except ValueError:
        layout = []
    if not layout or any(kind not in "SRIL" or width < 1 for _, kind, width in layout):
        raise DataError(
            "E-FILE-SYNTAX", f"Properties={properties!r} is not a list of name:type:width", fix="correct the header"
        )
    total = sum(width for _, _, width in layout)
    for atom, row in enumerate(rows):
        if len(row) < total:
            what = f"atom {atom} has {len(row)} columns where Properties announces {total}"
            raise _incomplete(what, at_end and atom == len(rows) - 1)
    columns, start = {}, 0
    for name, kind, width in layout:
        texts = [row[start : start + width] for row in rows]
        start += width
        columns[_COLUMN_NAMES.get(name, name)] = _column(name, kind, texts, width)
    return columns


def _column(name: str, kind: str, texts: list[list[str]], width: int) -> np.ndarray:
    if kind == "S":
        values = np.array(texts, dtype=object).reshape(-1, width)
    elif kind == "L":
        values = np.array([[_truth(text) for text in row] for row in texts]).reshape(-1, width)
    else:
        try:
            values = np.array([[number(text) for text in row] for row in texts], dtype=np.float64).reshape(-1, width)
        except ValueError as error:
            atom = next(i for i, row in enumerate(texts) if any(numbers(text) is None for text in row))
            raise DataError(
                "E-LABEL-TEXT",
                f"column '{name}' should hold numbers and holds {' '.join(texts[atom])!r} ({error})",
                why="a value that is not a number cannot be read as one",
                fix="correct the column, or its type in Properties",
                atoms=[atom],
            ) from None
    return values[:, 0] if width == 1 else values


def _truth(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise DataError("E-FILE-SYNTAX", f"{text!r} is neither T nor F", fix="write T or F")


def _assembled(info: dict[str, str], columns: dict[str, np.ndarray]) -> Frame:
    notes: list[str] = []
    masses = columns.pop("masses", columns.pop("mass", None))
    if "species" in columns:
        z, masses = read_labels([str(label) for label in columns.pop("species")], masses, notes)
        columns.pop("Z", None)
    elif "Z" in columns:
        z = columns.pop("Z").astype(np.int64)
    else:
        raise DataError(
            "E-FILE-SYNTAX", "the frame has no column 'species' or 'Z'", fix="say which element each row is"
        )
    if "pos" not in columns:
        raise DataError("E-FILE-SYNTAX", "the frame has no column 'pos'", fix="give positions as pos:R:3, in Å")
    lattice = info.pop("Lattice", None)
    cell = None if lattice is None else numbers(lattice)
    if lattice is not None and (cell is None or cell.size != 9):
        raise DataError(
            "E-FILE-SYNTAX", f"Lattice={lattice!r} is not nine numbers", fix="give three vectors, row by row"
        )
    pbc = _pbc(info.pop("pbc", None), periodic=lattice is not None)
    system = System.single(columns.pop("pos"), z, cell=cell, pbc=pbc, masses=masses)
    return Frame(system, info, columns, notes=tuple(notes))


def _pbc(text: str | None, *, periodic: bool) -> list[bool]:
    if text is None:
        return [periodic] * 3
    flags = [_truth(part) for part in text.replace(",", " ").replace("[", " ").replace("]", " ").split()]
    if len(flags) not in (1, 3):
        raise DataError("E-FILE-SYNTAX", f"pbc={text!r} is not one or three of T and F", fix='write pbc="T T F"')
    return flags * 3 if len(flags) == 1 else flags


def read_labels(labels: list[str], masses: np.ndarray | None, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Atomic numbers of site labels; masses stay the given ones, and become isotopic where a label says so."""
    known = {label: from_label(label) for label in dict.fromkeys(labels)}
    notes += [note for _, note in known.values() if note]
    z = np.array([known[label][0].number for label in labels], dtype=np.int64)
    if masses is None and not ISOTOPE_MASSES.keys().isdisjoint(known):
        masses = np.array([ISOTOPE_MASSES.get(label, known[label][0].mass) for label in labels])
    return z, masses
