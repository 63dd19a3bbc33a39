"""Crystals as JSON, a value at a time: pymatgen's own form, MatPES, MPtrj. A file may be larger than memory.

MPtrj (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) is one object {material: {frame: {structure, …}}}; its stress is
in kbar with VASP's sign, and its energies are told apart here: `uncorrected_total_energy` is what was computed,
`corrected_total_energy` has the Materials Project's 2020 corrections. MatPES (Kaplan et al., arXiv:2503.04070) is a
list; its stress is in kbar with VASP's sign and in ASE's order of components. Checked: tests/data/test_json_files.py
"""

import json
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from groundstate.atoms import DataError, GroundstateError
from groundstate.atoms.units import KILOBAR
from groundstate.data.convert import frame_from_pymatgen_dict
from groundstate.data.extxyz import open_text
from groundstate.data.foreign_files import FOREIGN_ERRORS, unreadable
from groundstate.data.frame import Frame
from groundstate.data.stress import ASE_ORDER, symmetric_matrix

_CHUNK = 1 << 20
_MEANING = {
    "uncorrected_total_energy": "as computed, without the Materials Project's corrections",
    "corrected_total_energy": "with the Materials Project's 2020 corrections, which the forces do not know",
}


def read_json(path: Path) -> Iterator[Frame | GroundstateError]:
    """Structures or molecules of pymatgen: one, a list, or entries with a `structure` and labels beside it; MPtrj."""
    frame = 0
    with open_text(path) as stream:
        try:
            for entry in _entries(stream):
                try:
                    yield _frame(entry)
                except GroundstateError as error:
                    yield error.at(frame=frame)
                except FOREIGN_ERRORS as error:
                    yield unreadable(error, "a pymatgen structure").at(frame=frame)
                frame += 1
        except ValueError as error:
            yield unreadable(error, "JSON").at(frame=frame if frame else None)


def _entries(stream: TextIOWrapper) -> Iterator[Any]:
    """Entries of a list; of an object of materials their frames, with the names they stand under; else the object."""
    whole: dict[str, Any] = {}
    materials = False
    for name, value in top_level(stream):
        if name is None:
            yield value
            continue
        materials = materials or (not whole and _is_material(value))
        if not materials:
            whole[name] = value
            continue
        for frame, entry in value.items():
            yield {"mp_id": name, **entry, "frame_id": frame}
    if whole:
        yield whole


def _is_material(value: Any) -> bool:
    frames = list(value.values()) if isinstance(value, dict) else []
    return bool(frames) and all(isinstance(frame, dict) and "structure" in frame for frame in frames)


def top_level(stream: TextIOWrapper) -> Iterator[tuple[str | None, Any]]:
    """The values of the outermost list or object of a JSON text, with their names in an object, read as they come."""
    text = _Text(stream)
    kind = text.mark()
    if kind not in ("[", "{"):
        raise ValueError("the text is neither a list nor an object")
    closing = {"[": "]", "{": "}"}[kind]
    while (mark := text.peek()) != closing:
        if mark == ",":
            text.mark()
            continue
        name = None
        if kind == "{":
            name = text.value()
            if text.mark() != ":":
                raise ValueError("a name without a value")
        yield name, text.value()


class _Text:
    """A text of which a window is in memory."""

    def __init__(self, stream: TextIOWrapper) -> None:
        self._stream, self._window, self._at = stream, "", 0
        self._decode = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        chunk = self._stream.read(max(_CHUNK, len(self._window)))
        self._window, self._at = self._window[self._at :] + chunk, 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is not blank."""
        while True:
            while self._at < len(self._window):
                if not self._window[self._at].isspace():
                    return self._window[self._at]
                self._at += 1
            if not self._more():
                raise ValueError("the text ends before it is closed")

    def mark(self) -> str:
        """The next character that is not blank, passed over."""
        found = self.peek()
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value; a number at the edge of the window may go on, so more is read first."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._window, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if end == len(self._window) and self._more():
                continue
            self._at = end
            return value


def _frame(entry: Mapping[str, Any]) -> Frame:
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
    if "uncorrected_total_energy" in entry:
        return _mptrj(frame, {key: value for key, value in beside.items() if value is not None})
    if "matpes_id" in entry:
        return _matpes(frame, {key: value for key, value in beside.items() if value is not None})
    n_atoms = frame.system.n_atoms
    # A list with one entry per atom is a column; a 3 × 3 stress of three atoms is not, and stays where it is named.
    arrays = {key: np.array(value) for key, value in beside.items() if _is_column(key, value, n_atoms)}
    info = {key: value for key, value in beside.items() if key not in arrays}
    return Frame(frame.system, info, arrays, notes=frame.notes)


def _is_column(key: str, value: Any, n_atoms: int) -> bool:
    return isinstance(value, list) and len(value) == n_atoms and not any(s in key.lower() for s in ("stress", "virial"))


def _mptrj(frame: Frame, beside: dict[str, Any]) -> Frame:
    columns = [key for key in ("force", "magmom") if key in beside]
    arrays: dict[str, np.ndarray] = {key: np.array(beside.pop(key), dtype=np.float64) for key in columns}
    if "stress" in beside:
        beside["stress"] = -KILOBAR * np.array(beside["stress"], dtype=np.float64)
    defined = {"energy": "uncorrected_total_energy", "forces": "force", "stress": "stress"}
    return Frame(
        frame.system,
        beside,
        arrays,
        notes=frame.notes,
        defined={**defined, "magnetic_moments": "magmom"},
        meaning={**_MEANING, "stress": "converted from kbar, VASP's sign"},
    )


def _matpes(frame: Frame, beside: dict[str, Any]) -> Frame:
    kept = ("energy", "matpes_id", "functional", "bandgap", "formation_energy_per_atom", "cohesive_energy_per_atom")
    info = {key: beside[key] for key in kept if key in beside}
    origin = beside.get("provenance") or {}
    info |= {key: origin[key] for key in ("original_mp_id", "md_ensemble", "md_step") if origin.get(key) is not None}
    if "functional" in info:
        # A level of theory may be given by it: theory={'PBE': …, 'r2SCAN': …}.
        info["theory"] = info.pop("functional")
    if "stress" in beside:
        info["stress"] = -KILOBAR * symmetric_matrix(np.array(beside["stress"], dtype=np.float64), ASE_ORDER, "stress")
    arrays = {"forces": np.array(beside["forces"], dtype=np.float64)} if "forces" in beside else {}
    return Frame(
        frame.system,
        info,
        arrays,
        notes=frame.notes,
        defined={"energy": "energy", "forces": "forces", "stress": "stress"},
        meaning={"stress": "converted from kbar, VASP's sign, ASE's order"},
    )
