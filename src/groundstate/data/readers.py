"""Files to records. The reader is chosen by the visible tables below, from the file's name."""

import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ase import Atoms

from groundstate.atoms import (
    DataError,
    Domain,
    GroundstateError,
    OptionError,
    check,
    check_moved,
    find_neighbours,
    nearest,
    quantity,
)
from groundstate.data import deepmd_files
from groundstate.data.cif import read_cif
from groundstate.data.convert import frame_from_ase
from groundstate.data.extxyz import read_extxyz, read_extxyz_from
from groundstate.data.foreign_files import (
    read_database,
    read_outcar,
    read_poscar,
    read_trajectory,
    read_vasprun,
    read_xdatcar,
)
from groundstate.data.frame import Frame
from groundstate.data.hdf5_files import read_hdf5
from groundstate.data.json_files import read_json
from groundstate.data.labels import Outcome, Reading, Theories, to_record
from groundstate.data.lmdb_files import read_aselmdb
from groundstate.data.record import Record
from groundstate.data.report import LabelReport, report_of
from groundstate.data.store import is_store, open_store
from groundstate.data.tally import Tally, missing_label, nothing_in

Reader = Callable[[Path], Iterator[Frame | GroundstateError]]
"""Yields frames in file order, and in place of a frame that cannot be read its error."""

BY_SUFFIX: Mapping[str, Reader] = {
    ".xyz": read_extxyz,
    ".extxyz": read_extxyz,
    ".cif": read_cif,
    ".traj": read_trajectory,
    ".db": read_database,
    ".aselmdb": read_aselmdb,
    ".lmdb": read_aselmdb,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".json": read_json,
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
FROM: Mapping[Reader, Callable[[Path, int], Iterator[Frame | GroundstateError]]] = {read_extxyz: read_extxyz_from}
"""Readers that can start at a frame without making those before it."""
BY_CONTENT: Mapping[str, Reader] = {deepmd_files.MARK: deepmd_files.read_deepmd}
"""Folders, by a file that stands in them."""
_ANY_MODEL = Domain(charge="accepts", multiplicity="accepts")
"""A file is read for no model in particular: its conditions must make sense, not be answered."""
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)
COMPRESSED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Records in file order, and what was read under which key. Those of a store stay on disk."""

    records: Sequence[Record]
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
    if is_store(Path(path).expanduser()):
        whole = _read_store(Path(path), (keys, stress_convention, theory), (), "mask", True)
        return Survey(tuple(whole.records), whole.report, ())
    file, reading = door(path, keys, stress_convention, theory, "mask")
    reader_for(file)
    tally = Tally(reading, (), file)
    records: list[Record] = []
    refused: list[GroundstateError] = []
    for outcome in outcomes(file, reading):
        if isinstance(outcome, GroundstateError):
            refused.append(outcome)
        else:
            records.append(outcome.record)
            tally.add(outcome)
    try:
        tally.check(at_end=True)
    except GroundstateError as error:
        refused.append(error)
    return Survey(tuple(records), report_of(records, tally.notes, tally.unread), tuple(refused))


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
    """All structures and labels of a file, or of a store, whose records stay on disk.

    keys: quantity → key, where the usual names do not serve (None leaves a quantity out) · stress_convention: "ase",
    "kbar-vasp", "GPa" or "virial", see `stress` · theory: level of theory of all frames, or by the value of their
    `head`, `theory` or `config_type` · require: quantities every frame must have · missing: "mask" accepts frames
    without a required label or with one that is NaN, leaving it out there · salvage: skip frames that cannot be read or
    computed, and count them, instead of refusing the file.

    Errors name file and frame. Checked: tests/data/test_readers.py, tests/data/test_bad_input.py
    """
    for name in require:
        quantity(name)
    if is_store(Path(path).expanduser()):
        return _read_store(Path(path), (keys, stress_convention, theory), require, missing, salvage)
    file, reading = door(path, keys, stress_convention, theory, missing)
    tally = Tally(reading, require, file)
    records: list[Record] = []
    for outcome in outcomes(file, reading):
        if not isinstance(outcome, GroundstateError):
            records.append(outcome.record)
            tally.add(outcome)
        elif salvage:
            tally.left_out(outcome)
        else:
            raise outcome
    if not records:
        raise nothing_in(file, tally)
    tally.check(at_end=True)
    return Dataset(tuple(records), report_of(records, tally.notes, tally.unread))


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
    if is_store(Path(path).expanduser()):
        yield from _read_store(Path(path), (keys, stress_convention, theory), (), missing, salvage).records
        return
    file, reading = door(path, keys, stress_convention, theory, missing)
    for outcome in outcomes(file, reading):
        if not isinstance(outcome, GroundstateError):
            yield outcome.record
        elif not salvage:
            raise outcome


def _read_store(path: Path, told: Sequence[object], require: Sequence[str], missing: str, salvage: bool) -> Dataset:
    if any(told):
        raise OptionError(
            "E-STORE-READ",
            "keys, stress_convention and theory say how to read files, and a store has been read already",
            why="its labels are in base units",
            fix="import the files again with these options into another store",
            file=str(path),
        )
    store = open_store(path, salvage=salvage)
    spreads = store.statistics.labels
    for name in require:
        frames = spreads[name].frames if name in spreads else 0
        if frames < len(store) and not (_masks(missing) and frames):
            without = [i for i, record in enumerate(store) if name not in record.labels]
            raise missing_label(name, without, len(store), {}, path)
    return Dataset(store, store.report())


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


def door(
    path: str | Path,
    keys: Mapping[str, str | None] | None,
    stress_convention: str | None,
    theory: Theories | None,
    missing: str,
) -> tuple[Path, Reading]:
    """The file and how to read it, or the refusal of either."""
    reading = Reading(dict(keys or {}), stress_convention, theory, mask=_masks(missing))
    file = Path(path).expanduser()
    if not file.is_file() and not is_source_folder(file):
        siblings = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(
            "E-FILE-MISSING",
            "there is no such file",
            fix=nearest(file.name, siblings) if siblings else "check the path",
            file=str(file),
        )
    if file.is_file() and file.stat().st_size == 0:
        raise DataError("E-FILE-EMPTY", "the file is empty", fix="write it again", file=str(file))
    return file, reading


def is_source_folder(path: Path) -> bool:
    """Whether a folder as a whole is what a reader reads."""
    return path.is_dir() and any((path / mark).is_file() for mark in BY_CONTENT)


def known_name(file: Path) -> bool:
    """Whether a file's name asks for a reader."""
    return _named_reader(file) is not None


def _named_reader(file: Path) -> Reader | None:
    name = file.name.removesuffix(file.suffix) if file.suffix.lower() in COMPRESSED else file.name
    suffix = Path(name).suffix.lower()
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    return next((reader for start, reader in BY_NAME.items() if name.upper().startswith(start)), None)


def reader_for(file: Path) -> Reader:
    """The reader a file's name asks for, or a folder's content; names that ask for none are refused with the list."""
    if is_source_folder(file):
        return next(reader for mark, reader in BY_CONTENT.items() if (file / mark).is_file())
    reader = _named_reader(file)
    if reader is not None:
        return reader
    raise DataError(
        "E-FILE-FORMAT",
        f"the format of '{file.name}' cannot be told from its name",
        why="a structure read in the wrong format can look right",
        fix=f"rename it to one of {', '.join(BY_SUFFIX)} or {', '.join(BY_NAME)}",
        file=str(file),
    )


def _frames(file: Path, first: int) -> Iterator[Frame | GroundstateError]:
    """What the reader yields from one frame on, and where a compressed stream breaks its error."""
    reader = reader_for(file)
    frames = FROM[reader](file, first) if reader in FROM else islice(reader(file), first, None)
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


def outcomes(file: Path, reading: Reading, *, skip: int = 0) -> Iterator[Outcome | GroundstateError]:
    """Every frame interpreted and examined; a frame that fails is its error, and the next ones still come.

    skip: frames at the start that are passed over unread.
    """
    for index, frame in enumerate(_frames(file, skip), skip):
        if isinstance(frame, GroundstateError):
            yield frame.at(file=str(file))
            continue
        try:
            outcome = to_record(frame, reading, file=str(file), index=index)
            check_moved(outcome.record.system, _ANY_MODEL, None, find_neighbours)
        except GroundstateError as error:
            yield error.at(file=str(file), frame=index)
        else:
            yield outcome
