"""Which key of a file is which physical quantity. Nothing is guessed: what is ambiguous is refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from groundstate.atoms import DataError, LevelOfTheory, OptionError, Quantity, nearest, quantities, quantity
from groundstate.data import stress as stress_forms
from groundstate.data.conditions import CONDITION_KEYS, read_conditions
from groundstate.data.frame import CALCULATOR, Frame
from groundstate.data.numbers_in_text import numbers
from groundstate.data.record import Provenance, Record
from groundstate.data.theories import TheoryRule

Theories = LevelOfTheory | TheoryRule | Mapping[str, LevelOfTheory]
READABLE = tuple(name for name, row in quantities().items() if row.keys and name != "hessian")
THEORY_KEY = "level_of_theory"
THEORY_TAGS = ("head", "theory", "config_type")
_ASE_STRESS_KEYS = ("REF_stress", "stress", CALCULATOR + "stress")
_FORCE_UNITS = frozenset({"ev/a", "ev/å", "ev/ang", "ev/angstrom"})
_UNITS: Mapping[str, frozenset[str]] = {
    "energy_unit": frozenset({"ev"}),
    "force_unit": _FORCE_UNITS,
    "forces_unit": _FORCE_UNITS,
    "stress_unit": frozenset({"ev/a^3", "ev/å^3", "ev/å³", "ev/ang^3", "ev/angstrom^3", "ev/a3"}),
}
"""Spellings of the base unit beside a label; any other unit is refused."""
_STEMS: Mapping[str, tuple[str, ...]] = {
    "energy": ("energy", "toten", "etot"),
    "forces": ("force", "gradient"),
    "stress": ("stress",),
    "virial": ("virial",),
    "charges": ("charge",),
    "magnetic_moments": ("magmom", "moment"),
    "dipole": ("dipole",),
    "born_charges": ("born",),
}
"""What a key that holds a quantity under an unknown name usually contains."""
_SAME_RELATIVE, _SAME_ABSOLUTE = 1e-7, 1e-4
"""Two keys with one label agree to this (eV, eV/Å): rounding in print, not another calculation."""


@dataclass(frozen=True)
class Reading:
    """How the labels of a file are to be read.

    keys: quantity → the key that holds it; None leaves the quantity out; what is not named is found by its usual names
    · stress_convention: see `stress` · theory: the level of theory of all frames, or by the value of their `head`,
    `theory` or `config_type` · mask: a label that is not finite is dropped and counted instead of refused.
    """

    keys: Mapping[str, str | None] = field(default_factory=dict)
    stress_convention: str | None = None
    theory: Theories | None = None
    mask: bool = False

    def __post_init__(self) -> None:
        for name in self.keys:
            if quantity(name).name not in READABLE:
                raise OptionError("E-LABEL-KEY", f"'{name}' is not read from files", fix=nearest(name, READABLE))
        stress_forms.check_convention(self.stress_convention)


@dataclass(frozen=True)
class Outcome:
    """A record, what was read into the frame on the way, and keys that look like labels and were not taken."""

    record: Record
    notes: tuple[str, ...]
    unread: Mapping[str, str]


def to_record(frame: Frame, reading: Reading, *, file: str | None = None, index: int | None = None) -> Outcome:
    """The frame's labels in the units, signs and shapes of the table of quantities."""
    keys: dict[str, str] = {}
    notes = list(frame.notes)
    system = read_conditions(frame, keys)
    _refuse_other_units(frame.info, reading)
    values: dict[str, np.ndarray] = {}
    for name in READABLE:
        found = _chosen(quantity(name), frame, reading, notes)
        if found is not None:
            keys[name], values[name] = found
    notes += [f"{name} is '{key}': {frame.meaning[key]}" for name, key in keys.items() if key in frame.meaning]
    _refuse_two_calculations(keys, frame)
    _unite_stress_and_virial(values, keys, frame, reading, notes)
    labels = {name: torch.from_numpy(np.array(value, dtype=np.float64)) for name, value in values.items()}
    known = {*keys.values(), THEORY_KEY, *(key for names in CONDITION_KEYS.values() for key in names)}
    # Other names of a label that was taken go too: written back they would ask the same question again.
    known |= {prefix + key for name in values for key in quantity(name).keys for prefix in ("REF_", "")}
    tags = {key: str(value) for key, value in frame.info.items() if key not in known and len(str(value)) <= 200}
    theory = _theory(frame, tags, reading.theory)
    record = Record(system, labels, theory, Provenance(file, index, keys, tags))
    return Outcome(record, tuple(notes), _unread(frame, keys))


def _chosen(row: Quantity, frame: Frame, reading: Reading, notes: list[str]) -> tuple[str, np.ndarray] | None:
    """The one key of a quantity and its value; None where the frame has no usable one."""
    found = _found(row, frame, reading, notes)
    shaped = {key: _shaped(row, key, value, frame, reading) for key, value in found.items()}
    # Where one key is masked the others are not asked: they may be of another calculation.
    if not shaped or not all(_finite(key, value, reading, notes) for key, value in shaped.items()):
        return None
    (key, value), *others = shaped.items()
    for other, its_value in others:
        if not np.allclose(value, its_value, rtol=_SAME_RELATIVE, atol=_SAME_ABSOLUTE):
            raise DataError(
                "E-LABEL-CONFLICT",
                f"the {row.name} is present twice and different: {key} = {_shown(value)}, {other} = {_shown(its_value)}"
                f" (largest difference {np.abs(value - its_value).max():.4g} {row.unit})",
                why="only one of them is the label to learn",
                fix=f"choose: keys={{'{row.name}': '{key}'}} or keys={{'{row.name}': '{other}'}}",
            )
    return key, value


def _found(row: Quantity, frame: Frame, reading: Reading, notes: list[str]) -> dict[str, Any]:
    if row.name in reading.keys:
        key = reading.keys[row.name]
        source = frame.arrays if row.per == "atom" else frame.info
        if key is None:
            return {}
        if key in source:
            return {key: source[key]}
        plain = key.removeprefix(CALCULATOR)
        return {key: frame.results[plain]} if plain in frame.results else {}
    found = _candidates(row, frame)
    if row.name in frame.defined:
        key = frame.defined[row.name]
        source = frame.arrays if row.per == "atom" else frame.info
        found = {key: source[key]} if key in source else {}
    if row.name == "stress":
        if "stress" in frame.defined:
            _refuse_second_convention(reading)
        elif reading.stress_convention is None:
            found = {key: value for key, value in found.items() if key in _ASE_STRESS_KEYS}
        if found and not bool(frame.system.pbc.any()):
            notes.append("stress of structures without periods was left out: it is not defined")
            return {}
    free = [key for key in found if key.endswith("free_energy")]
    if row.name == "energy" and 0 < len(free) < len(found):
        # ASE's convention: `energy` is the σ→0 limit and `free_energy` the one forces derive from.
        notes.append("free_energy is present too and was not read; keys={'energy': 'free_energy'} takes it instead")
        found = {key: value for key, value in found.items() if key not in free}
    return found


def _refuse_second_convention(reading: Reading) -> None:
    if reading.stress_convention is not None:
        raise OptionError(
            "E-STRESS-CONVENTION",
            f"stress_convention='{reading.stress_convention}' was stated for a format that defines its stress",
            why="it would be converted twice",
            fix="leave stress_convention out",
        )


def _refuse_two_calculations(keys: Mapping[str, str], frame: Frame) -> None:
    labels = {name: key for name, key in keys.items() if key in frame.calculation}
    if len({frame.calculation[key] for key in labels.values()}) > 1:
        raise DataError(
            "E-LABEL-MIXED",
            "labels of different calculations were asked for: " + ", ".join(f"{n} = '{k}'" for n, k in labels.items()),
            why="forces of one method are not derivatives of the energy of another",
            fix="leave the others out with keys={'forces': None, …}, or name those of the same calculation",
        )


def _candidates(row: Quantity, frame: Frame) -> dict[str, Any]:
    """All places in which a quantity is found, by key, the preferred first."""
    source = frame.arrays if row.per == "atom" else frame.info
    found = {key: source[key] for prefix in ("REF_", "") for name in row.keys if (key := prefix + name) in source}
    for key in row.keys:
        value = frame.results.get(key)
        # ASE's `magmom` is the moment of the cell, its `magmoms` those of atoms.
        if value is not None and (row.per == "system" or np.shape(value)[:1] == (frame.system.n_atoms,)):
            found[CALCULATOR + key] = value
    return found


def _shaped(row: Quantity, key: str, value: Any, frame: Frame, reading: Reading) -> np.ndarray:
    array = numbers(value)
    if array is None:
        if reading.mask and np.size(value) == 1:
            return np.full((), np.nan)
        raise DataError(
            "E-LABEL-TEXT",
            f"'{key}' holds {str(value)[:40]!r} where the {row.name} in {row.unit} is expected",
            why="text cannot be learned, and dropping it would lose the label silently",
            fix=f"correct it, drop it with missing='mask', or leave the key out with keys={{'{row.name}': None}}",
        )
    n_atoms = frame.system.n_atoms
    if row.name == "stress":
        ours = key.startswith(CALCULATOR) or key == frame.defined.get("stress")
        convention = "ase" if ours else reading.stress_convention
        volume = float(frame.system.volume[0])
        return stress_forms.to_stress(array, convention, volume, key)
    if row.kind == "symmetric tensor":
        order = stress_forms.ASE_ORDER if key.startswith(CALCULATOR) else None
        return stress_forms.symmetric_matrix(array, order, key, (n_atoms,) if row.per == "atom" else ())
    shape = (n_atoms, *row.shape) if row.per == "atom" else row.shape
    if array.size != int(np.prod(shape)):
        raise DataError(
            "E-LABEL-SHAPE",
            f"'{key}' has shape {array.shape} where the {row.name} has {shape}",
            why="the numbers would be attached to the wrong atoms or components",
            fix=f"correct the file, or leave the key out with keys={{'{row.name}': None}}",
        )
    return array.reshape(shape)


def _finite(key: str, value: np.ndarray, reading: Reading, notes: list[str]) -> bool:
    if np.isfinite(value).all():
        return True
    if reading.mask:
        notes.append(f"'{key}' is not a finite number in some frames and was masked there")
        return False
    raise DataError(
        "E-LABEL-NOT-FINITE",
        f"'{key}' is NaN or infinite",
        why="one such label turns every weight into NaN",
        fix="remove the frame, or read with missing='mask' to leave the label out there",
    )


def _shown(value: np.ndarray) -> str:
    return f"{float(value):.10g}" if value.ndim == 0 else f"[{float(value.flat[0]):.6g}, …]"


def _unite_stress_and_virial(
    values: dict[str, np.ndarray], keys: dict[str, str], frame: Frame, reading: Reading, notes: list[str]
) -> None:
    """A virial is a stress too where all directions are periodic; where both are given they must agree."""
    if "virial" not in values or not bool(frame.system.pbc.all()) or float(frame.system.volume[0]) == 0:
        return
    volume = float(frame.system.volume[0])
    if "stress" in values:
        stress_forms.compare_with_virial(values["stress"], values["virial"], volume, (keys["stress"], keys["virial"]))
    elif "stress" not in reading.keys:
        values["stress"], keys["stress"] = -values["virial"] / volume, keys["virial"]
        notes.append(f"stress computed as −{keys['virial']}/|V|")


def _refuse_other_units(info: Mapping[str, Any], reading: Reading) -> None:
    for key, spellings in _UNITS.items():
        stated = str(info.get(key, "")).strip().lower().replace(" ", "")
        if stated and stated not in spellings and not (key == "stress_unit" and reading.stress_convention):
            raise DataError(
                "E-LABEL-UNIT",
                f"the file says {key}={info[key]}",
                why="labels are read in eV, Å and eV/Å³ and would be wrong by a factor",
                fix="convert the file; for stress, state stress_convention",
            )


def _theory(frame: Frame, tags: Mapping[str, str], given: Theories | None) -> LevelOfTheory | None:
    written = frame.info.get(THEORY_KEY)
    stated = None
    if written is not None:
        record = json.loads(written.removeprefix("_JSON ")) if isinstance(written, str) else written
        stated = LevelOfTheory.from_dict(record)
    if isinstance(given, TheoryRule):
        given = given.of(frame.system.numbers.tolist())
    if not isinstance(given, LevelOfTheory) and given is not None:
        named = [tags[tag] for tag in THEORY_TAGS if tag in tags]
        chosen = next((given[name] for name in named if name in given), None)
        if chosen is None:
            raise DataError(
                "E-THEORY-UNSTATED",
                f"the frame's {' / '.join(THEORY_TAGS)} ({', '.join(named) or 'absent'}) names none of the given levels"
                f" of theory ({', '.join(given)})",
                why="energies of different levels must not be mixed",
                fix="add the missing name, or write a `head` for every frame",
            )
        given = chosen
    if stated is not None and given is not None and stated != given:
        raise DataError(
            "E-THEORY-CONFLICT",
            f"the file says {stated.label} and {given.label} was given; they differ in"
            f" {', '.join(stated.differences(given))}",
            why="an energy has one origin",
            fix="drop theory= to keep what the file says",
        )
    return given if given is not None else stated


def _unread(frame: Frame, keys: Mapping[str, str]) -> dict[str, str]:
    """Keys that were not taken and look like a quantity the frame has no label of → that quantity."""
    looks: dict[str, str] = {}
    for name, stems in _STEMS.items():
        row = quantity(name)
        source = frame.arrays if row.per == "atom" else frame.info
        sizes = {frame.system.n_atoms * int(np.prod(row.shape))} if row.per == "atom" else {int(np.prod(row.shape)), 6}
        for key, value in source.items():
            if name in keys or key in CONDITION_KEYS["charge"] or key.startswith("initial_"):
                continue
            if key in row.keys or any(stem in key.lower() for stem in stems):
                array = numbers(value)
                if array is not None and (array.size in sizes or (row.shape == () and array.size == 1)):
                    looks[key] = name
    return looks
