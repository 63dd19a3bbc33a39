"""fairchem's `.aselmdb`: an LMDB of ASE's database rows, each a zlib-compressed JSON document under its number.

Read without fairchem and without ASE's backend, of which either would bring a database server's client along. Rows are
in ASE's units; what fairchem keeps in a row's `data` (charge, spin, ids) becomes info. Layout: ase-db-backends,
aselmdb.py. Checked: tests/data/test_lmdb_files.py
"""

import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import all_properties
from ase.db.row import AtomsRow
from ase.io.jsonio import decode

from groundstate.atoms import DataError, GroundstateError
from groundstate.data.convert import frame_from_ase, missing_extra
from groundstate.data.foreign_files import FOREIGN_ERRORS, unreadable
from groundstate.data.frame import Frame


def read_aselmdb(path: Path) -> Iterator[Frame | GroundstateError]:
    """Rows in the order of their numbers; a damaged row is its error and the next ones still come."""
    try:
        import lmdb
    except ImportError:
        yield missing_extra("lmdb", "reading .aselmdb")
        return
    try:
        with (
            lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=True) as environment,
            environment.begin() as rows,
        ):
            next_row = rows.get(b"nextid")
            if next_row is None:
                yield _other_lmdb([bytes(key[:20]) for key in islice(rows.cursor().iternext(values=False), 3)])
                return
            deleted = rows.get(b"deleted_ids")
            frame = 0
            gone = set() if deleted is None else set(json.loads(zlib.decompress(deleted)))
            for number in range(1, int(json.loads(zlib.decompress(next_row)))):
                if number not in gone:
                    row = _row(rows.get(str(number).encode()), number)
                    yield row.at(frame=frame) if isinstance(row, GroundstateError) else row
                    frame += 1
    except lmdb.Error as error:
        yield unreadable(error, "an LMDB database")
    except (*FOREIGN_ERRORS, zlib.error) as error:
        yield unreadable(error, "an LMDB database")


def _other_lmdb(keys: list[bytes]) -> DataError:
    return DataError(
        "E-FILE-FORMAT",
        f"the LMDB holds no ASE database (keys {keys})",
        why="older fairchem files hold pickled objects, and loading those runs code",
        fix="convert it with the program that wrote it to .aselmdb or extxyz",
    )


def _row(content: bytes | None, number: int) -> Frame | GroundstateError:
    if content is None:
        return DataError("E-FILE-TRUNCATED", f"row {number} is missing", fix="copy the database again")
    try:
        return _frame(decode(zlib.decompress(content).decode("utf-8")))
    except GroundstateError as error:
        return error
    except (*FOREIGN_ERRORS, zlib.error) as error:
        return unreadable(error, f"row {number} of an ASE database")


def _frame(record: dict[str, Any]) -> Frame:
    for name in ("positions", "numbers", "cell", *all_properties):
        if isinstance(record.get(name), list):
            record[name] = np.array(record[name])
    row = AtomsRow(record)
    atoms = row.toatoms()
    beside = record.get("data") or {}
    atoms.info |= {key: value for key, value in beside.items() if isinstance(value, int | float | str)}
    atoms.info |= row.key_value_pairs
    return frame_from_ase(atoms)
