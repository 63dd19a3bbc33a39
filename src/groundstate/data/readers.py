"""Files to records. The reader is chosen by the visible tables below, from the file's name."""

import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ase import Atoms

from groundstate.atoms import DataError, Domain, GroundstateError, OptionError, check, nearest, quantity
from groundstate.data.cif import read_cif
from groundstate.data.convert import frame_from_ase
from groundstate.data.extxyz import read_extxyz
from groundstate.data.foreign_files import (
    read_database,
    read_outcar,
    read_poscar,
    read_pymatgen_json,
    read_trajectory,
    read_vasprun,
    read_xdatcar,
)
from groundstate.data.frame import Frame
from groundstate.data.labels import Outcome, Reading, Theories, to_record
from groundstate.data.record import Record
from groundstate.data.report import LabelReport, proposal, report_of

Reader = Callable[[Path], Iterator[Frame | GroundstateError]]
"""Yields frames in file order, and in place of a frame that cannot be read its error."""

BY_SUFFIX: Mapping[str, Reader] = {
    ".xyz": read_extxyz,
    ".extxyz": read_extxyz,
    ".cif": read_cif,
    ".traj": read_trajectory,
    ".db": read_database,
    ".aselmdb": read_database,
    ".json": read_pymatgen_json,
    ".xml": read_vasprun,
    ".vasp": read_poscar,
    ".poscar": read_poscar,
}
BY_NAME: Mapping[str, Reader] = {
    "POSCAR": read_poscar,
    "CONTCAR": read_poscar,
    "OUTCAR": read_outcar,
    "XDATCAR": read_xdatcar,
}
"""Files without a telling suffix, by the start of their name."""
IMPLAUSIBLE_STRESS = 2.0
"""eV/Å³, for the median over the frames of a file; a set compressed to 320 GPa throughout can say so."""
_ANY_MODEL = Domain(charge="accepts", multiplicity="accepts")
"""A file is read for no model in particular: its conditions must make sense, not be answered."""
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)
COMPRESSED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Records in file order, and what was read under which key."""

    records: tuple[Record, ...]
    report: LabelReport

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True, eq=False)
class Survey:
    """What of a file can be read, and every refusal that `read` would have stopped at."""

    records: tuple[Record, ...]
    report: LabelReport
    refused: tuple[GroundstateError, ...]


def survey(
    path: str | Path,
    *,
    keys: Mapping[str, str | None] | None = None,
    stress_convention: str | None = None,
    theory: Theories | None = None,
) -> Survey:
    """A file as it is: what is refused is collected and not raised. Labels that are NaN are left out.

    Raises only where there is no such file, or its format cannot be told.
    """
    file, reading = _door(path, keys, stress_convention, theory, "mask")
    reader_for(file)
    records: list[Record] = []
    refused: list[GroundstateError] = []
    notes: Counter[str] = Counter()
    unread: Counter[tuple[str, str]] = Counter()
    for outcome in _outcomes(file, reading):
        if isinstance(outcome, GroundstateError):
            refused.append(outcome)
            continue
        records.append(outcome.record)
        notes.update(set(outcome.notes))
        unread.update((name, key) for key, name in outcome.unread.items())
    try:
        _check_labels(records, reading, (), unread, file)
    except GroundstateError as error:
        refused.append(error)
    if theory is None:
        notes.update(_unseparated(records))
    return Survey(tuple(records), report_of(records, notes, unread), tuple(refused))


def read(
    path: str | Path,
    *,
    keys: Mapping[str, str | None] | None = None,
    stress_convention: str | None = None,
    theory: Theories | None = None,
    require: Sequence[str] = (),
    missing: str = "refuse",
    salvage: bool = False,
) -> Dataset:
    """All structures and labels of a file.

    keys: quantity → key, where the usual names do not serve (None leaves a quantity out) · stress_convention: "ase",
    "kbar-vasp", "GPa" or "virial", see `stress` · theory: level of theory of all frames, or by the value of their
    `head`, `theory` or `config_type` · require: quantities every frame must have · missing: "mask" accepts frames
    without a required label or with one that is NaN, leaving it out there · salvage: skip frames that cannot be read or
    computed, and count them, instead of refusing the file.

    Errors name file and frame. Checked: tests/data/test_readers.py, tests/data/test_bad_input.py
    """
    file, reading = _door(path, keys, stress_convention, theory, missing)
    for name in require:
        quantity(name)
    records: list[Record] = []
    notes: Counter[str] = Counter()
    unread: Counter[tuple[str, str]] = Counter()
    for outcome in _outcomes(file, reading):
        if isinstance(outcome, GroundstateError):
            if not salvage:
                raise outcome
            notes[f"left out: {outcome.code}: {outcome.what}"] += 1
            continue
        records.append(outcome.record)
        notes.update(set(outcome.notes))
        unread.update((name, key) for key, name in outcome.unread.items())
    if not records:
        raise DataError(
            "E-FILE-EMPTY",
            "the file has no frames" + ("" if not notes else f" that can be used ({next(iter(notes))})"),
            why="there is nothing to compute or to learn",
            fix="check that the run that wrote it finished",
            file=str(file),
        )
    _check_labels(records, reading, require, unread, file)
    if theory is None:
        notes.update(_unseparated(records))
    return Dataset(tuple(records), report_of(records, notes, unread))


def iterate(
    path: str | Path,
    *,
    keys: Mapping[str, str | None] | None = None,
    stress_convention: str | None = None,
    theory: Theories | None = None,
    missing: str = "refuse",
    salvage: bool = False,
) -> Iterator[Record]:
    """The records of a file one by one, as `read` would give them, for files larger than memory.

    What needs the whole file (the report, required labels, one key for all frames) is left to the caller.
    """
    file, reading = _door(path, keys, stress_convention, theory, missing)
    for outcome in _outcomes(file, reading):
        if not isinstance(outcome, GroundstateError):
            yield outcome.record
        elif not salvage:
            raise outcome


def record_from_ase(
    atoms: Atoms,
    *,
    keys: Mapping[str, str | None] | None = None,
    stress_convention: str | None = None,
    theory: Theories | None = None,
    missing: str = "refuse",
) -> Record:
    """A labelled structure from an ASE object: labels from its calculator's results, `info` and arrays, as in `read`.

    Nothing is calculated; results of another geometry are refused.
    """
    reading = Reading(dict(keys or {}), stress_convention, theory, mask=_masks(missing))
    record = to_record(frame_from_ase(atoms), reading).record
    check(record.system, _ANY_MODEL)
    return record


def _masks(missing: str) -> bool:
    if missing not in ("refuse", "mask"):
        raise OptionError("E-OPTION", f"missing='{missing}' is unknown", fix=nearest(missing, ("refuse", "mask")))
    return missing == "mask"


def _door(
    path: str | Path,
    keys: Mapping[str, str | None] | None,
    stress_convention: str | None,
    theory: Theories | None,
    missing: str,
) -> tuple[Path, Reading]:
    reading = Reading(dict(keys or {}), stress_convention, theory, mask=_masks(missing))
    file = Path(path).expanduser()
    if not file.is_file():
        siblings = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(
            "E-FILE-MISSING",
            "there is no such file",
            fix=nearest(file.name, siblings) if siblings else "check the path",
            file=str(file),
        )
    if file.stat().st_size == 0:
        raise DataError("E-FILE-EMPTY", "the file is empty", fix="write it again", file=str(file))
    return file, reading


def reader_for(file: Path) -> Reader:
    """The reader a file's name asks for; names that ask for none are refused with the list."""
    name = file.name.removesuffix(file.suffix) if file.suffix.lower() in COMPRESSED else file.name
    suffix = Path(name).suffix.lower()
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    for start, reader in BY_NAME.items():
        if name.upper().startswith(start):
            return reader
    raise DataError(
        "E-FILE-FORMAT",
        f"the format of '{file.name}' cannot be told from its name",
        why="a structure read in the wrong format can look right",
        fix=f"rename it to one of {', '.join(BY_SUFFIX)} or {', '.join(BY_NAME)}",
        file=str(file),
    )


def _frames(file: Path) -> Iterator[Frame | GroundstateError]:
    """What the reader yields, and where a compressed stream breaks its error."""
    frames = reader_for(file)(file)
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except _DAMAGED as error:
            yield DataError(
                "E-FILE-TRUNCATED",
                f"the file cannot be read to its end ({error})",
                why="it was cut or damaged on the way",
                fix="copy it again; salvage=True keeps the complete frames",
            )
            return
        yield frame


def _outcomes(file: Path, reading: Reading) -> Iterator[Outcome | GroundstateError]:
    """Every frame interpreted and examined; a frame that fails is its error, and the next ones still come."""
    for index, frame in enumerate(_frames(file)):
        if isinstance(frame, GroundstateError):
            yield frame.at(file=str(file))
            continue
        try:
            outcome = to_record(frame, reading, file=str(file), index=index)
            check(outcome.record.system, _ANY_MODEL)
        except GroundstateError as error:
            yield error.at(file=str(file), frame=index)
        else:
            yield outcome


def _check_labels(
    records: Sequence[Record],
    reading: Reading,
    require: Sequence[str],
    unread: Mapping[tuple[str, str], int],
    file: Path,
) -> None:
    for name, key in reading.keys.items():
        if key is not None and not any(name in record.labels for record in records):
            seen = {tag for record in records for tag in record.provenance.tags}
            raise DataError(
                "E-LABEL-KEY",
                f"no frame has the key '{key}' that was named for the {name}",
                fix=nearest(key, seen) if seen else "look at the header of the file",
                file=str(file),
            )
    energy_keys = {record.provenance.keys["energy"] for record in records if "energy" in record.labels}
    if len({key.endswith("free_energy") for key in energy_keys}) > 1:
        raise DataError(
            "E-LABEL-MIXED",
            f"the energy is {' in some frames and '.join(sorted(energy_keys))} in others",
            why="the free energy and its σ→0 limit differ by the electronic entropy",
            fix="choose one with keys={'energy': …} and missing='mask'",
            file=str(file),
        )
    _check_stress_unit(records, reading, file)
    for name in require:
        without = [record.provenance.frame for record in records if name not in record.labels]
        # Gaps may be accepted; a label that no frame has is a wrong key whatever was accepted.
        if without and not (reading.mask and len(without) < len(records)):
            raise _missing(name, without, len(records), unread, file)


def _unseparated(records: Sequence[Record]) -> dict[str, int]:
    """A note where the file itself names several levels of theory."""
    tags = [record.provenance.tags for record in records]
    heads = Counter(own[tag] for own in tags for tag in ("head", "theory") if tag in own)
    if len(heads) < 2:
        return {}
    named = ", ".join(f"{head} ({count})" for head, count in heads.items())
    return {f"the file names several levels of theory: {named}; theory={{name: …}} keeps them apart": len(records)}


def _check_stress_unit(records: Sequence[Record], reading: Reading, file: Path) -> None:
    largest = [float(record.labels["stress"].abs().max()) for record in records if "stress" in record.labels]
    if largest and reading.stress_convention is None and median(largest) > IMPLAUSIBLE_STRESS:
        raise DataError(
            "E-STRESS-CONVENTION",
            f"half of the stresses exceed {IMPLAUSIBLE_STRESS:g} eV/Å³ (320 GPa); the median is {median(largest):.4g}",
            why="they look like GPa or kbar",
            fix="state stress_convention ('ase' if they are eV/Å³ indeed)",
            file=str(file),
        )


def _missing(
    name: str, without: Sequence[int | None], total: int, unread: Mapping[tuple[str, str], int], file: Path
) -> DataError:
    shown = ", ".join(str(frame) for frame in without[:8]) + (f" and {len(without) - 8} more" if without[8:] else "")
    likely = [key for quantity_name, key in unread if quantity_name == name]
    found = f"'{likely[0]}' looks like it: {proposal(name, likely[0])}; otherwise " if likely else ""
    return DataError(
        "E-LABEL-MISSING",
        f"no {name} in {len(without)} of {total} frames (frames {shown})",
        why="it would be trained on nothing",
        fix=f"{found}add the label, or accept the gaps with missing='mask'",
        file=str(file),
    )
